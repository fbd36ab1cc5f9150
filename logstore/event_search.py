"""Searching a log by event time, which records carry in any order.

A segment or block whose bounds exclude an answer is passed by; of the others the records are read.
A block of unknown bounds is read whole, and its exact bounds are learned, so that every block is
read once for this reason. Of a large batch that was read, the next search reads the one stretch
that can hold its answer (`logstore.stretches`). What a producer claims in a batch's header is never
looked at.
"""

from collections.abc import Iterator
from typing import Final

from logstore.block_scan import (
    GREATEST,
    Hit,
    Scan,
    Scanned,
    Wanted,
    first_between,
    last_below,
)
from logstore.event_bounds import INT64_MAX, INT64_MIN
from logstore.index_load import load_index
from logstore.offset_index import OffsetIndex, Row
from logstore.searchable import (
    Search,
    SearchableLog,
    SearchableSegment,
    SegmentGone,
    Slice,
    Visible,
    overlapping,
    read_block,
    read_part,
)
from model.errors import MalformedError
from model.ids import Offset, Position

READ_BYTES_MAX: Final = 256 << 10
"""Neighbouring blocks of unknown bounds are read together up to this size."""
ROWS_A_SLICE: Final = 1_000
"""Of an index, before the loop may have a turn: less than a millisecond."""
NEVER: Final = INT64_MAX + 1
"""A time that no record has."""


def first_event(
    log: SearchableLog, time: int, visible: Visible, *, below: int = NEVER
) -> Search[Hit | None]:
    """Find the visible record of the smallest offset whose event time is `time` or later.

    `below`: and lies before this one.
    """
    wanted = first_between(time, below)
    for segment in overlapping(log, visible):
        known = segment.event_bounds
        if known is not None and (known.latest < time or known.earliest >= below):
            continue
        part = yield from _open(log, segment, visible)
        row = part.index.next_reaching(part.first, time)
        while row is not None and row < part.stop:
            if part.index.row(row).bounds.earliest < below:
                found = yield from part.scan_row(row, wanted)
                if found.hit is not None:
                    return found.hit
            row = part.index.next_reaching(row + 1, time)
        found = yield from part.scan_rest(wanted)
        if found.hit is not None:
            return found.hit
    return None


def last_event(log: SearchableLog, time: int, visible: Visible) -> Search[Hit | None]:
    """Find the visible record of the greatest offset whose event time lies before `time`."""
    wanted = last_below(time)
    for segment in reversed(overlapping(log, visible)):
        known = segment.event_bounds
        if known is not None and known.earliest >= time:
            continue
        part = yield from _open(log, segment, visible)
        found = yield from part.scan_rest(wanted)
        if found.hit is not None:
            return found.hit
        row = part.index.last_below(part.stop - 1, time)
        while row is not None and row >= part.first:
            found = yield from part.scan_row(row, wanted)
            if found.hit is not None:
                return found.hit
            row = part.index.last_below(row - 1, time)
    return None


def next_possible(
    log: SearchableLog, visible: Visible, *, earliest: int, below: int
) -> Search[Offset]:
    """Find where reading must go on for records with `earliest` <= event time < `below`.

    Nothing but the index is looked at: a block that cannot hold one is passed by, a block of
    unknown bounds is not. Without any, `visible.end`.
    """
    for segment in overlapping(log, visible):
        known = segment.event_bounds
        if known is not None and (known.latest < earliest or known.earliest >= below):
            continue
        part = yield from _open(log, segment, visible)
        row = part.index.next_reaching(part.first, earliest)
        looked_at = 0
        while row is not None and row < part.stop:
            block = part.index.row(row)
            if block.bounds.earliest < below:
                return max(visible.start, block.offset)
            row = part.index.next_reaching(row + 1, earliest)
            looked_at += 1
            if looked_at % ROWS_A_SLICE == 0:
                yield Slice()
                part.check_index()
        if part.has_rest:
            return max(visible.start, part.rest_after)
    return visible.end


def latest_event(log: SearchableLog, visible: Visible) -> Search[Hit | None]:
    """Find the visible record with the greatest event time, the first of several."""
    latest = INT64_MIN
    for segment in sorted(overlapping(log, visible), key=_claimed, reverse=True):
        if _claimed(segment) <= latest:
            break
        part = yield from _open(log, segment, visible)
        yield from part.learn_all()
        latest = max(latest, part.index.latest_of(part.inner))
        for row in part.edges:
            found = yield from part.scan_row(row, GREATEST)
            latest = max(latest, found.hit.time) if found.hit else latest
        found = yield from part.scan_rest(GREATEST)
        latest = max(latest, found.hit.time) if found.hit else latest
    return (yield from first_event(log, latest, visible))


def _claimed(segment: SearchableSegment) -> int:
    """Return a time that no record of the segment exceeds."""
    known = segment.event_bounds
    return INT64_MAX if known is None else known.latest


def sweep(log: SearchableLog) -> Search[int]:
    """Learn the bounds of every block that no query has read yet; return how many that were.

    For the time when the event loop has nothing to do. It can be dropped between any two steps.
    """
    everything = Visible(log.log_start, Offset(1 << 63))
    learned = 0
    for segment in overlapping(log, everything):
        if segment.event_bounds is None:
            part = yield from _open(log, segment, everything)
            learned += yield from part.learn_all()
    return learned


def learn(log: SearchableLog, base_offset: Offset) -> Search[None]:
    """Learn the bounds of every block of one closed segment, also of those below the log start.

    For the time before it goes: a sweep passes by what nobody can see.
    """
    whole = Visible(base_offset, Offset(1 << 63))
    for segment in log.segments():
        if segment.base_offset == base_offset and segment.event_bounds is None:
            part = yield from _open(log, segment, whole)
            yield from part.learn_all()


