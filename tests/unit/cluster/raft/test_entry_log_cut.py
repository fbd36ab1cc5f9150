"""The log's tail goes when another leader overrules it: durably, without a gap, crash or not."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.raft.entry import Entry
from cluster.raft.entry_log import DIRECTORY, EntryLog
from cluster.raft.log_file import name_of
from model.ids import Index, Term
from tests.raft_solo import entry

NOTHING = (Index(0), Term(0))


class PowerGoneError(BaseException):
    """The power goes before an operation."""


def made(on: SimDisk, *terms: int, file_bytes_max: int = 100) -> EntryLog:
    """Return a log on a fresh disk, two entries a file, each entry a round."""
    on.make_directory(DIRECTORY)
    on.sync_directory("")
    log = reopened(on, file_bytes_max=file_bytes_max)
    for index, term in enumerate(terms, 1):
        log.append([entry(index, term)])
    return log


def reopened(
    on: SimDisk, *, after: tuple[int, int] = (0, 0), file_bytes_max: int = 100
) -> EntryLog:
    place = (Index(after[0]), Term(after[1]))
    return EntryLog.open(on, Random(1), after=place, file_bytes_max=file_bytes_max)[0]


def held(log: EntryLog) -> list[tuple[int, int]]:
    entries: list[Entry] = log.read(log.first_index, Index(log.last_index + 1))
    return [(one.index, one.term) for one in entries]


def cut_short(on: SimDisk, operations: int, happen: Callable[[], None], *, choose: Random) -> bool:
    """Let something happen, and the power go after so many operations; False: it came to its end.

    Some of what was not synced is left.
    """
    left = operations

    def count(_operation: Operation, _name: str, _size: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerGoneError

    on.before = count
    try:
        happen()
        came_to_its_end = True
    except PowerGoneError:
        came_to_its_end = False
    on.before = None
    on.power_cut(lambda pending: pending.some(choose))
    return came_to_its_end


@pytest.mark.parametrize("start", range(1, 8))
def test_what_is_cut_off_is_gone_at_once_and_the_log_goes_on(start: int) -> None:
    on = SimDisk()
    log = made(on, 1, 1, 1, 2, 2, 2, 2)
    before = held(log)
    log.cut(Index(start))
    assert held(log) == before[: start - 1]
    assert (log.last_index, log.last_term) == (NOTHING if start == 1 else before[start - 2])
    on.power_cut(lambda pending: pending.nothing)
    assert held(reopened(on)) == before[: start - 1]


@pytest.mark.parametrize("start", range(1, 8))
def test_other_entries_take_the_place(start: int) -> None:
    on = SimDisk()
    log = made(on, 1, 1, 1, 2, 2, 2, 2)
    before = held(log)
    log.cut(Index(start))
    log.append([entry(start, 3), entry(start + 1, 3)])
    after = [*before[: start - 1], (start, 3), (start + 1, 3)]
    assert held(log) == after
    on.power_cut(lambda pending: pending.nothing)
    assert held(reopened(on)) == after


def test_the_first_file_after_a_front_that_was_dropped_may_go_too() -> None:
    on = SimDisk()
    log = made(on, 1, 1, 1, 2, 2)
    log.discard(Index(2))
    log.cut(Index(3))
    assert (log.first_index, log.last_index, log.last_term) == (3, 2, 1)
    log.append([entry(3, 5)])
    assert held(reopened(on, after=(2, 1))) == [(3, 5)]


@pytest.mark.parametrize("file_bytes_max", [100, 1 << 20])
def test_a_crash_at_any_moment_leaves_a_first_part_of_the_log(file_bytes_max: int) -> None:
    for seed in range(40):
        choose = Random(seed)
        for operations in range(30):
            on = SimDisk()
            log = made(on, 1, 1, 1, 2, 2, 2, 2, file_bytes_max=file_bytes_max)
            before = held(log)
            start = Index(1 + choose.randrange(7))
            ended = cut_short(on, operations, partial(log.cut, start), choose=choose)
            after = held(reopened(on, file_bytes_max=file_bytes_max))
            assert after == before[: len(after)]
            assert len(after) >= start - 1
            if ended:
                assert len(after) == start - 1
                break
        else:
            raise AssertionError("no cut comes to its end")


def test_a_torn_write_behind_a_cut_is_no_rot() -> None:
    """What was cut off claims that what stood before it was durable: it must be gone by now."""
    for seed in range(200):
        choose = Random(seed)
        on = SimDisk()
        log = made(on, 1, 1, 1, 1, 1, 1, file_bytes_max=1 << 20)
        log.cut(Index(2))
        new = [entry(2, 2, b"n" * (1 + choose.randrange(900))), entry(3, 2)]
        ended = cut_short(on, 1 + choose.randrange(2), partial(log.append, new), choose=choose)
        after = held(reopened(on, file_bytes_max=1 << 20))
        assert after == [(1, 1), (2, 2), (3, 2)][: len(after)]
        assert len(after) >= (3 if ended else 1)


@pytest.mark.parametrize("snapshot", [(3, 9), (4, 9), (6, 9), (7, 9), (9, 9)])
def test_a_leaders_snapshot_ends_the_log_whatever_is_left_of_it(snapshot: tuple[int, int]) -> None:
    """The snapshot is durable first; the entries that it overrules never come behind it."""
    index, term = snapshot
    place = (Index(index), Term(term))
    for seed in range(20):
        for operations in range(30):
            on = SimDisk()
            log = made(on, 1, 1, 1, 2, 2, 2, 2)
            choose = Random(seed)
            ended = cut_short(on, operations, partial(log.begin_anew, place), choose=choose)
            again = reopened(on, after=snapshot)
            assert (held(again), again.last_index) == ([], index)
            again.append([entry(again.last_index + 1, 9)])
            on.power_cut(lambda pending: pending.nothing)
            assert held(reopened(on, after=snapshot))[-1] == (again.last_index, 9)
            if ended:
                break


def test_what_a_snapshot_overrules_is_reported() -> None:
    on = SimDisk()
    made(on, 1, 1, 1)
    _, dropped = EntryLog.open(on, Random(1), after=(Index(2), Term(5)), file_bytes_max=100)
    assert [one.why for one in dropped] == [
        "entries that the snapshot of 2 in term 5 has overruled"
    ]
    assert dropped[0].file == name_of(Index(3))


def test_only_what_is_there_is_cut_and_nothing_after_a_failure() -> None:
    on = SimDisk()
    log = made(on, 1, 1, 1)
    for start in (0, 4):
        with pytest.raises(AssertionError, match="RAFT_CUT_IS_IN_THE_LOG"):
            log.cut(Index(start))
    on.faults.add(Fault(Operation.SYNC, DIRECTORY))
    with pytest.raises(OSError, match=r"EIO|error"):
        log.cut(Index(2))
    with pytest.raises(AssertionError, match="RAFT_FAILED_IS_FINAL"):
        log.cut(Index(2))
    with pytest.raises(AssertionError, match="RAFT_FAILED_IS_FINAL"):
        log.begin_anew(NOTHING)
