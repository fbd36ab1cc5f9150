"""Offset and leader epoch of a batch, which no checksum covers: what says another is not served.

Wherever a reader begins: behind a block of the index, in the middle of one, at the batch itself.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from api.sim.disk import SimDisk
from logstore import read_plan
from logstore.batch import encode_batch
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import INDEX, LOG
from logstore.read_plan import SLACK_BYTES
from logstore.settings import PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Position
from model.record import NewRecord, iter_batches
from tests.unit.logstore.test_log_directory import (
    SMALL,
    TIME,
    append,
    checkpoint,
    opened,
    pid,
    read,
    settle,
)
from tests.unit.logstore.test_scrub import name

RECORDS = 9
"""Of 110 bytes: three to a block of the index."""
UNCOVERED = [0, 6, 7, 12, 15]
"""Bytes of a batch's offset and leader epoch."""


def filled(*, indexed: int = RECORDS) -> tuple[SimDisk, list[bytes]]:
    """Return a disk with a segment, of three leader epochs, and its batches.

    `indexed`: the index file knows so many of them: all, of a closed segment; or those before the
    last checkpoint that a kill was behind.
    """
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 << 20))
    for number in range(RECORDS):
        if number == indexed:
            settle(directory)
            checkpoint(directory)
        batch = encode_batch([NewRecord(TIME, None, b"%d" % number * 40)])
        epoch = LeaderEpoch(3 + number // 3)
        log.append([batch], leader_epoch=epoch, append_time=AppendTimeMs(TIME + 10 * number))
    if indexed == RECORDS:
        log.roll()
    settle(directory)
    if indexed == RECORDS:
        checkpoint(directory)
    else:
        disk.kill()
        log = opened(disk).directory.partitions[pid(0)]
    batches = [at(log, offset) for offset in range(RECORDS)]
    assert len(set(batches)) == RECORDS
    file = disk.open(name(LOG))
    file.fdatasync()
    return disk, batches


def at(log: PartitionLog, offset: int) -> bytes:
    """Return the batch that a reader gets at an offset, alone."""
    found = read(log, offset, 1)
    (batch,) = (one for buffer in found.buffers for one in iter_batches(memoryview(buffer)))
    return bytes(batch)


def flips(batches: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield a batch, the byte of it, and the bit."""
    for number in range(len(batches)):
        for byte in UNCOVERED:
            for bit in (0, 1, 2, 7):
                yield number, byte, bit


def reopened(disk: SimDisk) -> LogDirectory:
    disk.kill()
    return opened(disk).directory


@pytest.mark.parametrize("slack_bytes", [SLACK_BYTES, 0])
@pytest.mark.parametrize("index", ["is there", "knows the front", "is made again"])
def test_no_reader_gets_what_belongs_elsewhere(
    monkeypatch: pytest.MonkeyPatch, index: str, slack_bytes: int
) -> None:
    """Without slack a batch is read by itself, and only those before it tell where it belongs."""
    monkeypatch.setattr(read_plan, "SLACK_BYTES", slack_bytes)
    disk, batches = filled(indexed=6 if index == "knows the front" else RECORDS)
    if index == "is made again":
        disk.unlink(name(INDEX))
    starts = [sum(map(len, batches[:number])) for number in range(RECORDS)]
    refused = 0
    for number, byte, bit in flips(batches):
        place = Position(starts[number] + byte)
        disk.flip_bit(name(LOG), place, bit)
        for offsets in (range(RECORDS), reversed(range(RECORDS))):
            log = reopened(disk).partitions[pid(0)]
            for offset in offsets:
                try:
                    assert at(log, offset) == batches[offset], (number, byte, bit, offset)
                except RequestError as refusal:
                    assert refusal.code is ErrorCode.CORRUPT_LOG
                    refused += 1
        with pytest.raises(RequestError):
            read(reopened(disk).partitions[pid(0)], number, 1 << 20)
        disk.flip_bit(name(LOG), place, bit)
    assert refused


@pytest.mark.parametrize("slack_bytes", [SLACK_BYTES, 0])
def test_a_reader_in_the_middle_is_not_given_a_neighbour(
    monkeypatch: pytest.MonkeyPatch, slack_bytes: int
) -> None:
    """The first batch of a block says the offset of the second, for which somebody asks."""
    monkeypatch.setattr(read_plan, "SLACK_BYTES", slack_bytes)
    disk, batches = filled()
    starts = [sum(map(len, batches[:number])) for number in range(RECORDS)]
    for number in range(0, RECORDS - 1, 2):
        disk.flip_bit(name(LOG), Position(starts[number] + 7), 0)
        for offset in (number, number + 1):
            log = reopened(disk).partitions[pid(0)]
            try:
                assert at(log, offset) == batches[offset]
            except RequestError as refusal:
                assert refusal.code is ErrorCode.CORRUPT_LOG
        disk.flip_bit(name(LOG), Position(starts[number] + 7), 0)


def test_a_large_batch_that_is_read_alone_is_not_given_for_its_neighbour() -> None:
    disk = SimDisk()
    settings = replace(SMALL, journal_file_bytes=256 << 10, index_interval_bytes=64 << 10)
    directory = opened(disk, settings).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 << 20))
    for number in range(2):
        append(log, 3 * SLACK_BYTES, TIME + 10 * number)
    log.roll()
    settle(directory)
    checkpoint(directory)
    second = at(log, 1)
    disk.flip_bit(name(LOG), Position(7), 0)
    disk.kill()
    log = opened(disk, settings).directory.partitions[pid(0)]
    with pytest.raises(RequestError, match="offset 1 where 0 belongs"):
        at(log, 1)
    disk.flip_bit(name(LOG), Position(7), 0)
    assert at(log, 1) == second
