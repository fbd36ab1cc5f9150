"""Room for requests that are being read: each has room for all of it before it is read (P53, P57).

It is a share of the node's memory of its own. So requests of which there are halves cannot keep
those from being handled that are whole, whoever sent them and over whichever protocol; and nobody
has half of what he needs and waits for the other half while others do the same. Turns are given in
the order in which they were asked for: a large request is not overtaken by small ones for ever.

While somebody waits, a client that has room and does not send is cut off: less than `PACE_BYTES`
in `PACE_MS`, or less than is missing. One whose request is here is not, for it waits for us; but
one is that takes no answers, or waits for records, and has room for what it has sent behind that.

Invariants:
    ROOM_ONCE    a reader has room or waits for it, once, and gives back what it was given.
"""

from typing import Final

from cluster.shell.wire_limits import Reader
from model.ids import MonotonicMs
from model.limits import REQUEST_PACE_BYTES_MIN, REQUEST_PACE_MS

PACE_BYTES: Final = REQUEST_PACE_BYTES_MIN.value
PACE_MS: Final = REQUEST_PACE_MS.value
SHARE: Final = 4
"""One part in so many of the node's budget is for reading."""


def read_room_bytes(budget_bytes: int, request_bytes_max: int) -> int:
    """Return how much of a budget is for reading.

    It is more where the longest request would not fit, if that leaves half of the budget for the
    rest. Where the budget is smaller, a request that is longer than the share is read alone.
    """
    share = budget_bytes // SHARE
    return max(share, request_bytes_max) if request_bytes_max * 2 <= budget_bytes else share


class ReadRoom:
    """A `cluster.shell.wire_limits.ReadRoom`: arithmetic, and a queue. Loop only."""

    __slots__ = ("_held", "_limit_bytes", "_looked", "_paces", "_queue", "_taken_bytes")

    def __init__(self, limit_bytes: int) -> None:
        """Begin with nothing reserved."""
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._held: dict[Reader, int] = {}
        self._queue: dict[Reader, int] = {}
        self._paces: dict[Reader, tuple[MonotonicMs, int]] = {}
        """Since when a reader that has room is watched, and what it had moved by then."""
        self._looked = MonotonicMs(0)

    @property
    def limit_bytes(self) -> int:
        """How much there is."""
        return self._limit_bytes

    @property
    def taken_bytes(self) -> int:
        """How much is reserved now."""
        return self._taken_bytes

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def contended(self) -> bool:
        """Somebody waits: nobody keeps room that he does not need."""
        return bool(self._queue)

    def reserve(self, reader: Reader, size_bytes: int) -> bool:
        """Reserve room for a whole request; false: the reader waits, and is told of its turn."""
        assert reader not in self._held and reader not in self._queue, "ROOM_ONCE"
        if not self._queue and not self._fits(size_bytes):
            self._clear_the_way(size_bytes)
        if self._queue or not self._fits(size_bytes):
            self._queue[reader] = size_bytes
            return False
        self._take(reader, size_bytes)
        return True

    def vacate(self, reader: Reader, size_bytes: int) -> None:
        """Give back what was reserved; those whose turn it is have it when this returns."""
        reserved = self._held.pop(reader, None)
        assert reserved == size_bytes, "ROOM_ONCE"
        self._paces.pop(reader, None)
        self._taken_bytes -= size_bytes
        self._grant()

    def leave(self, reader: Reader) -> None:
        """Wait no more: the next in the row may fit."""
        self._queue.pop(reader, None)
        self._grant()

    def look(self, now: MonotonicMs) -> None:
        """Cut off who keeps room from others and does not send. Call it every second or so."""
        stood_still = now - self._looked > PACE_MS
        self._looked = now
        if not self._queue:
            self._paces.clear()
            return
        if stood_still:  # we did not read either
            self._paces.clear()
        for reader in list(self._held):
            if reader.is_whole:
                self._paces.pop(reader, None)
                continue
            since, moved = self._paces.get(reader, (now, -PACE_BYTES))
            if reader.moved_bytes - moved >= PACE_BYTES:
                self._paces[reader] = now, reader.moved_bytes
            elif now - since >= PACE_MS:
                reader.too_slow()

    def _fits(self, size_bytes: int) -> bool:
        """One always fits where there is no other."""
        return not self._taken_bytes or self._taken_bytes + size_bytes <= self._limit_bytes

    def _clear_the_way(self, size_bytes: int) -> None:
        """Ask for room that is kept for requests to come."""
        for reader in list(self._held):
            reader.give_way()
            if self._fits(size_bytes):
                return

    def _grant(self) -> None:
        while self._queue:
            reader, size_bytes = next(iter(self._queue.items()))
            if not self._fits(size_bytes):
                return
            del self._queue[reader]
            self._take(reader, size_bytes)
            reader.granted(size_bytes)

    def _take(self, reader: Reader, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        self._held[reader] = size_bytes
