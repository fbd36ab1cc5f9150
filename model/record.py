"""A record, the record batch that carries it, and a range of time: what every component reads.

Format: docs/formats/record_batch.md (Kafka's record batch, magic 2, KIP-98): big-endian, 61 bytes
before the records. Batches stay as the client sent them, but for two fields that their checksum
does not cover; only a topic with LogAppendTime has its batches stamped and sealed anew.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from model.errors import MalformedError
from model.ids import AppendTimeMs, EventTimeMs, LeaderEpoch, Offset

HEADER_BYTES: Final = 61
MAGIC: Final = 2
NO_TIMESTAMP: Final = -1
"""Stands for "none" where a record has no event time."""

COMPRESSION_MASK: Final = 0x07
LOG_APPEND_TIME: Final = 0x08
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20
DELETE_HORIZON: Final = 0x40

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, checksum; then, covered by the checksum: attributes,
last offset delta, base timestamp, max timestamp, producer id, epoch, base sequence, records."""
CHECKSUM_AT: Final = 17
COVERED_FROM: Final = 21
LENGTH_COUNTS_FROM: Final = 12
"""The length field counts the bytes after itself."""

_PLACE: Final = struct.Struct(">qiib")  # base offset, length, leader epoch, magic
_UINT32: Final = struct.Struct(">I")
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_INT64: Final = struct.Struct(">q")


class ClockKind(Enum):
    """Which of a record's two times is meant."""

    EVENT = "event"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The records with start <= time < end on one clock, in ms since 1970 UTC; None is open."""

    clock: ClockKind
    start_ms: int | None
    end_ms: int | None

    def contains(self, time_ms: int) -> bool:
        """Tell whether a time lies inside. A record without event time lies in no event range."""
        if self.clock is ClockKind.EVENT and time_ms == NO_TIMESTAMP:
            return False
        return (self.start_ms is None or self.start_ms <= time_ms) and (
            self.end_ms is None or time_ms < self.end_ms
        )


class Header(NamedTuple):
    """One header of a record. Keys may repeat and their order counts."""

    key: bytes
    value: bytes | None


class NewRecord(NamedTuple):
    """A record before it has a place in a log."""

    timestamp_ms: int
    """Event time, or -1 for none."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


