"""How many bytes the node holds for requests, and what happens above the budget (P53).

A node has two budgets, beside the room for requests while they are read (`read_room.py`). One
counts what came in: requests that are being taken apart, batches that were accepted and are not yet
on the disk. Doors stop reading their sockets while it is congested and go on when it has relief;
what arrives all the same is shed with OVERLOADED, *not done*. So a slow disk costs waiting, never
memory.

The other counts answers that clients have not taken yet. It is the smaller one, and apart, so that
slow readers can use up their own share and never the writers' (P52, P58). Beyond it a read over
gRPC is shed with OVERLOADED, once it has waited a while, and a Fetch is answered without records;
either client comes again and goes on where it was. Those who wait stand in a row (`room_row.py`).

Invariants:
    MEMORY_NEVER_NEGATIVE    nothing is given back that was not taken.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.broker.room_row import RoomRow
from model.errors import ErrorCode, RequestError


class MemoryBudget:
    """Bytes taken against a limit; plain arithmetic and a list of those who wait."""

    __slots__ = ("_limit_bytes", "_relieved", "_taken_bytes", "_what", "row")

    def __init__(self, limit_bytes: int, what: str = "wait for the disk") -> None:
        """Start with nothing taken. `what`: the bytes and what they do, for people."""
        self._limit_bytes = limit_bytes
        self._what = what
        self._taken_bytes = 0
        self._relieved: dict[Callable[[], None], None] = {}
        self.row = RoomRow(self)
        """Those who wait for so much room, and not just for relief."""

    @property
    def taken_bytes(self) -> int:
        """Bytes that are held now."""
        return self._taken_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be taken."""
        return max(0, self._limit_bytes - self._taken_bytes)

    @property
    def relief_bytes(self) -> int:
        """What is free, at least, where the budget is not congested."""
        return self._limit_bytes // 4

    @property
    def is_over(self) -> bool:
        """More is taken than the limit: not all of it can be kept."""
        return self._taken_bytes > self._limit_bytes

    @property
    def congested(self) -> bool:
        """Three quarters are taken: do not read more requests in."""
        return self._taken_bytes * 4 >= self._limit_bytes * 3

    def check(self, size_bytes: int) -> None:
        """Refuse what does not fit.

        Raises:
            RequestError: OVERLOADED, with the limit; retryable in a moment.
        """
        if not self.fits(size_bytes):
            raise self.overloaded()

    def check_counted(self, size_bytes: int, *, behind: int) -> None:
        """Refuse what is taken already, if that is too much even without what came `behind` it.

        Raises:
            RequestError: OVERLOADED, as `check`; whoever is refused gives it back.
        """
        taken = self._taken_bytes - behind
        if taken > self._limit_bytes and taken > size_bytes:
            raise self.overloaded()

    def overloaded(self) -> RequestError:
        """Return the refusal of what does not fit: OVERLOADED, with the limit."""
        return RequestError(
            ErrorCode.OVERLOADED,
            f"{self._taken_bytes} bytes {self._what}, the budget is {self._limit_bytes}",
            taken_bytes=str(self._taken_bytes),
            limit_bytes=str(self._limit_bytes),
        )

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held from now on."""
        self._taken_bytes += size_bytes

    def try_take(self, size_bytes: int) -> bool:
        """Count bytes as held and return true, if there is room and nobody waits for it."""
        if self.row or not self.fits(size_bytes):
            return False
        self.take(size_bytes)
        return True

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were let go; give them to the row, else tell those who wait for relief.

        These are told in their order while there is room, each once; who finds that he needs more
        waits behind the others.
        """
        self._taken_bytes -= size_bytes
        assert self._taken_bytes >= 0, "MEMORY_NEVER_NEGATIVE"
        self.row.go_on()
        for _ in range(len(self._relieved)):
            if self.congested or not self._relieved:
                return
            call = next(iter(self._relieved))
            del self._relieved[call]
            call()

    def fits(self, size_bytes: int) -> bool:
        """Tell whether so much more can be held. One thing always fits where there is no other."""
        return not self._taken_bytes or self._taken_bytes + size_bytes <= self._limit_bytes

    @contextmanager
    def held(self, size_bytes: int) -> Iterator[None]:
        """Hold bytes for as long as a block runs.

        Raises:
            RequestError: OVERLOADED, before it has begun.
        """
        self.check(size_bytes)
        with self.counted(size_bytes):
            yield

    @contextmanager
    def counted(self, size_bytes: int) -> Iterator[None]:
        """Count bytes for as long as a block runs, that are in memory whether they fit or not."""
        self.take(size_bytes)
        try:
            yield
        finally:
            self.give_back(size_bytes)

    def when_relieved(self, call: Callable[[], None]) -> None:
        """Call once, with the next bytes given back that leave the node uncongested."""
        self._relieved[call] = None

    def forget(self, call: Callable[[], None]) -> None:
        """Do not call any more, if it was not called yet: whoever waited has gone."""
        self._relieved.pop(call, None)

    async def relief(self) -> None:
        """Return with the next bytes given back that leave the node uncongested."""
        relieved = asyncio.Event()
        self.when_relieved(relieved.set)
        try:
            await relieved.wait()
        finally:
            self.forget(relieved.set)
