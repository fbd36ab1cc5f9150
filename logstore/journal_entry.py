"""Entries of the commit journal: bytes out, bytes in, no file.

Format: docs/formats/journal.md, version 1. One write and one fdatasync of the journal make a round
of entries durable, however many partitions they touch. Replaying an entry twice is harmless.

Invariants:
    JOURNAL_SALT_IS_8_BYTES    what tells this use of a recycled file from the one before.
    JOURNAL_SYNCED_IS_PAST     an entry never claims that itself was durable when it was written.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId, Position, TopicId

SALT_BYTES: Final = 8
HEAD_BYTES: Final = 56
APPEND_BYTES: Final = HEAD_BYTES + 36
"""What an APPEND takes beside its batches."""

_HEAD: Final = struct.Struct(">8sIIQQB3sI16s")
_PLACE: Final = struct.Struct(">qqQiq")  # base offset, segment, position, leader epoch, time
_DIRECT: Final = struct.Struct(">II")
_INT64: Final = struct.Struct(">q")
_CRC: Final = struct.Struct(">I")
_APPEND: Final = struct.Struct(">IQQB3xI16sqqQiq")  # all of an APPEND from its length on
_SEAL: Final = struct.Struct(">8sI")  # salt and checksum, which stand before that
_CRC_AT: Final = 8
_CRC_FROM: Final = 12
_ZEROS: Final = bytes(3)
_NOBODY: Final = PartitionId(TopicId(bytes(16)), 0)

APPEND_KIND: Final = 1
pack_append: Final = _APPEND.pack
"""Packs length, sequence, synced, kind, partition number, topic, base offset, segment, position,
leader epoch, append time. Every commit round is made of these, one for each dirty partition: it
calls what C gives, with plain values."""

Buffer: TypeAlias = bytes | bytearray | memoryview


class Place(NamedTuple):
    """Where a run of batches lies: its offset, its segment's base offset, and the byte there."""

    base_offset: Offset
    segment: Offset
    position: Position


@dataclass(frozen=True, slots=True)
class Append:
    """Batches of one partition, carried in the journal until the partition file is synced."""

    partition: PartitionId
    place: Place
    leader_epoch: LeaderEpoch
    append_time: AppendTimeMs
    batches: Sequence[Buffer]


@dataclass(frozen=True, slots=True)
class AppendDirect:
    """A large run of batches that went straight to the partition file, synced in the same round."""

    partition: PartitionId
    place: Place
    leader_epoch: LeaderEpoch
    append_time: AppendTimeMs
    size_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """The partition ends at `offset`; without this entry, replay would bring the tail back."""

    partition: PartitionId
    offset: Offset


@dataclass(frozen=True, slots=True)
class Delete:
    """The partition is gone; earlier entries for it are skipped."""

    partition: PartitionId


@dataclass(frozen=True, slots=True)
class ClockReserved:
    """Append times below `until` may have been told to be closed: the next start begins there."""

    until: AppendTimeMs


Entry: TypeAlias = Append | AppendDirect | Truncate | Delete | ClockReserved


class Stamp(NamedTuple):
    """Where an entry stands in the history of its log directory."""

    sequence: int
    """Counts entries; no gap, none used twice."""
    synced: int
    """Every entry below this sequence was durable when this one was written."""


class Decoded(NamedTuple):
    """One entry and the bytes it takes."""

    stamp: Stamp
    entry: Entry
    size_bytes: int


def size_bytes(entry: Entry) -> int:
    """Return the bytes that an entry takes in the journal."""
    match entry:
        case Append(batches=batches):
            return APPEND_BYTES + sum(map(len, batches))
        case AppendDirect():
            return APPEND_BYTES + _DIRECT.size
        case Truncate() | ClockReserved():
            return HEAD_BYTES + _INT64.size
        case Delete():
            return HEAD_BYTES


