"""P48: a journal file is made only where there is room for it, and appends leave that room."""

import errno
from dataclasses import replace
from itertools import pairwise

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from logstore.checkpoint_planner import SPARE_AGAIN_MS
from logstore.free_space import FreeSpace, Mark
from logstore.journal import LEAST_FILES
from logstore.log_directory import LogDirectory
from logstore.paths import JOURNAL
from logstore.settings import GIB, KIB, PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, Position
from tests.unit.logstore.test_log_directory import (
    NOW,
    SMALL,
    append,
    checkpoint,
    commit,
    opened,
    pid,
    read,
    settle,
)

JOURNAL_FILE = 64 * KIB
SETTINGS = replace(
    SMALL,
    journal_file_bytes=JOURNAL_FILE,
    journal_files_max=8,
    checkpoint_bytes=48 * KIB,
    reserve_bytes=GIB,
    reserve_percent=5,
)
RECORD = 4 * KIB


def fill(directory: LogDirectory) -> int:
    """Append until the disk is said to be full; return how many records were taken."""
    log = directory.partitions[pid(0)]
    for number in range(1_000):
        try:
            directory.accepts(RECORD)
        except RequestError as refused:
            assert refused.code is ErrorCode.DISK_FULL
            return number
        append(log, RECORD - 100)
        settle(directory)
        if directory.checkpoint_due(NOW):
            checkpoint(directory, everything=False)
        directory.poll_free(directory.mark_space())
    raise AssertionError("the disk is never full")


@pytest.mark.parametrize("more", range(0, 64, 9))
@pytest.mark.parametrize("files", [2, 3, 5, 9])
def test_a_disk_fills_up_to_its_reserve_and_the_directory_lives(files: int, more: int) -> None:
    """The reserve is less than one journal file, wherever the line is met."""
    disk = SimDisk(capacity_bytes=files * JOURNAL_FILE + more * KIB)
    directory = opened(disk, SETTINGS).directory
    directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    settle(directory)
    checkpoint(directory)
    taken = fill(directory)
    assert disk.free_bytes() >= disk.total_bytes() // 20
    settle(directory)
    checkpoint(directory)
    for offset in range(taken):
        assert read(directory.partitions[pid(0)], offset, 1).next_offset == offset + 1
    directory.create(pid(1), PartitionSettings())
    settle(directory)
    disk.kill()
    assert opened(disk, SETTINGS).directory.partitions[pid(0)].log_end == taken


@pytest.mark.parametrize(("room", "makes"), [(JOURNAL_FILE - 1, False), (JOURNAL_FILE, True)])
def test_further_files_are_made_above_the_reserve_alone(room: int, makes: bool) -> None:
    settings = replace(SETTINGS, checkpoint_bytes=1 << 30)  # nothing is freed meanwhile
    disk = SimDisk(capacity_bytes=40 * JOURNAL_FILE)
    directory = opened(disk, settings).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    while len(disk.list(JOURNAL)) < LEAST_FILES or not directory.checkpoint_due(NOW):
        append(log, RECORD - 100)
        settle(directory)
        if len(disk.list(JOURNAL)) < LEAST_FILES and directory.checkpoint_due(NOW):
            checkpoint(directory, everything=False)
    others = disk.open("others", create=True)
    reserve = disk.total_bytes() // 20
    others.pwrite([bytes(disk.free_bytes() - reserve - room)], Position(0))
    directory.poll_free(directory.mark_space())
    assert directory.checkpoint_due(NOW) == makes
    checkpoint(directory, everything=False)
    assert len(disk.list(JOURNAL)) == LEAST_FILES + makes


def test_a_full_journal_waits_for_room_that_others_took_and_goes_on() -> None:
    disk = SimDisk()
    directory = opened(disk, SETTINGS).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    settle(directory)
    checkpoint(directory)
    capacity = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 100 * KIB  # for what one journal file holds
    directory.poll_free(directory.mark_space())
    for _ in range(JOURNAL_FILE // RECORD):
        append(log, RECORD - 100)
        while commit(directory):
            pass
    directory.poll_free(directory.mark_space())
    for _ in range(50):
        if not directory.checkpoint_due(NOW):
            break
        checkpoint(directory, everything=False)
        while commit(directory):
            pass
    assert directory.has_pending()
    assert not directory.checkpoint_due(NOW), "one checkpoint after the other, and none helps"
    disk.capacity_bytes = capacity
    directory.poll_free(directory.mark_space())
    settle(directory)
    assert log.flushed_end == log.log_end


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.NAMES, Operation.SYNC])
def test_room_that_is_not_there_after_all_ends_no_node(operation: Operation, number: int) -> None:
    """A quota, or somebody else, was faster than the look at the free space."""
    disk = SimDisk()
    directory = opened(disk, SETTINGS).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    settle(directory)
    checkpoint(directory)
    second = f"{JOURNAL}/00000002.wal"
    disk.faults.add(Fault(operation, second, number))
    while not directory.checkpoint_due(NOW):
        append(log, RECORD)
        settle(directory)
    checkpoint(directory, everything=False)
    assert second not in disk.platter.image().files
    assert len(disk.list(JOURNAL)) == LEAST_FILES - 1
    assert not directory.checkpoint_due(NOW), "not at once again"
    later = MonotonicMs(NOW + SPARE_AGAIN_MS)
    job = directory.take_checkpoint(later)
    assert job is not None
    directory.finish_checkpoint(directory.run_checkpoint(job))
    assert len(disk.list(JOURNAL)) == LEAST_FILES


