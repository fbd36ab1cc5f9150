"""Counters begin at 0, and a snapshot is a value."""

import pytest

from model.counters import Counters


class RoundCounters(Counters):
    __slots__ = ("rounds", "written_bytes")
    rounds: int
    written_bytes: int


class MoreCounters(RoundCounters):
    __slots__ = ("syncs",)
    syncs: int


def test_a_snapshot_does_not_move() -> None:
    counters = RoundCounters()
    counters.rounds += 1
    before = counters.snapshot()
    counters.rounds += 1
    counters.written_bytes += 4096
    assert before == {"rounds": 1, "written_bytes": 0}
    assert counters.snapshot() == {"rounds": 2, "written_bytes": 4096}


def test_an_extension_keeps_what_it_extends() -> None:
    assert list(MoreCounters().snapshot().items()) == [
        ("rounds", 0),
        ("written_bytes", 0),
        ("syncs", 0),
    ]


def test_a_counter_that_was_not_declared_is_refused() -> None:
    with pytest.raises(AttributeError):
        RoundCounters().round = 1  # type: ignore[attr-defined]
