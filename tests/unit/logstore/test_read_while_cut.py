"""What was about to be read when a log is cut: gone, and no damage; what stays is read as before.

The writer cuts a file before the loop hears of it. So each test stands between the two.
"""

from collections.abc import Callable
from functools import partial

import pytest

from api.sim.disk import SimDisk
from cluster.shell.replica_read import FileRead, read_batches
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import LOG
from logstore.scrub import SegmentScrub
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.unit.logstore.test_log_directory import NOW, SMALL, TIME, opened
from tests.unit.logstore.test_scrub import RECORDS, closed, name

KEPT = [0, 1, RECORDS - 1]


def begun() -> tuple[SimDisk, LogDirectory, PartitionLog]:
    """Return a log that was opened again: nothing of its one closed segment is in memory."""
    disk = SimDisk()
    _, log = closed(disk)
    disk.kill()
    directory = opened(disk, SMALL).directory
    return disk, directory, directory.partitions[log.id]


def cut_file(directory: LogDirectory, log: PartitionLog, kept: int) -> None:
    """Cut a log down to so many records, on the disk alone."""
    log.truncate(Offset(kept))
    work = directory.take_round(NOW)
    assert work is not None
    assert log.cutting
    directory.run_round(work)


def planned(log: PartitionLog, offset: int) -> ReadPlan:
    """Plan to read one record."""
    plan = log.read(Offset(offset), 1, end=log.log_end)
    assert isinstance(plan, ReadPlan)
    return plan


def see_it_gone(read: Callable[[], object]) -> None:
    """See that a reader is told so, and of no damage."""
    with pytest.raises(RequestError) as refused:
        read()
    assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("kept", KEPT)
def test_what_is_cut_off_is_gone_for_who_was_about_to_read_it(kept: int) -> None:
    _, directory, log = begun()
    segment = log.segment_list[0]
    plan = planned(log, RECORDS - 1)
    cut_file(directory, log, kept)
    see_it_gone(plan.blocking)
    assert not segment.damage


def test_so_it_is_where_no_disk_is_waited_for() -> None:
    _, directory, log = begun()
    segment = log.segment_list[0]
    plan = planned(log, RECORDS - 1)
    planned(log, 0).blocking()
    segment.adopt()
    cut_file(directory, log, 1)
    see_it_gone(plan.now)
    assert not segment.damage


def test_what_stays_is_read_before_and_behind_the_cut() -> None:
    _, directory, log = begun()
    plans = [planned(log, 0)]
    cut_file(directory, log, 1)
    plans.append(planned(log, 0))
    for plan in plans:
        found = plan.blocking()
        assert (found.first_offset, found.next_offset) == (0, 1)
    assert not log.segment_list[0].damage


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kept", [1, RECORDS - 1])
def test_append_times_of_what_is_cut_off_are_not_made_up(kept: int, before: bool) -> None:
    """Whoever reads the rows of a file that is cut knows it as longer."""
    _, directory, log = begun()
    segment = log.segment_list[0]
    read = read_batches(log, Offset(0), 1) if before else None
    log.truncate(Offset(kept))
    read = read or read_batches(log, Offset(0), 1)
    assert isinstance(read, FileRead)
    work = directory.take_round(NOW)
    assert work is not None
    done = directory.run_round(work)
    found = read.job()
    see_it_gone(partial(read.sent, found, guesses=False))
    directory.finish_round(done)
    again = read_batches(log, Offset(0), 1)
    sent = again.sent(again.job(), guesses=False) if isinstance(again, FileRead) else again
    assert [one.append_time for one in sent.batches] == [TIME]
    assert not segment.damage


def test_a_view_from_between_is_never_current() -> None:
    _, directory, log = begun()
    log.truncate(Offset(1))
    work = directory.take_round(NOW)
    assert work is not None
    view = log.segments()[0]
    directory.finish_round(directory.run_round(work))
    assert not view.is_current
    assert log.segments()[0].is_current


def test_what_is_lost_although_nobody_cuts_it_is_damage() -> None:
    """The refusal above is for what is cut, and for nothing else."""
    disk, directory, log = begun()
    cut_file(directory, log, RECORDS - 1)
    plan = planned(log, 0)
    disk.open(name(LOG)).truncate(0)
    with pytest.raises(RequestError) as refused:
        plan.blocking()
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert log.segment_list[0].damage


@pytest.mark.parametrize("kept", KEPT[1:])
def test_a_search_is_given_less_and_looks_again(kept: int) -> None:
    _, directory, log = begun()
    view = log.segments()[0]
    end = Position(view.size_bytes)
    assert len(view.block(Position(0), end)) == end
    cut_file(directory, log, kept)
    assert not view.is_current
    assert len(view.block(Position(0), end)) < end
    assert not view.live.damage


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("kept", KEPT)
def test_a_scrub_ends_and_finds_nothing(kept: int, steps: int) -> None:
    disk, directory, log = begun()
    segment = log.segment_list[0]
    scrub = SegmentScrub(
        disk, segment, interval_bytes=log.index_interval_bytes, epochs=log.leader_epochs
    )
    for _ in range(steps):
        assert not scrub.step().ended
    cut_file(directory, log, kept)
    found = scrub.step()
    assert (found.findings, found.ended) == ((), True)