def test_a_file_for_which_there_is_no_room_is_tried_less_and_less_often() -> None:
    """But often enough for all to go on within 30 s of when there is room (P48)."""
    disk = SimDisk()
    directory = opened(disk, SETTINGS).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    settle(directory)
    checkpoint(directory)
    disk.faults.add(Fault(Operation.WRITE, f"{JOURNAL}/00000002.wal", errno.EDQUOT, times=None))
    while not directory.checkpoint_due(NOW):
        append(log, RECORD)
        settle(directory)
    tried = [second for second in range(120) if made(directory, NOW + second * 1_000)]
    waits = [later - earlier for earlier, later in pairwise(tried)]
    assert waits == [1, 2, 4, 8, *[16] * 6]
    assert disk.faults.struck == len(tried)


def made(directory: LogDirectory, now: int) -> bool:
    """Make the checkpoint that is due, if one is; tell whether a journal file was wanted."""
    if not directory.checkpoint_due(MonotonicMs(now)):
        return False
    job = directory.take_checkpoint(MonotonicMs(now))
    assert job is not None
    directory.finish_checkpoint(directory.run_checkpoint(job))
    assert not directory.checkpoint_due(MonotonicMs(now)), "not at once again"
    return job.spare is not None


def test_a_look_at_the_disk_forgets_nothing_that_is_not_written_yet() -> None:
    """Accepted, in a round, put off: none of it takes room in the files before it is filed."""
    disk = SimDisk(capacity_bytes=40 * JOURNAL_FILE)
    directory = opened(disk, SETTINGS).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    settle(directory)
    checkpoint(directory)
    free = free_of(directory)
    for _ in range(4):
        append(log, RECORD - 100)
    assert free_of(directory) <= free - 4 * (RECORD - 100)
    work = directory.take_round(NOW, filing_may_wait=True)
    assert work is not None
    append(log, RECORD - 100)
    assert free_of(directory) <= free - 5 * (RECORD - 100)
    directory.finish_round(directory.run_round(work))
    least = free_of(directory)
    assert least <= free - 5 * (RECORD - 100)
    mark = directory.mark_space()
    directory.accepts(RECORD)  # while the look is under way
    directory.poll_free(mark)
    directory.accepts(least - RECORD - kept(disk))
    with pytest.raises(RequestError):
        directory.accepts(1)
    settle(directory)
    assert directory.mark_space().unwritten_bytes == 0


def test_a_look_at_the_disk_forgets_no_room_that_is_claimed() -> None:
    disk = SimDisk(capacity_bytes=40 * JOURNAL_FILE)
    directory = opened(disk, SETTINGS).directory
    free = free_of(directory)
    claim = directory.claim(JOURNAL_FILE)
    assert free_of(directory) == free - JOURNAL_FILE
    file = disk.open("claimed", create=True)
    file.pwrite([bytes(KIB)], Position(0))
    claim.written(KIB)
    assert free_of(directory) == free - JOURNAL_FILE
    with pytest.raises(RequestError) as refused:
        directory.claim(free - JOURNAL_FILE - kept(disk) + 1)
    assert refused.value.code is ErrorCode.DISK_FULL
    assert free_of(directory) == free - JOURNAL_FILE, "what was refused is not claimed"
    claim.give_back()
    assert free_of(directory) == free - KIB


class Interrupted(FreeSpace):
    """Looks at the disk, once, right behind the first thing that an append changes."""

    armed: Mark | None = None

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name != "armed" and self.armed is not None:
            mark, self.armed = self.armed, None
            self.poll(mark)


def test_a_look_in_the_middle_of_an_append_does_not_forget_it() -> None:
    disk = SimDisk(capacity_bytes=40 * JOURNAL_FILE)
    space = Interrupted(disk, SETTINGS)
    space.poll(space.mark(0))
    before = space._free
    space.armed = space.mark(0)
    space.accepts(RECORD, journal_bytes=0)
    assert space.armed is None
    assert space._free <= before - RECORD


def kept(disk: SimDisk) -> int:
    """Return what is out of bounds: the reserve, and the journal's second file."""
    return disk.total_bytes() // 20 + JOURNAL_FILE


def free_of(directory: LogDirectory) -> int:
    """Return how much is free as a look at the disk says it now."""
    directory.poll_free(directory.mark_space())
    return directory._free._free
