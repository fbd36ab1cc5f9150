"""A segment that has lost its first append times, and whose first batch says a wrong length.

Its index leads to the batches behind it all the same: they have a time, told to be a guess.
"""

from dataclasses import replace

import pytest

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.partition_log import PartitionLog
from logstore.paths import INDEX, LOG, PRODUCERS, TIMES, by_offset
from logstore.read_plan import source
from logstore.segment_loader import load
from logstore.settings import KIB
from logstore.times import ROW_BYTES, decode_row
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    Offset,
    Position,
    ProducerEpoch,
    ProducerId,
    Sequence,
)
from model.record import NewRecord
from tests.unit.logstore.test_log_directory import (
    ASYNC,
    SMALL,
    TIME,
    checkpoint,
    opened,
    pid,
    settle,
)

BATCHES = 10
REFLECTED = Offset(5)
"""By the snapshot of producers that is left."""
LOST = 8
"""Batches whose append times are lost."""


def filled(disk: SimDisk) -> PartitionLog:
    """Have one segment of batches, each of another time, with its index, and kill the node."""
    directory = opened(disk, replace(SMALL, journal_file_bytes=256 * KIB)).directory
    log = directory.create(pid(0), ASYNC)
    kept = b""
    for number in range(BATCHES):
        batch = encode_batch(
            [NewRecord(TIME, None, b"x" * 250)],
            producer_id=ProducerId(7),
            producer_epoch=ProducerEpoch(0),
            base_sequence=Sequence(number),
        )
        time = AppendTimeMs(TIME + 10 * number)
        log.append([batch], leader_epoch=LeaderEpoch(1), append_time=time)
        settle(directory)
        checkpoint(directory)
        if log.log_end == REFLECTED:
            kept = snapshot(disk, log)
    log.roll()
    for _ in range(2):
        checkpoint(directory)
    names = disk.list(log.directory_name)
    assert by_offset(Offset(0), INDEX) in names
    for name in names:
        if name.endswith(PRODUCERS):
            disk.unlink(f"{log.directory_name}/{name}")
    file = disk.open(f"{log.directory_name}/{by_offset(REFLECTED, PRODUCERS)}", create=True)
    file.pwrite([kept], Position(0))
    file.fdatasync()
    disk.sync_directory(log.directory_name)
    disk.kill()
    return log


def snapshot(disk: SimDisk, log: PartitionLog) -> bytes:
    file = disk.open(f"{log.directory_name}/{by_offset(REFLECTED, PRODUCERS)}")
    return file.pread(file.size(), Position(0))


def harm(disk: SimDisk, directory: str) -> None:
    times, log = (f"{directory}/{by_offset(Offset(0), ending)}" for ending in (TIMES, LOG))
    file = disk.open(times)
    file.fdatasync()
    for at in range(ROW_BYTES, file.size(), ROW_BYTES):
        row = decode_row(file.pread(ROW_BYTES, Position(at)))
        if row is not None and row.offset < LOST:
            disk.flip_bit(times, Position(at + 3), 1)
    disk.open(log).fdatasync()
    disk.flip_bit(log, Position(9), 6)


def next_sequence(log: PartitionLog) -> Sequence:
    ((_, producer),) = log.producers.items()
    return producer.next_sequence


def test_it_is_opened_and_what_is_made_up_is_told() -> None:
    disk = SimDisk()
    harm(disk, filled(disk).directory_name)
    found = opened(disk)
    log = found.directory.partitions[pid(0)]
    told = f"batches from offset 0 to {LOST - 1} have a guessed append time"
    assert any(told in one.why for one in found.report.repaired)
    assert log.log_end == BATCHES
    assert next_sequence(log) == BATCHES
    (segment, *_) = log.segment_list
    loaded = load(
        disk, source(segment, log.index_interval_bytes, log.leader_epochs), with_index=True
    )
    for offset in range(BATCHES):
        time = loaded.times.at(Offset(offset)).append_time - TIME
        assert time == (0 if offset < LOST else 10 * offset), offset


@pytest.mark.parametrize("rots", ["before the start", "after it"])
@pytest.mark.parametrize("end", [LOST + 1, LOST - 1, REFLECTED + 1])
def test_it_is_cut(end: int, rots: str) -> None:
    disk = SimDisk()
    directory_name = filled(disk).directory_name
    if rots == "before the start":
        harm(disk, directory_name)
    directory = opened(disk).directory
    if rots == "after it":
        harm(disk, directory_name)
    log = directory.partitions[pid(0)]
    log.truncate(Offset(end))
    settle(directory)
    assert log.log_end == end
    assert next_sequence(log) == end
