"""What the log must answer, worked out without any of its code: filters and scans of a plain list.

The event clock is the departures' own time. The append clock is what the answers to produce calls
said; librdkafka does not hand on append times, so those of its records are read back once, by
offset, before the first question by time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Final, NamedTuple

from tidelog.types import Clock

EITHER: Final = frozenset({True, False})
YES: Final = frozenset({True})
NO: Final = frozenset({False})


class Row(NamedTuple):
    """One record, and where and when the log took it."""

    partition: int
    offset: int
    event_ms: int | None
    append_ms: int
    key: bytes | None
    value: bytes | None

    def time(self, clock: Clock) -> int | None:
        """Return its time on a clock, ms since 1970 UTC."""
        return self.event_ms if clock == "event" else self.append_ms


class Span(NamedTuple):
    """The records with start <= time < end on one clock; None is open."""

    clock: Clock
    start_ms: int | None
    end_ms: int | None

    def within(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that lie inside: a plain filter."""
        low = -(1 << 63) if self.start_ms is None else self.start_ms
        high = 1 << 63 if self.end_ms is None else self.end_ms
        if self.clock == "event":
            return [row for row in rows if row[2] is not None and low <= row[2] < high]
        return [row for row in rows if low <= row[3] < high]


class Oracle:
    """Every record of the topic. Retention is told to it with `cut`."""

    def __init__(self, rows: Iterable[Row], partitions: int) -> None:
        """Take the records in any order.

        Raises:
            ValueError: the offsets of a partition are not 0, 1, 2, ...
        """
        self._rows: list[list[Row]] = [[] for _ in range(partitions)]
        for row in rows:
            self._rows[row.partition].append(row)
        for partition, own in enumerate(self._rows):
            own.sort(key=lambda row: row.offset)
            for wanted, row in enumerate(own):
                if row.offset != wanted:
                    raise ValueError(f"partition {partition}: {row.offset} where {wanted} is due")
        self._start = [0] * partitions

    @property
    def partitions(self) -> range:
        """The numbers of the partitions."""
        return range(len(self._rows))

    @property
    def log_starts(self) -> Mapping[int, int]:
        """Where each partition begins."""
        return dict(enumerate(self._start))

    def cut(self, partition: int, log_start: int) -> None:
        """Note that what lies below an offset was removed."""
        self._start[partition] = log_start

    def size(self, partition: int) -> int:
        """Return how many records a partition ever had: its end."""
        return len(self._rows[partition])

    def kept(self, partition: int) -> Sequence[Row]:
        """Return the records of a partition that are still there."""
        start = self._start[partition]
        return self._rows[partition][start:] if start else self._rows[partition]

    def removed(self, partition: int) -> Sequence[Row]:
        """Return the records of a partition that are not there any more."""
        return self._rows[partition][: self._start[partition]]

    def times(self, clock: Clock) -> list[int]:
        """Return every time that occurs among the records that are there, in order."""
        found = {row.time(clock) for partition in self.partitions for row in self._there(partition)}
        return sorted(time for time in found if time is not None)

    def edges(self, clock: Clock) -> list[int]:
        """Return the times that decide where a range begins or ends, in any partition.

        Those above all before them, and those below all behind them. Of shuffled records they are
        few; a look-up of any other time is answered by a record that is far beyond it.
        """
        found: set[int] = set()
        for partition in self.partitions:
            times = [row.time(clock) for row in self._there(partition)]
            known = [time for time in times if time is not None]
            found.update(accumulate(known, max))
            found.update(accumulate(reversed(known), min))
        return sorted(found)

    def first(self, partition: int, time: int | None, clock: Clock) -> Row | None:
        """Return the first record at or after a time, by looking at one after the other."""
        column = 2 if clock == "event" else 3
        for row in self._there(partition):
            at = row[column]
            if time is None or (isinstance(at, int) and at >= time):
                return row
        return None

    def truncated(
        self, partition: int, start: int | None, clock: Clock, *, stop: int | None = None
    ) -> frozenset[bool]:
        """Return the answers that are right to: was a record of [start, stop) removed?

        `start` None: any at all. The append clock knows no upper end. Of segments that went the
        event times are known as intervals: between their ends it may be said too often, never too
        seldom.
        """
        removed = self.removed(partition)
        if not removed:
            return NO
        if start is None:
            return YES
        if clock == "append":
            return YES if removed[-1].append_ms >= start else NO
        known = [row.time(clock) for row in removed]
        times = [time for time in known if time is not None]
        if any(start <= time and (stop is None or time < stop) for time in times):
            return YES
        meets = bool(times) and max(times) >= start and (stop is None or min(times) < stop)
        return EITHER if meets else NO

    def _there(self, partition: int) -> Iterator[Row]:
        return islice(self._rows[partition], self._start[partition], None)
