"""Reading the event times of a block of batches, in slices that never hold up the event loop.

A batch whose records cannot be read to their end, because they expand beyond the limit or are not
what the header says, has no event times: it is served as it is, but no search stops in it. Neither
does one in a record whose timestamp is -1, nor in a transaction's marker. A batch that the leader
stamped (LogAppendTime) is not decoded at all.

Of a block that is one large batch the stretches are noted on the way (`logstore.stretches`), and
the next search reads one of those.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from logstore.batch import SLICE_RECORDS, placed_timestamps
from logstore.batch_records import RecordCursor
from logstore.event_bounds import INT64_MIN, NO_EVENT_TIME, UNKNOWN, Bounds, bounds_told
from logstore.searchable import Search, Slice, Visible
from logstore.stretches import BatchStretches, Stretch, StretchNotes
from model.errors import MalformedError
from model.ids import Offset
from model.record import NO_TIMESTAMP, BatchHeader, iter_batches


class Hit(NamedTuple):
    """A record, and its time on the clock that is searched."""

    offset: Offset
    time: int


TimedRecords: TypeAlias = list[tuple[Offset, int]]
Choose: TypeAlias = Callable[[Hit | None, TimedRecords], Hit | None]
"""Takes the choice so far and the next visible records with event time, in the order of the log;
returns the better choice."""


class Wanted(NamedTuple):
    """Which record a search wants."""

    choose: Choose
    times: Bounds = UNKNOWN
    """A record of another time, both included, is never chosen."""
    settles: bool = True
    """The first that is found, or the last, is the answer: no other need be looked at."""
    backward: bool = False
    """It is the last."""


class Scanned(NamedTuple):
    """What a block holds."""

    bounds: Bounds
    """Exact, over all of its records, also those that are not visible."""
    hit: Hit | None
    """What was chosen among the visible records."""
    stretches: BatchStretches | None = None
    """To be remembered, if the block is one batch of several."""


NOTHING: Final = Scanned(NO_EVENT_TIME, None)


class Scan:
    """One pass over blocks: what was found so far, and when to give the event loop a turn."""

    __slots__ = ("_decoded", "_visible")

    def __init__(self, visible: Visible) -> None:
        """Begin; records outside `visible` are read for their times, and never chosen."""
        self._visible = visible
        self._decoded = 0  # records since the last step

    def block(self, block: memoryview, choose: Choose) -> Search[Scanned]:
        """Read every batch of a block; at most 500 records are decoded between two steps."""
        found = NOTHING
        for batch in iter_batches(block):
            header = BatchHeader(batch)
            if bounds_told(header).known:
                found = self._stamped(header, choose, found=found)
                continue
            if self._decoded + min(header.record_count, SLICE_RECORDS) > SLICE_RECORDS:
                yield self._pause()
            notes = StretchNotes.begin(header) if len(batch) == len(block) else None
            found = yield from self._batch(batch, choose, found=found, notes=notes)
        return found

    def stretch(
        self, data: memoryview, stretch: Stretch, wanted: Wanted, *, batch: BatchStretches
    ) -> Search[Hit | None]:
        """Read the bytes of one stretch of a batch; return the record that is wanted.

        Raises:
            MalformedError: it does not hold what it did when it was noted.
        """
        if self._decoded + len(stretch.deltas) > SLICE_RECORDS:
            yield self._pause()
        self._decoded += len(stretch.deltas)
        base = (batch.base_offset, batch.base_timestamp)
        cursor = RecordCursor.within(bytes(data), stretch.deltas, base=base)
        timed = _with_time(cursor.take_times(cursor.left))
        cursor.finish()
        if _bounds_of(timed) != stretch.bounds:
            raise MalformedError("records", stretch.position, "other event times than before")
        seen = _visible_of(timed, self._visible) if timed else timed
        return wanted.choose(None, seen) if seen else None

    def _stamped(self, header: BatchHeader, choose: Choose, *, found: Scanned) -> Scanned:
        """Return `found` with a batch of which the header tells everything."""
        bounds, hit, _ = found
        told = bounds_told(header)
        first = max(header.base_offset, self._visible.start)
        last = Offset(min(header.end_offset, self._visible.end) - 1)
        if not told.empty and first <= last:
            hit = choose(hit, [(first, told.latest), (last, told.latest)])
        return Scanned(bounds.joined(told), hit)

    def _batch(
        self, batch: memoryview, choose: Choose, *, found: Scanned, notes: StretchNotes | None
    ) -> Search[Scanned]:
        """Return `found` with one batch more; unchanged if that cannot be read to its end."""
        bounds, hit, _ = found
        expands = BatchHeader(batch).compression != 0
        every = SLICE_RECORDS if notes is None else notes.every
        try:
            for position, taken in placed_timestamps(batch, every=every):
                timed = _with_time(taken)
                told = _bounds_of(timed)
                if timed:
                    bounds = bounds.joined(told)
                    seen = _visible_of(timed, self._visible)
                    if seen:
                        hit = choose(hit, seen)
                if notes is not None and taken:
                    notes.add(position, len(taken), told)
                self._decoded += len(taken)
                fits = self._decoded + every <= SLICE_RECORDS or len(taken) < every
                if not fits or (expands and not taken):
                    yield self._pause()
        except MalformedError:
            return found
        return Scanned(bounds, hit, None if notes is None else notes.whole())

    def _pause(self) -> Slice:
        self._decoded = 0
        return Slice()


def _with_time(records: Iterable[tuple[Offset, int]]) -> TimedRecords:
    return [record for record in records if record[1] != NO_TIMESTAMP]


def _bounds_of(timed: TimedRecords) -> Bounds:
    if not timed:
        return NO_EVENT_TIME
    moments = [time for _, time in timed]
    return Bounds(min(moments), max(moments))


def _visible_of(timed: TimedRecords, visible: Visible) -> TimedRecords:
    start, end = visible
    if start <= timed[0][0] and timed[-1][0] < end:
        return timed
    return [record for record in timed if start <= record[0] < end]


def first_between(start: int, end: int) -> Wanted:
    """Want the first record whose event time lies in [start, end)."""

    def choose(hit: Hit | None, records: TimedRecords) -> Hit | None:
        if hit is None:
            for offset, at in records:
                if start <= at < end:
                    return Hit(offset, at)
        return hit

    return Wanted(choose, Bounds(start, end - 1))


def last_below(time: int) -> Wanted:
    """Want the last record whose event time lies before `time`."""

    def choose(hit: Hit | None, records: TimedRecords) -> Hit | None:
        for offset, at in reversed(records):
            if at < time:
                return Hit(offset, at)
        return hit

    return Wanted(choose, Bounds(INT64_MIN, time - 1), backward=True)


def _greatest(hit: Hit | None, records: TimedRecords) -> Hit | None:
    offset, at = max(records, key=lambda record: record[1])  # the first of several, by contract
    return Hit(offset, at) if hit is None or at > hit.time else hit


GREATEST: Final = Wanted(_greatest, settles=False)
"""Want the record with the greatest event time, the first of several."""
