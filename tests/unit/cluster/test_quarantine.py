"""A damaged segment is fetched again, from one replica or from several, or waits."""

import pytest

from cluster.replication.quarantine import (
    AGAIN_MS_MAX,
    AGAIN_MS_MIN,
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
REPLACE = Replace(Offset(10), Offset(40))


def damaged() -> Quarantine:
    return Quarantine(Offset(10), Offset(40))


def said(one: Quarantine, event: Event, *, now: int = NOW) -> Effect | None:
    return one.step(MonotonicMs(now), event, (TWO, THREE))


def fetched(start: int, end: int) -> Fetched:
    return Fetched(Offset(start), Offset(end))


def fetch(replica: NodeId, start: int, end: int = 40) -> FetchRange:
    return FetchRange(replica, Offset(start), Offset(end))


def nobody(at: int) -> NobodyHasIt:
    return NobodyHasIt(Offset(10), Offset(at))


def test_a_segment_is_replaced_when_all_of_it_has_come() -> None:
    one = damaged()
    assert said(one, Looked()) == fetch(TWO, 10)
    assert said(one, Looked()) is None, "it is asked already"
    assert said(one, fetched(10, 25)) == fetch(TWO, 25)
    assert said(one, fetched(25, 40)) == REPLACE
    assert said(one, Replaced(Offset(10))) is None


def test_what_could_not_take_its_place_is_not_fetched_again() -> None:
    one = damaged()
    said(one, Looked())
    assert said(one, fetched(10, 40)) == REPLACE
    assert said(one, Looked()) == REPLACE


def test_copies_that_are_damaged_in_different_places_make_a_whole_one() -> None:
    one = damaged()
    said(one, Looked())
    said(one, fetched(10, 20))
    assert said(one, FetchFailed(TWO)) == fetch(THREE, 20)
    assert said(one, FetchFailed(TWO)) is None
    said(one, fetched(20, 30))
    assert said(one, FetchFailed(THREE)) == fetch(TWO, 30)
    assert said(one, fetched(30, 40)) == REPLACE


def test_what_nobody_has_is_told_and_tried_again_from_where_it_ended() -> None:
    one = damaged()
    said(one, Looked())
    said(one, fetched(10, 20))
    said(one, FetchFailed(TWO))
    assert said(one, FetchFailed(THREE)) == nobody(20)
    assert one.again_at == NOW + AGAIN_MS_MIN
    assert said(one, Looked(), now=one.again_at - 1) is None
    assert said(one, Looked(), now=one.again_at) == fetch(TWO, 20)
    assert said(one, Looked(), now=one.again_at) is None


def failed_again(one: Quarantine) -> int:
    """Let all refuse once more; return the pause after it."""
    now = one.again_at
    said(one, Looked(), now=now)
    said(one, FetchFailed(TWO), now=now)
    assert isinstance(said(one, FetchFailed(THREE), now=now), NobodyHasIt)
    return one.again_at - now


def test_pauses_double_up_to_a_bound_and_begin_anew_when_something_comes() -> None:
    one = damaged()
    pauses = [failed_again(one) for _ in range(8)]
    assert pauses == [min(AGAIN_MS_MIN << number, AGAIN_MS_MAX) for number in range(8)]
    assert pauses[-1] == AGAIN_MS_MAX
    said(one, Looked(), now=one.again_at)
    said(one, fetched(10, 20), now=one.again_at)
    now = one.again_at
    said(one, FetchFailed(TWO), now=now)
    said(one, FetchFailed(THREE), now=now)
    assert one.again_at - now == AGAIN_MS_MIN


def test_without_another_replica_nothing_can_be_done() -> None:
    assert damaged().step(NOW, Looked(), ()) == nobody(10)


@pytest.mark.parametrize(("start", "end"), [(12, 20), (10, 41), (10, 10), (8, 20)])
def test_what_does_not_continue_is_never_taken(start: int, end: int) -> None:
    one = damaged()
    said(one, Looked())
    with pytest.raises(AssertionError, match="FETCHED_IN_ORDER"):
        said(one, fetched(start, end))


def test_what_nobody_asked_for_is_never_taken() -> None:
    with pytest.raises(AssertionError, match="FETCHED_IN_ORDER"):
        said(damaged(), fetched(10, 20))


@pytest.mark.parametrize("base", [10, 11])
def test_a_part_of_a_segment_replaces_nothing(base: int) -> None:
    one = damaged()
    with pytest.raises(AssertionError, match="REPLACED_IS_WHOLE"):
        said(one, Replaced(Offset(base)))
    said(one, Looked())
    said(one, fetched(10, 25))
    with pytest.raises(AssertionError, match="REPLACED_IS_WHOLE"):
        said(one, Replaced(Offset(base)))
