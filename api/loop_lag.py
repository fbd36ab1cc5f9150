"""How long the event loop kept others waiting, measured where it costs nothing when idle.

Each tick asks to be ended once what is ready now was handled. The time from that request to the end
is how long everything else in this pass took: what any client had to wait. No timer samples it.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

BOUNDS_US: Final = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 1_000_000)
"""Upper bounds of the histogram's buckets, microseconds."""


class LoopLag:
    """A histogram of the loop's passes that had something to do. Loop only."""

    __slots__ = ("_call_soon", "_now", "counts", "max_us", "total_us")

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], now: Callable[[], float]
    ) -> None:
        """Take the loop's `call_soon` and its clock, in seconds."""
        self._call_soon = call_soon
        self._now = now
        self.counts = [0] * (len(BOUNDS_US) + 1)
        """Passes by duration; the last bucket has no bound."""
        self.total_us = 0
        self.max_us = 0
        """The longest since the node began."""

    def call_soon(self, call: Callable[[], None]) -> object:
        """Run a call after all that is ready now, and note how long that took.

        `cluster.shell.tick.Tick` takes this in place of the loop's own.
        """
        asked = self._now()

        def end() -> None:
            self.note(int((self._now() - asked) * 1e6))
            call()

        return self._call_soon(end)

    def note(self, lag_us: int) -> None:
        """Count one pass."""
        self.counts[bisect_left(BOUNDS_US, lag_us)] += 1
        self.total_us += lag_us
        self.max_us = max(self.max_us, lag_us)
