"""Between which event times the records of each block lie, and which block to look at next.

Exact bounds of a block come from encoding it here, from the sweep, or from the first query that
reads it; until then they are the widest. Two summary levels above the rows, each taking 64 of the
level below, find the next row that can matter in a few dozen comparisons, and follow a row whose
bounds become known without touching the others.

Invariants:
    BOUNDS_ONLY_NARROW    what is known of a block lies within what was known before.
"""

from array import array
from collections.abc import Callable, Iterable
from operator import ge, lt
from typing import Final, NamedTuple

from model.record import NO_TIMESTAMP, BatchHeader

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_FANOUT_BITS: Final = 6
_FANOUT: Final = 1 << _FANOUT_BITS
_SUMMARIES: Final = 2
"""Levels above the rows: 64 * 64 rows an entry, 256 entries for a segment of 4 GiB."""


class Bounds(NamedTuple):
    """Least and greatest event time of some records, both included, ms; never too narrow."""

    earliest: int
    latest: int

    @property
    def known(self) -> bool:
        """Whether they say anything; else the records must be read."""
        return self != UNKNOWN

    @property
    def empty(self) -> bool:
        """Whether none of the records has an event time."""
        return self.earliest > self.latest

    def joined(self, other: "Bounds") -> "Bounds":
        """Return the bounds of both together."""
        return Bounds(min(self.earliest, other.earliest), max(self.latest, other.latest))


UNKNOWN: Final = Bounds(INT64_MIN, INT64_MAX)
NO_EVENT_TIME: Final = Bounds(INT64_MAX, INT64_MIN)
"""Nothing joined so far, or no record has an event time."""


def bounds_told(header: BatchHeader) -> Bounds:
    """Return what a batch's header alone tells for certain; a producer's maximum is only its claim.

    A marker of a transaction is no record of a client. A batch that the leader stamped
    (LogAppendTime) has one time for all of its offsets, as long as none was compacted away.
    """
    if header.is_control:
        return NO_EVENT_TIME
    if header.is_log_append_time and header.record_count == header.last_offset_delta + 1:
        stamp = header.event_time_max
        return NO_EVENT_TIME if stamp == NO_TIMESTAMP else Bounds(stamp, stamp)
    return UNKNOWN


class Extremes:
    """One value a row, and how to find the next row whose value passes a test.

    `pick` chooses the value that stands for several, and `passes(value, time)` must hold for it
    whenever it holds for one of them: `max` goes with `>=`, `min` with `<`.
    """

    __slots__ = ("_levels", "_passes", "_pick")

    def __init__(
        self, pick: Callable[[Iterable[int]], int], passes: Callable[[int, int], bool]
    ) -> None:
        """Start empty."""
        self._pick = pick
        self._passes = passes
        self._levels = [array("q") for _ in range(1 + _SUMMARIES)]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._levels[0])

    def __getitem__(self, row: int) -> int:
        """Return the value of one row."""
        return self._levels[0][row]

    @property
    def values(self) -> "array[int]":
        """Every row's value, for encoding. Owned by this object: not to be changed."""
        return self._levels[0]

    def whole(self, empty: int) -> int:
        """Return the value that stands for all rows; `empty` if there is none."""
        top = self._levels[-1]
        return self._pick(top) if top else empty

    def append(self, value: int) -> None:
        """Add a row. What stands for its neighbours stands for it, or it does for them."""
        row = len(self)
        self._levels[0].append(value)
        for level in self._levels[1:]:
            row >>= _FANOUT_BITS
            if row == len(level):
                level.append(value)
            else:
                level[row] = self._pick((level[row], value))

    def extend(self, values: "array[int]") -> None:
        """Add many rows."""
        start = len(self)
        self._levels[0].extend(values)
        for row in range(start & -_FANOUT, len(self), _FANOUT):
            self._summarize(row)

    def replace(self, row: int, value: int) -> None:
        """Change the value of one row."""
        self._levels[0][row] = value
        self._summarize(row)

    def truncate(self, rows: int) -> None:
        """Keep the first rows."""
        del self._levels[0][rows:]
        for level in range(1, len(self._levels)):
            del self._levels[level][-(-rows >> level * _FANOUT_BITS) :]  # rounded up
        if rows:
            self._summarize(rows - 1)

    def next(self, row: int, time: int) -> int | None:
        """Return the first row at or after `row` that passes; None if there is none."""
        level, slot = 0, row
        while level < len(self._levels) and slot < len(self._levels[level]):
            values = self._levels[level]
            top = level == len(self._levels) - 1
            stop = len(values) if top else min(len(values), (slot | _FANOUT - 1) + 1)
            for at in range(slot, stop):
                if self._passes(values[at], time):
                    return self._descend(level, at, time=time, backward=False)
            level, slot = level + 1, (slot >> _FANOUT_BITS) + 1
        return None

    def last(self, row: int, time: int) -> int | None:
        """Return the last row at or before `row` that passes; None if there is none."""
        level, slot = 0, row
        while level < len(self._levels) and slot >= 0:
            values = self._levels[level]
            start = 0 if level == len(self._levels) - 1 else slot & -_FANOUT
            for at in range(slot, start - 1, -1):
                if self._passes(values[at], time):
                    return self._descend(level, at, time=time, backward=True)
            level, slot = level + 1, (slot >> _FANOUT_BITS) - 1
        return None

    def _descend(self, level: int, slot: int, *, time: int, backward: bool) -> int:
        while level:
            level -= 1
            values = self._levels[level]
            first = slot << _FANOUT_BITS
            members = range(first, min(len(values), first + _FANOUT))
            if backward:
                members = members[::-1]
            slot = next(at for at in members if self._passes(values[at], time))
        return slot

    def _summarize(self, row: int) -> None:
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            row >>= _FANOUT_BITS
            value = self._pick(below[row << _FANOUT_BITS : row + 1 << _FANOUT_BITS])
            if row == len(above):
                above.append(value)
            else:
                above[row] = value