class Record(NamedTuple):
    """A record as a batch holds it."""

    offset: Offset
    timestamp_ms: int
    """Event time, or -1 for none; the append time if the batch is stamped with LogAppendTime."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


class BatchHeader:
    """A view of one batch in someone else's buffer; nothing is copied.

    The caller owns the buffer and keeps it alive. Checksums are verified by logstore, once, on
    arrival: the constructor only makes sure that the fields can be trusted as lengths.
    """

    __slots__ = ("_batch",)

    def __init__(self, batch: memoryview) -> None:
        """Look at the batch that fills the view.

        Raises:
            MalformedError: too short, another magic, or a length other than the view's.
        """
        if len(batch) < HEADER_BYTES:
            raise MalformedError("record batch", 0, f"{len(batch)} bytes, header needs 61")
        _, length, _, magic = _PLACE.unpack_from(batch)
        if magic != MAGIC:
            raise MalformedError("record batch", 0, f"magic {magic}, only {MAGIC} is stored")
        if length != len(batch) - LENGTH_COUNTS_FROM:
            raise MalformedError("record batch", 0, f"length {length} of {len(batch)} bytes")
        self._batch = batch
        if _INT32.unpack_from(batch, 23)[0] < 0:
            raise MalformedError("record batch", 0, "last offset delta is negative")

    @classmethod
    def of_checked(cls, batch: memoryview) -> "BatchHeader":
        """Look at a batch whose lengths the caller has just checked, at a third of the cost."""
        header = cls.__new__(cls)
        header._batch = batch
        return header

    @property
    def base_offset(self) -> Offset:
        """Offset of the first record."""
        return Offset(_INT64.unpack_from(self._batch, 0)[0])

    @property
    def length(self) -> int:
        """Bytes after the length field, as the batch says."""
        length: int = _INT32.unpack_from(self._batch, 8)[0]
        return length

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole batch, also where the view ends before the batch does."""
        return LENGTH_COUNTS_FROM + self.length

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """Epoch of the leader that appended it."""
        return LeaderEpoch(_INT32.unpack_from(self._batch, 12)[0])

    @property
    def magic(self) -> int:
        """Version of the batch format: 2."""
        return self._batch[16]

    @property
    def crc32c(self) -> int:
        """The checksum that `covered` must have."""
        checksum: int = _UINT32.unpack_from(self._batch, CHECKSUM_AT)[0]
        return checksum

    @property
    def covered(self) -> memoryview:
        """The bytes under the checksum: from the attributes to the end."""
        return self._batch[COVERED_FROM:]

    @property
    def records(self) -> memoryview:
        """The bytes after the header, compressed if `compression` says so."""
        return self._batch[HEADER_BYTES:]

    @property
    def attributes(self) -> int:
        """Sixteen bits; the names are this module's constants."""
        attributes: int = _INT16.unpack_from(self._batch, 21)[0]
        return attributes & 0xFFFF

    @property
    def compression(self) -> int:
        """Number of the codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 mean nothing."""
        return self._batch[22] & COMPRESSION_MASK

    @property
    def is_log_append_time(self) -> bool:
        """Whether the max timestamp, set by the leader, stands for every record's time."""
        return bool(self._batch[22] & LOG_APPEND_TIME)

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self._batch[22] & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a transaction's marker instead of a client's records."""
        return bool(self._batch[22] & CONTROL)

    @property
    def last_offset_delta(self) -> int:
        """Offset of the last record above the base offset, also if compaction removed it."""
        delta: int = _INT32.unpack_from(self._batch, 23)[0]
        return delta

    @property
    def end_offset(self) -> Offset:
        """First offset after the batch."""
        return Offset(self.base_offset + self.last_offset_delta + 1)

    @property
    def base_timestamp(self) -> int:
        """What the records' timestamps are counted from, ms; by custom the first record's."""
        timestamp: int = _INT64.unpack_from(self._batch, 27)[0]
        return timestamp

    @property
    def event_time_max(self) -> EventTimeMs:
        """Greatest event time in the batch, as the producer claims; the truth may differ."""
        return EventTimeMs(_INT64.unpack_from(self._batch, 35)[0])

    @property
    def producer_id(self) -> int:
        """Who numbered the batch, or -1: nobody; then epoch and sequence say nothing."""
        producer: int = _INT64.unpack_from(self._batch, 43)[0]
        return producer

    @property
    def producer_epoch(self) -> int:
        """Incarnation of the producer."""
        epoch: int = _INT16.unpack_from(self._batch, 51)[0]
        return epoch

    @property
    def base_sequence(self) -> int:
        """The producer's own number of the first record."""
        sequence: int = _INT32.unpack_from(self._batch, 53)[0]
        return sequence

    @property
    def record_count(self) -> int:
        """Records in the batch, as it says; fewer than offsets once it was compacted."""
        count: int = _INT32.unpack_from(self._batch, 57)[0]
        return count

    def place(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> None:
        """Write the two fields that the leader decides, in place; the checksum stays true."""
        _INT64.pack_into(self._batch, 0, base_offset)
        _INT32.pack_into(self._batch, 12, leader_epoch)

    def stamp_log_append_time(
        self, time: AppendTimeMs, checksum: Callable[[memoryview], int]
    ) -> None:
        """Make an append time every record's timestamp, in place, and seal the batch anew."""
        self._batch[22] |= LOG_APPEND_TIME
        _INT64.pack_into(self._batch, 35, time)
        _UINT32.pack_into(self._batch, CHECKSUM_AT, checksum(self.covered))


def peek_size(buffer: memoryview, position: int) -> int | None:
    """Return the bytes that the batch at a position takes; None if too few are there to tell.

    The batch itself may be cut short. A run of zeros, or of ones, is refused.

    Raises:
        MalformedError: what begins there is no record batch.
    """
    if len(buffer) - position < _PLACE.size:
        return None
    _, length, _, magic = _PLACE.unpack_from(buffer, position)
    if magic != MAGIC:
        raise MalformedError("record batch", position, f"magic {magic}, only {MAGIC} is stored")
    size: int = length + LENGTH_COUNTS_FROM
    if size < HEADER_BYTES:
        raise MalformedError("record batch", position, f"length {length}, header needs 49")
    return size


def iter_batches(buffer: memoryview) -> Iterator[memoryview]:
    """Yield each whole batch of a run, as a view; stop before one that is cut short.

    Raises:
        MalformedError: what follows the last batch yielded is no record batch.
    """
    position = 0
    while (size := peek_size(buffer, position)) is not None and size <= len(buffer) - position:
        yield buffer[position : position + size]
        position += size
