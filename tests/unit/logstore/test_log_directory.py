"""A log directory: what each door costs, what waits for what, what is refused, what is found."""

import errno
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog, ReadPlan, ReadResult
from logstore.settings import GIB, KIB, Flush, LogSettings, PartitionSettings
from model.errors import DirectoryExit, DirectoryRefused, ErrorCode, RequestError, StorageFailed
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    Position,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

IDENTITY = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
SMALL = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=2,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=64 * KIB,
    index_interval_bytes=256,
    tail_bytes=0,
    reserve_bytes=0,
)
QUORUM = PartitionSettings(segment_bytes=4 * KIB)
ASYNC = PartitionSettings(segment_bytes=4 * KIB, flush=Flush.ASYNC, flush_ms=100)
NOW = MonotonicMs(0)
TIME = AppendTimeMs(1_700_000_000_000)


def pid(number: int) -> PartitionId:
    """Return a partition's id."""
    return PartitionId(TopicId(bytes(16)), number)


def opened(disk: SimDisk, settings: LogSettings = SMALL) -> Opened:
    """Open a directory."""
    return LogDirectory.open(
        disk, settings, rand=random.Random(1), now_wall=WallMs(0), identity=IDENTITY
    )


def append(log: PartitionLog, size: int = 10, time: int = TIME) -> Offset:
    """Append one record; return its offset."""
    batch = encode_batch([NewRecord(TIME, None, b"x" * size)])
    return log.append([batch], leader_epoch=LeaderEpoch(3), append_time=AppendTimeMs(time))


def commit(directory: LogDirectory, *, filing_may_wait: bool = False) -> bool:
    """Do one round; tell whether there was one."""
    work = directory.take_round(NOW, filing_may_wait=filing_may_wait)
    if work is None:
        return False
    directory.finish_round(directory.run_round(work))
    return True


def checkpoint(directory: LogDirectory, *, everything: bool = True) -> None:
    """Do one checkpoint."""
    job = directory.take_checkpoint(NOW, all=everything)
    if job is not None:
        directory.finish_checkpoint(directory.run_checkpoint(job))


def settle(directory: LogDirectory) -> None:
    """Do whatever is due, until nothing is pending."""
    for _ in range(50):
        while commit(directory):
            pass
        if not directory.has_pending():
            return
        assert directory.checkpoint_due(NOW)
        checkpoint(directory, everything=False)
    raise AssertionError("it never comes to rest")


def read(log: PartitionLog, offset: int = 0, size: int = 1 << 20) -> ReadResult:
    """Read, waiting if need be."""
    found = log.read(Offset(offset), size, end=log.log_end)
    return found.blocking() if isinstance(found, ReadPlan) else found


def operations(disk: SimDisk, act: Callable[[], object]) -> Counter[tuple[Operation, str]]:
    """Return what an action did to the disk: how often what, and below which folder."""
    done: Counter[tuple[Operation, str]] = Counter()
    disk.before = lambda operation, name, _: done.update([(operation, name.split("/")[0])])
    act()
    disk.before = None
    return done


# --- what a round costs


def test_a_round_is_one_write_and_one_sync_of_the_journal_however_many_partitions() -> None:
    disk = SimDisk()
    directory = opened(disk, replace(SMALL, journal_file_bytes=64 * KIB)).directory
    logs = [directory.create(pid(number), QUORUM) for number in range(100)]
    settle(directory)
    for log in logs:
        append(log)
    settle(directory)
    for log in logs:
        append(log)
    done = operations(disk, lambda: commit(directory))
    assert done == {(Operation.WRITE, "journal"): 1, (Operation.SYNC, "journal"): 1}
    assert all((log.flushed_end, log.filed_end) == (2, 1) for log in logs)


def test_async_partitions_leave_the_journal_alone_and_sync_nothing() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), ASYNC)
    settle(directory)
    checkpoint(directory)
    append(log)
    done = operations(disk, lambda: commit(directory))
    assert {what for what, _ in done} <= {Operation.OPEN, Operation.NAMES, Operation.WRITE}
    assert {where for _, where in done} == {"partitions"}
    assert (log.written_end, log.flushed_end) == (1, 0)
    assert not directory.checkpoint_due(MonotonicMs(99))
    assert directory.checkpoint_due(MonotonicMs(100))
    checkpoint(directory)
    assert log.flushed_end == 1


