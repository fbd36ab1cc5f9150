"""What is known of the records that were removed from the front of a partition: their times.

An answer by time says `truncated` if a record that it should have is gone. On the append clock one
number tells, for append time never falls. Event times come in any order, so that what went is kept
as a few intervals: those of the segments, joined where they overlap or where there would be too
many. A segment full of dates in the far future stays an interval of its own and is no reason to
doubt any other answer. Of segments that went before anybody had looked at all of their event times
only the number is known: they may have held any time, and every answer by event time is in doubt
from then on. So they are read before they go, unless that is impossible or cannot wait.

Invariants:
    REMOVED_ARE_APART    intervals rise and do not overlap.
"""

from itertools import pairwise
from typing import Final, NamedTuple

from logstore.event_bounds import Bounds
from model.ids import AppendTimeMs

INTERVALS_MAX: Final = 8
"""Of one partition; beyond it the two that are nearest become one."""


class Removed(NamedTuple):
    """The segments that went, from the first on; part of the partition's checkpoint row."""

    append_time: AppendTimeMs
    """Of the last batch that went with its segment, ms; -1 while none did."""
    unread_segments: int
    """Those that went before anybody had looked at all of their event times."""
    event_times: tuple[Bounds, ...]
    """Intervals that hold the event times of all the others, in order, apart from each other."""

    def after(self, append_time: AppendTimeMs, bounds: Bounds) -> "Removed":
        """Return what is known once another segment went, of these event times."""
        if not bounds.known:
            return Removed(append_time, self.unread_segments + 1, self.event_times)
        times = self.event_times if bounds.empty else _with(self.event_times, bounds)
        assert all(a.latest < b.earliest for a, b in pairwise(times)), "REMOVED_ARE_APART"
        return Removed(append_time, self.unread_segments, times)

    def meets(self, start: int, end: int | None) -> bool:
        """Tell whether an event time of [start, end) may be among them; no end: to the last."""
        return any(
            times.latest >= start and (end is None or times.earliest < end)
            for times in self.event_times
        )


NOTHING_REMOVED: Final = Removed(AppendTimeMs(-1), 0, ())


def _with(intervals: tuple[Bounds, ...], bounds: Bounds) -> tuple[Bounds, ...]:
    """Return the intervals with another one."""
    apart: list[Bounds] = []
    for one in intervals:
        if one.latest < bounds.earliest or bounds.latest < one.earliest:
            apart.append(one)
        else:
            bounds = bounds.joined(one)
    apart = sorted([*apart, bounds])
    if len(apart) > INTERVALS_MAX:
        gaps = [after.earliest - before.latest for before, after in pairwise(apart)]
        near = gaps.index(min(gaps))
        apart[near : near + 2] = [apart[near].joined(apart[near + 1])]
    return tuple(apart)
