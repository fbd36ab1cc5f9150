"""A clock that a test turns, and what the node does because of it.

Turning goes from timer to timer: each runs at its own time, and what it sets off has happened
before the next one runs. So an hour that passes at once leaves behind what an hour would.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from api.node.system_spawn import SystemSpawn
from api.sim.clock import SimClock
from model.ids import MonotonicMs

_IN_TURN: Final[ContextVar[bool]] = ContextVar("_IN_TURN", default=False)
"""Whether this code runs because a timer did: a task inherits it from whoever started it."""


def _nobody() -> None:
    """Outside of such a task nobody waits."""


_WAITED_FOR: Final[ContextVar[Callable[[], None]]] = ContextVar("_WAITED_FOR", default=_nobody)
"""Within a task that a turn waits for: what makes the turn go on without it."""


class TurnedSpawn(SystemSpawn):
    """Tasks of a node; those that timers set off can be waited for. Loop only."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """Take the handler of what a task fails with."""
        super().__init__(failed)
        self._set_off: set[asyncio.Future[object]] = set()

    def start(self, task: Coroutine[object, object, None], name: str) -> None:
        """Run a task until it returns or the node stops."""
        if not _IN_TURN.get():
            super().start(task, name)
            return
        ended = asyncio.get_running_loop().create_future()
        self._set_off.add(ended)
        super().start(self._told(task, ended), name)

    async def rest(self) -> bool:
        """Wait for what timers have set off; tell whether there was anything."""
        waited = bool(self._set_off)
        while self._set_off:
            await asyncio.wait(list(self._set_off))
        return waited

    async def _told(
        self, task: Coroutine[object, object, None], ended: asyncio.Future[object]
    ) -> None:
        _WAITED_FOR.set(lambda: self._let_go(ended))
        try:
            await task
        finally:
            self._let_go(ended)

    def _let_go(self, ended: asyncio.Future[object]) -> None:
        self._set_off.discard(ended)
        if not ended.done():
            ended.set_result(None)


class TurnedClock(SimClock):
    """The Clock port of a node whose time a test turns. Loop only."""

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        """Call once the clock was turned to `when`.

        A task that asks for that is not waited for any longer: it may wait for the clock itself.
        """
        _WAITED_FOR.get()()
        return super().call_at(when, wake)

    async def turn(
        self, ms: int, settled: Callable[[], Awaitable[Any]], *, ahead: Callable[[], None] = _nobody
    ) -> None:
        """Let so many ms pass, timer by timer.

        `settled` waits for what each has set off. `ahead` is called when all but the last ms before
        a timer has passed: what goes on all the time beside the node has gone on until then.
        """
        until = MonotonicMs(self.monotonic_ms() + ms)
        while (due := self.next_timer()) is not None and due <= until:
            self._pass_to(MonotonicMs(due - 1))
            ahead()
            self._pass_to(due)
            await settled()
        self._pass_to(until)
        await settled()

    def _pass_to(self, when: MonotonicMs) -> None:
        token = _IN_TURN.set(True)
        try:
            self.advance(max(0, when - self.monotonic_ms()))
        finally:
            _IN_TURN.reset(token)
