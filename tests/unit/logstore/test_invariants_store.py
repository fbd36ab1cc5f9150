"""What the log store is never asked for, asked for on purpose: refused by the invariant's name."""

import pytest

from api.sim.disk import SimDisk
from logstore.append_clock import AppendClock
from logstore.batch import encode_batch
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.searchable import read_block
from logstore.segment_view import SegmentView
from logstore.settings import PartitionSettings
from logstore.settled import settled_end
from logstore.times import Times
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, Offset, Position, WallMs
from model.limits import HEADERS_PER_RECORD_MAX
from model.record import NewRecord
from tests.fuzz.fuzz_log_directory import PARTITIONS, START, open_directory

NOW = MonotonicMs(1)


@pytest.fixture(name="directory")
def open_empty() -> LogDirectory:
    return open_directory(SimDisk())


@pytest.fixture(name="log")
def written(directory: LogDirectory) -> PartitionLog:
    """Return a log of six records, all written."""
    log = directory.create(PARTITIONS[0], PartitionSettings())
    for _ in range(3):
        append(log)
    finish_round(directory)
    return log


def append(log: PartitionLog) -> None:
    batch = encode_batch([NewRecord(START, None, b"v")] * 2)
    log.append([batch], leader_epoch=LeaderEpoch(0), append_time=AppendTimeMs(START))


def finish_round(directory: LogDirectory) -> None:
    while (taken := directory.take_round(NOW)) is not None:
        directory.finish_round(directory.run_round(taken))


def test_append_times_never_fall() -> None:
    clock = AppendClock(AppendTimeMs(START), WallMs(START), NOW, reserved=AppendTimeMs(START))
    clock._last = AppendTimeMs(START + 10_000)
    with pytest.raises(AssertionError, match="APPEND_TIME_NEVER_FALLS"):
        clock.read(NOW, WallMs(START))


def test_nothing_is_appended_or_cut_while_a_cut_is_under_way(log: PartitionLog) -> None:
    log.truncate(Offset(4))
    with pytest.raises(AssertionError, match="LOG_CUT_BEFORE_APPEND"):
        append(log)
    with pytest.raises(AssertionError, match="LOG_CUT_BEFORE_APPEND"):
        log.truncate(Offset(2))


def test_no_cut_below_the_log_start(log: PartitionLog) -> None:
    log.trim(Offset(4))
    with pytest.raises(AssertionError, match="LOG_CUT_IS_ABOVE_START"):
        log.truncate(Offset(2))


def test_the_log_start_stays_below_what_is_written(log: PartitionLog) -> None:
    append(log)
    with pytest.raises(AssertionError, match="LOG_START_IS_WRITTEN"):
        log.trim(Offset(8))


def test_nor_does_it_pass_where_a_cut_under_way_ends_the_log(
    directory: LogDirectory, log: PartitionLog
) -> None:
    finish_round(directory)
    assert log.filed_end == 6
    log.truncate(Offset(2))
    assert settled_end(log) == 2
    with pytest.raises(AssertionError, match="LOG_START_IS_WRITTEN"):
        log.trim(Offset(4))
    log.trim(Offset(2))
    finish_round(directory)
    assert (log.log_start, log.log_end) == (2, 2)


def test_one_round_is_under_way(directory: LogDirectory, log: PartitionLog) -> None:
    append(log)
    assert directory.take_round(NOW) is not None
    append(log)
    with pytest.raises(AssertionError, match="ROUND_ONE_AT_A_TIME"):
        directory.take_round(NOW)


def test_one_checkpoint_is_under_way(directory: LogDirectory, log: PartitionLog) -> None:
    append(log)
    assert directory.take_checkpoint(NOW, all=True) is not None
    with pytest.raises(AssertionError, match="CHECKPOINT_ONE_AT_A_TIME"):
        directory.take_checkpoint(NOW, all=True)


def test_a_clean_stop_has_saved_everything(directory: LogDirectory, log: PartitionLog) -> None:
    append(log)
    with pytest.raises(AssertionError, match="CLEAN_MEANS_SAVED"):
        directory.mark_clean(AppendTimeMs(START))


def test_a_partition_is_created_once(directory: LogDirectory, log: PartitionLog) -> None:
    with pytest.raises(AssertionError, match="PARTITION_CREATED_ONCE"):
        directory.create(log.id, PartitionSettings())


def test_a_record_has_a_bounded_number_of_headers() -> None:
    headers = ((b"h", None),) * (HEADERS_PER_RECORD_MAX.value + 1)
    with pytest.raises(AssertionError, match="RECORD_HEADERS_BOUNDED"):
        encode_batch([NewRecord(START, None, b"v", headers)])


def test_append_times_cover_every_offset() -> None:
    with pytest.raises(AssertionError, match="TIMES_COVER_OFFSET"):
        Times(Offset(0)).at(Offset(5))


def test_a_search_is_sent_what_it_asked_for(log: PartitionLog) -> None:
    (segment,) = log.segments()
    assert isinstance(segment, SegmentView)
    for wrong in (None, memoryview(b"short")):
        search = read_block(segment, Position(0), Position(100))
        next(search)
        with pytest.raises(AssertionError, match="SEARCH_IS_SENT_WHAT_IT_ASKED"):
            search.send(wrong)
