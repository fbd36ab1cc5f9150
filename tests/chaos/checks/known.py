"""What is known of logs and producers: the one part whose memory grows with the records.

8 bytes for each offset at which a value is known to lie, 8 for each value sent, 16 for each event
time and 8 for each append time that is recorded for time queries. Whether a value lies at two
offsets, and which one of millions is missing, cannot be told with less. Everything else in these
checks is bounded by partitions, producers, clients, requests in flight, leader epochs, holes and
time queries.
"""

from array import array
from bisect import bisect_right
from typing import Final

from tests.chaos.checks.intervals import Intervals
from tests.chaos.checks.report import Report
from tests.chaos.history import HistoryError

PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS
N_BITS: Final = 40
"""Of a value's number in a log's cell; the producer's index lies above."""
N_MASK: Final = (1 << N_BITS) - 1
ACKED, READ, FAILED, UNKNOWN = 1, 2, 4, 8
OUTCOMES: Final = ACKED | FAILED | UNKNOWN
PLACE_SHIFT: Final = 4
"""A value's cell has what is known of it, and above that its offset + 1, or 0."""
SENDS_KEPT: Final = 64
"""Sends that are settled and remembered, until as many more are."""
ALL_FLAGS: Final = (1 << PLACE_SHIFT) - 1
NO_TIME: Final = -(1 << 63)


class Times:
    """Times by offset, with the greatest of each page: a search passes over pages."""

    __slots__ = ("greatest", "pages")

    def __init__(self) -> None:
        """Begin with none."""
        self.pages: dict[int, array[int]] = {}
        self.greatest: dict[int, int] = {}

    def set(self, offset: int, time: int) -> int:
        """Set a time, unless there is one; return the one that there is."""
        number = offset >> PAGE_BITS
        page = self.pages.get(number)
        if page is None:
            page = self.pages[number] = array("q", [NO_TIME]) * PAGE
            self.greatest[number] = NO_TIME
        index = offset & (PAGE - 1)
        known = page[index]
        if known != NO_TIME:
            return known
        page[index] = time
        self.greatest[number] = max(self.greatest[number], time)
        return time

    def get(self, offset: int) -> int | None:
        """Return the time of an offset, if it is known."""
        page = self.pages.get(offset >> PAGE_BITS)
        time = NO_TIME if page is None else page[offset & (PAGE - 1)]
        return None if time == NO_TIME else time

    def first(self, time: int, start: int, end: int) -> int | None:
        """Return the first offset in [start, end) whose time is known and at least `time`."""
        for number in sorted(self.pages):
            base = number << PAGE_BITS
            if base >= end or base + PAGE <= start or self.greatest[number] < time:
                continue
            page = self.pages[number]
            for index in range(max(0, start - base), min(PAGE, end - base)):
                if page[index] >= time and page[index] != NO_TIME:
                    return base + index
        return None


class Written:
    """What one producer has sent to one partition."""

    __slots__ = (
        "cells", "fails", "floors", "forgiven", "log", "oldest", "producer", "sent_at",
        "starts", "times",
    )  # fmt: skip

    def __init__(self, producer: "Sender", log: "Log") -> None:
        """Begin with nothing sent."""
        self.producer = producer
        self.log = log
        self.cells = array("Q")
        self.times: array[int] | None = None
        """Event times by number, once there is one."""
        self.fails = False
        """Some were not done for certain."""
        self.forgiven = 0
        """Values below were sent before a lossy election ended: nothing is claimed of them."""
        self.oldest = 0
        """The first value without an outcome."""
        self.starts: list[int] = []
        """First number of each send that is remembered; with what was acknowledged by then."""
        self.floors: list[int] = []
        self.sent_at: list[int] = []

    def sending(self, count: int, time: int | None, now: int) -> None:
        """Note that values are about to be sent."""
        first = len(self.cells)
        self.starts.append(first)
        self.floors.append(self.log.acked_floor)
        self.sent_at.append(now)
        self.cells.frombytes(bytes(8 * count))
        if time is not None and self.times is None:
            self.times = array("q", [NO_TIME]) * first
        if self.times is not None:
            self.times.extend([NO_TIME if time is None else time] * count)

    def settle(self, n: int, count: int, outcome: int) -> None:
        """Note an outcome.

        Raises:
            HistoryError: it was not sent, or has an outcome.
        """
        cells = self.cells
        if n < 0 or n + count > len(cells):
            raise HistoryError(f"{self.producer.name} has an outcome of {n}, which it did not send")
        for each in range(n, n + count):
            if cells[each] & OUTCOMES:
                raise HistoryError(f"{self.producer.name} has two outcomes of {each}")
            cells[each] |= outcome
        if n == self.oldest:
            self._forget(n)
            self._move_on(n + count)

    def _move_on(self, n: int) -> None:
        cells = self.cells
        end = len(cells)
        while n < end and cells[n] & OUTCOMES:
            n += 1
        self.oldest = n

    def _forget(self, n: int) -> None:
        """Let go of sends that were settled before this one, whose floor is still asked for."""
        if len(self.starts) > 2 * SENDS_KEPT and self.starts[SENDS_KEPT] <= n:
            del self.starts[:SENDS_KEPT], self.floors[:SENDS_KEPT], self.sent_at[:SENDS_KEPT]

    def floor_of(self, n: int) -> int:
        """Return which offset was acknowledged when a value without an outcome was sent."""
        return self.floors[bisect_right(self.starts, n) - 1]

    def waits_since(self) -> int | None:
        """Return when the oldest value without an outcome was sent; None: there is none."""
        if self.oldest >= len(self.cells):
            return None
        return self.sent_at[bisect_right(self.starts, self.oldest) - 1]


