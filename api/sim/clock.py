"""A clock that passes when it is told to: one monotonic time, one date that may jump.

Invariants:
    SIM_TIME_NEVER_FALLS    `advance` takes no negative step; the date alone may go back.
"""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from model.ids import MonotonicMs, WallMs

CANCELLED_KEPT: Final = 64
"""Cancelled timers are thrown out when there are so many more of them than of live ones: waits that
end early, as most do, leave nothing behind where time stands still."""


class SimClock:
    """The Clock port of a simulated node. Timers run inside `advance`, each at its own time."""

    def __init__(
        self, *, wall: WallMs, monotonic: MonotonicMs | None = None, drift_ppm: int = 0
    ) -> None:
        """Begin at a date. `drift_ppm`: by how much the date runs faster than the monotonic."""
        self._monotonic = 0 if monotonic is None else int(monotonic)
        self._start = self._monotonic
        self._wall = int(wall)
        self._drift_ppm = drift_ppm
        self._order = count()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._live: set[int] = set()
        """Numbers of timers that have neither run nor been cancelled."""

    def monotonic_ms(self) -> MonotonicMs:
        """Return the time that measures."""
        return MonotonicMs(self._monotonic)

    def wall_ms(self) -> WallMs:
        """Return the date."""
        passed = self._monotonic - self._start
        return WallMs(self._wall + passed + passed * self._drift_ppm // 1_000_000)

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        """Call once at or after `when`; two timers of one time run in the order of their setting.

        Returns:
            What cancels it; cancelling one that has run does nothing.
        """
        number = next(self._order)
        if len(self._timers) > 2 * len(self._live) + CANCELLED_KEPT:
            self._timers = sorted(one for one in self._timers if one[1] in self._live)
        heappush(self._timers, (int(when), number, wake))
        self._live.add(number)
        return partial(self._live.discard, number)

    def advance(self, ms: int) -> None:
        """Let time pass, and run what falls due; also what due timers set themselves."""
        assert ms >= 0, "SIM_TIME_NEVER_FALLS"
        until = self._monotonic + ms
        while self._timers and self._timers[0][0] <= until:
            when, number, wake = heappop(self._timers)
            self._monotonic = max(self._monotonic, when)
            if number in self._live:
                self._live.discard(number)
                wake()
        self._monotonic = max(self._monotonic, until)

    def next_timer(self) -> MonotonicMs | None:
        """Return when the next timer falls due: how far a simulation may skip."""
        while self._timers and self._timers[0][1] not in self._live:
            heappop(self._timers)
        return MonotonicMs(self._timers[0][0]) if self._timers else None

    def set_wall(self, wall: WallMs) -> None:
        """Set the date, forward or back, as an operator or NTP does."""
        self._wall = int(wall)
        self._start = self._monotonic
