"""One segment of a partition, in memory: where it begins and ends, its rows, and when to roll.

The `.log` file holds record batches and nothing else (docs/formats/segment.md). What a segment
knows of the time before this start, the rows of its `.index` and `.times`, is read when somebody
asks for it: an idle partition costs no file and next to no memory.

Invariants:
    SEGMENT_LOADED_WHOLE    rows that are read fit exactly before the rows made since the start.
"""

from typing import Final

from logstore.checkpoint import NO_TIME, SegmentRow
from logstore.event_bounds import NO_EVENT_TIME, UNKNOWN, Bounds
from logstore.leader_epochs import LeaderEpochs
from logstore.offset_index import OffsetIndex, Witness
from logstore.paths import INDEX, LOG, TIMES, by_offset
from logstore.recovery_report import Finding
from logstore.segment_loader import Loaded
from logstore.stretches import SegmentStretches
from logstore.times import ROW_BYTES, Times, TimesRow
from logstore.verified import Verified
from model.ids import AppendTimeMs, LeaderEpoch, Offset, Position
from model.ports import File
from model.record import BatchHeader

OFFSETS_MAX: Final = 1 << 31
"""Offsets of a segment, relative to its base, stay below: Kafka's tools read them as int32."""


CUT: Final = -1
"""Durable length of a file that was cut: whatever it is now, it must be synced."""


