"""The judge of the compose story: what it must find fault with."""

import pytest

from tests.cluster.compose_load import Numbers, faults

TOLD: Numbers = {0: {0: 0, 1: 3, 4: 6}, 1: {0: 1}, 2: {}}
READ: Numbers = {0: {0: 0, 1: 3, 2: 4, 4: 6}, 1: {0: 1}, 2: {7: -1}}


def test_more_may_be_read_than_was_acknowledged() -> None:
    assert faults(TOLD, READ) == []


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ({0: {0: 0, 1: 3}}, "partition 0: 1 lost, the first at 4"),
        ({0: {0: 0, 1: 9, 4: 6}}, "partition 0: 1 lost, the first at 1"),
        ({0: {**READ[0], 5: 6}}, "partition 0: records are there twice"),
        ({1: {}}, "partition 1: 1 lost, the first at 0"),
    ],
)
def test_what_is_lost_or_doubled_is_found(read: Numbers, why: str) -> None:
    assert faults(TOLD, read) == [why]


def test_another_order_is_found() -> None:
    told = {0: {0: 3, 1: 0}}
    assert faults(told, told) == ["partition 0: not in the order of their producer"]
