"""The clock of a client whose node's time is turned by a test."""

from typing import TYPE_CHECKING

from tidelog.clock import SystemClock

if TYPE_CHECKING:
    from api.testing.node import TestingNode


class NodeTime(SystemClock):
    """The node's date. What passes is real time and what the clock was turned by, together.

    So a wait between two tries ends in its real time or with the turn of the clock, whichever comes
    first, and nothing hangs because time stands still.
    """

    def __init__(self, node: "TestingNode") -> None:
        """Take the node whose time it is."""
        self._node = node

    def now_ms(self) -> int:
        """Return the node's date: what a record without a time is dated with."""
        return self._node.wall_ms()

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return super().monotonic() + self._node.turned_ms() / 1000

    async def sleep(self, seconds: float) -> None:
        """Wait until so much has passed on either clock."""
        await self._node.sleep(seconds)

    async def beat(self, seconds: float) -> None:
        """Wait in real time: while the clock is turned, the node is told that its clients live."""
        await SystemClock.sleep(self, seconds)
