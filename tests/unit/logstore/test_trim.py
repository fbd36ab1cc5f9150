"""Deleting from the front on request: where the log starts then, and when the files go."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.sim.disk import SimDisk
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import LOG
from logstore.settings import KIB, MIB, PartitionSettings
from logstore.trim import TO_HIGH_WATERMARK, plan
from model.errors import ErrorCode, RequestError
from model.ids import Offset
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

SEGMENTS = 4


@given(st.integers(0, 20), st.integers(0, 20), st.integers(-1, 25))
def test_the_log_start_moves_to_the_offset_or_stays(start: int, above: int, offset: int) -> None:
    log_start, mark = Offset(start), Offset(start + above)
    if offset > mark:
        with pytest.raises(RequestError) as refused:
            plan(offset, log_start=log_start, high_watermark=mark)
        assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert refused.value.metadata["high_watermark"] == str(mark)
    else:
        wanted = mark if offset == TO_HIGH_WATERMARK else max(start, offset)
        assert plan(offset, log_start=log_start, high_watermark=mark) == wanted


def test_other_negative_offsets_are_refused() -> None:
    with pytest.raises(RequestError, match="between the log start 3 and the high watermark 9"):
        plan(-2, log_start=Offset(3), high_watermark=Offset(9))


def kept(log: PartitionLog, disk: SimDisk) -> list[str]:
    """Return the segments that have a file."""
    return [name for name in disk.list(log.directory_name) if name.endswith(LOG)]


def written(disk: SimDisk) -> tuple[LogDirectory, PartitionLog]:
    """Return a partition of some segments that are acknowledged, and not in the files yet."""
    directory = opened(disk, replace(SMALL, direct_append_bytes_min=MIB)).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for _ in range(SEGMENTS):
        append(log, 700)
        commit(directory, filing_may_wait=True)
    assert (log.flushed_end, log.filed_end) == (SEGMENTS, 0)
    return directory, log


def test_segments_that_were_not_filed_when_the_log_was_trimmed_go_once_they_are() -> None:
    disk = SimDisk()
    directory, log = written(disk)
    log.trim(Offset(SEGMENTS - 1))
    settle(directory)
    checkpoint(directory)
    assert len(log.segment_list) == len(kept(log, disk)) == 1


def test_a_segment_stays_as_long_as_anything_in_it_is_left() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for _ in range(5):
        append(log, 300)  # two to a segment
    settle(directory)
    for start, segments in ((1, 3), (2, 2), (3, 2), (4, 1)):
        log.trim(Offset(start))
        checkpoint(directory)
        assert len(log.segment_list) == len(kept(log, disk)) == segments
        assert read(log, start).next_offset > start


def test_the_active_segment_goes_once_it_is_sealed() -> None:
    disk = SimDisk()
    directory, log = written(disk)
    settle(directory)
    log.trim(log.flushed_end)
    checkpoint(directory)
    assert len(kept(log, disk)) == 1
    log.roll()
    checkpoint(directory)
    assert kept(log, disk) == []
    assert (log.log_start, log.log_end) == (SEGMENTS, SEGMENTS)


def test_what_a_killed_process_had_trimmed_and_not_removed_goes_at_the_next_start() -> None:
    disk = SimDisk()
    directory, log = written(disk)
    log.trim(Offset(SEGMENTS - 1))
    checkpoint(directory)  # it has the log start, and nothing of the segments
    disk.kill()
    directory = opened(disk).directory
    log = directory.partitions[pid(0)]
    assert log.log_start == SEGMENTS - 1
    checkpoint(directory)
    assert len(log.segment_list) == len(kept(log, disk)) == 1


def test_the_space_of_what_went_comes_back_although_nobody_writes() -> None:
    """Whoever has a file open keeps its space: the writer is told to close what is gone (P48)."""
    directory, log = written(SimDisk())
    settle(directory)
    checkpoint(directory)
    log.trim(Offset(SEGMENTS - 1))
    checkpoint(directory)
    work = directory.take_round(NOW, filing_may_wait=True)
    assert work is not None
    assert sum(name.endswith(LOG) for name in work.forget) == SEGMENTS - 1
    directory.finish_round(directory.run_round(work))
    assert directory.take_round(NOW) is None
