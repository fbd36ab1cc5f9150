"""Between the acknowledgement of a round and the writing of its files: nobody sees a difference."""

import random
import weakref
from collections import Counter
from collections.abc import Callable

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from logstore import round_planner
from logstore.batch import encode_batch
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, Offset, PartitionId, TopicId
from model.record import NewRecord
from tests.directory_model import IDENTITY, START, read_all

SETTINGS = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=64 * KIB,
    tail_bytes=0,
    reserve_bytes=0,
)
NOW = MonotonicMs(0)
QUORUM = PartitionSettings()


def opened(disk: SimDisk, settings: LogSettings = SETTINGS) -> LogDirectory:
    return LogDirectory.open(
        disk, settings, rand=random.Random(1), now_wall=START, identity=IDENTITY
    ).directory


def partition(number: int) -> PartitionId:
    return PartitionId(TopicId(bytes(15) + b"\7"), number)


class Watched(bytearray):
    """Bytes of which can be told when nobody holds them any more."""


class Node:
    """A directory whose partitions exist already, and what was done to its disk."""

    def __init__(self, partitions: int = 1, settings: PartitionSettings = QUORUM) -> None:
        self.disk = SimDisk()
        self.directory = opened(self.disk)
        self.tick = 0
        self.logs = [self.directory.create(partition(n), settings) for n in range(partitions)]
        self.file()
        self.checkpoint()

    def append(self, log: PartitionLog, size: int = 20) -> None:
        self.tick += 10
        batch = encode_batch([NewRecord(START, None, bytes([self.tick // 10 % 256]) * size)])
        time = AppendTimeMs(START + self.tick)
        log.append([batch], leader_epoch=LeaderEpoch(1), append_time=time)

    def watched(self, log: PartitionLog, *, size: int) -> "weakref.ref[bytearray]":
        """Append a record; return what tells whether its bytes are still held."""
        self.append(log, size)
        run = log.pending[-1]
        (batch,) = run.buffers
        run.buffers[0] = watched = Watched(batch)
        return weakref.ref(watched)

    def round(self, *, filing_may_wait: bool) -> bool:
        """Do one round; tell whether there was one."""
        work = self.directory.take_round(NOW, filing_may_wait=filing_may_wait)
        if work is not None:
            self.directory.finish_round(self.directory.run_round(work))
        return work is not None

    def commit(self, *logs: PartitionLog) -> None:
        """Append a record to each and have them acknowledged, not filed."""
        for log in logs:
            self.append(log)
        assert self.round(filing_may_wait=True)
        assert all(log.flushed_end == log.log_end > log.filed_end for log in logs)

    def file(self) -> None:
        """Do what there is to do, and file all of it."""
        while self.round(filing_may_wait=False):
            pass

    def checkpoint(self) -> None:
        job = self.directory.take_checkpoint(NOW, all=True)
        assert job is not None
        self.directory.finish_checkpoint(self.directory.run_checkpoint(job))

    def doing(self, act: Callable[[], object]) -> Counter[tuple[Operation, str]]:
        """Return how often an action did what, and below which folder."""
        done: Counter[tuple[Operation, str]] = Counter()
        self.disk.before = lambda operation, name, _: done.update([(operation, name.split("/")[0])])
        act()
        self.disk.before = None
        return done

    def crashed(self) -> LogDirectory:
        """Return the directory as it is after a power cut that leaves only what was synced."""
        self.disk.power_cut(lambda pending: pending.nothing)
        return opened(self.disk)


def test_several_rounds_of_a_partition_are_filed_with_one_write_and_no_sync() -> None:
    node = Node(partitions=3)
    for _ in range(4):
        node.commit(*node.logs)
    assert not node.round(filing_may_wait=True)
    done = node.doing(lambda: node.round(filing_may_wait=False))
    assert done[Operation.WRITE, "partitions"] == 3
    assert {folder for _, folder in done} == {"partitions"}
    assert (Operation.SYNC, "partitions") not in done
    assert all(log.filed_end == log.log_end for log in node.logs)
    assert not node.directory.has_pending()


def test_a_reader_gets_what_is_acknowledged_before_and_after_it_is_filed() -> None:
    node = Node()
    (log,) = node.logs
    for _ in range(3):
        node.commit(log)
    before = read_all(log)
    assert [batch.base for batch in before] == [0, 1, 2]
    node.file()
    assert log.tail.start == log.log_end  # it comes from the file now
    assert read_all(log) == before


def test_runs_of_several_segments_are_filed_each_to_its_own() -> None:
    node = Node(settings=PartitionSettings(segment_bytes=200))
    (log,) = node.logs
    for _ in range(5):
        node.append(log)
        assert node.round(filing_may_wait=True)
    before = read_all(log)
    assert len(log.segment_list) > 2
    node.file()
    assert read_all(log) == before
    found = node.crashed()
    assert read_all(found.partitions[log.id]) == before


@pytest.mark.parametrize("checkpoint", [False, True], ids=["", "behind a checkpoint"])
def test_a_power_cut_before_filing_loses_nothing_acknowledged(checkpoint: bool) -> None:
    node = Node(partitions=2)
    early, late = node.logs
    for _ in range(3):
        node.commit(early)
    node.file()
    node.commit(early, late)
    if checkpoint:
        node.checkpoint()
    node.commit(early)
    before = {log.id: read_all(log) for log in node.logs}
    found = node.crashed()
    assert {log.id: read_all(log) for log in found.partitions.values()} == before


def test_a_checkpoint_keeps_the_journal_of_what_is_not_filed() -> None:
    node = Node(partitions=2)
    quiet, busy = node.logs
    node.commit(quiet)
    before = read_all(quiet)
    first = quiet.carriage.unfiled_entry
    assert first is not None
    for _ in range(60):  # more than two journal files, if they were freed
        busy.append(
            [encode_batch([NewRecord(START, None, b"x" * 400)])],
            leader_epoch=LeaderEpoch(1),
            append_time=AppendTimeMs(START + node.tick),
        )
        work = node.directory.take_round(NOW, filing_may_wait=True)
        if work is None or work.filing:
            break
        node.directory.finish_round(node.directory.run_round(work))
        job = node.directory.take_checkpoint(NOW, all=True)
        assert job is not None
        assert job.covered <= first
        node.directory.finish_checkpoint(node.directory.run_checkpoint(job))
    assert read_all(node.crashed().partitions[quiet.id]) == before


def test_a_full_journal_is_reason_enough_to_file() -> None:
    node = Node()
    (log,) = node.logs
    for _ in range(300):
        node.append(log, 300)
        while node.round(filing_may_wait=True):
            pass
        if node.directory.checkpoint_due(NOW):
            node.checkpoint()
    while node.round(filing_may_wait=True):
        pass
    assert log.written_end == log.log_end == 300


def test_what_waits_for_a_checkpoint_has_the_rest_filed_first() -> None:
    node = Node()
    (log,) = node.logs
    node.commit(log)
    log.configure(PartitionSettings(flush=Flush.ASYNC))
    node.append(log)
    assert node.round(filing_may_wait=True)
    assert log.filed_end == 1
    assert not node.round(filing_may_wait=True)
    node.checkpoint()
    assert node.round(filing_may_wait=True)
    assert (log.written_end, log.flushed_end) == (2, 1)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_truncation_cuts_what_was_not_filed_as_well(kept: int) -> None:
    node = Node()
    (log,) = node.logs
    node.commit(log)
    node.file()
    for _ in range(3):
        node.commit(log)
    node.checkpoint()
    before = read_all(log)
    log.truncate(Offset(kept))
    assert node.round(filing_may_wait=True)
    assert log.cut is None
    assert log.filed_end == log.log_end == kept
    assert read_all(log) == before[:kept]
    node.checkpoint()
    node.commit(log)
    after = read_all(log)
    assert after[:kept] == before[:kept]
    assert read_all(node.crashed().partitions[log.id]) == after


def test_a_deleted_partition_is_not_filed_any_more() -> None:
    node = Node(partitions=2)
    gone, kept = node.logs
    node.commit(gone, kept)
    node.directory.delete(gone.id)
    done = node.doing(lambda: node.round(filing_may_wait=True))
    assert (Operation.WRITE, "partitions") not in done
    node.checkpoint()
    node.file()
    assert not node.disk.list("partitions") or gone.directory_name not in [
        f"partitions/{name}" for name in node.disk.list("partitions")
    ]
    assert read_all(node.crashed().partitions[kept.id]) == read_all(kept)


def test_a_trim_above_what_is_filed_is_durable_with_its_checkpoint() -> None:
    node = Node()
    (log,) = node.logs
    for _ in range(4):
        node.commit(log)
    log.trim(Offset(3))
    node.checkpoint()
    found = node.crashed().partitions[log.id]
    assert (found.log_start, found.log_end) == (3, 4)
    assert read_all(found) == read_all(log)


def test_a_direct_run_follows_what_was_put_off_before_it() -> None:
    node = Node()
    (log,) = node.logs
    node.commit(log)
    node.append(log, 5_000)
    done = node.doing(lambda: node.round(filing_may_wait=True))
    assert done[Operation.WRITE, "partitions"] == 2
    assert log.filed_end == log.flushed_end == 2
    node.commit(log)
    before = read_all(log)
    node.checkpoint()
    assert read_all(node.crashed().partitions[log.id]) == before


def test_filing_takes_turns_with_committing_and_comes_to_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(round_planner, "FILING_PARTITIONS", 2)
    node = Node(partitions=5)
    node.commit(*node.logs)
    for filed in (2, 4, 5):
        node.append(node.logs[0])  # somebody always writes
        assert node.round(filing_may_wait=False)
        assert sum(log.filed_end > 0 for log in node.logs) == filed
        assert node.round(filing_may_wait=False)
        assert node.logs[0].flushed_end == node.logs[0].log_end


def test_nothing_is_committed_while_too_much_is_not_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_planner, "UNFILED_BYTES_MAX", 200)
    monkeypatch.setattr(round_planner, "UNFILED_BYTES_WORTH", 1 << 30)
    node = Node(partitions=2)
    one, other = node.logs
    node.commit(one)
    node.commit(one)
    node.commit(one)
    node.append(other)
    assert node.round(filing_may_wait=True)
    assert (one.filed_end, other.flushed_end) == (3, 0)
    assert node.round(filing_may_wait=True)
    assert other.flushed_end == 1


def test_an_idle_disk_files_when_it_is_worth_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_planner, "UNFILED_BYTES_WORTH", 200)
    node = Node()
    (log,) = node.logs
    node.commit(log)
    assert not node.round(filing_may_wait=True)
    node.commit(log)
    node.commit(log)
    assert node.round(filing_may_wait=True)
    assert log.filed_end == 3


@pytest.mark.parametrize(
    ("settings", "size"), [(QUORUM, 5 * KIB), (PartitionSettings(flush=Flush.ASYNC), 20)]
)
def test_nothing_holds_what_a_finished_round_has_written(
    settings: PartitionSettings, size: int
) -> None:
    node = Node(settings=settings)
    (log,) = node.logs
    held = node.watched(log, size=size)
    assert held() is not None
    assert node.round(filing_may_wait=True)
    assert held() is None


def test_what_only_the_files_have_is_synced_once_the_topic_wants_it_on_the_disk() -> None:
    """For others count on it from then on, and no record may come behind it for long."""
    lazy = PartitionSettings(flush=Flush.ASYNC, flush_ms=3_600_000)
    node = Node(settings=lazy)
    (log,) = node.logs
    node.append(log)
    node.file()
    assert (log.written_end, log.flushed_end) == (1, 0)
    assert not node.directory.checkpoint_due(NOW)
    log.configure(QUORUM)
    assert node.directory.checkpoint_due(NOW)
    node.checkpoint()
    assert log.flushed_end == 1
