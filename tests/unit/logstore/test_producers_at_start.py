"""What a start, a checkpoint beside a cut, and idle time leave of the producers of a log."""

from dataclasses import replace
from typing import Any

import pytest

from api.sim.disk import SimDisk
from logstore import partition_checkpoint, producer_state
from logstore.batch import encode_batch
from logstore.flush import settle_producers
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.producer_state import FRESH, Duplicate, Producer, ProducerState
from logstore.segment_loader import CHUNK_BYTES
from logstore.settings import KIB, PartitionSettings
from model.ids import AppendTimeMs, LeaderEpoch, Offset, ProducerEpoch, ProducerId
from model.ids import Sequence as SequenceNumber
from model.record import NewRecord
from tests.unit.logstore.test_log_directory import (
    NOW,
    SMALL,
    TIME,
    checkpoint,
    commit,
    opened,
    pid,
    settle,
)

P, OTHER, EPOCH = ProducerId(9), ProducerId(10), ProducerEpoch(0)
SETTINGS = replace(SMALL, journal_file_bytes=256 * KIB, checkpoint_bytes=200 * KIB)


def begun(disk: SimDisk) -> tuple[LogDirectory, PartitionLog]:
    directory = opened(disk, SETTINGS).directory
    log = directory.create(pid(0), PartitionSettings())
    settle(directory)
    checkpoint(directory)
    return directory, log


def again(disk: SimDisk) -> tuple[LogDirectory, PartitionLog]:
    disk.kill()
    directory = opened(disk, SETTINGS).directory
    return directory, directory.partitions[pid(0)]


def send(
    log: PartitionLog, sequence: int, *, producer: ProducerId = P, value_bytes: int = 20
) -> None:
    batch = encode_batch(
        [NewRecord(TIME, None, b"v" * value_bytes)],
        producer_id=producer,
        producer_epoch=EPOCH,
        base_sequence=SequenceNumber(sequence),
    )
    log.append([batch], leader_epoch=LeaderEpoch(3), append_time=AppendTimeMs(TIME))


def is_next(log: PartitionLog, sequence: int, *, producer: ProducerId = P) -> bool:
    found = log.producers.check(producer, EPOCH, SequenceNumber(sequence), records=1)
    return found is FRESH


def remembered(log: PartitionLog) -> int:
    """Return how many batches' past is kept."""
    return len(log.producers._before)


def test_a_start_keeps_no_more_of_the_past_than_a_running_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even while it reads: a journal may hold some 100,000 batches."""
    disk = SimDisk()
    directory, log = begun(disk)
    for number in range(200):
        send(log, number)
    settle(directory)
    monkeypatch.setattr(producer_state, "REMEMBERED_MAX", 8)
    most: list[int] = []
    noted = ProducerState.appended

    def watched(self: ProducerState, *said: Any) -> None:
        noted(self, *said)
        most.append(len(self._before))

    monkeypatch.setattr(ProducerState, "appended", watched)
    _, log = again(disk)
    assert len(most) == 200
    assert max(most) <= 9
    assert remembered(log) <= 8
    assert log.producers.reaches(log.log_end)
    assert is_next(log, 200)


LARGE = replace(SMALL, journal_file_bytes=4096 * KIB, checkpoint_bytes=3000 * KIB)
"""Takes more between two checkpoints than a start reads at once (`CHUNK_BYTES`)."""


@pytest.mark.parametrize(("batches", "value_bytes"), [(8, 70 * KIB), (2, 700 * KIB), (400, 900)])
def test_a_start_knows_the_producers_of_more_than_it_reads_at_once(
    batches: int, value_bytes: int
) -> None:
    disk = SimDisk()
    directory = opened(disk, LARGE).directory
    log = directory.create(pid(0), PartitionSettings())
    for number in range(batches):
        send(log, number, value_bytes=value_bytes)
    send(log, 0, producer=OTHER)
    settle(directory)
    assert log.log_end == batches + 1
    assert log.segment_list[-1].size_bytes > CHUNK_BYTES
    disk.kill()
    found = opened(disk, LARGE)
    assert not found.report.repaired
    log = found.directory.partitions[pid(0)]
    assert is_next(log, batches)
    assert is_next(log, 1, producer=OTHER)
    repeated = log.producers.check(OTHER, EPOCH, SequenceNumber(0), records=1)
    assert isinstance(repeated, Duplicate)
    assert repeated.base_offset == batches


def test_what_is_committed_without_a_write_is_forgotten_too() -> None:
    disk = SimDisk()
    directory, log = begun(disk)
    for number in range(20):
        send(log, number)
    settle(directory)
    assert remembered(log) == 20
    log.high_watermark = Offset(15)
    settle_producers(log)
    assert remembered(log) == 5
    log.truncate(Offset(15))
    log.high_watermark = Offset(15)
    settle_producers(log)
    assert log.producers.reaches(Offset(15))
    assert not log.producers.reaches(Offset(14))


def test_a_start_begins_at_what_is_committed_and_a_cut_to_there_reads_no_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A follower that stopped with a tail that the next leader has not."""
    monkeypatch.setattr(partition_checkpoint, "SNAPSHOT_BYTES", 1)
    disk = SimDisk()
    directory, log = begun(disk)
    for half in (0, 50):
        for number in range(half, half + 50):
            send(log, number)
        settle(directory)
        log.high_watermark = Offset(50)
        checkpoint(directory)
    assert log.upkeep.snapshots[-1] == log.log_end == 100
    directory.mark_clean(TIME)
    directory, log = again(disk)
    assert log.high_watermark == 50
    assert is_next(log, 100)
    log.truncate(Offset(60))
    settle_the_cut(directory, log)
    assert is_next(log, 60)


