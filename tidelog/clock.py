"""The client's own door to time: what the wall says, what has passed, and waiting.

Everything in the SDK that waits or dates a record takes a `Clock`, so that its tests take no time.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the client sees it."""

    def now_ms(self) -> int:
        """Return the wall clock: ms since 1970 UTC, what a record without a time is dated with."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def beat(self, seconds: float) -> None:
        """Wait until a heartbeat is due, if it is to be sent so often."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the wall clock, ms since 1970 UTC."""
        return time.time_ns() // 1_000_000  # noqa: TID251 - the client's door

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()  # noqa: TID251 - the client's door

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)  # noqa: TID251 - the client's door

    async def beat(self, seconds: float) -> None:
        """Wait until a heartbeat is due."""
        await self.sleep(seconds)
