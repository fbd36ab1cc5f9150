"""Random ranges and times that sit where mistakes sit: at times that occur, or just beside them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Final

from tests.blind.oracle import Span
from tidelog.types import Clock

TICK_MS: Final[dict[Clock, int]] = {"event": 1, "append": 10}
"""The least difference between two times of a clock."""
AT_EDGES: Final = 0.4
"""Share of looked-up times that are moved to one that decides; of the ends of ranges, half that."""
SNAPPED: Final = 0.75
"""Share of ends that are moved to a time that occurs, or a tick beside it."""
OPEN: Final = 0.04
BEYOND: Final = 0.05
"""Share of looked-up times that lie outside of what occurs."""


@dataclass(slots=True)
class Dice:
    """Rolls ranges and times of one clock."""

    clock: Clock
    occurring: Sequence[int]
    """Every time that occurs, in order."""
    edges: Sequence[int]
    """Those that decide where a range begins or ends."""
    rand: Random
    ends: int = 0
    """Ends of ranges so far; open ones are none."""
    near: int = 0
    """Those that equal a time that occurs, or differ from it by a tick."""

    @property
    def tick_ms(self) -> int:
        """The clock's tick."""
        return TICK_MS[self.clock]

    def spans(self, count: int) -> Iterator[Span]:
        """Yield ranges, their lengths log-uniform from one tick to the whole log."""
        for _ in range(count):
            yield self.span()

    def span(self) -> Span:
        """Return one range."""
        tick, first, last = self.tick_ms, self.occurring[0], self.occurring[-1]
        longest = max(last - first + tick, 2 * tick)
        length = max(tick, round(exp(self.rand.uniform(log(tick), log(longest)))))
        start = self._moved(self.rand.randint(first - tick, last))
        end = start + length
        if length > tick:
            end = max(self._moved(end), start + tick)
        if self.rand.random() < AT_EDGES:
            start, end = self._at_edge(start, end)
        opened = self.rand.random()
        span = Span(
            self.clock,
            None if opened < OPEN else start,
            None if OPEN / 2 <= opened < OPEN * 2 else end,
        )
        for edge in span[1:]:
            if isinstance(edge, int):
                self.ends += 1
                self.near += self.is_near(edge)
        return span

    def times(self, count: int) -> Iterator[int]:
        """Yield times to look up."""
        first, last = self.occurring[0], self.occurring[-1]
        for _ in range(count):
            if self.rand.random() < BEYOND:
                beside = self.tick_ms * self.rand.choice((1, 2, 1_000))
                yield self.rand.choice((first - beside, last + beside))
            elif self.rand.random() < AT_EDGES:
                yield self._beside(self.rand.choice(self.edges))
            else:
                yield self._moved(self.rand.randint(first, last))

    def is_near(self, time: int) -> bool:
        """Tell whether a time occurs, or lies a tick beside one that does."""
        slot = bisect_left(self.occurring, time - self.tick_ms)
        near = self.occurring[slot : slot + 3]
        return any(time - at in {-self.tick_ms, 0, self.tick_ms} for at in near)

    def _moved(self, time: int) -> int:
        """Return a time, most often moved to one that occurs, give or take a tick."""
        if self.rand.random() >= SNAPPED:
            return time
        slot = min(bisect_left(self.occurring, time), len(self.occurring) - 1)
        return self._beside(self.occurring[slot])

    def _beside(self, time: int) -> int:
        """Return a time, or one a tick before or after it."""
        return time + self.rand.choice((-1, 0, 0, 1)) * self.tick_ms

    def _at_edge(self, start: int, end: int) -> tuple[int, int]:
        """Return the range moved, so that one of its ends is a time that decides."""
        edge = self._beside(self.rand.choice(self.edges))
        length = end - start
        return (edge, edge + length) if self.rand.random() < 0.5 else (edge - length, edge)
