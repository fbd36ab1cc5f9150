"""Rounds, checkpoints, reads and searches spoilt on purpose: refused by the invariant's name."""

from collections.abc import Sequence

import pytest

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.checkpoint import SegmentRow
from logstore.event_bounds import UNKNOWN
from logstore.log_directory import LogDirectory
from logstore.partition_checkpoint import finish
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.read_plan import Pread
from logstore.searchable import SearchableSegment
from logstore.segment import Segment
from logstore.settings import PartitionSettings
from logstore.time_search import offset_for_time
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, Offset, Position
from model.record import ClockKind, NewRecord
from tests.fuzz.fuzz_log_directory import PARTITIONS, START, open_directory

NOW = MonotonicMs(1)


@pytest.fixture(name="directory")
def open_empty() -> LogDirectory:
    return open_directory(SimDisk())


@pytest.fixture(name="log")
def written(directory: LogDirectory) -> PartitionLog:
    """Return a log of six records, all written; more than its tail in memory holds."""
    log = directory.create(PARTITIONS[0], PartitionSettings())
    for _ in range(3):
        append(log)
    while (taken := directory.take_round(NOW)) is not None:
        directory.finish_round(directory.run_round(taken))
    return log


def append(log: PartitionLog) -> None:
    batch = encode_batch([NewRecord(START, None, b"v" * 200)] * 2)
    log.append([batch], leader_epoch=LeaderEpoch(0), append_time=AppendTimeMs(START))


def read_from_disk(log: PartitionLog) -> ReadPlan:
    found = log.read(Offset(0), 1 << 20, end=log.log_end)
    assert isinstance(found, ReadPlan)
    return found


def test_a_round_writes_as_many_entries_as_it_counted(
    directory: LogDirectory, log: PartitionLog
) -> None:
    append(log)
    taken = directory.take_round(NOW)
    assert taken is not None
    taken.end_sequence += 1
    with pytest.raises(AssertionError, match="ROUND_ENTRIES_COUNTED"):
        directory.run_round(taken)


def test_what_a_round_wrote_belongs_to_a_segment(
    directory: LogDirectory, log: PartitionLog
) -> None:
    append(log)
    taken = directory.take_round(NOW)
    assert taken is not None
    directory.finish_round(directory.run_round(taken))
    filing = directory.take_round(NOW)
    assert filing is not None
    done = directory.run_round(filing)
    taken.parts[0].runs[0].segment = Offset(5)
    with pytest.raises(AssertionError, match="ROUND_SEGMENT_EXISTS"):
        directory.finish_round(done)


def test_what_a_round_files_follows_what_the_files_have(
    directory: LogDirectory, log: PartitionLog
) -> None:
    append(log)
    taken = directory.take_round(NOW)
    assert taken is not None
    directory.finish_round(directory.run_round(taken))
    filing = directory.take_round(NOW)
    assert filing is not None
    done = directory.run_round(filing)
    filing.filing[0][0].base_offset = Offset(7)
    with pytest.raises(AssertionError, match="FILES_GROW_IN_ORDER"):
        directory.finish_round(done)


def test_a_checkpoint_is_noted_once(directory: LogDirectory, log: PartitionLog) -> None:
    append(log)
    job = directory.take_checkpoint(NOW, all=True)
    assert job is not None
    result = directory.run_checkpoint(job)
    directory.finish_checkpoint(result)
    with pytest.raises(AssertionError, match="CHECKPOINT_WAS_PLANNED"):
        finish(log, job.parts[0])


def test_a_read_begins_where_a_batch_does(log: PartitionLog) -> None:
    plan = read_from_disk(log)
    plan._block = None
    with pytest.raises(AssertionError, match="READ_PLAN_HAS_POSITION"):
        plan.blocking()


def test_a_read_that_may_wait_returns(log: PartitionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_from_disk(log)
    read = ReadPlan._read

    def impatient(plan: ReadPlan, pread: Pread, block: tuple[Position, Offset]) -> object:
        return read(plan, lambda size, at: None, block)

    monkeypatch.setattr(ReadPlan, "_read", impatient)
    with pytest.raises(AssertionError, match="BLOCKING_READ_RETURNS"):
        plan.blocking()


def test_an_index_row_is_made_of_batches() -> None:
    time = AppendTimeMs(START)
    row = SegmentRow(Offset(0), 100, 24, time, time, UNKNOWN)
    segment = Segment.opened("partitions/x", row, Offset(2))
    segment.size_bytes += 50  # and no batch
    with pytest.raises(AssertionError, match="SEGMENT_LOADED_WHOLE"):
        segment.seal()


def test_append_times_reach_as_far_as_the_batches(log: PartitionLog) -> None:
    (segment,) = log.segment_list
    segment.last_append_time = AppendTimeMs(START + 1_000)
    search = offset_for_time(log, START + 500, ClockKind.APPEND, end=log.log_end)
    with pytest.raises(AssertionError, match="TIMES_REACH_LAST_BATCH"):
        next(search)


class Receding:
    """A log whose start falls back to 0 once it was asked for."""

    def __init__(self, log: PartitionLog) -> None:
        self.index_interval_bytes = log.index_interval_bytes
        self.removed = log.removed
        self._log = log
        self._starts = [Offset(4)]

    @property
    def log_start(self) -> Offset:
        """Offset 4, then 0."""
        return self._starts.pop() if self._starts else Offset(0)

    def segments(self) -> Sequence[SearchableSegment]:
        """Return those of the real log."""
        return self._log.segments()


def test_no_search_answers_below_the_log_start(log: PartitionLog) -> None:
    search = offset_for_time(Receding(log), START, ClockKind.APPEND, end=log.log_end)
    with pytest.raises(AssertionError, match="SEARCH_STAYS_ABOVE_LOG_START"):
        next(search)
