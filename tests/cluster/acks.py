"""What a load is told of each partition that it writes to: how much, and how long nothing."""

from dataclasses import dataclass, field
from threading import Lock
from time import monotonic, time
from typing import Final

from tests.cluster.judge import Acknowledged

FRESH: Final = 50
"""Records that a partition must acknowledge before it counts as back."""


@dataclass(slots=True)
class Place:
    """What was acknowledged of one partition. Moments are of the monotonic clock, in seconds."""

    acks: list[tuple[int, int]] = field(default_factory=list)
    """Offset and number of each record."""
    gap: float = 0.0
    """The longest time without an ack, since the mark."""
    gap_over: float = 0.0
    """When it was over: seconds since 1970."""
    fresh: int = 0
    """Acks of records that were sent after somebody asked whether all is back."""
    _last: float = 0.0
    _mark: float = 0.0
    _asked: float = 0.0

    def mark(self, now: float) -> None:
        """Measure from now on."""
        self._mark, self.gap, self.gap_over = now, 0.0, time()

    def ask(self, now: float) -> None:
        """Count what is sent from now on."""
        self._asked, self.fresh = now, 0

    def take(self, offset: int, number: int, *, sent: float, now: float) -> None:
        """Note that a record is acknowledged."""
        self.acks.append((offset, number))
        gap = now - max(self._last, self._mark)
        if gap > self.gap:
            self.gap, self.gap_over = gap, time()
        self.fresh += sent > self._asked
        self._last = now


class Acks:
    """All partitions of one load. Any thread."""

    def __init__(self, partitions: int) -> None:
        """Begin with nothing, and measure from the first `mark` on."""
        self._places = {number: Place() for number in range(partitions)}
        self._sent: dict[int, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many records were acknowledged."""
        return sum(len(place.acks) for place in self._places.values())

    @property
    def acknowledged(self) -> Acknowledged:
        """Return what was acknowledged so far."""
        with self._lock:
            return {number: list(place.acks) for number, place in self._places.items()}

    def mark(self) -> None:
        """Measure the time without acks from here on."""
        with self._lock:
            for place in self._places.values():
                place.mark(monotonic())

    def ask(self) -> None:
        """Count, for `gap`, what is sent from here on."""
        with self._lock:
            for place in self._places.values():
                place.ask(monotonic())

    def gap(self, *, records: int) -> float | None:
        """Return the longest time in which one partition acknowledged nothing, since the mark, s.

        None: one of them has not yet acknowledged so many records that were sent since `ask`.
        """
        with self._lock:
            places = self._places.values()
            if all(place.fresh >= records for place in places):
                return max(place.gap for place in places)
        return None

    def back_at(self) -> float:
        """Return when the last of the longest gaps was over: seconds since 1970."""
        return max(place.gap_over for place in self._places.values())

    def fresh(self) -> dict[int, int]:
        """Return how many of the records that were sent since `ask` each partition has."""
        return {number: place.fresh for number, place in self._places.items()}

    def sent(self, number: int) -> None:
        """Note when a record is sent."""
        self._sent[number] = monotonic()

    def take(self, partition: int, offset: int, number: int) -> None:
        """Note that a record is acknowledged."""
        now = monotonic()
        with self._lock:
            sent = self._sent.pop(number)
            self._places[partition].take(offset, number, sent=sent, now=now)


class Counted:
    """A load that counts what it is told."""

    def __init__(self, partitions: int) -> None:
        """Begin with nothing."""
        self._acks = Acks(partitions)

    @property
    def count(self) -> int:
        """Return how many records were acknowledged."""
        return len(self._acks)

    @property
    def acknowledged(self) -> Acknowledged:
        """Return what was acknowledged so far."""
        return self._acks.acknowledged
