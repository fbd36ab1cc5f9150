"""Room for answers in memory: waited for a while, held until the client has taken them.

What comes from files takes its room before it is read, as much as it may be at most: else all who
wait for room would hold, uncounted, what they wait with. What is in memory anyway takes it after.
All who wait stand in the budget's row (`room_row.py`), and are served as they came.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from api.broker.memory import MemoryBudget
from api.broker.room_row import Lane, RoomPlace
from model.limits import STREAM_SILENCE_MS_MAX

WAIT_S_MAX: Final = STREAM_SILENCE_MS_MAX.value / 2 / 1000
"""Short enough that a stream which waits is not taken for a dead one."""


class AnswerRoom:
    """What the parts of one answer hold that come by themselves. Loop only."""

    __slots__ = ("_answers", "_held_bytes", "_lent_bytes", "_place")

    def __init__(self, answers: MemoryBudget) -> None:
        """Hold nothing yet."""
        self._answers = answers
        self._held_bytes = 0
        self._lent_bytes = 0
        self._place: RoomPlace | None = None
        """Of what waits for room, or was given it and does not know yet; None: nothing does."""

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    async def take(self, size_bytes: int, *, wait_s: float | None = None) -> None:
        """Hold more bytes, once it is this one's turn and there is room.

        `wait_s`: how long to wait, if that is less than `WAIT_S_MAX`.

        Raises:
            RequestError: OVERLOADED, other readers have taken nothing for a while.
        """
        answers = self._answers
        if not answers.try_take(size_bytes):
            given = asyncio.Event()
            place = answers.row.join(size_bytes, given.set, Lane.CALLS)
            try:
                async with asyncio.timeout(
                    WAIT_S_MAX if wait_s is None else min(wait_s, WAIT_S_MAX)
                ):
                    await given.wait()
            except TimeoutError:
                if not place.is_given:
                    answers.row.leave(place)
                    raise answers.overloaded() from None
            except BaseException:
                answers.row.leave(place)
                raise
        self._held_bytes += size_bytes

    def try_now(self, size_bytes: int) -> bool:
        """Hold more bytes and return true, if there is room and nobody waits for it."""
        if not self._answers.try_take(size_bytes):
            return False
        self._held_bytes += size_bytes
        return True

    def try_take(self, size_bytes: int, call: Callable[[], None], lane: Lane = Lane.STAYS) -> bool:
        """Do the same; else stand in the row, and call once there is room: say this again then.

        Whoever does not come again, or wants nothing any more, says `forget`.
        """
        place = self._place
        if place is None:
            if self.try_now(size_bytes):
                return True
        elif not place.is_given:
            place.size_bytes = size_bytes
            self._answers.row.go_on()
            return False
        elif place.size_bytes >= size_bytes:
            self._place = None
            self._held_bytes += place.size_bytes
            self.give_back(place.size_bytes - size_bytes)
            return True
        else:  # it wants more by now
            self.forget()
        self._place = self._answers.row.join(size_bytes, call, lane)
        return False

    def lend(self) -> None:
        """Let others have it for as long as nothing is here or read: a wait may be long."""
        self._lent_bytes += self._held_bytes
        self.clear()

    def take_back(self, call: Callable[[], None]) -> bool:
        """Hold again what was lent and return true if there is room; else as `try_take`."""
        if self._lent_bytes and not self.try_take(self._lent_bytes, call, Lane.FETCHES):
            return False
        self._lent_bytes = 0
        return True

    def forget(self) -> None:
        """Leave the row: nobody waits, nor comes for what was given meanwhile."""
        place, self._place = self._place, None
        if place is not None:
            self._answers.row.leave(place)

    async def settle(self, size_bytes: int, *, wait_s: float | None = None) -> None:
        """Hold just so many bytes from now on: what was read is known.

        Raises:
            RequestError: as `take`, if nothing was held before it was read.
        """
        if self._held_bytes:
            self.hold(size_bytes)
        elif size_bytes:
            await self.take(size_bytes, wait_s=wait_s)

    def hold(self, size_bytes: int) -> None:
        """Hold just so many bytes, whether they fit or not: they are here."""
        more = size_bytes - self._held_bytes
        if more > 0:
            self.count(more)
        else:
            self.give_back(-more)

    def count(self, size_bytes: int) -> None:
        """Hold more bytes, for which whoever brings them has waited."""
        self._answers.take(size_bytes)
        self._held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Let go some of it: the client has taken that."""
        self._held_bytes -= size_bytes
        self._answers.give_back(size_bytes)

    def clear(self) -> None:
        """Let go whatever is held: the client takes no more of it."""
        self.give_back(self._held_bytes)


@asynccontextmanager
async def room_for(answers: MemoryBudget, size_bytes: int) -> AsyncIterator[None]:
    """Hold the bytes of an answer for as long as a block runs; raises as `AnswerRoom.take`."""
    room = AnswerRoom(answers)
    await room.take(size_bytes)
    try:
        yield
    finally:
        room.clear()