def test_a_round_that_nothing_is_in_is_none() -> None:
    directory = opened(SimDisk()).directory
    assert directory.take_round(NOW) is None
    assert directory.take_checkpoint(NOW) is None


def test_rounds_are_bounded_and_the_rest_goes_with_the_next() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 20))
    for number in range(20):
        append(log, 2 * KIB, TIME + 10 * number)
    assert commit(directory)
    assert 0 < log.flushed_end < 20
    settle(directory)
    assert log.flushed_end == 20


# --- what waits for what


def test_a_full_journal_is_back_pressure_and_a_checkpoint_ends_it() -> None:
    directory = opened(SimDisk()).directory
    logs = [directory.create(pid(number), QUORUM) for number in range(12)]
    for _ in range(8):
        for log in logs:
            append(log, KIB)
        while commit(directory):
            pass
    assert directory.has_pending()
    assert directory.checkpoint_due(NOW)
    settle(directory)
    assert all(log.flushed_end == 8 for log in logs)


def test_another_flush_mode_waits_for_the_checkpoint_of_what_was_written() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), ASYNC)
    settle(directory)
    append(log)
    settle(directory)
    log.configure(QUORUM)
    append(log)
    assert not commit(directory)
    assert (log.written_end, log.flushed_end) == (1, 0)
    checkpoint(directory, everything=False)
    assert log.flushed_end == 1
    assert commit(directory)
    assert log.flushed_end == 2


def test_a_large_run_waits_until_the_partition_has_a_row() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), QUORUM)
    append(log, 5 * KIB)
    assert commit(directory)  # the directory
    assert log.flushed_end == 0
    settle(directory)
    assert log.flushed_end == 1


def test_nothing_is_appended_between_a_truncation_and_its_round() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), QUORUM)
    for _ in range(3):
        append(log)
    settle(directory)
    log.truncate(Offset(1))
    assert (log.log_end, log.flushed_end) == (1, 1)
    with pytest.raises(AssertionError, match="LOG_CUT_BEFORE_APPEND"):
        append(log)
    settle(directory)
    assert append(log) == 1
    assert not commit(directory)  # not before a checkpoint reflects the cut
    settle(directory)
    assert read(log, 1).next_offset == 2


def test_a_partition_of_the_same_id_waits_until_the_one_before_is_gone() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), QUORUM), 50)
    settle(directory)
    directory.delete(pid(0))
    log = directory.create(pid(0), QUORUM)
    append(log, 60)
    assert commit(directory)
    assert log.flushed_end == 0
    settle(directory)
    assert log.flushed_end == 1
    disk.kill()
    (again,) = opened(disk).directory.partitions.values()
    assert (again.log_end, read(again).size_bytes) == (1, read(log).size_bytes)


def test_a_partition_deleted_before_anything_was_written_leaves_nothing() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    directory.create(pid(0), QUORUM)
    directory.delete(pid(0))
    settle(directory)
    assert disk.list("partitions") == []


# --- what fails


@pytest.mark.parametrize("step", ["round", "checkpoint"])
def test_a_failed_sync_takes_the_directory_offline_for_good(step: str) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), QUORUM)
    append(log)
    work = directory.take_round(NOW)
    assert work is not None

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no", "journal/00000001.wal")

    if step == "round":
        disk.before = fail
        with pytest.raises(StorageFailed, match="EIO"):
            directory.run_round(work)
    else:
        directory.finish_round(directory.run_round(work))
        job = directory.take_checkpoint(NOW, all=True)
        assert job is not None
        disk.before = fail
        with pytest.raises(StorageFailed, match="EIO"):
            directory.run_checkpoint(job)
    disk.before = None
    append(log)
    for again in (
        lambda: directory.take_round(NOW),
        lambda: directory.run_round(work),
        lambda: directory.take_checkpoint(NOW),
        lambda: directory.mark_clean(TIME),
    ):
        with pytest.raises(StorageFailed, match="EIO"):
            again()
    with pytest.raises(RequestError) as refused:
        directory.accepts(1)
    assert refused.value.code is ErrorCode.STORAGE_ERROR


