"""Reading the event times of a block of batches, in slices that never hold up the event loop.

A batch whose records cannot be read to their end, because they expand beyond the limit or are not
what the header says, has no event times: it is served as it is, but no search stops in it. Neither
does one in a record whose timestamp is -1, nor in a transaction's marker. A batch that the leader
stamped (LogAppendTime) is not decoded at all.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from logstore.batch import SLICE_RECORDS, timestamp_slices
from logstore.event_bounds import NO_EVENT_TIME, Bounds, bounds_told
from logstore.searchable import Search, Slice, Visible
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


class Scanned(NamedTuple):
    """What a block holds."""

    bounds: Bounds
    """Exact, over all of its records, also those that are not visible."""
    hit: Hit | None
    """What was chosen among the visible records."""


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
            found = yield from self._batch(batch, choose, found=found)
        return found

    def _stamped(self, header: BatchHeader, choose: Choose, *, found: Scanned) -> Scanned:
        """Return `found` with a batch of which the header tells everything."""
        bounds, hit = found
        told = bounds_told(header)
        first = max(header.base_offset, self._visible.start)
        last = Offset(min(header.end_offset, self._visible.end) - 1)
        if not told.empty and first <= last:
            hit = choose(hit, [(first, told.latest), (last, told.latest)])
        return Scanned(bounds.joined(told), hit)

    def _batch(self, batch: memoryview, choose: Choose, *, found: Scanned) -> Search[Scanned]:
        """Return `found` with one batch more; unchanged if that cannot be read to its end."""
        bounds, hit = found
        expands = BatchHeader(batch).compression != 0
        try:
            for taken in timestamp_slices(batch):
                timed = [record for record in taken if record[1] != NO_TIMESTAMP]
                if timed:
                    moments = [time for _, time in timed]
                    bounds = bounds.joined(Bounds(min(moments), max(moments)))
                    seen = _visible_of(timed, self._visible)
                    if seen:
                        hit = choose(hit, seen)
                self._decoded += len(taken)
                if self._decoded >= SLICE_RECORDS or (expands and not taken):
                    yield self._pause()
        except MalformedError:
            return found
        return Scanned(bounds, hit)

    def _pause(self) -> Slice:
        self._decoded = 0
        return Slice()


def _visible_of(timed: TimedRecords, visible: Visible) -> TimedRecords:
    start, end = visible
    if start <= timed[0][0] and timed[-1][0] < end:
        return timed
    return [record for record in timed if start <= record[0] < end]


def first_between(start: int, end: int) -> Choose:
    """Choose the first record whose event time lies in [start, end)."""

    def choose(hit: Hit | None, records: TimedRecords) -> Hit | None:
        if hit is None:
            for offset, at in records:
                if start <= at < end:
                    return Hit(offset, at)
        return hit

    return choose


def last_below(time: int) -> Choose:
    """Choose the last record whose event time lies before `time`."""

    def choose(hit: Hit | None, records: TimedRecords) -> Hit | None:
        for offset, at in reversed(records):
            if at < time:
                return Hit(offset, at)
        return hit

    return choose


def greatest(hit: Hit | None, records: TimedRecords) -> Hit | None:
    """Choose the record with the greatest event time, the first of several."""
    offset, at = max(records, key=lambda record: record[1])  # the first of several, by contract
    return Hit(offset, at) if hit is None or at > hit.time else hit
