"""Batches as a leader sends them and a follower takes them: whole, as they are, with their times.

A follower has no say: offsets, leader epochs and append times are the leader's, and stand in what
it sent. All the same nothing goes into the log that would not read back as what it claims to be, or
does not continue the log; a frame that fails here was not sent by a sound leader.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from logstore.checkpoint import NO_TIME
from logstore.crc32c import crc32c
from logstore.partition_log import PartitionLog
from logstore.validate import is_plain
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, ProducerEpoch, ProducerId
from model.ids import Sequence as SequenceNumber
from model.record import COVERED_FROM, HEADER, HEADER_BYTES, LENGTH_COUNTS_FROM, MAGIC

Buffer: TypeAlias = bytes | bytearray | memoryview
_WHAT: Final = "replicated batch"
_PRODUCER: Final = struct.Struct(">qhi")
_PRODUCER_AT: Final = 43
"""Byte of a batch where producer id, epoch and base sequence stand."""


class Replicated(NamedTuple):
    """One batch that may be appended as it is."""

    append_time: AppendTimeMs
    leader_epoch: LeaderEpoch
    batch: bytearray
    """The log's own: nobody else has it."""


def whole_from(log: PartitionLog) -> Offset:
    """Return the least offset from which whole batches can be sent: a batch begins there.

    It lies below the log start where that was moved into a segment, and never above it.
    """
    return min(log.log_start, log.segment_of(log.log_start).base_offset)


def last_append_time(log: PartitionLog) -> AppendTimeMs:
    """Return the append time of the newest batch; NO_TIME if none is left that tells."""
    for segment in reversed(log.segment_list):
        if segment.last_append_time != NO_TIME:
            return segment.last_append_time
    return NO_TIME


def check_replicated(
    log: PartitionLog,
    sent: Iterable[tuple[Offset, AppendTimeMs, Buffer]],
    *,
    end: Offset,
    leader_epoch: LeaderEpoch,
) -> list[Replicated]:
    """Return copies of batches that continue the log up to `end`, under a leader of that epoch.

    Each comes with its base offset and its append time.

    Raises:
        MalformedError: a checksum, length, offset, leader epoch or append time that cannot be.
    """
    taken: list[Replicated] = []
    offset, time = log.log_end, last_append_time(log)
    latest = log.leader_epochs.latest
    epoch = LeaderEpoch(0) if latest is None else latest
    for base, append_time, raw in sent:
        batch = bytearray(raw)
        found = check_whole(batch)
        if base != offset or found.base_offset != offset:
            raise MalformedError(_WHAT, offset, f"a batch at {found.base_offset}, said {base}")
        if not epoch <= found.leader_epoch <= leader_epoch:
            why = f"leader epoch {found.leader_epoch}, behind {epoch}, of a leader of"
            raise MalformedError(_WHAT, offset, f"{why} {leader_epoch}")
        if append_time < time:
            raise MalformedError(_WHAT, offset, f"append time {append_time} behind {time}")
        epoch, time = found.leader_epoch, append_time
        offset = Offset(offset + found.offsets)
        taken.append(Replicated(time, epoch, batch))
    if offset != end:
        raise MalformedError(_WHAT, offset, f"the batches end there, said was {end}")
    return taken


def append_replicated(log: PartitionLog, batches: Sequence[Replicated]) -> None:
    """Accept what `check_replicated` has returned, if the log has not changed since."""
    for run in _runs(batches):
        time, epoch, _ = run[0]
        gathered = [one.batch for one in run]
        if all(map(is_plain, gathered)):
            log.append_plain(gathered, epoch, time)
            continue
        for batch in gathered:
            _make_way(log, batch)
            log.append_one(batch, epoch, time, bounds=None)


def _runs(batches: Sequence[Replicated]) -> Iterable[Sequence[Replicated]]:
    """Return what has one append time and one leader epoch together, in order."""
    if batches and batches[0][:2] == batches[-1][:2]:
        return [batches]  # neither of them falls: so it is with those between
    return [list(run) for _, run in groupby(batches, key=itemgetter(0, 1))]


def _make_way(log: PartitionLog, batch: bytearray) -> None:
    """Let a producer begin anew of whom a batch was damaged when this log was opened.

    A leader has refused whatever does not follow: what does not follow here is known too little of.
    """
    producer, epoch, sequence = _PRODUCER.unpack_from(batch, _PRODUCER_AT)
    if producer >= 0:
        name, number = ProducerId(producer), SequenceNumber(sequence)
        log.producers.make_way(name, ProducerEpoch(epoch), number, offset=log.log_end)


class Found(NamedTuple):
    """What the header of a sound batch says."""

    base_offset: Offset
    leader_epoch: LeaderEpoch
    offsets: int


def check_whole(batch: bytes | bytearray) -> Found:
    """Return what a batch says of itself, if its lengths and its checksum bear it out.

    Raises:
        MalformedError: they do not.
    """
    size = len(batch)
    if size < HEADER_BYTES:
        raise MalformedError(_WHAT, 0, f"{size} bytes, a header alone has {HEADER_BYTES}")
    base, length, epoch, magic, checksum, _, delta, *_ = HEADER.unpack_from(batch)
    if magic != MAGIC or length != size - LENGTH_COUNTS_FROM or delta < 0:
        why = f"magic {magic}, length {length} of {size} bytes, last offset delta {delta}"
        raise MalformedError(_WHAT, base, why)
    found = crc32c(memoryview(batch)[COVERED_FROM:])
    if found != checksum:
        raise MalformedError(_WHAT, base, f"checksum {checksum:08x}, its bytes have {found:08x}")
    return Found(base, epoch, delta + 1)
