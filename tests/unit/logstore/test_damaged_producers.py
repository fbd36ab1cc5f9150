"""A follower whose log lacks a batch of a producer goes on with the ones behind it."""

import pytest

from api.sim.disk import SimDisk
from logstore import partition_checkpoint, producer_state
from logstore.batch import encode_batch
from logstore.partition_log import PartitionLog
from logstore.paths import LOG
from logstore.producer_state import FRESH
from logstore.replicated import append_replicated, check_replicated
from logstore.settings import PartitionSettings
from model.errors import RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, Position, ProducerEpoch, ProducerId
from model.ids import Sequence as SequenceNumber
from model.record import NewRecord
from tests.unit.logstore.test_log_directory import (
    TIME,
    checkpoint,
    commit,
    opened,
    pid,
    settle,
)
from tests.unit.logstore.test_scrub import name

PRODUCER, EPOCH = ProducerId(9), ProducerEpoch(0)


def batch(sequence: int, offset: int) -> bytearray:
    """Return what a leader sends of an idempotent producer."""
    made = bytearray(
        encode_batch(
            [NewRecord(TIME, None, b"%d" % sequence)],
            producer_id=PRODUCER,
            producer_epoch=EPOCH,
            base_sequence=SequenceNumber(sequence),
        )
    )
    made[:8] = offset.to_bytes(8, "big")
    made[12:16] = (3).to_bytes(4, "big")
    return made


def take(log: PartitionLog, sequence: int, offset: int) -> None:
    sent = [(Offset(offset), AppendTimeMs(TIME), batch(sequence, offset))]
    end = Offset(offset + 1)
    append_replicated(log, check_replicated(log, sent, end=end, leader_epoch=LeaderEpoch(3)))


@pytest.mark.parametrize("rotten", [0, 1, 2])
def test_a_batch_that_rotted_ends_no_follower(rotten: int) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings())
    for number in range(3):
        take(log, number, number)
    settle(directory)
    checkpoint(directory)
    size = log.segment_list[0].size_bytes // 3
    disk.flip_bit(name(LOG), Position(rotten * size + 65), 0)
    disk.kill()
    for snapshot in [one for one in disk.list(log.directory_name) if one.endswith(".producers")]:
        disk.unlink(f"{log.directory_name}/{snapshot}")
    log = opened(disk).directory.partitions[pid(0)]
    take(log, 3, 3)
    take(log, 4, 4)
    assert log.log_end == 5
    assert log.producers.check(PRODUCER, EPOCH, SequenceNumber(5), records=1) is FRESH
    with pytest.raises(RequestError):
        log.producers.check(PRODUCER, EPOCH, SequenceNumber(7), records=1)


@pytest.mark.parametrize(("rotten", "byte"), [(7, 7), (7, 8), (8, 65)])
def test_a_cut_forgets_no_batch_that_memory_knows_and_the_files_have_lost(
    rotten: int, byte: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P20: the log is read for what memory lacks, and not believed where it ends too early."""
    monkeypatch.setattr(partition_checkpoint, "SNAPSHOT_BYTES", 1)
    monkeypatch.setattr(producer_state, "REMEMBERED_MAX", 0)
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings())
    for half in (range(5), range(5, 10)):
        for number in half:
            take(log, number, number)
        settle(directory)
        if half.start == 0:
            checkpoint(directory)
    assert log.upkeep.snapshots == [5]
    size = log.segment_list[0].size_bytes // 10
    disk.open(name(LOG)).fdatasync()
    disk.flip_bit(name(LOG), Position(rotten * size + byte), 6)
    log.truncate(Offset(9))
    assert not log.producers.reaches(Offset(9))
    while log.cut is not None:
        if not commit(directory):
            checkpoint(directory)
    assert log.producers.check(PRODUCER, EPOCH, SequenceNumber(9), records=1) is FRESH
