"""When each batch of a segment was appended: one row for each change of tick or leader epoch.

Format: docs/formats/times.md, version 1. Data, not a cache (P37): each row has its own checksum,
and is durable, here or in the journal, before the records it covers are acknowledged.

Invariants:
    TIMES_OFFSETS_RISE      offsets of neighbouring rows rise.
    TIMES_NEVER_FALL        neither do append times, nor leader epochs, from row to row.
    TIMES_ARE_TICKS         append times are multiples of 10 ms.
    TIMES_COVER_OFFSET      nobody asks for an offset below the first row.
"""

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from logstore.append_clock import TICK_MS
from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset

MAGIC: Final = b"TLTIMES\0"
VERSION: Final = 1
ROW_BYTES: Final = 24
"""The head takes as many: row n begins at byte 24 * (n + 1)."""
_HEAD: Final = struct.Struct(">8sHHq")
_ROW: Final = struct.Struct(">qiq")
_CRC: Final = struct.Struct(">I")


class TimesRow(NamedTuple):
    """From this offset to the next row's: the epoch of the leader, and when it appended."""

    offset: Offset
    leader_epoch: LeaderEpoch
    append_time: AppendTimeMs


class Times:
    """The append times of one segment, in memory: 20 bytes a row. Belongs to the event loop."""

    __slots__ = ("_append_times", "_epochs", "_offsets", "base_offset")

    def __init__(self, base_offset: Offset) -> None:
        """Start empty."""
        self.base_offset = base_offset
        self._offsets = array("q")
        self._epochs = array("i")
        self._append_times = array("q")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._offsets)

    def append(self, offset: Offset, leader_epoch: LeaderEpoch, append_time: AppendTimeMs) -> bool:
        """Note a batch that was appended; tell whether that made a new row."""
        assert append_time % TICK_MS == 0, "TIMES_ARE_TICKS"
        if self._offsets:
            epoch, time = self._epochs[-1], self._append_times[-1]
            assert offset > self._offsets[-1], "TIMES_OFFSETS_RISE"
            assert append_time >= time, "TIMES_NEVER_FALL"
            assert leader_epoch >= epoch, "TIMES_NEVER_FALL"
            if append_time == time and leader_epoch == epoch:
                return False
        else:
            assert offset >= self.base_offset, "TIMES_OFFSETS_RISE"
        self._offsets.append(offset)
        self._epochs.append(leader_epoch)
        self._append_times.append(append_time)
        return True

    def row(self, row: int) -> TimesRow:
        """Return one row."""
        return TimesRow(
            Offset(self._offsets[row]),
            LeaderEpoch(self._epochs[row]),
            AppendTimeMs(self._append_times[row]),
        )

    def rows(self) -> Iterator[TimesRow]:
        """Yield every row, in the order of the log."""
        return (self.row(row) for row in range(len(self)))

    @property
    def newest(self) -> TimesRow | None:
        """The last row; None while there is none."""
        return self.row(-1) if self._offsets else None

    def at(self, offset: Offset) -> TimesRow:
        """Return the row that covers an offset; what lies behind the last batch is the caller's."""
        slot = bisect_right(self._offsets, offset)
        assert slot, "TIMES_COVER_OFFSET"
        return self.row(slot - 1)

    def first_at_or_after(self, time: int) -> Offset | None:
        """Return the base offset of the first batch appended at or after a time; None: none was."""
        slot = bisect_left(self._append_times, time)
        return Offset(self._offsets[slot]) if slot < len(self) else None

    def truncate(self, offset: Offset) -> None:
        """Forget the rows that begin at or above an offset, where the segment ends now."""
        keep = bisect_left(self._offsets, offset)
        del self._offsets[keep:], self._epochs[keep:], self._append_times[keep:]

    @property
    def file_bytes(self) -> int:
        """The size of the file that holds all rows."""
        return ROW_BYTES * (1 + len(self))

    def encode_head(self) -> bytes:
        """Return the 24 bytes before the first row."""
        return _sealed(_HEAD.pack(MAGIC, VERSION, 0, self.base_offset))

    def encode_rows(self, start: int = 0) -> bytes:
        """Return the bytes of the rows from one on; they belong at byte 24 * (start + 1)."""
        return b"".join(_sealed(_ROW.pack(*self.row(row))) for row in range(start, len(self)))


class DecodedTimes(NamedTuple):
    """What a file holds."""

    times: Times
    """The rows that are whole, in their order."""
    damaged: tuple[int, ...]
    """Numbers of the file's rows that are not, or that break its order; empty: nothing is lost.

    Closing rows are not counted.
    """
    torn_bytes: int
    """Bytes behind the last row: a write that a crash cut short."""


def decode(file: bytes, base_offset: Offset) -> DecodedTimes:
    """Return the rows that the file of a segment holds.

    Raises:
        MalformedError: the head is not one of this segment: every row of the file is lost.
    """
    head = file[:ROW_BYTES]
    if len(head) < ROW_BYTES or not _is_sealed(head):
        raise MalformedError("append times", 0, "head")
    magic, version, zero, base = _HEAD.unpack_from(head)
    if (magic, version, zero) != (MAGIC, VERSION, 0):
        raise MalformedError("append times", 0, f"magic {magic!r} version {version}")
    if base != base_offset:
        raise MalformedError("append times", 12, f"of the segment at {base}")
    times = Times(base_offset)
    damaged: list[int] = []
    for number in range(len(file) // ROW_BYTES - 1):
        row = decode_row(file[ROW_BYTES * (number + 1) : ROW_BYTES * (number + 2)])
        if row is None or not _append_checked(times, row):
            damaged.append(len(times) + len(damaged))
    return DecodedTimes(times, tuple(damaged), len(file) % ROW_BYTES)


def _append_checked(times: Times, row: TimesRow) -> bool:
    """Add a row of a file unless it cannot stand behind the ones before it."""
    newest = times.newest or TimesRow(Offset(times.base_offset - 1), row[1], row[2])
    fits = row.offset >= newest.offset and row[1:] >= newest[1:] and row[2] >= newest[2]
    if not fits or row.append_time % TICK_MS:
        return False
    if row.offset == newest.offset:
        if row[1:] == newest[1:]:
            return False
        # The one before was a closing row whose own row is lost: it says nothing of this offset.
        times.truncate(row.offset)
    times.append(*row)  # a closing row says nothing new
    return True


def encode_row(row: TimesRow) -> bytes:
    """Return the bytes of one row of the file.

    A row with the epoch and time of the one before it closes that one: every batch below its
    offset is covered. Files of flush=async topics have them, for nothing else says how far the
    rows went when the power failed.
    """
    return _sealed(_ROW.pack(*row))


def decode_row(row: bytes) -> TimesRow | None:
    """Return the row that its bytes hold; None if they are damaged, torn or were never written."""
    if len(row) != ROW_BYTES or not _is_sealed(row):
        return None
    offset, epoch, time = _ROW.unpack_from(row)
    return TimesRow(Offset(offset), LeaderEpoch(epoch), AppendTimeMs(time))


def _sealed(body: bytes) -> bytes:
    return body + _CRC.pack(crc32c(body))


def _is_sealed(row: bytes) -> bool:
    """Tell whether a row is whole. Twenty zeros have the checksum 0xbcc5563e, not zero."""
    checksum = int.from_bytes(row[_ROW.size :], "big")
    return checksum == crc32c(row[: _ROW.size])
