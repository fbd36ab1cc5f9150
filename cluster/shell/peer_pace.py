"""How much bulk may stand before what is urgent: what the network takes in a moment.

Whatever was handed over leaves before all that comes later, so it is to be little; but each time
costs both ends the same, so on a fast network it may be more. What the kernel has taken while more
was waiting tells how fast the network is, in steps of one moment. It may be faster, where this node
had no time to hand over more; and for a moment it may be slower, as the kernel takes ahead.
"""

from typing import Final

from cluster.peer.part import PART_BYTES
from model.ids import MonotonicMs

MOMENT_MS: Final = 10
"""What is urgent waits for bulk about so long: an election begins after 800 ms of silence."""
AHEAD_BYTES_MAX: Final = 1_280 << 10
"""On a fast network: a frame of a replica stream goes whole, and nobody has to put it together."""


class Pace:
    """Of one link. Loop only."""

    __slots__ = ("_since", "_taken", "ahead_bytes")

    def __init__(self) -> None:
        """Take the network for a slow one."""
        self.ahead_bytes = PART_BYTES
        """Of bulk, with the transport and not yet with the kernel; the last frame or part may go
        beyond."""
        self._since: MonotonicMs | None = None
        self._taken = 0

    @property
    def measures(self) -> bool:
        """Whether more has waited ever since the kernel was last looked at."""
        return self._since is not None

    def rests(self) -> None:
        """Nothing waits: what the kernel takes now says nothing."""
        self._since = None

    def took(self, now: MonotonicMs, taken_bytes: int) -> bool:
        """Note how much the kernel has taken in all while more waits; tell if that changes much."""
        if self._since is None:
            self._since, self._taken = now, taken_bytes
            return False
        passed_ms = now - self._since
        if passed_ms < MOMENT_MS:
            return False
        in_a_moment = (taken_bytes - self._taken) * MOMENT_MS // passed_ms
        self._since, self._taken = now, taken_bytes
        before = self.ahead_bytes
        self.ahead_bytes = max(PART_BYTES, min(in_a_moment, AHEAD_BYTES_MAX))
        return self.ahead_bytes != before