def test_appends_are_refused_at_the_reserve_line_and_taken_again_behind_it() -> None:
    disk = SimDisk(capacity_bytes=100 * KIB)
    settings = LogSettings(
        journal_file_bytes=16 * KIB, reserve_bytes=GIB, reserve_percent=10
    )  # the lesser one counts: 10 KiB; and a second journal file is still to be made
    directory = opened(disk, settings).directory
    free = disk.free_bytes()
    directory.accepts(free - 26 * KIB)
    with pytest.raises(RequestError) as refused:
        directory.accepts(1)
    assert refused.value.code is ErrorCode.DISK_FULL
    assert refused.value.code.retryable
    directory.accepts(7 * KIB, into_reserve=True)  # all but the last fourth of it
    with pytest.raises(RequestError):
        directory.accepts(KIB, into_reserve=True)
    directory.poll_free(directory.mark_space())
    directory.accepts(1)


# --- what is found


def test_a_clean_stop_is_believed_once() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), QUORUM)
    append(log)
    settle(directory)
    with pytest.raises(AssertionError, match="CLEAN_MEANS_SAVED"):
        directory.mark_clean(TIME)
    checkpoint(directory)
    directory.mark_clean(AppendTimeMs(TIME + 500))
    disk.kill()
    second = opened(disk)
    assert second.clean
    assert second.clock_floor == TIME + 500
    assert second.directory.partitions[pid(0)].log_end == 1
    disk.kill()
    assert not opened(disk).clean


def test_a_reserved_clock_is_never_undercut() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    directory.reserve_clock(AppendTimeMs(TIME + 10_000))
    commit(directory)
    disk.power_cut(lambda pending: pending.nothing)
    assert opened(disk).clock_floor == TIME + 10_000


def test_a_directory_of_another_owner_is_refused() -> None:
    disk = SimDisk()
    opened(disk)
    disk.kill()
    other = IDENTITY._replace(node=NodeId(7))
    with pytest.raises(DirectoryRefused, match="belongs to node 0, not 7") as refused:
        LogDirectory.open(disk, SMALL, rand=random.Random(1), now_wall=WallMs(0), identity=other)
    assert refused.value.exit_code is DirectoryExit.FENCED


@pytest.mark.parametrize("name", ["checkpoint", "identity"])
def test_missing_metadata_is_not_an_empty_directory(name: str) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), QUORUM))
    settle(directory)
    disk.kill()
    disk.unlink(name)
    with pytest.raises(DirectoryRefused, match=f"{name} is missing") as refused:
        opened(disk)
    assert refused.value.exit_code is DirectoryExit.FAILED


def test_what_nobody_knows_is_left_alone_and_kept_aside_when_its_name_is_needed() -> None:
    disk = SimDisk()
    opened(disk)
    disk.kill()
    name = f"partitions/{bytes(16).hex()}-0"
    disk.make_directory(name)
    disk.open(f"{name}/00000000000000000000.log", create=True).pwrite([b"data"], Position(0))
    found = opened(disk)
    assert found.stray == (pid(0),)
    found.directory.create(pid(0), QUORUM)
    work = found.directory.take_round(NOW)
    assert work is not None
    result = found.directory.run_round(work)
    assert result.created == [pid(0)]
    (aside,) = result.set_aside
    assert disk.list(aside) == ["00000000000000000000.log"]


def test_batches_that_claim_many_records_begin_segments_of_their_own_also_all_at_once() -> None:
    """Offsets of a segment stay below 2**31, whatever a client says that it has sent."""
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), replace(QUORUM, segment_bytes=256 * KIB))
    append(log)
    claims = []
    for _ in range(4):
        batch = encode_batch([NewRecord(TIME, None, b"x" * 5_000)])
        batch[23:27] = (2**31 - 2).to_bytes(4, "big")
        claims.append(batch)
    offsets = log.append_plain(claims, LeaderEpoch(3), TIME)
    assert offsets == [1 + n * (2**31 - 1) for n in range(4)]
    assert [one.base_offset for one in log.segment_list] == [0, *offsets[1:]]
    assert all(one.end_offset - one.base_offset <= 2**31 for one in log.segment_list)
    assert log.log_end == 1 + 4 * (2**31 - 1)
