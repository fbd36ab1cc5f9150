"""A clock for the SDK's tests: waiting takes no time and is written down."""

import asyncio
from random import Random

from tidelog.client import Client
from tidelog.connection import Connection, parse_url
from tidelog.retry import Retry


class FastClock:
    """Time that passes only when somebody waits for it."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self.wall_ms = now_ms
        self.passed_s = 0.0
        self.waits: list[float] = []

    def now_ms(self) -> int:
        return self.wall_ms + int(self.passed_s * 1000)

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed_s += seconds
        await asyncio.sleep(0)

    async def beat(self, seconds: float) -> None:
        await self.sleep(seconds)


class SteppedClock(FastClock):
    """Waits below a second take no time, as those before another try; longer ones wait for a test,
    and so does every wait once `short_s` is 0.

    So heartbeats and regular commits come exactly when a test says that their time has passed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.short_s = 1.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        if seconds < self.short_s:
            await super().sleep(seconds)
            return
        woken = asyncio.Event()
        sleeper = (self.passed_s + seconds, woken)
        self._sleepers.append(sleeper)
        try:
            await woken.wait()
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whoever's time has come."""
        self.passed_s += seconds
        for due_s, woken in self._sleepers:
            if due_s <= self.passed_s:
                woken.set()


def client_of(
    *addresses: str, clock: FastClock | None = None, retry: Retry | None = None, seed: int = 0
) -> Client:
    """Return a client whose waits take no time."""
    connection = Connection(
        parse_url(f"tidelog://{','.join(addresses)}"),
        auth=None,
        client_id="test",
        retry=retry or Retry(),
        clock=clock or FastClock(),
        chance=Random(seed),
    )
    return Client(connection)
