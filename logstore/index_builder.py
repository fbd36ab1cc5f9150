"""Making an offset index, batch by batch: while a segment is written, or from the segment again."""

from logstore.event_bounds import NO_EVENT_TIME, Bounds, bounds_told
from logstore.offset_index import OffsetIndex, Witness
from model.ids import Offset, Position
from model.record import LENGTH_COUNTS_FROM, BatchHeader


class IndexBuilder:
    """Closes a block, and adds its row, once it holds `interval_bytes` or more.

    The open block is no row yet: `floor` leads to it, and searches scan it.
    """

    __slots__ = ("_bounds", "_interval_bytes", "_offset", "_size_bytes", "_witness", "index")

    def __init__(self, index: OffsetIndex, interval_bytes: int) -> None:
        """Go on behind the rows that the index has."""
        self.index = index
        self._interval_bytes = interval_bytes
        self._offset = index.base_offset
        self._size_bytes = 0
        self._bounds = NO_EVENT_TIME
        self._witness: Witness | None = None

    @property
    def end(self) -> Position:
        """Where in the segment the next batch must begin."""
        return Position(self.index.end + self._size_bytes)

    def add(self, header: BatchHeader, bounds: Bounds | None = None) -> None:
        """Add the batch that begins at `end`. `bounds`: exact, where its records were seen.

        A batch that the leader stamped (LogAppendTime) and a transaction's marker tell their own.
        """
        if not self._size_bytes:
            self._offset = header.base_offset
        self._witness = Witness.of(header, self.end)
        self._bounds = self._bounds.joined(bounds_told(header) if bounds is None else bounds)
        self._size_bytes += header.length + LENGTH_COUNTS_FROM  # the view may be cut short
        if self._size_bytes >= self._interval_bytes:
            self.close()

    def close(self) -> None:
        """Close the open block, however short: no more batches follow in this segment."""
        if self._size_bytes:
            self.index.append_block(
                self._offset, self.index.end, self.end, bounds=self._bounds, witness=self._witness
            )
        self._open()

    def truncate(self, offset: Offset) -> None:
        """Forget the block that holds the offset, and all after it; go on at the new `end`."""
        if not self._size_bytes or offset < self._offset:
            self.index.truncate(offset)
        self._open()

    def _open(self) -> None:
        self._size_bytes = 0
        self._bounds = NO_EVENT_TIME
        self._witness = None
