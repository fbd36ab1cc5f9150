"""A start tells of damage that it meets where it reads: nobody takes such a log for whole (P3)."""

import pytest

from api.sim.disk import SimDisk
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import LOG
from logstore.settings import PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.unit.logstore.test_log_directory import (
    TIME,
    append,
    checkpoint,
    opened,
    pid,
    read,
    settle,
)
from tests.unit.logstore.test_scrub import name

RECORDS = 4


def filled(disk: SimDisk) -> tuple[LogDirectory, PartitionLog, int]:
    """Return a log of one open segment in its files, and the size of one batch."""
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings())
    for _ in range(RECORDS):
        append(log, 100)
    settle(directory)
    checkpoint(directory)
    return directory, log, log.segment_list[0].size_bytes // RECORDS


@pytest.mark.parametrize("byte", [7, 8])
@pytest.mark.parametrize("clean", [False, True])
def test_a_batch_whose_offset_or_length_is_wrong_is_told(byte: int, clean: bool) -> None:
    disk = SimDisk()
    directory, log, size = filled(disk)
    for snapshot in [one for one in disk.list(log.directory_name) if one.endswith(".producers")]:
        disk.unlink(f"{log.directory_name}/{snapshot}")
    if clean:
        directory.mark_clean(TIME)
    disk.flip_bit(name(LOG), Position(2 * size + byte), 6)
    disk.kill()
    report = opened(disk).report
    assert report.clean is clean
    (found,) = report.repaired
    assert (found.file, found.position, found.size_bytes) == (name(LOG), 2 * size, 2 * size)


@pytest.mark.parametrize("lost", [1, 150])
def test_a_file_that_is_short_after_a_clean_stop_is_told_once_and_not_written_behind(
    lost: int,
) -> None:
    disk = SimDisk()
    directory, log, size = filled(disk)
    directory.mark_clean(TIME)
    file = disk.open(name(LOG))
    file.truncate(RECORDS * size - lost)
    disk.kill()
    found = opened(disk)
    assert found.report.clean
    assert [(one.file, one.size_bytes) for one in found.report.repaired] == [(name(LOG), lost)]
    directory, log = found.directory, found.directory.partitions[pid(0)]
    assert log.log_end == RECORDS
    append(log, 100)
    settle(directory)
    checkpoint(directory)
    directory.mark_clean(TIME)
    disk.kill()
    log = opened(disk).directory.partitions[pid(0)]
    assert read(log, RECORDS).next_offset == RECORDS + 1
    with pytest.raises(RequestError) as refused:
        read(log, RECORDS - 1)
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert read(log, 0, 1).next_offset == Offset(1)
