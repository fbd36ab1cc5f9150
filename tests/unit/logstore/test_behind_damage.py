"""Where a reader goes on that was refused damaged batches: as near as can be, and never before."""

import pytest

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.behind_damage import behind_damage
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import INDEX, LOG
from logstore.settings import PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset, Position
from model.record import NewRecord
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

RECORDS = 30
"""Of about 110 bytes: three to a block of the index."""
BLOCK = 3


def filled(disk: SimDisk, *, closed: bool) -> list[int]:
    """Write batches; return where each begins in the file."""
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 << 20))
    places, at = [], 0
    for number in range(RECORDS):
        batch = encode_batch([NewRecord(TIME, None, b"%02d" % number * 20)])
        log.append([batch], leader_epoch=LeaderEpoch(0), append_time=TIME)
        places.append(at)
        at += len(batch)
    if closed:
        log.roll()
        append(log, 100)
    settle(directory)
    checkpoint(directory)
    disk.open(name(LOG)).fdatasync()
    return places


def partition(disk: SimDisk) -> PartitionLog:
    disk.kill()
    directory: LogDirectory = opened(disk).directory
    return directory.partitions[pid(0)]


def walk(log: PartitionLog) -> tuple[list[int], list[tuple[int, int]]]:
    """Read on behind each refusal; return the offsets that came, and the stretches that do not."""
    got: list[int] = []
    lost: list[tuple[int, int]] = []
    offset = log.log_start
    while offset < log.log_end:
        try:
            found = read(log, offset, 1)
        except RequestError as refusal:
            behind = behind_damage(log, offset, refusal)
            assert behind is not None
            assert behind > offset
            lost.append((offset, behind))
            offset = behind
        else:
            got += range(offset, found.next_offset)
            offset = found.next_offset
    return got, lost


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("bad", range(RECORDS))
def test_no_more_is_left_out_than_the_rest_of_a_block(bad: int, closed: bool) -> None:
    disk = SimDisk()
    places = filled(disk, closed=closed)
    disk.flip_bit(name(LOG), Position(places[bad] + 90), 1)
    log = partition(disk)
    got, ((first, behind),) = walk(log)
    assert first == bad
    assert behind <= bad + BLOCK
    assert got == [n for n in range(log.log_end) if not first <= n < behind]


def test_of_a_file_that_is_missing_all_is_left_out_at_once() -> None:
    disk = SimDisk()
    filled(disk, closed=True)
    log = partition(disk)
    disk.unlink(name(LOG))
    got, lost = walk(log)
    assert lost == [(0, RECORDS)]
    assert got == [RECORDS]


def test_what_is_in_memory_is_not_left_out() -> None:
    disk = SimDisk()
    places = filled(disk, closed=False)
    log = partition(disk)
    disk.flip_bit(name(LOG), Position(places[RECORDS - 1] + 90), 1)
    append(log, 100)
    assert walk(log) == ([*range(RECORDS - 1), RECORDS], [(RECORDS - 1, RECORDS)])


def test_nothing_is_said_of_other_refusals() -> None:
    disk = SimDisk()
    filled(disk, closed=True)
    log = partition(disk)
    for refusal in (
        RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "elsewhere", position="0", file=name(LOG)),
        RequestError(ErrorCode.CORRUPT_LOG, "without a place"),
        RequestError(ErrorCode.CORRUPT_LOG, "of another file", position="0", file=name(INDEX)),
    ):
        assert behind_damage(log, Offset(0), refusal) is None
