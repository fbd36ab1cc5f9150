"""Looking up offsets by time, exactly, on either clock (P36), and the bounds of a range of time.

Every function here is a generator that does no I/O: `logstore.searchable` says how it is driven.
Each answers for the records in [log start, `end`), where `end` is the high watermark or the last
stable offset: what lies at or above it is not looked at.

A record whose event time is -1 has none and lies in no range of event time.

An answer says `truncated` if records that it should have were removed from the front. On the event
clock it says so of any time once a segment has gone that nobody had read, or could read: too often
then, never too seldom.

Invariants:
    SEARCH_STAYS_ABOVE_LOG_START    no answer lies below the log start that the search began with.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from logstore.append_search import first_appended, last_removed
from logstore.batch import timestamp_slices
from logstore.block_scan import Hit
from logstore.event_search import (
    NEVER,
    first_event,
    last_event,
    latest_event,
    learn,
    sweep,
)
from logstore.removed import NOTHING_REMOVED
from logstore.searchable import (
    AnswerT,
    Search,
    SearchableLog,
    SegmentGone,
    Slice,
    Visible,
)
from model.ids import Offset
from model.record import BatchHeader, ClockKind, TimeRange


class Found(NamedTuple):
    """The smallest offset whose time is the one asked for, or later."""

    offset: Offset
    time: int
    """The record's time on the clock that was asked, ms."""
    truncated: bool
    """Of a time between the two, both included, a record was removed from the front, or may have
    been; asked `onward`, of that time or any later one."""


class End(NamedTuple):
    """No record below `end` is that late, as of now."""

    end: Offset
    """The high watermark, or the last stable offset: where the search ended, reading goes on."""
    truncated: bool
    """A record of that time or later was removed from the front, or may have been."""


class TimeBounds(NamedTuple):
    """Every record of a range of time lies in [start, stop); on the event clock others may too."""

    start: Offset
    stop: Offset
    truncated: bool
    """A record of the range was removed from the front, or may have been.

    On the append clock: one of the range's start or later; in a range without a start: any.
    """


def offset_for_time(
    log: SearchableLog, time: int, clock: ClockKind, *, end: Offset, onward: bool = False
) -> Search[Found | End]:
    """Find the smallest offset whose time is `time` or later.

    `onward`: who asks goes on from there, and misses every removed record that is as late.
    """
    return _settled(
        log,
        lambda: _offset_for_time(log, time, clock, end=end, onward=onward),
        lambda found: _start_of(log, found),
    )


def range_bounds(log: SearchableLog, times: TimeRange, *, end: Offset) -> Search[TimeBounds]:
    """Find the least range of offsets that begins with the first record at or after the start.

    It ends behind the last record before the end of the range; `start == stop` means no record. On
    the append clock exactly the records of the range lie between; on the event clock the reader
    leaves out the others, with `filter_range` or `TimeRange.contains`.
    """
    return _settled(
        log,
        lambda: _range_bounds(log, times, end=end),
        lambda found: found.start if found.start < found.stop else log.log_start,
    )


def max_timestamp(log: SearchableLog, *, end: Offset) -> Search[Found | End]:
    """Find the record of the greatest event time, the first of several (KIP-734)."""
    return _settled(log, lambda: _max_timestamp(log, end=end), lambda found: _start_of(log, found))


def sweep_events(log: SearchableLog) -> Search[int]:
    """Learn the event times of blocks that no query has read; return how many blocks that were.

    For when the event loop is idle; it can be dropped between any two steps.
    """
    return _settled(log, lambda: sweep(log), lambda _: log.log_start)


def learn_events(log: SearchableLog, base_offset: Offset) -> Search[None]:
    """Learn all event times of the closed segment that begins at `base_offset`, before it goes."""
    return _settled(log, lambda: learn(log, base_offset), lambda _: log.log_start)


def filter_range(batch: memoryview, earliest: int, end: int) -> Iterator[list[Offset]]:
    """Yield the offsets of a batch's records with `earliest` <= event time < `end`, in slices.

    A slice comes of at most 500 records, so that the event loop can have a turn between them.

    Raises:
        MalformedError: the records are not what the header says, or expand beyond the limit.
    """
    if not BatchHeader(batch).is_control:
        times = TimeRange(ClockKind.EVENT, earliest, end)
        for taken in timestamp_slices(batch):
            yield [offset for offset, time in taken if times.contains(time)]