class EventBounds:
    """The bounds of every block of one segment. A row takes 16 bytes and a quarter."""

    __slots__ = ("_earliest", "_latest")

    def __init__(self) -> None:
        """Start empty."""
        self._earliest = Extremes(min, lt)
        self._latest = Extremes(max, ge)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._latest)

    def __getitem__(self, row: int) -> Bounds:
        """Return the bounds of one block."""
        return Bounds(self._earliest[row], self._latest[row])

    @property
    def columns(self) -> "tuple[array[int], array[int]]":
        """Least and greatest times of all blocks, for encoding; not to be changed."""
        return self._earliest.values, self._latest.values

    @property
    def whole(self) -> Bounds:
        """The bounds of all blocks together: UNKNOWN as long as those of one of them are."""
        return Bounds(self._earliest.whole(INT64_MAX), self._latest.whole(INT64_MIN))

    def append(self, bounds: Bounds) -> None:
        """Add a block."""
        self._earliest.append(bounds.earliest)
        self._latest.append(bounds.latest)

    def extend(self, earliest: "array[int]", latest: "array[int]") -> None:
        """Add many blocks, as `columns` gave them."""
        self._earliest.extend(earliest)
        self._latest.extend(latest)

    def narrow(self, row: int, bounds: Bounds) -> None:
        """Learn the exact bounds of a block."""
        known = self[row]
        assert bounds.empty or known.earliest <= bounds.earliest, "BOUNDS_ONLY_NARROW"
        assert bounds.empty or bounds.latest <= known.latest, "BOUNDS_ONLY_NARROW"
        self._earliest.replace(row, bounds.earliest)
        self._latest.replace(row, bounds.latest)

    def truncate(self, rows: int) -> None:
        """Keep the first blocks."""
        self._earliest.truncate(rows)
        self._latest.truncate(rows)

    def next_reaching(self, row: int, time: int) -> int | None:
        """Return the first block at or after `row` that may hold an event time >= `time`."""
        return self._latest.next(row, time)

    def last_below(self, row: int, time: int) -> int | None:
        """Return the last block at or before `row` that may hold an event time < `time`."""
        return self._earliest.last(row, time)

    def next_unknown(self, row: int) -> int | None:
        """Return the first block at or after `row` whose bounds are not known."""
        found = self._latest.next(row, INT64_MAX)
        while found is not None and self[found].known:
            found = self._latest.next(found + 1, INT64_MAX)
        return found
