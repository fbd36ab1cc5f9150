"""Batches that a leader has sent: taken as they are, or not at all; and logs that begin anew."""

from collections.abc import Callable
from random import Random

import pytest

from api.sim.disk import SimDisk
from logstore.append_clock import AppendClock
from logstore.batch import encode_batch
from logstore.checkpoint import NO_TIME
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.replicated import (
    append_replicated,
    check_replicated,
    last_append_time,
    whole_from,
)
from logstore.settings import KIB, LogSettings, PartitionSettings
from model.errors import MalformedError
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

PLACE = PartitionId(TopicId(bytes(16)), 0)
EPOCH, NEWER = LeaderEpoch(3), LeaderEpoch(4)
TIME = AppendTimeMs(1_000)
NOW = MonotonicMs(0)
SETTINGS = LogSettings(journal_file_bytes=16 * KIB, journal_files_max=2, reserve_bytes=0)


def opened(disk: SimDisk) -> LogDirectory:
    identity = Identity(bytes(16), "c", NodeId(0), RegistrationEpoch(0))
    return LogDirectory.open(
        disk, SETTINGS, rand=Random(1), now_wall=WallMs(0), identity=identity
    ).directory


def written(directory: LogDirectory) -> None:
    """Run rounds, and checkpoints where they are due, until nothing is left to write."""
    while directory.has_pending():
        work = directory.take_round(NOW)
        if work is not None:
            directory.finish_round(directory.run_round(work))
        elif (job := directory.take_checkpoint(NOW)) is not None:
            directory.finish_checkpoint(directory.run_checkpoint(job))


def fresh() -> PartitionLog:
    return opened(SimDisk()).create(PLACE, PartitionSettings())


def batch(base: int, records: int = 1, epoch: LeaderEpoch = EPOCH, **more: int) -> bytearray:
    told = [NewRecord(5, b"k", b"v%d" % number) for number in range(records)]
    return encode_batch(told, base_offset=base, leader_epoch=epoch, **more)


def test_batches_are_taken_as_they_are() -> None:
    log = fresh()
    plain, other = batch(0, 3), batch(3, 2, producer_id=7, producer_epoch=0, base_sequence=0)
    newer = batch(5, epoch=NEWER)
    sent = [(Offset(0), TIME, plain), (Offset(3), TIME, other)]
    sent.append((Offset(5), AppendTimeMs(1_020), newer))
    before = [bytes(raw) for _, _, raw in sent]
    append_replicated(log, check_replicated(log, sent, end=Offset(6), leader_epoch=NEWER))
    read = log.tail.read(Offset(0), 1 << 20, end=Offset(6))
    assert [bytes(buffer) for buffer in read.buffers] == before
    assert all(buffer is not raw for buffer, (_, _, raw) in zip(read.buffers, sent, strict=True))
    assert [log.append_time_at(Offset(at)) for at in (0, 4, 5)] == [1_000, 1_000, 1_020]
    assert [(row.epoch, row.start) for row in log.leader_epochs.rows] == [(3, 0), (4, 5)]
    assert last_append_time(log) == 1_020
    assert log.producers.check is not None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda raw: raw[:-1], "length"),
        (lambda raw: raw[:-1] + b"\xff", "checksum"),
        (lambda raw: raw[:20], "20 bytes"),
        (lambda raw: b"\0" * 7 + b"\1" + raw[8:], "a batch at 1, said 0"),
        (lambda raw: raw[:12] + b"\0\0\0\x09" + raw[16:], "leader epoch 9"),
        (lambda raw: raw[:12] + b"\xff\xff\xff\xff" + raw[16:], "leader epoch -1"),
        (lambda raw: raw[:16] + b"\1" + raw[17:], "magic 1"),
    ],
)
def test_what_is_not_what_it_claims_to_be_is_not_taken(
    spoil: Callable[[bytes], bytes], why: str
) -> None:
    log = fresh()
    sent = [(Offset(0), TIME, spoil(bytes(batch(0))))]
    with pytest.raises(MalformedError, match=why):
        check_replicated(log, sent, end=Offset(1), leader_epoch=EPOCH)


def test_what_does_not_continue_the_log_is_not_taken() -> None:
    log = fresh()
    first = check_replicated(
        log, [(Offset(0), TIME, batch(0, epoch=NEWER))], end=Offset(1), leader_epoch=NEWER
    )
    append_replicated(log, first)
    for sent, end, why in (
        ((Offset(0), TIME, batch(0, epoch=NEWER)), 1, "a batch at 0"),
        ((Offset(2), TIME, batch(2, epoch=NEWER)), 3, "a batch at 2"),
        ((Offset(1), TIME, batch(1, epoch=EPOCH)), 2, "leader epoch 3, behind 4"),
        ((Offset(1), AppendTimeMs(990), batch(1, epoch=NEWER)), 2, "append time 990 behind 1000"),
        ((Offset(1), TIME, batch(1, epoch=NEWER)), 3, "said was 3"),
    ):
        with pytest.raises(MalformedError, match=why):
            check_replicated(log, [sent], end=Offset(end), leader_epoch=NEWER)
    assert log.log_end == 1


