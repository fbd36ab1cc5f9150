"""When to ask whether the other end is still there, and when to believe that it is not.

A link is pinged once nothing has come on it for a while. It is silent when no sign of the node has
come for longer: nothing on this link, nothing on the link that the node itself dialled, and nothing
that waits for the node to read it has moved. So neither a slow answer nor a long frame on a slow
network ends a link; a process that was stopped, a cut cable and a power cut do. That the network
takes what is sent is the kernel's to watch (TCP_USER_TIMEOUT, RFC 5482).

If this process itself stood still, what has come meanwhile may not be read yet: the wait for an
answer begins anew then.
"""

from enum import Enum
from typing import Final, NamedTuple

from model.ids import MonotonicMs

PING_MS: Final = 1_000
SILENT_MS: Final = 2_000
LOOK_MS: Final = 250
"""How often a link is looked at that was asked, or on which something waits; others when there may
be something to ask."""
_LATE_MS: Final = 2 * LOOK_MS


class Step(Enum):
    """What follows from a look."""

    NONE = "nothing"
    PING = "ask"
    END = "end the link"


class Seen(NamedTuple):
    """What a look at a link shows."""

    now: MonotonicMs
    received_at: MonotonicMs
    """When something last came on it."""
    heard_at: MonotonicMs
    """When something last came from the node, on any link."""
    written_bytes: int
    """In all."""
    unwritten_bytes: int
    """Of them, what the kernel has not taken: its own buffer is full."""


class Silence:
    """Looks at one link that this node has dialled."""

    __slots__ = ("_looked_at", "_moved_at", "_pinged_at", "_taken_bytes", "_waited", "wait_ms")

    def __init__(self, now: MonotonicMs) -> None:
        """Begin when both ends are proven."""
        self._looked_at = now
        self._moved_at = now
        self._pinged_at: MonotonicMs | None = None
        self._taken_bytes = 0
        self._waited = False
        self.wait_ms = LOOK_MS
        """Until the next look."""

    def look(self, seen: Seen) -> Step:
        """Return what to do now, and know when to look again."""
        late, self._looked_at = seen.now - self._looked_at > self.wait_ms + _LATE_MS, seen.now
        self._see_whether_it_moves(seen)
        step = self._judge(seen, late=late)
        self.wait_ms = LOOK_MS
        if self._pinged_at is None and not self._waited:
            self.wait_ms = max(LOOK_MS, seen.received_at + PING_MS - seen.now)
        return step

    def _judge(self, seen: Seen, *, late: bool) -> Step:
        """Return what follows. `late`: what came since the last look may not be read yet."""
        now = seen.now
        pinged_at = self._pinged_at
        if pinged_at is not None and seen.received_at >= pinged_at:
            pinged_at = None
        if pinged_at is None:
            asks = now - seen.received_at >= PING_MS
            self._pinged_at = now if asks else None
            return Step.PING if asks else Step.NONE
        if late:
            pinged_at = now
        self._pinged_at = pinged_at
        alive_at = max(seen.received_at, seen.heard_at, self._moved_at)
        if now - pinged_at < PING_MS:
            return Step.NONE
        if now - alive_at >= SILENT_MS:
            return Step.END
        self._pinged_at = now
        return Step.PING

    def _see_whether_it_moves(self, seen: Seen) -> None:
        """The kernel takes more of what waited: the node has read, or its kernel has."""
        taken_bytes = seen.written_bytes - seen.unwritten_bytes
        if self._waited and taken_bytes > self._taken_bytes:
            self._moved_at = seen.now
        self._taken_bytes = taken_bytes
        self._waited = seen.unwritten_bytes > 0
