"""A log directory: what readers are told, and where segments begin and go."""

import pytest

from api.sim.disk import SimDisk
from logstore.removed import NOTHING_REMOVED
from logstore.settings import KIB, PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.unit.logstore.test_log_directory import (
    QUORUM,
    TIME,
    append,
    checkpoint,
    opened,
    pid,
    read,
    settle,
)


def test_a_damaged_batch_is_an_error_naming_the_place_never_other_bytes() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), QUORUM)
    for _ in range(3):
        append(log, 100)
    settle(directory)
    checkpoint(directory)
    size = read(log).size_bytes // 3
    disk.kill()
    disk.flip_bit(f"partitions/{bytes(16).hex()}-0/{0:020d}.log", Position(size + 80), 3)
    log = opened(disk).directory.partitions[pid(0)]
    assert read(log, 0, 1).next_offset == 1
    with pytest.raises(RequestError) as refused:
        read(log, 1)
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert refused.value.metadata["position"] == str(size)
    assert read(log, 2).next_offset == 3


def test_offsets_outside_the_log_are_refused() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), QUORUM)
    append(log)
    settle(directory)
    assert read(log, 1).buffers == []
    for offset in (-1, 2):
        with pytest.raises(RequestError) as refused:
            read(log, offset)
        assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_trimmed_segments_go_once_a_checkpoint_says_so() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for _ in range(4):
        append(log, 700)
    settle(directory)
    log.trim(Offset(2))
    name = f"partitions/{bytes(16).hex()}-0"
    first = f"{0:020d}.log"
    assert first in disk.list(name)
    checkpoint(directory)
    assert first not in disk.list(name)
    assert log.log_start == 2
    disk.kill()
    again = opened(disk).directory.partitions[pid(0)]
    assert (again.log_start, again.log_end) == (2, 4)


def test_segments_roll_by_size_by_age_and_when_asked() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB, segment_ms=1_000))
    append(log, 600)
    append(log, 600)
    append(log, 10, TIME + 1_000)
    append(log, 10, TIME + 1_010)
    log.roll()
    append(log, 10, TIME + 1_020)
    settle(directory)
    assert [view.base_offset for view in log.segments()] == [0, 1, 2, 4]
    assert [view.sealed for view in log.segments()] == [True, True, True, False]
    assert [view.last_append_time - TIME for view in log.segments()] == [0, 0, 1_010, 1_020]


@pytest.mark.parametrize("saved", [True, False])
def test_what_is_known_of_removed_segments_goes_with_the_log_start(saved: bool) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for tick in range(3):
        append(log, 700, TIME + 10 * tick)
    settle(directory)
    checkpoint(directory)
    log.trim(Offset(2))
    known = log.removed
    assert (known.append_time, known.unread_segments) == (TIME + 10, 2)
    if saved:
        checkpoint(directory)
    disk.kill()
    again = opened(disk).directory.partitions[pid(0)]
    assert (again.log_start, again.removed) == ((2, known) if saved else (0, NOTHING_REMOVED))


def test_a_trimmed_segment_keeps_no_file_and_no_memory() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for _ in range(3):
        append(log, 700)
    settle(directory)
    checkpoint(directory)
    first = log.segment_list[0]
    assert read(log, 0, 1).next_offset == 1
    cache = directory._state.cache
    assert first in cache._open
    log.trim(Offset(1))
    assert first.reader is None
    assert first not in cache._open
    assert first not in cache._loaded