def test_whole_batches_begin_where_the_segment_of_the_log_start_does() -> None:
    directory = opened(SimDisk())
    log = directory.create(PLACE, PartitionSettings())
    log.append([batch(0, 10)], leader_epoch=EPOCH, append_time=TIME)
    log.roll()
    log.append([batch(0, 10), batch(0, 10)], leader_epoch=EPOCH, append_time=TIME)
    written(directory)
    log.trim(Offset(25))
    assert (log.log_start, whole_from(log)) == (25, 10)
    read = log.read(Offset(10), 1 << 20, end=log.log_end, start=whole_from(log))
    assert read is not None
    assert last_append_time(fresh()) == NO_TIME


def test_a_log_that_begins_anew_holds_nothing_of_the_old_one() -> None:
    disk = SimDisk()
    directory = opened(disk)
    log = directory.create(PLACE, PartitionSettings())
    log.append([batch(0, 10)], leader_epoch=EPOCH, append_time=TIME)
    written(directory)
    anew = directory.begin_anew(PLACE, Offset(500))
    assert (anew.log_start, anew.log_end, anew.upkeep.exists) == (500, 500, False)
    written(directory)
    assert anew.upkeep.exists
    sent = [(Offset(500), TIME, batch(500, 2))]
    append_replicated(anew, check_replicated(anew, sent, end=Offset(502), leader_epoch=EPOCH))
    written(directory)
    assert anew.flushed_end == 502
    disk.kill()
    found = opened(disk).partitions[PLACE]
    assert (found.log_start, found.log_end) == (500, 502)
    assert [(row.epoch, row.start) for row in found.leader_epochs.rows] == [(3, 500)]


def test_a_crash_while_a_log_begins_anew_leaves_the_old_one_or_nothing() -> None:
    ends = set()
    for rounds in range(6):
        disk = SimDisk()
        directory = opened(disk)
        log = directory.create(PLACE, PartitionSettings())
        log.append([batch(0, 10)], leader_epoch=EPOCH, append_time=TIME)
        written(directory)
        directory.begin_anew(PLACE, Offset(500))
        for _ in range(rounds):
            work = directory.take_round(NOW)
            if work is not None:
                directory.finish_round(directory.run_round(work))
            elif (job := directory.take_checkpoint(NOW)) is not None:
                directory.finish_checkpoint(directory.run_checkpoint(job))
        disk.kill()
        found = opened(disk).partitions.get(PLACE)
        ends.add(None if found is None else (found.log_start, found.log_end))
    assert ends <= {(0, 10), None, (500, 500)}
    assert {(0, 10), None} <= ends


def test_a_clock_reads_no_less_than_it_was_told_and_leans_back() -> None:
    clock = AppendClock(AppendTimeMs(0), WallMs(10_000), MonotonicMs(0), reserved=AppendTimeMs(0))
    clock.not_below(AppendTimeMs(12_345))
    assert clock.read(MonotonicMs(0), WallMs(10_000)) == 12_340
    assert clock.closed_time(AppendTimeMs(12_340)) == clock.reserved_until == 0
    clock.not_below(AppendTimeMs(11_000))
    assert clock.read(MonotonicMs(1_000), WallMs(11_000)) == 13_290


def test_a_cut_goes_by_the_segments_that_are_there_although_the_first_is_due_to_go() -> None:
    directory = opened(SimDisk())
    log = directory.create(PLACE, PartitionSettings())
    written(directory)
    log.append([batch(0)], leader_epoch=EPOCH, append_time=TIME)
    log.roll()
    log.append([batch(0)], leader_epoch=EPOCH, append_time=TIME)
    work = directory.take_round(NOW, filing_may_wait=True)
    assert work is not None
    directory.finish_round(directory.run_round(work))
    assert (log.written_end, log.filed_end) == (2, 0)
    log.trim(Offset(1))
    log.truncate(Offset(1))
    written(directory)
    assert (log.log_start, log.log_end, log.cut) == (1, 1, None)
    assert [segment.base_offset for segment in log.segment_list] == [1]


def test_epochs_are_known_as_far_as_batches_are_kept() -> None:
    disk = SimDisk()
    directory = opened(disk)
    log = directory.create(PLACE, PartitionSettings())
    for epoch in (1, 2):
        log.append([batch(0)], leader_epoch=LeaderEpoch(epoch), append_time=TIME)
    log.roll()
    for epoch in (2, 3, 4):
        log.append([batch(0)], leader_epoch=LeaderEpoch(epoch), append_time=TIME)
    written(directory)
    log.trim(Offset(4))
    rows = [(row.epoch, row.start) for row in log.leader_epochs.rows]
    assert rows == [(2, 2), (3, 3), (4, 4)]
    job = directory.take_checkpoint(NOW, all=True)
    assert job is not None
    directory.finish_checkpoint(directory.run_checkpoint(job))
    disk.kill()
    again = opened(disk).partitions[PLACE]
    assert [(row.epoch, row.start) for row in again.leader_epochs.rows] == rows
