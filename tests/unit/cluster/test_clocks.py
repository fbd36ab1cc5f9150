"""Whose clock is in doubt: held against a majority of voters, or against nobody."""

import pytest

from cluster.controller.clocks import DOUBT_MS, TRUST_MS, Clocks
from model.ids import AppendTimeMs, MonotonicMs, NodeId, WallMs

NOON = 1_767_268_800_000
YEAR = 365 * 24 * 3_600_000
VOTERS = tuple(NodeId(number) for number in (1, 2, 3))
NOW = MonotonicMs(5_000)


def told(
    clocks: Clocks, *ahead: int | None, append: tuple[int, ...] = (), now: MonotonicMs = NOW
) -> None:
    """Let nodes 1, 2, ... tell how far ahead of noon they are; None: one says nothing."""
    for at, ms in enumerate(ahead):
        if ms is not None:
            append_ms = append[at] if append else ms
            date = WallMs(NOON + ms)
            clocks.told(NodeId(at + 1), date, AppendTimeMs(NOON + append_ms), now=now)


def doubted(clocks: Clocks, *others: int) -> set[int]:
    every = {*VOTERS, *map(NodeId, others)}
    return {int(node) for node in every if clocks.in_doubt(node, VOTERS)}


@pytest.mark.parametrize("off_ms", [300_000, -300_000, YEAR, -YEAR])
def test_one_of_three_is_off_whoever_takes_the_heartbeats(off_ms: int) -> None:
    for wrong in (1, 2, 3):
        clocks = Clocks()
        told(clocks, *(off_ms if number == wrong else number * 100 for number in (1, 2, 3)))
        assert doubted(clocks) == {wrong}
        off = clocks.off_ms(NodeId(wrong), VOTERS)
        assert off is not None and abs(off - off_ms) < 1_000


def test_a_node_that_does_not_vote_is_judged_and_judges_nobody() -> None:
    clocks = Clocks()
    told(clocks, 0, 10, None, YEAR, YEAR)
    assert doubted(clocks, 4, 5) == {4, 5}


def test_without_a_majority_that_agrees_nobody_is_judged() -> None:
    cases: list[tuple[int | None, ...]] = [
        (0, None, None, YEAR),
        (0, YEAR, None),
        (0, YEAR, -YEAR),
        (None, None, None, 0),
    ]
    for ahead in cases:
        clocks = Clocks()
        told(clocks, *ahead)
        assert doubted(clocks, 4) == set()
        assert clocks.off_ms(NodeId(1), VOTERS) is None


def test_at_the_edge_a_node_does_not_come_and_go() -> None:
    clocks = Clocks()
    for off_ms, is_doubted in [
        (DOUBT_MS, False),
        (DOUBT_MS + 1, True),
        (TRUST_MS + 1, True),
        (TRUST_MS, False),
        (TRUST_MS + 1, False),
    ]:
        told(clocks, 0, 0, off_ms)
        assert doubted(clocks) == ({3} if is_doubted else set())


def test_what_was_said_last_holds_while_nothing_can_be_said() -> None:
    clocks = Clocks()
    told(clocks, 0, 0, YEAR)
    assert doubted(clocks) == {3}
    clocks.ended(NodeId(2))
    assert doubted(clocks) == {3}
    clocks.ended(NodeId(3))
    assert doubted(clocks) == set()
    told(clocks, 0, 0, YEAR)
    clocks.forget()
    assert doubted(clocks) == set()


def test_dates_that_go_on_are_the_same_dates_later() -> None:
    clocks = Clocks()
    told(clocks, 0, 0, 0)
    later = MonotonicMs(NOW + 10 * DOUBT_MS)
    told(clocks, 10 * DOUBT_MS, None, 10 * DOUBT_MS, now=later)
    assert doubted(clocks) == set(), "node 2 is only silent"


def test_an_append_clock_that_is_ahead_is_in_doubt_though_the_date_is_right() -> None:
    """A start with a wrong date has put it there, and it does not go back."""
    clocks = Clocks()
    told(clocks, 0, 0, 0, append=(0, 0, YEAR))
    assert doubted(clocks) == {3}
    told(clocks, 0, 0, 0, append=(0, 0, -YEAR))
    assert doubted(clocks) == set(), "one that is behind follows what leaders tell"


def test_machines_that_have_slept_together_are_not_in_doubt() -> None:
    """Their dates have gone on, their monotonic clocks and so their append clocks have not."""
    clocks = Clocks()
    told(clocks, YEAR, YEAR, YEAR, append=(0, 0, 0))
    assert doubted(clocks) == set()


def test_while_nobody_can_be_compared_a_date_alone_clears_nobody() -> None:
    """Its append clock is still ahead, though a voter has gone with which it was compared."""
    clocks = Clocks()
    told(clocks, 0, 0, 0, append=(0, 0, YEAR))
    assert doubted(clocks) == {3}
    clocks.ended(NodeId(2))
    assert doubted(clocks) == {3}
    told(clocks, 0, 0, 0)
    assert doubted(clocks) == set()
