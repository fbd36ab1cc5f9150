"""Which leader epochs a start reads from append times of which some are damaged."""

from dataclasses import replace

import pytest

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.partition_log import PartitionLog
from logstore.paths import EPOCHS, LOG, TIMES, by_offset
from logstore.settings import KIB
from logstore.times import ROW_BYTES, decode_row
from model.ids import AppendTimeMs, LeaderEpoch, Offset, Position
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

RECORDS = 3
"""Of each epoch."""


def append(log: PartitionLog, *, epoch: int) -> None:
    batch = encode_batch([NewRecord(TIME, None, b"x" * 100)])
    time = AppendTimeMs(TIME + 10 * epoch)
    log.append([batch], leader_epoch=LeaderEpoch(epoch), append_time=time)


def harm(disk: SimDisk, directory: str) -> None:
    """Lose the first segment's batches, the table, and the row that begins epoch 2.

    The row that closes it is left: files of flush=async have one behind the last batch.
    """
    times, log = (f"{directory}/{by_offset(Offset(0), ending)}" for ending in (TIMES, LOG))
    file = disk.open(times)
    file.fdatasync()
    places = [Position(at) for at in range(ROW_BYTES, file.size(), ROW_BYTES)]
    rows = {place: decode_row(file.pread(ROW_BYTES, place)) for place in places}
    closing = [row for row in rows.values() if row is not None and row.offset == 2 * RECORDS]
    assert [row.leader_epoch for row in closing] == [2]
    for place, row in rows.items():
        if row is not None and row.leader_epoch == 2 and row.offset < 2 * RECORDS:
            disk.flip_bit(times, Position(place + 3), 1)
    disk.open(log).fdatasync()
    disk.flip_bit(log, Position(9), 6)
    disk.unlink(f"{directory}/{EPOCHS}")
    disk.sync_directory(directory)


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_row_that_closes_a_segment_begins_no_epoch(epochs: int) -> None:
    """Nor does it push the next one: what goes on there could neither be appended nor served."""
    disk = SimDisk()
    directory = opened(disk, replace(SMALL, journal_file_bytes=256 * KIB)).directory
    log = directory.create(pid(0), ASYNC)
    for epoch in range(1, epochs + 1):
        if epoch == 3:
            log.roll()
        for _ in range(RECORDS):
            append(log, epoch=epoch)
        settle(directory)
        checkpoint(directory)
    disk.kill()
    harm(disk, log.directory_name)
    log = opened(disk).directory.partitions[pid(0)]
    assert [row.start for row in log.leader_epochs.rows if row.epoch > 2] == [6] * (epochs - 2)
    append(log, epoch=4)
    assert log.leader_epochs.rows[-1] == (4, epochs * RECORDS)


@pytest.mark.parametrize("wrong", range(RECORDS))
def test_an_epoch_that_a_batch_says_wrongly_is_not_that_of_all_behind_it(wrong: int) -> None:
    """One bit of the `.log` and one of the `.times` of a segment, after a kill."""
    disk = SimDisk()
    directory = opened(disk, replace(SMALL, journal_file_bytes=256 * KIB)).directory
    log = directory.create(pid(0), ASYNC)
    for epoch in (1, 2):
        for _ in range(RECORDS):
            append(log, epoch=epoch)
        log.roll()
    settle(directory)
    checkpoint(directory)
    batch_bytes = log.segment_list[0].size_bytes // RECORDS
    disk.kill()
    times, batches = (
        f"{log.directory_name}/{by_offset(Offset(0), ending)}" for ending in (TIMES, LOG)
    )
    for name in (times, batches):
        disk.open(name).fdatasync()
    disk.flip_bit(times, Position(0), 1)  # no row of the segment is believed
    disk.flip_bit(batches, Position(wrong * batch_bytes + 12), 6)  # its leader epoch's first byte
    disk.unlink(f"{log.directory_name}/{EPOCHS}")
    disk.sync_directory(log.directory_name)
    log = opened(disk).directory.partitions[pid(0)]
    assert [row for row in log.leader_epochs.rows if row.epoch > 1] == [(2, RECORDS)]