def _start_of(log: SearchableLog, answer: Found | End) -> Offset:
    """Return where reading begins; an answer without a record holds wherever the log starts."""
    return answer.offset if isinstance(answer, Found) else log.log_start


def _settled(
    log: SearchableLog, search: Callable[[], Search[AnswerT]], start_of: Callable[[AnswerT], Offset]
) -> Search[AnswerT]:
    """Search until the answer holds for the log as it is then: retention goes on meanwhile."""
    while True:
        log_start = log.log_start
        try:
            answer = yield from search()
        except SegmentGone:
            yield Slice()
            continue
        start = start_of(answer)
        assert start >= log_start, "SEARCH_STAYS_ABOVE_LOG_START"
        if start >= log.log_start:
            return answer


def _offset_for_time(
    log: SearchableLog, time: int, clock: ClockKind, *, end: Offset, onward: bool = False
) -> Search[Found | End]:
    visible = Visible(log.log_start, end)
    if clock is ClockKind.EVENT:
        hit = yield from first_event(log, time, visible)
        below = None if hit is None or onward else hit.time + 1
        truncated = yield from _event_truncated(log, time, below)
    else:
        hit = yield from first_appended(log, time, visible)
        truncated = yield from _append_truncated(log, time, visible, hit=hit)
    return End(end, truncated) if hit is None else Found(*hit, truncated)


def _event_truncated(log: SearchableLog, start: int, end: int | None) -> Search[bool]:
    """Tell whether a record that was removed had an event time of [start, end), or may have had.

    Of segments that went unread nobody knows, and event times come in any order, so that no record
    that is left proves anything about them: then it is always assumed.
    """
    log_start = log.log_start
    if log_start == 0:
        return False
    if not _all_looked_at(log) or log.removed.meets(start, end):
        return True
    for segment in log.segments()[:1]:
        hidden = Visible(segment.base_offset, log_start)
        below = NEVER if end is None else end
        if (yield from first_event(log, start, hidden, below=below)) is not None:
            return True
    return False


def _all_looked_at(log: SearchableLog) -> bool:
    """Tell whether nothing was removed whose event times are not known."""
    if log.removed != NOTHING_REMOVED:
        return log.removed.unread_segments == 0
    segments = log.segments()
    return bool(segments) and segments[0].base_offset == 0


def _append_truncated(
    log: SearchableLog, time: int, visible: Visible, *, hit: Hit | None
) -> Search[bool]:
    """Tell whether a record that was removed may have been appended at `time` or later."""
    first = visible.start >= visible.end or (hit is not None and hit.offset == visible.start)
    if visible.start == 0 or not first:
        return False
    removed = yield from last_removed(log, visible.start)
    return removed is None or removed >= time


def _range_bounds(log: SearchableLog, times: TimeRange, *, end: Offset) -> Search[TimeBounds]:
    start, truncated = log.log_start, log.log_start > 0
    if times.start_ms is not None and times.clock is ClockKind.EVENT:
        hit = yield from first_event(log, times.start_ms, Visible(start, end))
        start = end if hit is None else hit.offset
        truncated = yield from _event_truncated(log, times.start_ms, times.end_ms)
    elif times.start_ms is not None:
        found = yield from _offset_for_time(log, times.start_ms, times.clock, end=end)
        start = found.offset if isinstance(found, Found) else end
        truncated = found.truncated
    stop = end
    if times.end_ms is not None:
        visible = Visible(start, end)
        if times.clock is ClockKind.EVENT:
            last = yield from last_event(log, times.end_ms, visible)
            stop = start if last is None else Offset(last.offset + 1)
        else:
            first = yield from first_appended(log, times.end_ms, visible)
            stop = end if first is None else first.offset
    return TimeBounds(min(start, end), max(min(start, end), stop), truncated)


def _max_timestamp(log: SearchableLog, *, end: Offset) -> Search[Found | End]:
    visible = Visible(log.log_start, end)
    hit = yield from latest_event(log, visible)
    if hit is None:
        return End(end, truncated=visible.start > 0)
    return Found(*hit, truncated=False)
