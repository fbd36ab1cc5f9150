"""Where in a segment an offset lies, and between which event times the records of each block lie.

Format: docs/formats/offset_index.md, version 1. A pure cache (P37): written whole, read whole,
thrown away and rebuilt from the segment if anything about it is wrong. Losing it changes no answer.
It belongs to the event loop: other threads are given `encode()`.

Invariants:
    INDEX_OFFSETS_RISE      offsets of neighbouring rows rise.
    INDEX_POSITIONS_RISE    each block begins where the one before ended.
    INDEX_OFFSET_FITS       every offset lies less than 2**32 above the segment's base.
    INDEX_HAS_WITNESS       a file names the last batch that it describes.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from operator import ge
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from logstore.event_bounds import INT64_MIN, UNKNOWN, Bounds, EventBounds
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset, Position
from model.record import BatchHeader

MAGIC: Final = b"TLOFFIDX"
VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHHIqIIiI")
_CRC: Final = struct.Struct(">I")
_ROW_BYTES: Final = 24
_UINT32: Final = next(code for code in "IL" if array(code).itemsize == 4)


class Row(NamedTuple):
    """One block of batches: bytes from `position` to `end`."""

    offset: Offset
    position: Position
    end: Position
    bounds: Bounds


class Witness(NamedTuple):
    """The last batch that an index describes, by what no other batch at its place shares.

    An index file is never synced, the segment is: after a power cut the file may describe a tail
    that the segment lost, and other batches lie there now. They carry a higher leader epoch.
    """

    position: Position
    leader_epoch: LeaderEpoch
    crc32c: int

    @classmethod
    def of(cls, header: BatchHeader, position: Position) -> "Witness":
        """Return what to remember of the batch at a position."""
        return cls(position, header.leader_epoch, header.crc32c)


class OffsetIndex:
    """The index of one segment, in memory: 24 bytes and a half for each block of the segment."""

    __slots__ = ("_bounds", "_offsets", "_positions", "base_offset", "end", "generation", "witness")

    def __init__(self, base_offset: Offset) -> None:
        """Start empty."""
        self.base_offset = base_offset
        self.end = Position(0)
        """The byte of the segment up to which the rows describe it; the rest is scanned."""
        self.witness: Witness | None = None
        """The batch that ends at `end`; None if it is not known: then there is no file."""
        self.generation = 0
        """Counts the truncations: a row number means nothing across one."""
        self._offsets = array(_UINT32)
        self._positions = array(_UINT32)
        self._bounds = EventBounds()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._offsets)

    @property
    def bounds(self) -> Bounds:
        """Event times of all blocks together; UNKNOWN as long as one of them is."""
        return self._bounds.whole

    @property
    def writable(self) -> bool:
        """Whether it can go into a file."""
        return self.witness is not None or not len(self)

    def append_block(
        self,
        offset: Offset,
        position: Position,
        end: Position,
        *,
        bounds: Bounds = UNKNOWN,
        witness: Witness | None = None,
    ) -> None:
        """Add the block that was written last; `witness` is its last batch."""
        relative = offset - self.base_offset
        assert 0 <= relative < 1 << 32, "INDEX_OFFSET_FITS"
        assert not self._offsets or relative > self._offsets[-1], "INDEX_OFFSETS_RISE"
        assert position == self.end < end, "INDEX_POSITIONS_RISE"
        self._offsets.append(relative)
        self._positions.append(position)
        self._bounds.append(bounds)
        self.end = end
        self.witness = witness

    def row(self, row: int) -> Row:
        """Return one row."""
        offset = Offset(self.base_offset + self._offsets[row])
        return Row(offset, Position(self._positions[row]), self.end_of(row), self._bounds[row])

    def rows(self) -> Iterator[Row]:
        """Yield every row, in the order of the log."""
        return (self.row(row) for row in range(len(self)))

    def end_of(self, row: int) -> Position:
        """Return the byte after one block."""
        return Position(self._positions[row + 1]) if row + 1 < len(self) else self.end

    def row_of(self, offset: Offset) -> int:
        """Return the row whose block holds an offset, or the last; 0 if it lies below all.

        An offset above the last block may still lie behind the rows: compare with `end`.
        """
        slot = bisect_right(self._offsets, offset - self.base_offset)
        return max(0, slot - 1)

    def rows_within(self, size_bytes: int) -> int:
        """Return how many blocks end at or before a byte: what a view of that size knew."""
        if self.end <= size_bytes:
            return len(self)
        return bisect_right(self._positions, size_bytes) - 1

    def floor(self, offset: Offset) -> Position:
        """Return where to start reading for an offset: a batch at or below it begins there."""
        return self.block_of(offset)[0]

    def block_of(self, offset: Offset) -> tuple[Position, Offset]:
        """Return where to start reading for an offset, and what the batch there begins at.

        Or at less: the offset of a block that was made up may be too high, and never too low.
        """
        if not len(self):
            return Position(0), self.base_offset
        row = self.row_of(offset)
        return Position(self._positions[row]), Offset(self.base_offset + self._offsets[row])

    def behind(self, position: Position) -> Offset | None:
        """Return where the first block behind a byte begins; None if there is none."""
        row = bisect_right(self._positions, position)
        return Offset(self.base_offset + self._offsets[row]) if row < len(self) else None

    def set_bounds(self, row: int, bounds: Bounds) -> None:
        """Learn the exact bounds of a block, by whoever read all of its records."""
        self._bounds.narrow(row, bounds)

    def next_reaching(self, row: int, time: int) -> int | None:
        """Return the first row at or after `row` that may hold an event time >= `time`."""
        return self._bounds.next_reaching(row, time)

    def last_below(self, row: int, time: int) -> int | None:
        """Return the last row at or before `row` that may hold an event time < `time`."""
        return self._bounds.last_below(row, time)

    def next_unknown(self, row: int) -> int | None:
        """Return the first row at or after `row` whose bounds are not known."""
        return self._bounds.next_unknown(row)

    def latest_of(self, rows: range) -> int:
        """Return the greatest event time of some neighbouring rows; INT64_MIN if they have none."""
        return max(self._bounds.columns[1][rows.start : rows.stop], default=INT64_MIN)

    def truncate(self, offset: Offset) -> None:
        """Forget the block that holds the offset, and all after it."""
        keep = max(0, bisect_right(self._offsets, offset - self.base_offset) - 1)
        if keep == len(self):
            return
        self.end = Position(self._positions[keep])
        self.witness = None
        self.generation += 1
        del self._offsets[keep:], self._positions[keep:]
        self._bounds.truncate(keep)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        assert self.writable, "INDEX_HAS_WITNESS"
        witness = self.witness or Witness(Position(0), LeaderEpoch(0), 0)
        head = _HEAD.pack(
            MAGIC, VERSION, 0, len(self), self.base_offset, self.end, *witness
        )  # fmt: skip
        columns = (self._offsets, self._positions, *self._bounds.columns)
        body = b"".join(_big_endian(column).tobytes() for column in columns)
        return b"".join((head, _CRC.pack(crc32c(body, crc32c(head))), body))

    @classmethod
    def decode(cls, file: bytes, base_offset: Offset) -> "OffsetIndex":
        """Return the index that the file of a segment holds.

        Whether it still fits the segment, its `witness` tells.

        Raises:
            MalformedError: another magic, version or segment, a wrong size or checksum. Rebuild it.
        """
        start = _HEAD.size + _CRC.size
        if len(file) < start:
            raise MalformedError("offset index", 0, f"{len(file)} bytes")
        magic, version, zero, count, base, end, *witness = _HEAD.unpack_from(file)
        if (magic, version, zero) != (MAGIC, VERSION, 0):
            raise MalformedError("offset index", 0, f"magic {magic!r} version {version}")
        if len(file) != start + count * _ROW_BYTES:
            raise MalformedError("offset index", start, f"{len(file)} bytes for {count} rows")
        body = memoryview(file)[start:]
        if _CRC.unpack_from(file, _HEAD.size)[0] != crc32c(body, crc32c(file[: _HEAD.size])):
            raise MalformedError("offset index", _HEAD.size, "checksum")
        if base != base_offset:
            raise MalformedError("offset index", 16, f"of the segment at {base}")
        index = cls(base_offset)
        if count:
            index.end = Position(end)
            index.witness = Witness(*witness)
        index._offsets = _column(_UINT32, body[: 4 * count])
        index._positions = _column(_UINT32, body[4 * count : 8 * count])
        for column, limit in ((index._offsets, 1 << 32), (index._positions, end)):
            if any(map(ge, column, column[1:])) or (count and column[-1] >= limit):
                raise MalformedError("offset index", start, "rows out of order")
        index._bounds.extend(
            _column("q", body[8 * count : 16 * count]), _column("q", body[16 * count :])
        )
        return index


def _big_endian(column: "array[int]") -> "array[int]":
    """Return the same bytes as the file has them: a copy where this machine is little-endian."""
    if sys.byteorder == "little":
        column = column[:]
        column.byteswap()
    return column


def _column(code: str, file: memoryview) -> "array[int]":
    column: array[int] = array(code)
    column.frombytes(file)
    return _big_endian(column)
