"""Searching a log by append time, which never falls along it: two binary searches.

Invariants:
    TIMES_REACH_LAST_BATCH    a segment's append times reach as far as its batches.
"""

from bisect import bisect_left

from logstore.block_scan import Hit
from logstore.removed import NOTHING_REMOVED
from logstore.searchable import Search, SearchableLog, Visible, overlapping, read_times
from model.ids import AppendTimeMs, Offset


def first_appended(log: SearchableLog, time: int, visible: Visible) -> Search[Hit | None]:
    """Find the visible record of the smallest offset that was appended at `time` or later."""
    segments = overlapping(log, visible)
    slot = bisect_left(segments, time, key=lambda segment: segment.last_append_time)
    if slot == len(segments):
        return None
    times = yield from read_times(segments[slot])
    found = times.first_at_or_after(time)
    assert found is not None, "TIMES_REACH_LAST_BATCH"
    offset = max(found, visible.start)
    return Hit(offset, times.at(offset).append_time) if offset < visible.end else None


def last_removed(log: SearchableLog, log_start: Offset) -> Search[AppendTimeMs | None]:
    """Return when the record just below the log start was appended; None if nobody knows."""
    found = yield from append_time_of(log, Offset(log_start - 1))
    if found is not None or log.removed == NOTHING_REMOVED:
        return found
    return log.removed.append_time


def append_time_of(log: SearchableLog, offset: Offset) -> Search[AppendTimeMs | None]:
    """Return when the record at an offset was appended; None if no segment has it.

    Raises:
        SegmentGone: it was removed meanwhile.
    """
    for segment in overlapping(log, Visible(offset, Offset(offset + 1))):
        times = yield from read_times(segment)
        return times.at(offset).append_time
    return None
