"""Work on the loop in slices: after 2 ms everything else that is ready has its turn."""

from collections.abc import Awaitable, Callable

from model.limits import LOOP_SLICE_MS
from model.ports import Clock


class Turns:
    """Measures one piece of work. Loop only."""

    __slots__ = ("_began", "_clock", "_turn")

    def __init__(self, clock: Clock, turn: Callable[[], Awaitable[None]]) -> None:
        """Begin to measure; `turn` returns after one pass of the loop."""
        self._clock = clock
        self._turn = turn
        self._began = clock.monotonic_ms()

    async def give_way(self) -> None:
        """Let others run if the slice is used up; called between steps well below it."""
        if self._clock.monotonic_ms() - self._began >= LOOP_SLICE_MS.value:
            await self._turn()
            self._began = self._clock.monotonic_ms()