def encode(entry: Entry, stamp: Stamp, *, salt: bytes) -> list[Buffer]:
    """Return the entry's buffers under the salt of the journal file it goes to.

    Batches are handed through, not copied: they must not change until they are written.
    """
    assert len(salt) == SALT_BYTES, "JOURNAL_SALT_IS_8_BYTES"
    sequence, synced = stamp
    assert synced <= sequence, "JOURNAL_SYNCED_IS_PAST"
    if isinstance(entry, Append):
        topic, number = entry.partition
        length, place = size_bytes(entry), entry.place
        told = (number, topic, *place, entry.leader_epoch, entry.append_time)
        covered = pack_append(length, sequence, synced, APPEND_KIND, *told)
        return [sealed(covered, entry.batches, salt=salt), *entry.batches]
    kind, partition, body = _encode_small(entry)
    length = HEAD_BYTES + len(body)
    head = bytearray(
        _HEAD.pack(
            salt, 0, length, sequence, synced, kind, _ZEROS, partition.number, partition.topic
        )
    )
    head += body
    _CRC.pack_into(head, _CRC_AT, crc32c(memoryview(head)[_CRC_FROM:]))
    return [head]


def sealed(covered: bytes, batches: Sequence[Buffer], *, salt: bytes) -> bytes:
    """Return what stands before the batches of an APPEND, given what `pack_append` has made."""
    crc = crc32c(covered)
    for batch in batches:
        crc = crc32c(batch, crc)
    return _SEAL.pack(salt, crc) + covered


def decode(journal: bytes, position: Position, *, salt: bytes) -> Decoded:
    """Return the entry that begins at a position; its batches are views of the journal.

    Raises:
        MalformedError: nothing was written there under this salt, or it is not what was written.
    """
    if len(journal) - position < HEAD_BYTES:
        raise MalformedError("journal entry", position, "file ends")
    found, crc, length, sequence, synced, kind, zeros, number, topic = _HEAD.unpack_from(
        journal, position
    )
    if found != salt:
        raise MalformedError("journal entry", position, "unwritten")
    if not HEAD_BYTES <= length <= len(journal) - position:
        raise MalformedError("journal entry", position, f"length {length}")
    view = memoryview(journal)[position : position + length]
    if crc32c(view[_CRC_FROM:]) != crc:
        raise MalformedError("journal entry", position, "checksum")
    if zeros != _ZEROS or synced > sequence:
        raise MalformedError("journal entry", position, "reserved bytes or stamp")
    partition = PartitionId(TopicId(topic), number)
    entry = _decode_body(kind, partition, view[HEAD_BYTES:], position=position)
    return Decoded(Stamp(sequence, synced), entry, length)


def was_synced(journal: bytes, position: Position, sequence: int, *, salt: bytes) -> bool:
    """Tell whether the entry missing at a position had been durable: rot, not a torn tail.

    A later entry that says so is the proof. The salt, which no client can know, finds it.
    """
    while (at := journal.find(salt, position + 1)) >= 0:
        position = Position(at)
        try:
            later = decode(journal, position, salt=salt)
        except MalformedError:
            continue
        if later.stamp.synced > sequence:
            return True
    return False


def _encode_small(
    entry: AppendDirect | Truncate | Delete | ClockReserved,
) -> tuple[int, PartitionId, bytes]:
    match entry:
        case AppendDirect(partition, place, epoch, time, size, crc):
            return 2, partition, _PLACE.pack(*place, epoch, time) + _DIRECT.pack(size, crc)
        case Truncate(partition, offset):
            return 3, partition, _INT64.pack(offset)
        case Delete(partition):
            return 4, partition, b""
        case ClockReserved(until):
            return 5, _NOBODY, _INT64.pack(until)


def _decode_body(
    kind: int, partition: PartitionId, body: memoryview, *, position: Position
) -> Entry:
    try:
        match kind:
            case 1:
                *place, epoch, time = _PLACE.unpack_from(body)
                return Append(partition, Place(*place), epoch, time, [body[_PLACE.size :]])
            case 2:
                *place, epoch, time = _PLACE.unpack_from(body)
                direct = _DIRECT.unpack(body[_PLACE.size :])
                return AppendDirect(partition, Place(*place), epoch, time, *direct)
            case 3:
                return Truncate(partition, *_INT64.unpack(body))
            case 4 if not body:
                return Delete(partition)
            case 5 if partition == _NOBODY:
                return ClockReserved(*_INT64.unpack(body))
    except struct.error as short:
        raise MalformedError("journal entry", position, f"body of kind {kind}") from short
    raise MalformedError("journal entry", position, f"kind {kind} with {len(body)} bytes")
