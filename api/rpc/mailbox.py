"""One thing on its way from who has it to who takes it; neither runs ahead of the other."""

import asyncio
from typing import Generic, TypeVar

from model.ids import MonotonicMs
from model.ports import Clock

ItemT = TypeVar("ItemT")


class Mailbox(Generic[ItemT]):
    """Has room for one; taken from by one task. Loop only."""

    __slots__ = ("_clock", "_come", "_items", "_room")

    def __init__(self, clock: Clock) -> None:
        """Begin empty."""
        self._clock = clock
        self._items: list[ItemT] = []
        self._room = asyncio.Semaphore(1)
        self._come = asyncio.Event()

    async def put(self, item: ItemT) -> None:
        """Give something, once what was given before is taken."""
        await self._room.acquire()
        self._items.append(item)
        self._come.set()

    async def take(self, wait_ms: int) -> ItemT | None:
        """Take what is there or comes within that time; None: nothing did."""
        if not self._items:
            self._come.clear()
            until = MonotonicMs(self._clock.monotonic_ms() + wait_ms)
            cancel = self._clock.call_at(until, self._come.set)
            try:
                await self._come.wait()
            finally:
                cancel()
        if not self._items:
            return None
        self._room.release()
        return self._items.pop()
