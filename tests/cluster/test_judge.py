"""The judge of the stories: what it must find fault with."""

import pytest

from tests.cluster.judge import UNPLACED, faults

TOLD = {0: [(0, 10), (1, 12), (2, 14)], 1: [(0, 11)]}
GOOD = {0: 10, 1: 12, 2: 14, 3: 15}


def test_more_may_be_read_than_was_acknowledged_also_of_others() -> None:
    assert faults(TOLD, {0: {**GOOD, 4: -2_000, 5: 16}, 1: {0: 11}}, {0: GOOD}) == []


def test_only_partitions_that_were_read_are_judged() -> None:
    assert faults(TOLD, {0: GOOD}) == []


@pytest.mark.parametrize(
    ("read", "seen", "says"),
    [
        ({}, {}, "3 lost, first (0, 10)"),
        ({0: 10, 1: 12}, {}, "1 lost, first (2, 14)"),
        ({0: 10, 1: 12, 2: 13}, {}, "1 lost, first (2, 14)"),
        ({0: 10, 1: 12, 2: 14, 3: 14}, {}, "1 doubled"),
        ({0: 10, 1: 12, 2: 14, 3: 11}, {}, "not in the producer's order"),
        ({3: 11, 2: 14, 1: 12, 0: 10}, {}, "not in the producer's order"),
        ({0: 10, 1: 12, 2: 14}, {3: 15}, "1 are not what was shown"),
        ({0: 10, 1: 12, 2: 14, 3: 15}, {3: 16}, "1 are not what was shown"),
    ],
)
def test_fault_is_found(read: dict[int, int], seen: dict[int, int], says: str) -> None:
    assert faults(TOLD, {0: read}, {0: seen}) == [f"partition 0: {says}"]


def test_where_all_was_told_nothing_else_may_be_there() -> None:
    told = {0: [(0, 10), (1, 12)]}
    assert faults(told, {0: {0: 10, 1: 12}}, all_told=True) == []
    wrong = faults(told, {0: {0: 10, 1: 12, 2: 14}}, all_told=True)
    assert wrong == ["partition 0: 1 that nobody was told of"]


def test_what_was_acknowledged_without_an_offset_must_be_there_somewhere() -> None:
    told = {0: [(0, 10), (UNPLACED, 12), (2, 14)]}
    assert faults(told, {0: {0: 10, 1: 12, 2: 14}}, all_told=True) == []
    assert faults(told, {0: {0: 10, 2: 14}}) == ["partition 0: 1 lost, first (-1, 12)"]
    assert faults(told, {0: {0: 10, 1: 12, 2: 14, 3: 12}}) == [
        "partition 0: 1 doubled",
        "partition 0: not in the producer's order",
    ]
