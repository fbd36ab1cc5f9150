"""A segment as it was when somebody asked: what searches by time and retention look at.

What is not in memory is read in the read pool; what that brought is found again on the loop.
"""

from typing import Final

from logstore.event_bounds import Bounds
from logstore.offset_index import OffsetIndex
from logstore.read_plan import corrupt, source, verify
from logstore.replace_file import read_file
from logstore.segment import Segment
from logstore.segment_loader import load
from logstore.stretches import BatchStretches, Stretches
from logstore.times import Times
from model.errors import RequestError, StorageFailed
from model.ids import AppendTimeMs, Offset, Position
from model.ports import Disk

_NEVER: Final = -1
"""No segment's generation."""


class SegmentView:
    """What was written of one segment. Loop only, but for the methods that say READ POOL THREAD."""

    __slots__ = (
        "_disk",
        "_generation",
        "_kept",
        "_source",
        "_trust",
        "base_offset",
        "end_offset",
        "event_bounds",
        "first_append_time",
        "last_append_time",
        "live",
        "sealed",
        "size_bytes",
    )

    def __init__(
        self, disk: Disk, live: Segment, *, kept: Stretches, interval_bytes: int, end: Offset
    ) -> None:
        """Look at a segment of which everything below `end` is written."""
        self._disk = disk
        self._kept = kept
        self._generation = _NEVER if live.shrinks else live.generation
        self._trust = live.verified
        self._source = source(live, interval_bytes, live.epochs)
        self.live = live
        """The segment itself, which may have grown by now: for its log alone."""
        self.base_offset = live.base_offset
        self.end_offset = min(live.end_offset, end)
        self.size_bytes = live.written_bytes
        self.sealed = live.sealed
        self.first_append_time: AppendTimeMs = live.first_append_time
        self.last_append_time: AppendTimeMs = live.last_append_time
        bounds = live.event_bounds
        self.event_bounds: Bounds | None = bounds if bounds.known else None

    @property
    def is_current(self) -> bool:
        """Nothing of it was cut off or removed meanwhile."""
        return self._generation == self.live.generation

    def index(self) -> OffsetIndex | None:
        """Return the live index, or None if it is not in memory."""
        live = self.live
        live.adopt()
        if not live.index_whole:
            return None
        if live.index is None:
            live.index = OffsetIndex(live.base_offset)
        return live.index

    def keep_index(self, index: OffsetIndex) -> None:
        """Take over an index that a search has read or built."""
        self.live.keep_index(index)

    def learned(self) -> None:
        """Note that the index knows more event times than its file."""
        self.live.indexed_bytes = 0

    def stretches(self, position: Position) -> BatchStretches | None:
        """Return what is remembered of the batch that begins there."""
        return self.live.stretches.find(position) if self.is_current else None

    def keep_stretches(self, position: Position, found: BatchStretches) -> None:
        """Remember a batch for the next search, unless the segment was cut meanwhile."""
        if self.is_current:
            self._kept.keep(self.live.stretches, position, found)

    def times(self) -> Times | None:
        """Return the live append times, or None if they are not in memory: `load_times`."""
        live = self.live
        live.adopt()
        return live.times if live.times_whole else None

    def block_now(
        self, position: Position, end: Position, *, cut: bool = False
    ) -> memoryview | None:
        """Return verified bytes of the `.log` if no disk is needed, else None: `block`.

        Raises:
            RequestError: CORRUPT_LOG.
        """
        data = self.part_now(position, end)
        return None if data is None else self._verified(data, position, end, cut=cut)

    def block(self, position: Position, end: Position, *, cut: bool = False) -> memoryview:
        """Return verified bytes of the `.log`. READ POOL THREAD.

        Fewer of them, or none, if they were cut off meanwhile.
        `cut`: the last batch may go on behind `end`; what there is of it is not verified.

        Raises:
            RequestError: CORRUPT_LOG.
            StorageFailed: the disk refused the read, or the segment was removed meanwhile.
        """
        return self._verified(self.part(position, end), position, end, cut=cut)

    def part_now(self, position: Position, end: Position) -> bytes | bytearray | None:
        """Return any bytes of the `.log` if no disk is needed, else None: `part`.

        They are to be used only if `trusts` says so afterwards.
        """
        reader = self.live.reader
        return None if reader is None else reader.pread_cached(end - position, position)

    def part(self, position: Position, end: Position) -> bytes:
        """Return any bytes of the `.log`; see `part_now`. READ POOL THREAD.

        Raises:
            RequestError: CORRUPT_LOG, the file is missing.
            StorageFailed: the disk refused the read, or the segment was removed meanwhile.
        """
        live = self.live
        try:
            reader = live.reader
            if reader is None:
                reader = self._disk.open(live.log_name)
                if live.verified is self._trust:  # else a repair has replaced the file
                    live.reader = reader
            return reader.pread(end - position, position)
        except FileNotFoundError as gone:
            raise self._gone(gone) from gone
        except OSError as error:
            raise StorageFailed(live.log_name, error.errno or 0, "read") from error

    def trusts(self, position: Position, end: Position) -> bool:
        """Tell whether all of these bytes were verified since the segment was opened (P6)."""
        return self.live.verified.covers(position, end)

    def index_file(self) -> bytes | None:
        """Return the bytes of the `.index` file; None if there is none. READ POOL THREAD.

        One that cannot be read counts as absent: it is a cache.
        """
        try:
            return read_file(self._disk, self.live.index_name)
        except OSError:
            return None

    def load_times(self) -> None:
        """Read the append times, so that `times` has them on the loop. READ POOL THREAD.

        Raises:
            RequestError: CORRUPT_LOG, the `.log` is missing.
            StorageFailed: the disk refused the read, or the segment was removed meanwhile.
        """
        try:
            loaded = load(self._disk, self._source, with_index=False)
            if self.live.verified is self._trust:  # else a repair has replaced the file
                self.live.loaded = loaded
        except FileNotFoundError as gone:
            raise self._gone(gone) from gone
        except OSError as error:
            raise StorageFailed(self.live.times_name, error.errno or 0, "read") from error

    def _gone(self, gone: FileNotFoundError) -> RequestError | StorageFailed:
        """Return what is told of a missing `.log`: it is lost, or was removed with the segment."""
        if self.is_current:
            return corrupt(self.live, Position(0), "the file is missing")
        return StorageFailed(self.live.log_name, gone.errno or 0, "read")

    def _verified(
        self, data: bytes | bytearray, position: Position, end: Position, *, cut: bool
    ) -> memoryview:
        valid, why = verify(self.live, data, position)
        there = len(data) if cut else valid
        if not why and there < end - position and self.is_current:
            why = "the file ends"
        if why and self.is_current:
            raise corrupt(self.live, Position(position + valid), why)
        return memoryview(b"" if why else data)