def _open(log: SearchableLog, segment: SearchableSegment, visible: Visible) -> "Search[_Part]":
    index = yield from load_index(log, segment)
    return _Part(segment, index, visible)


class _Part:
    """The rows of one segment whose blocks can hold visible records, and the bytes behind them."""

    __slots__ = (
        "_block", "_block_at", "_generation", "_rest", "_scan", "_segment", "_visible",
        "first", "index", "stop",
    )  # fmt: skip

    def __init__(self, segment: SearchableSegment, index: OffsetIndex, visible: Visible) -> None:
        """Find the first row, and the row behind the last."""
        self._segment = segment
        self._visible = visible
        self._scan = Scan(visible)
        self._generation = index.generation
        self._block: memoryview = memoryview(b"")
        self._block_at = Position(0)
        self.index = index
        rows = index.rows_within(segment.size_bytes)
        last = index.row_of(Offset(visible.end - 1))
        self.first = index.row_of(visible.start)
        self.stop = min(rows, last + 1)
        self._rest = index.end_of(rows - 1) if rows else Position(0)
        if self.stop < rows:
            self._rest = Position(segment.size_bytes)  # the end lies before it

    @property
    def edges(self) -> Iterator[int]:
        """The rows that may hold records which are not visible: the first and the last."""
        rows = dict.fromkeys((self.first, self.stop - 1))
        return (row for row in rows if self.first <= row < self.stop)

    @property
    def inner(self) -> range:
        """The rows of which every record is visible."""
        first = self.first
        if first < self.stop and self.index.row(first).offset < self._visible.start:
            first += 1
        return range(first, max(first, self.stop - 1))

    def scan_row(self, row: int, wanted: Wanted) -> Search[Scanned]:
        """Read a block, or what can matter of it. Neighbours that must be read come with it."""
        block = self.index.row(row)
        if block.bounds.known:
            found = yield from self._scan_stretches(block, wanted)
            if found is not None:
                return found
        return (yield from self._scan_whole(row, wanted))

    def _scan_stretches(self, block: Row, wanted: Wanted) -> Search[Scanned | None]:
        """Read the stretches of a batch that may hold the answer; None: read the whole block."""
        batch = self._segment.stretches(block.position)
        if batch is None or not wanted.settles:
            return None
        if batch.size_bytes != block.end - block.position:
            return None  # the index was made again, with other blocks: this one has more batches
        for stretch in batch.that_meet(wanted.times, self._visible, backward=wanted.backward):
            position = Position(block.position + stretch.position)
            end = Position(block.position + stretch.end)
            part = yield from read_part(self._segment, position, end, batch=block)
            self.check_index()
            if part is None:
                return None
            try:
                hit = yield from self._scan.stretch(part, stretch, wanted, batch=batch)
            except MalformedError:
                return None
            self.check_index()
            if hit is not None:
                return Scanned(block.bounds, hit)
        return Scanned(block.bounds, None)

    def _scan_whole(self, row: int, wanted: Wanted) -> Search[Scanned]:
        position, end = self.index.row(row)[1:3]
        if not self._block_at <= position < end <= self._block_at + len(self._block):
            run = range(row, row + 1)
            if not self.index.row(row).bounds.known:
                run = self._run_before(row) if wanted.backward else self._run_after(row)
            yield from self._read(self.index.row(run.start).position, self.index.end_of(run[-1]))
        block = self._block[position - self._block_at : end - self._block_at]
        found = yield from self._scan.block(block, wanted.choose)
        self.check_index()
        if found.stretches is not None:
            self._segment.keep_stretches(position, found.stretches)
        if not self.index.row(row).bounds.known:
            self.index.set_bounds(row, found.bounds)
            self._segment.learned()
        return found

    def scan_rest(self, wanted: Wanted) -> Search[Scanned]:
        """Read the batches behind the rows."""
        if self.has_rest:
            yield from self._read(self._rest, Position(self._segment.size_bytes))
        else:
            self._block = memoryview(b"")
        return (yield from self._scan.block(self._block, wanted.choose))

    def learn_all(self) -> Search[int]:
        """Read every block whose bounds are not known; return how many that were."""
        learned = 0
        row = self.index.next_unknown(self.first)
        while row is not None and row < self.stop:
            yield from self.scan_row(row, GREATEST)
            learned += 1
            row = self.index.next_unknown(row + 1)
        return learned

    def _read(self, position: Position, end: Position) -> Search[None]:
        self._block = yield from read_block(self._segment, position, end)
        self._block_at = position
        self.check_index()

    def _run_after(self, row: int) -> range:
        """Return the row and the neighbours behind it that are read together."""
        position = self.index.row(row).position
        stop = row + 1
        while (
            stop < self.stop
            and not self.index.row(stop).bounds.known
            and self.index.end_of(stop) - position <= READ_BYTES_MAX
        ):
            stop += 1
        return range(row, stop)

    def _run_before(self, row: int) -> range:
        """Return the neighbours before the row that are read together with it, and the row."""
        end = self.index.end_of(row)
        start = row
        while start > self.first:
            before = self.index.row(start - 1)
            if before.bounds.known or end - before.position > READ_BYTES_MAX:
                break
            start -= 1
        return range(start, row + 1)

    @property
    def has_rest(self) -> bool:
        """Whether there are bytes behind the rows in which records may be visible."""
        return self._rest < self._segment.size_bytes

    @property
    def rest_after(self) -> Offset:
        """An offset at or below the first of the bytes behind the rows."""
        rows = self.stop
        return self.index.row(rows - 1).offset if rows else self._segment.base_offset

    def check_index(self) -> None:
        """Begin again if the segment was cut: the row numbers mean something else now."""
        if self.index.generation != self._generation:
            raise SegmentGone