class Sender:
    """A producer."""

    __slots__ = ("acks_all", "idempotent", "index", "name", "to")

    def __init__(self, name: str, index: int) -> None:
        """Begin; what it is its first line tells."""
        self.name = name
        self.index = index
        self.acks_all = True
        self.idempotent = True
        self.to: dict[str, Written] = {}


class Log:
    """What is known of one partition."""

    __slots__ = (
        "acked_floor", "append_times", "at", "drained", "epochs", "era", "event_times", "losing",
        "pages", "passed", "skips", "start",
    )  # fmt: skip

    def __init__(self, at: str) -> None:
        """Begin with nothing known."""
        self.at = at
        self.era = 0
        """Rises with each lossy election, when it is ordered and when it is over."""
        self.losing = False
        """One is under way: nothing is claimed meanwhile."""
        self.drained: int | None = None
        """Where it ended when all had been read."""
        self.forget()

    def forget(self) -> None:
        """Let go of what a lossy election may change."""
        self.pages: dict[int, array[int]] = {}
        self.acked_floor = -1
        """The highest offset acknowledged with acks=all."""
        self.start = 0
        """The highest log start that anybody was told of."""
        self.passed = Intervals()
        """Offsets that some reader went through or past."""
        self.skips: dict[tuple[int, int], tuple[str, bool]] = {}
        """Offsets that a reader was led past: who, and whether inside one operation."""
        self.epochs: dict[int, int] = {}
        """How far the log was visible in a leader epoch, as far as anybody was told."""
        self.event_times = Times()
        self.append_times = Times()

    def cells(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the offsets in [start, end) at which a value is known, with its cell."""
        found = []
        for number in sorted(self.pages):
            base = number << PAGE_BITS
            if base + PAGE <= start or base >= end:
                continue
            page = self.pages[number]
            low, high = max(0, start - base), min(PAGE, end - base)
            found += [(base + index, page[index]) for index in range(low, high) if page[index]]
        return found


class Known:
    """All logs and producers."""

    def __init__(self, report: Report) -> None:
        """Begin with nothing known."""
        self.report = report
        self.logs: dict[str, Log] = {}
        self.senders: dict[str, Sender] = {}
        self.by_index: list[Sender] = []

    def log(self, at: str) -> Log:
        """Return what is known of a partition."""
        found = self.logs.get(at)
        if found is None:
            found = self.logs[at] = Log(at)
        return found

    def sender(self, name: str) -> Sender:
        """Return a producer."""
        found = self.senders.get(name)
        if found is None:
            found = self.senders[name] = Sender(name, len(self.by_index))
            self.by_index.append(found)
        return found

    def written(self, name: str, at: str) -> Written:
        """Return what a producer has sent to a partition."""
        sender = self.senders.get(name) or self.sender(name)
        found = sender.to.get(at)
        if found is None:
            found = sender.to[at] = Written(sender, self.log(at))
        return found

    def name_of(self, cell: int) -> str:
        """Return how a log's cell is called in a report: `producer:number`."""
        return f"{self.by_index[cell >> N_BITS].name}:{(cell & N_MASK) - 1}"