def settle_the_cut(directory: LogDirectory, log: PartitionLog) -> None:
    """Do rounds until the log is cut; none of them reads the log."""
    while log.cut is not None:
        work = directory.take_round(NOW)
        if work is None:
            checkpoint(directory, everything=False)
            continue
        assert all(part.cut is None or part.cut.replay is None for part in work.parts)
        directory.finish_round(directory.run_round(work))


def test_without_a_snapshot_of_what_is_committed_a_newer_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_checkpoint, "SNAPSHOT_BYTES", 1)
    disk = SimDisk()
    directory, log = begun(disk)
    for number in range(10):
        send(log, number)
    settle(directory)
    checkpoint(directory)
    assert log.upkeep.snapshots[-1] == 10
    assert log.high_watermark == 0
    _, log = again(disk)
    assert is_next(log, 10)


def test_a_snapshot_that_a_cut_takes_along_is_not_the_only_one() -> None:
    """P21: what lay in segments that are gone is known to a snapshot alone, also after the cut."""
    disk = SimDisk()
    directory, log = begun(disk)
    send(log, 0, producer=OTHER)
    settle(directory)
    log.roll()
    for number in range(20):
        send(log, number)
    settle(directory)
    checkpoint(directory)
    log.high_watermark = Offset(5)
    log.trim(Offset(5))
    log.truncate(Offset(15))
    checkpoint(directory)
    assert log.cut is not None, "the checkpoint came before the cut"
    while log.cut is not None:
        assert commit(directory)
    disk.power_cut(lambda pending: pending.nothing)
    log = opened(disk, SETTINGS).directory.partitions[pid(0)]
    assert log.segment_list[0].base_offset > 0
    assert log.log_end == 15
    assert is_next(log, 14)
    assert is_next(log, 1, producer=OTHER)


def test_a_producer_without_a_batch_stops_no_checkpoint() -> None:
    """A snapshot may have one: its format counts the batches, from none on."""
    disk = SimDisk()
    directory, log = begun(disk)
    send(log, 0, producer=OTHER)
    settle(directory)
    log.roll()
    send(log, 0)
    settle(directory)
    checkpoint(directory)
    next_sequence = SequenceNumber(7)
    emptied = Producer(EPOCH, next_sequence, AppendTimeMs(TIME), [])
    log.producers.restore(iter([(OTHER, emptied)]))
    log.high_watermark = Offset(2)
    log.trim(Offset(1))
    for _ in range(3):
        checkpoint(directory)
    assert log.segment_list[0].base_offset > 0
    disk.power_cut(lambda pending: pending.nothing)
    log = opened(disk, SETTINGS).directory.partitions[pid(0)]
    assert is_next(log, 7, producer=OTHER)
