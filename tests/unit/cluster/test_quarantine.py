"""A damaged segment is fetched again, from one replica or from several, or waits."""

import pytest

from cluster.replication.quarantine import (
    AGAIN_MS,
    Damaged,
    Effect,
    Event,
    Fetched,
    FetchFailed,
    FetchRange,
    Looked,
    NobodyHasIt,
    Quarantine,
    Replace,
    Replaced,
)
from model.ids import MonotonicMs, NodeId, Offset
from tests.replica import THREE, TWO

NOW = MonotonicMs(1_000)
BAD = Damaged(Offset(10), Offset(40))


def said(one: Quarantine, event: Event, *, now: int = NOW) -> list[Effect]:
    return one.step(MonotonicMs(now), event, (TWO, THREE))


def fetched(start: int, end: int) -> Fetched:
    return Fetched(Offset(start), Offset(end))


def fetch(replica: NodeId, start: int, end: int = 40) -> FetchRange:
    return FetchRange(replica, Offset(start), Offset(end))


def test_a_segment_is_replaced_when_all_of_it_has_come() -> None:
    one = Quarantine()
    assert said(one, BAD) == [fetch(TWO, 10)]
    assert said(one, BAD) == []
    assert said(one, fetched(10, 25)) == [fetch(TWO, 25)]
    assert said(one, fetched(25, 40)) == [Replace(Offset(10), Offset(40))]
    assert said(one, Looked(), now=10 * AGAIN_MS) == []
    assert one.damaged == (BAD,)
    assert said(one, Replaced(Offset(10))) == []
    assert not one.damaged


def test_copies_that_are_damaged_in_different_places_make_a_whole_one() -> None:
    one = Quarantine()
    said(one, BAD)
    said(one, fetched(10, 20))
    assert said(one, FetchFailed(TWO)) == [fetch(THREE, 20)]
    assert said(one, FetchFailed(TWO)) == []
    said(one, fetched(20, 30))
    assert said(one, FetchFailed(THREE)) == [fetch(TWO, 30)]
    assert said(one, fetched(30, 40)) == [Replace(Offset(10), Offset(40))]


def test_what_nobody_has_is_told_and_tried_again() -> None:
    one = Quarantine()
    said(one, BAD)
    said(one, fetched(10, 20))
    said(one, FetchFailed(TWO))
    assert said(one, FetchFailed(THREE)) == [NobodyHasIt(Offset(10), Offset(20))]
    assert said(one, Looked(), now=NOW + AGAIN_MS - 1) == []
    assert said(one, Looked(), now=NOW + AGAIN_MS) == [fetch(TWO, 20)]
    assert said(one, Looked(), now=NOW + 2 * AGAIN_MS) == []


def test_without_another_replica_nothing_can_be_done() -> None:
    assert Quarantine().step(NOW, BAD, ()) == [NobodyHasIt(Offset(10), Offset(10))]


def test_one_segment_after_the_other() -> None:
    one, other = Quarantine(), Damaged(Offset(90), Offset(95))
    said(one, BAD)
    assert said(one, other) == []
    said(one, fetched(10, 40))
    assert said(one, Replaced(Offset(10))) == [fetch(TWO, 90, 95)]
    assert one.damaged == (other,)


@pytest.mark.parametrize(("start", "end"), [(12, 20), (10, 41), (10, 10), (8, 20)])
def test_what_does_not_continue_is_never_taken(start: int, end: int) -> None:
    one = Quarantine()
    said(one, BAD)
    with pytest.raises(AssertionError, match="FETCHED_IN_ORDER"):
        said(one, fetched(start, end))


def test_what_nobody_asked_for_is_never_taken() -> None:
    with pytest.raises(AssertionError, match="FETCHED_IN_ORDER"):
        said(Quarantine(), fetched(10, 20))


def test_a_part_of_a_segment_replaces_nothing() -> None:
    one = Quarantine()
    said(one, BAD)
    said(one, fetched(10, 25))
    with pytest.raises(AssertionError, match="REPLACED_IS_WHOLE"):
        said(one, Replaced(Offset(10)))
    with pytest.raises(AssertionError, match="REPLACED_IS_WHOLE"):
        said(Quarantine(), Replaced(Offset(10)))
