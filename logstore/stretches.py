"""Which part of a large batch can hold a record of some event time: remembered, never written.

Reading a batch of 1 MB for one record of it costs a millisecond and more. Whoever has read such a
batch to its end remembers its *stretches*, runs of neighbouring records: where each begins, and
the least and greatest event time in it. The next search reads the stretch that can hold its answer
and nothing else. What is remembered is a cache over bytes that do not change: losing it costs time.

All of it belongs to the event loop.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from logstore.event_bounds import NO_EVENT_TIME, Bounds
from model.ids import Offset, Position
from model.record import HEADER_BYTES, BatchHeader

STRETCH_BYTES: Final = 32 << 10
"""About as long is a stretch of records larger than 256 bytes: read in a few microseconds."""
STRETCH_RECORDS_MAX: Final = 128
"""Of smaller records: to decode so many takes as long as all else that a search does."""
KEPT_BYTES_MAX: Final = 16 << 20
"""Over all segments of a log directory: enough for 10 GB in batches of 1 MB, records of 1 KiB."""
_ENTRY_BYTES: Final = 400
"""What a batch takes beside its rows: objects, numbers, its place in two tables."""

_ROW: Final = struct.Struct("=IIqq")
"""Byte of the batch, offset delta of the first record, least and greatest event time. A last row
tells where the batch ends."""


class Stretch(NamedTuple):
    """Neighbouring records of one batch."""

    position: int
    """Byte of the batch at which the first begins."""
    end: int
    deltas: range
    """Their offsets, counted from the batch's."""
    bounds: Bounds
    """Exact: NO_EVENT_TIME if none of them has an event time."""


class BatchStretches:
    """All stretches of one batch, and what its header tells of its records."""

    __slots__ = ("_rows", "base_offset", "base_timestamp", "size_bytes")

    def __init__(self, header: BatchHeader, rows: bytes) -> None:
        """Take what `StretchNotes` has packed."""
        self.base_offset = header.base_offset
        self.base_timestamp = header.base_timestamp
        self.size_bytes = header.size_bytes
        self._rows = rows

    @property
    def memory_bytes(self) -> int:
        """What it takes while it is kept, about."""
        return _ENTRY_BYTES + len(self._rows)

    def that_meet(
        self, times: Bounds, offsets: tuple[Offset, Offset], *, backward: bool = False
    ) -> Iterator[Stretch]:
        """Yield, in order, the stretches that may hold a record of these times and offsets.

        `times` includes both, `offsets` the first alone. `backward`: the last stretch first.
        """
        start, stop = (offset - self.base_offset for offset in offsets)
        rows = list(pairwise(_ROW.iter_unpack(self._rows)))
        for (position, first, earliest, latest), (end, after, _, _) in (
            reversed(rows) if backward else rows
        ):
            meets = latest >= times.earliest and earliest <= times.latest
            if meets and first < stop and start < after:
                yield Stretch(position, end, range(first, after), Bounds(earliest, latest))


class StretchNotes:
    """What is noted of a batch while it is read from its first record to its last."""

    __slots__ = ("_header", "_records", "_rows", "every")

    def __init__(self, header: BatchHeader, every: int) -> None:
        """Begin before the first record of a batch of which `begin` has approved."""
        self.every = every
        """Records of a stretch; the last one may have less."""
        self._header = header
        self._records = 0
        self._rows = bytearray()

    @classmethod
    def begin(cls, header: BatchHeader) -> "StretchNotes | None":
        """Return where to note the stretches of a batch; None if that is of no use.

        Compressed records can only be read from the first. Where offsets are missing, a record's
        place does not tell its offset. And a batch of one stretch is read whole anyway.
        """
        records = header.record_count
        if header.compression or not 0 < records == header.last_offset_delta + 1:
            return None
        record_bytes = (header.size_bytes - HEADER_BYTES) // records
        every = max(1, min(STRETCH_RECORDS_MAX, STRETCH_BYTES // max(1, record_bytes)))
        return None if records <= every else cls(header, every)

    def add(self, position: int, records: int, bounds: Bounds) -> None:
        """Note the next records, `every` of them or the last ones; the first lies at `position`."""
        self._rows += _ROW.pack(position, self._records, *bounds)
        self._records += records

    def whole(self) -> BatchStretches:
        """Return what there is to remember, once the last record was read."""
        last = _ROW.pack(self._header.size_bytes, self._records, *NO_EVENT_TIME)
        return BatchStretches(self._header, bytes(self._rows + last))


class SegmentStretches:
    """What is remembered of the batches of one segment, by where they begin."""

    __slots__ = ("_batches", "_kept")

    def __init__(self) -> None:
        """Begin with nothing: a segment that is not searched costs next to no memory."""
        self._batches: OrderedDict[Position, BatchStretches] | None = None
        self._kept: Stretches | None = None

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches or ())

    def find(self, position: Position) -> BatchStretches | None:
        """Return what is remembered of the batch that begins there; it counts as used."""
        batches, kept = self._batches, self._kept
        if batches is None or kept is None or position not in batches:
            return None
        batches.move_to_end(position)
        kept.used(self)
        return batches[position]

    def forget(self) -> None:
        """Forget everything: the segment was cut, or removed."""
        if self._kept is not None:
            while self._batches:
                self._kept.memory_bytes -= self._batches.popitem()[1].memory_bytes
            self._kept.emptied(self)
        self._batches = self._kept = None

    def put(self, position: Position, found: BatchStretches, kept: "Stretches") -> None:
        """Remember a batch, in place of what is remembered of it. For `Stretches.keep` alone."""
        if self._batches is None:
            self._batches = OrderedDict()
        self._kept = kept
        before = self._batches.pop(position, None)
        if before is not None:
            kept.memory_bytes -= before.memory_bytes
        self._batches[position] = found
        kept.memory_bytes += found.memory_bytes

    def drop_oldest(self) -> int:
        """Forget the batch that was used least recently; return the bytes that were freed."""
        return self._batches.popitem(last=False)[1].memory_bytes if self._batches else 0


class Stretches:
    """What is remembered of all segments of a log directory together, up to a bound.

    Above it the segment gives way that was searched least recently, from its oldest batch on.
    """

    __slots__ = ("_bytes_max", "_segments", "memory_bytes")

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        """Begin with nothing."""
        self._bytes_max = bytes_max
        self._segments: OrderedDict[SegmentStretches, None] = OrderedDict()
        self.memory_bytes = 0

    def keep(self, segment: SegmentStretches, position: Position, found: BatchStretches) -> None:
        """Remember the batch of a segment that begins at `position`."""
        self._segments[segment] = None
        self._segments.move_to_end(segment)
        segment.put(position, found, self)
        while self.memory_bytes > self._bytes_max:
            oldest = next(iter(self._segments))
            self.memory_bytes -= oldest.drop_oldest()
            if not len(oldest):
                del self._segments[oldest]

    def used(self, segment: SegmentStretches) -> None:
        """Note that a segment was searched."""
        self._segments.move_to_end(segment)

    def emptied(self, segment: SegmentStretches) -> None:
        """Forget a segment of which nothing is remembered."""
        self._segments.pop(segment, None)
