"""The judge judged: good and bad outcomes of one story."""

from collections.abc import Sequence

import pytest

from model.ids import AppendTimeMs, Offset, PartitionId, TopicId
from tests.crash.history import (
    Appended,
    Batch,
    ClockDurable,
    ClockStopped,
    Created,
    Deleted,
    Directory,
    Durable,
    Found,
    History,
    Registered,
    Removed,
    Reopened,
    TrimDurable,
    Trimmed,
    Truncated,
    Written,
)

P = PartitionId(TopicId(b"t" * 16), 0)
BEFORE = AppendTimeMs(0)


def batch(base: int, end: int, time: int = 10) -> Batch:
    return Batch(Offset(base), Offset(end), b"%d" % base, AppendTimeMs(time))


A, B, C, D = batch(0, 2), batch(2, 3), batch(3, 7), batch(7, 8)
STORY: list[object] = [
    Created(P),
    Appended(P, (A,)),
    Durable(P, 1),
    Appended(P, (B, C)),
    Appended(P, (D,)),
]


def found(*batches: Batch, start: int = 0) -> Found:
    return Found(Offset(start), batches[-1].end if batches else Offset(0), batches)


def wrong(story: Sequence[object], state: Found | None, clock: int = 0) -> list[str]:
    partitions = {} if state is None else {P: state}
    return list(History(story).violations(partitions, Directory(AppendTimeMs(clock))))


@pytest.mark.parametrize("state", [found(A), found(A, B), found(A, B, C), found(A, B, C, D)])
def test_a_first_part_with_all_that_is_durable_is_right(state: Found) -> None:
    assert wrong([*STORY], state) == []


@pytest.mark.parametrize(
    "state",
    [
        None,
        found(),
        found(A, C),
        found(A, B, D),
        found(A, B._replace(data=b"?")),
        found(A, B._replace(append_time=AppendTimeMs(20))),
        found(A, B, C, D, batch(8, 9)),
        found(A, start=1),
        found(A)._replace(log_end=Offset(3)),
    ],
)
def test_anything_else_is_wrong(state: Found | None) -> None:
    assert len(wrong([*STORY], state)) == 1


def test_a_round_makes_durable_what_it_took() -> None:
    story = [*STORY, Durable(P, 2)]
    assert wrong(story, found(A, B, C)) == []
    assert wrong(story, found(A, B, C, D)) == []
    assert wrong(story, found(A, B))


def test_a_kill_takes_nothing_that_was_written_and_a_power_cut_may() -> None:
    story = [*STORY, Written(P, 2)]
    for state, lost in ((found(A, B, C, D), False), (found(A, B, C), False), (found(A), True)):
        of_kill = History(story, killed=True).violations({P: state}, Directory(BEFORE))
        assert bool(list(of_kill)) == lost
        assert wrong(story, state) == []


def test_a_truncation_is_done_or_not_and_stays_done() -> None:
    story = [*STORY, Durable(P, 3), Truncated(P, Offset(3))]
    assert wrong(story, found(A, B, C, D)) == []
    assert wrong(story, found(A, B)) == []
    assert wrong(story, found(A, B, C))
    assert wrong([*story, Durable(P, 4)], found(A, B, C, D))
    other = batch(3, 4, time=20)
    assert wrong([*story, Appended(P, (other,))], found(A, B, other)) == []


def test_a_log_start_moves_once_asked_for_and_never_back() -> None:
    story = [*STORY, Durable(P, 3), Trimmed(P, Offset(3))]
    assert wrong(story, found(A, B, C, D)) == []
    assert wrong(story, found(C, D, start=3)) == []
    assert wrong(story, found(B, C, D, start=2))
    story.append(TrimDurable(P, Offset(3)))
    assert wrong(story, found(A, B, C, D))
    assert wrong(story, found(C, D, start=3)) == []


def test_a_deletion_is_done_or_not_and_stays_done() -> None:
    story = [*STORY, Durable(P, 3), Deleted(P)]
    assert wrong(story, None) == []
    assert wrong(story, found(A, B, C, D)) == []
    assert wrong(story, found(A))
    assert wrong([*story, Durable(P, 4)], None) == []
    assert wrong([*story, Durable(P, 4)], found(A, B, C, D))


def test_strangers_and_a_falling_clock_are_wrong() -> None:
    assert wrong([], found())
    assert wrong([ClockDurable(AppendTimeMs(50))], None, clock=40)
    assert wrong([ClockDurable(AppendTimeMs(50))], None, clock=50) == []
    stopped = [ClockDurable(AppendTimeMs(50)), ClockStopped(AppendTimeMs(45))]
    assert wrong(stopped, None, clock=44)
    assert wrong(stopped, None, clock=45) == []


def test_what_a_start_has_found_stays_and_nothing_else_comes_back() -> None:
    story = [*STORY, Reopened({P: found(A, B)})]
    assert wrong(story, found(A, B)) == []
    assert wrong(story, found(A))
    assert wrong(story, found(A, B, C))
    assert wrong(story, None)


def test_damage_is_wrong_where_only_the_power_went() -> None:
    assert wrong([*STORY], found(A)._replace(damage=("a row was made up",)))
    now = Directory(BEFORE, repaired=("a segment is missing",))
    assert list(History([]).violations({}, now))


def test_files_of_a_removed_partition_and_an_old_registration_are_wrong() -> None:
    story = [*STORY, Durable(P, 3), Deleted(P), Durable(P, 4)]
    stray = Directory(BEFORE, frozenset({P}))
    assert list(History(story).violations({}, stray)) == []
    assert list(History([*story, Removed(P)]).violations({}, stray))
    assert list(History([Registered(4)]).violations({}, Directory(BEFORE, registration_epoch=3)))
    assert not list(
        History([Registered(4)]).violations({}, Directory(BEFORE, registration_epoch=4))
    )