class Segment:
    """Loop only.

    But for `reader`, `loaded`, `verified` and `damage`: single assignments, from any thread; what
    gets lost when two meet is found again.
    """

    __slots__ = (
        "_block_bounds", "_block_offset", "_block_position", "_last_batch", "_last_position",
        "base_offset", "bounds_before", "damage", "directory", "durable_bytes",
        "durable_times_bytes", "end_offset", "epochs", "first_append_time", "generation", "guessed",
        "index", "index_whole", "indexed_bytes", "last_append_time", "loaded", "log_name",
        "opened_bytes", "opened_offset", "opened_times_bytes", "reader", "sealed", "shrinks",
        "size_bytes", "stretches", "times", "times_bytes", "times_filed", "times_whole", "verified",
        "written_bytes", "written_times_bytes",
    )  # fmt: skip

    def __init__(self, directory: str, base_offset: Offset) -> None:
        """Begin a new segment, empty; its files are made when something is written."""
        self.directory = directory
        self.base_offset = base_offset
        self.log_name = f"{directory}/{by_offset(base_offset, LOG)}"
        """Name of the `.log` file; kept, for every commit round asks for it."""
        self.end_offset = self.opened_offset = self._block_offset = base_offset
        self.size_bytes = 0
        """Of the `.log`, batches that are only in memory included."""
        self.written_bytes = self.durable_bytes = 0
        """Of the `.log`, without them; and as far as a checkpoint knows of it."""
        self.times_bytes = self.written_times_bytes = self.durable_times_bytes = 0
        """Of the `.times` file, rows that a round under way will write included; without those,
        what a checkpoint may speak of; and as far as one knows of it."""
        self.times_filed = 0
        """Rows of `times` that are in the file."""
        self.indexed_bytes = 0
        """How far the `.index` file describes the segment."""
        self.first_append_time = self.last_append_time = NO_TIME
        # It shrinks while a cut is under way: its files may be shorter than what is known here.
        self.sealed = self.shrinks = False
        self.guessed: tuple[Offset, Offset] | None = None
        """The first and the last batch whose append time was lost and is made up: see `guesses`."""
        self.generation = 0
        """Counts what takes batches away: being cut, from its announcement on, being removed."""
        self.opened_bytes = self.opened_times_bytes = 0
        self.bounds_before: Bounds = NO_EVENT_TIME
        """Event times below `opened_bytes`."""
        self.times: Times | None = None
        self.index: OffsetIndex | None = None
        self.index_whole = self.times_whole = True
        """They describe the segment from its first batch on, and not only since this start."""
        self.loaded: Loaded | None = None
        """Read by the pool, and not yet joined with what came since."""
        self.damage: tuple[Finding, ...] = ()
        """Found and not reported yet: made-up append times, batches that cannot be served."""
        self.epochs: LeaderEpochs | None = None
        """The log's: which epoch each batch is of, for no checksum covers what it says itself."""
        self.reader: File | None = None
        self.verified, self.stretches = Verified(), SegmentStretches()
        self._block_position = self._last_position = 0
        self._block_bounds: Bounds = NO_EVENT_TIME
        self._last_batch: bytearray | None = None

    @classmethod
    def opened(cls, directory: str, row: SegmentRow, end_offset: Offset) -> "Segment":
        """Return a segment as the last checkpoint describes it: all of it is durable."""
        segment = cls(directory, row.base_offset)
        segment.end_offset = segment.opened_offset = end_offset
        segment.size_bytes = segment.written_bytes = segment.durable_bytes = row.size_bytes
        segment.opened_bytes = segment._block_position = row.size_bytes
        segment._block_offset = end_offset
        segment.times_bytes = segment.durable_times_bytes = row.times_bytes
        segment.written_times_bytes = row.times_bytes
        segment.opened_times_bytes = row.times_bytes
        segment.indexed_bytes = row.size_bytes
        segment.first_append_time = row.first_append_time
        segment.last_append_time = row.last_append_time
        segment.bounds_before = row.event_bounds if row.size_bytes else NO_EVENT_TIME
        segment.index_whole = segment.times_whole = not row.size_bytes
        return segment

    @property
    def times_name(self) -> str:
        """Name of the `.times` file."""
        return f"{self.directory}/{by_offset(self.base_offset, TIMES)}"

    @property
    def index_name(self) -> str:
        """Name of the `.index` file."""
        return f"{self.directory}/{by_offset(self.base_offset, INDEX)}"

    @property
    def event_bounds(self) -> Bounds:
        """Event times of all records; UNKNOWN as long as some were not looked at."""
        index = self.index
        bounds = index.bounds if index is not None and len(index) else NO_EVENT_TIME
        if not self.index_whole:
            bounds = bounds.joined(self.bounds_before)
        return bounds.joined(self._block_bounds) if self._open_block() else bounds

    def row(self, size_bytes: int, times_bytes: int, last: AppendTimeMs) -> SegmentRow:
        """Return the checkpoint's row for the first `size_bytes` of the segment."""
        if not size_bytes:
            return SegmentRow(self.base_offset, 0, times_bytes, NO_TIME, NO_TIME, UNKNOWN)
        return SegmentRow(
            self.base_offset,
            size_bytes,
            times_bytes,
            self.first_append_time,
            last,
            self.event_bounds,
        )

    def begin_run(self, offset: Offset, leader_epoch: LeaderEpoch, now: AppendTimeMs) -> None:
        """Note that batches of another tick or epoch begin."""
        times = self.times
        if times is None:
            times = self.times = Times(self.base_offset)
        times.append(offset, leader_epoch, now)
        if self.first_append_time == NO_TIME:
            self.first_append_time = now
        self.last_append_time = now

    def add(
        self, batch: bytearray, offset: Offset, end_offset: Offset, *, interval: int, bounds: Bounds
    ) -> None:
        """Add a batch behind the last one; `bounds`: event times of its records."""
        position = self.size_bytes
        size = position + len(batch)
        self.size_bytes = size
        self.end_offset = end_offset
        if position == self._block_position:
            self._block_offset = offset
            self._block_bounds = bounds
        elif bounds is not UNKNOWN or self._block_bounds is not UNKNOWN:
            self._block_bounds = self._block_bounds.joined(bounds)
        self._last_batch = batch
        self._last_position = position
        if size - self._block_position >= interval:
            self.close_block()

    def add_all(
        self, batches: list[bytearray], offsets: list[Offset], end_offset: Offset, *, interval: int
    ) -> None:
        """Add batches behind the last one, as `add` does, whose event times nobody knows.

        `offsets`: where each begins; `end_offset`: where the last one ends.
        """
        size, block = self.size_bytes, self._block_position
        ends = [*offsets[1:], end_offset]
        self._block_bounds = UNKNOWN
        for batch, offset, end in zip(batches, offsets, ends, strict=True):
            if size == block:
                self._block_offset, self._block_bounds = offset, UNKNOWN
            position = size
            size += len(batch)
            if size - block >= interval:
                self._ends_with(batch, position, end)
                self.close_block()
                block = size
        if size > block:
            self._ends_with(batches[-1], size - len(batches[-1]), end_offset)

    def _ends_with(self, batch: bytearray, position: int, end_offset: Offset) -> None:
        self.size_bytes, self.end_offset = position + len(batch), end_offset
        self._last_batch, self._last_position = batch, position

    def close_block(self) -> None:
        """Add the index row of the open block, however short it is."""
        if not self._open_block():
            return
        index = self.index
        if index is None:
            index = self.index = OffsetIndex(self.base_offset)
            index.end = Position(self._block_position)
        batch = self._last_batch
        assert batch is not None, "SEGMENT_LOADED_WHOLE"
        witness = Witness.of(
            BatchHeader.of_checked(memoryview(batch)), Position(self._last_position)
        )
        index.append_block(
            self._block_offset,
            Position(self._block_position),
            Position(self.size_bytes),
            bounds=self._block_bounds,
            witness=witness,
        )
        self._block_position = self.size_bytes
        self._block_offset = self.end_offset
        self._block_bounds = NO_EVENT_TIME
        self._last_batch = None

    def adopt(self) -> None:
        """Join what the pool has read with what came since."""
        loaded, self.loaded = self.loaded, None
        if loaded is None or self.shrinks:
            return
        if loaded.index is not None:
            self.keep_index(loaded.index)
        if self.times_whole:
            return  # what the file lacks of them, or lacked, was never missing here
        self.damage += loaded.damage
        if loaded.guessed is not None:
            spans = (loaded.guessed, self.guessed or loaded.guessed)
            self.guessed = min(first for first, _ in spans), max(last for _, last in spans)
        self._keep_times(loaded.times)

    def keep_index(self, found: OffsetIndex) -> None:
        """Take over the rows of an index that was read or built from the segment's start.

        It may end before or behind the place where this start took the segment over; its rows are
        used up to there.
        """
        if self.index_whole:
            return
        index = OffsetIndex(self.base_offset)
        bridge = max(self.base_offset, self.opened_offset - 1)
        for row in found.rows():
            if row.end > self.opened_bytes:
                bridge = row.offset
                break
            index.append_block(row.offset, row.position, row.end, bounds=row.bounds)
        if index.end < self.opened_bytes:
            # At worst too high an offset: a search then begins one block earlier.
            index.append_block(Offset(bridge), index.end, Position(self.opened_bytes))
        elif found.end == self.opened_bytes:
            index.witness = found.witness
        assert index.end == self.opened_bytes, "SEGMENT_LOADED_WHOLE"
        if self.index is not None:
            for row in self.index.rows():
                index.append_block(row.offset, row.position, row.end, bounds=row.bounds)
            index.witness = self.index.witness
        self.index, self.index_whole = index, True

    def _keep_times(self, found: Times) -> None:
        """Join rows that were read with those made since; where they overlap, these count."""
        fresh = self.times
        if fresh is not None and len(fresh):
            found.truncate(fresh.row(0).offset)
        filed = len(found)
        for number, row in enumerate(fresh.rows() if fresh is not None else ()):
            found.append(*row)
            if number < self.times_filed:
                filed = len(found)
        self.times, self.times_filed, self.times_whole = found, filed, True

    def forget_rows(self) -> None:
        """Give back the memory of a sealed segment whose rows are all in its files."""
        if self.sealed and self.durable_bytes == self.size_bytes:
            self.bounds_before = self.event_bounds
            self.opened_bytes = self.size_bytes
            self.opened_offset = self.end_offset
            self.opened_times_bytes = self.times_bytes
            self.index = self.times = self.loaded = None
            self.times_filed = 0
            self.index_whole = self.times_whole = not self.size_bytes

    def seal(self) -> None:
        """Take no more batches."""
        self.sealed = True
        self.close_block()

    def cut(
        self,
        end_offset: Offset,
        size_bytes: int,
        times_bytes: int,
        *,
        last_append_time: AppendTimeMs | None,
    ) -> None:
        """End here: the writer has cut the files to these lengths. Seals the segment.

        `last_append_time`: of the last row that the file has now.
        """
        bounds = self.event_bounds
        self.end_offset = self.opened_offset = end_offset
        self.size_bytes = self.written_bytes = self.opened_bytes = size_bytes
        self._block_position = size_bytes
        self.times_bytes = self.written_times_bytes = times_bytes
        self.opened_times_bytes = min(self.opened_times_bytes, times_bytes)
        if self.times is not None:
            self.times.truncate(end_offset)
            self.times_filed = min(self.times_filed, len(self.times))
        newest = self.times.newest if self.times is not None else None
        last = last_append_time if newest is None else newest.append_time
        if last is not None:
            self.last_append_time = last
        self.durable_bytes = self.durable_times_bytes = CUT
        self.indexed_bytes = 0
        self.bounds_before = bounds
        self.index, self.index_whole = None, False
        self.loaded, self.sealed, self.shrinks = None, True, False
        self.verified = Verified()
        self.stretches.forget()

    def resized(self, size_bytes: int, times_bytes: int) -> None:
        """Have files of these lengths, soon: others take the place of damaged ones. If sealed."""
        self.size_bytes = self.written_bytes = self.opened_bytes = size_bytes
        self._block_position, self.opened_offset = size_bytes, self.end_offset
        self.times_bytes = self.written_times_bytes = self.opened_times_bytes = times_bytes
        self.index = self.loaded = None
        self.index_whole = False
        if not self.times_whole:  # else they are right, which the file of now would not be
            self.times, self.times_filed = None, 0

    def unfiled_rows(self, below: Offset) -> bytes:
        """Return the `.times` rows that are not in the file and begin below an offset."""
        times = self.times
        if times is None:
            return b""
        count = self.times_filed
        while count < len(times) and times.row(count).offset < below:
            count += 1
        if count == self.times_filed:
            return b""
        rows = times.encode_rows(self.times_filed)[: (count - self.times_filed) * ROW_BYTES]
        head = b"" if self.times_bytes else times.encode_head()
        self.times_filed = count
        self.times_bytes += len(head) + len(rows)
        return head + rows

    def block_of(self, offset: Offset) -> tuple[Position, Offset] | None:
        """Return a batch boundary at or before an offset; None if the rows must be read first.

        And the offset that the batch there begins at, or one above it.
        """
        if offset >= self._block_offset and self._open_block():
            return Position(self._block_position), self._block_offset
        self.adopt()
        index = self.index
        if self.index_whole:
            return (Position(0), self.base_offset) if index is None else index.block_of(offset)
        if offset < self.opened_offset:
            return None
        if index is None or not len(index) or index.row(0).offset > offset:
            return Position(self.opened_bytes), self.opened_offset
        return index.block_of(offset)

    def block_behind(self, position: Position) -> Offset:
        """Return where the first block behind a byte begins, or the end; `block_of` comes first."""
        found = None if self.index is None else self.index.behind(position)
        if found is None and self._open_block() and self._block_position > position:
            return self._block_offset
        return self.end_offset if found is None else found

    def times_at(self, offset: Offset) -> TimesRow | None:
        """Return the row that covers an offset; None if it must be read first."""
        self.adopt()
        times = self.times
        if times is None or not len(times) or times.row(0).offset > offset:
            return None
        return times.at(offset)

    def guesses(self, base_offset: Offset) -> bool:
        """Tell whether the append time of a batch may be made up: another replica may have it."""
        return self.guessed is not None and self.guessed[0] <= base_offset <= self.guessed[1]

    def remove(self) -> None:
        """Hold no file open: it goes."""
        self.generation += 1
        self.reader = None
        self.stretches.forget()

    def _open_block(self) -> bool:
        return self.size_bytes > self._block_position
