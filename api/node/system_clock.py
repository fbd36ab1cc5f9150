"""The real clocks, and timers of the running loop."""

import asyncio
import time
from collections.abc import Callable

from model.ids import MonotonicMs, WallMs


class SystemClock:
    """`model.ports.Clock` over the machine's clocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop whose timers `call_at` uses."""
        self._loop = loop

    def monotonic_ms(self) -> MonotonicMs:
        """CLOCK_BOOTTIME, ms: it goes on while the machine is suspended, as the date does."""
        return MonotonicMs(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)

    def wall_ms(self) -> WallMs:
        """CLOCK_REALTIME, ms since 1970 UTC."""
        return WallMs(time.time_ns() // 1_000_000)

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        """Wake at or after `when`, on the loop; return what cancels it."""
        delay_s = max(0, when - self.monotonic_ms()) / 1000
        return self._loop.call_later(delay_s, wake).cancel
