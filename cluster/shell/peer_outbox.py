"""What waits to leave on a link: what is urgent first, bulk as far as the network takes it.

Heartbeats and the quorum's messages are small, and late ones cost elections; batches and clients'
calls are large, and whatever has been handed to the kernel stands before all that comes later. So
bulk is handed over a little at a time, in parts of at most `PART_BYTES`, and waits here otherwise.
Each kind leaves in the order in which it was given.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from cluster.peer.part import PART_BYTES, parts_of
from cluster.peer.table import TABLE, Family
from cluster.shell.read_buffer import LENGTH, PREFIX_BYTES
from cluster.shell.wire import Buffer

AHEAD_BYTES: Final = 256 << 10
"""Of bulk, with the transport and not yet with the kernel; the last part may go beyond it."""
_URGENT: Final = frozenset(
    number
    for number, row in TABLE.items()
    if row.family in {Family.LINK, Family.PING, Family.RAFT, Family.CONTROLLER}
)


class _Piece(NamedTuple):
    """A frame, or one part of a long one."""

    size: int
    pieces: Sequence[Buffer]
    asks: int
    """The number of what is asked with it; 0: nothing is, or an earlier part has told."""


class Outbox:
    """Of one link. Loop only."""

    __slots__ = (
        "_asked", "_bulk", "_urgent", "_urgent_asks", "_urgent_bytes", "waiting_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        """Begin with nothing."""
        self._urgent: list[Buffer] = []
        self._urgent_bytes = 0
        self._urgent_asks: list[int] = []
        self._bulk: deque[_Piece] = deque()
        self._asked: list[int] = []
        self.waiting_bytes = 0
        """Of everything, with the lengths before it."""

    @property
    def has_bulk(self) -> bool:
        """Whether something waits for the network to take more."""
        return bool(self._bulk)

    def put(self, frame: Sequence[Buffer], size: int, *, asks: int = 0) -> None:
        """Let a frame wait, in pieces that are not copied and must not change any more.

        `asks`: the number under which `asked` tells that it leaves; 0: nobody wants to know.
        """
        # Python 3.12's gathering write never ends over an empty part that comes last.
        pieces = [piece for piece in frame if len(piece)]
        if size > PART_BYTES:
            for length, part in parts_of(pieces, size):
                self._bulk.append(_Piece(length, part, asks))
                self.waiting_bytes += PREFIX_BYTES + length
                asks = 0
            return
        self.waiting_bytes += PREFIX_BYTES + size
        if frame[0][0] in _URGENT:
            self._urgent_bytes += PREFIX_BYTES + size
            self._urgent += (LENGTH.pack(size), *pieces)
            if asks:
                self._urgent_asks.append(asks)
        else:
            self._bulk.append(_Piece(size, pieces, asks))

    def take(self, room_bytes: int) -> list[Buffer]:
        """Return what leaves now: all that is urgent, and bulk until so many bytes are reached."""
        leaving, self._urgent = self._urgent, []
        self.waiting_bytes -= self._urgent_bytes
        self._urgent_bytes = 0
        self._asked += self._urgent_asks
        self._urgent_asks = []
        while self._bulk and room_bytes > 0:
            size, pieces, asks = self._bulk.popleft()
            if asks:
                self._asked.append(asks)
            leaving += (LENGTH.pack(size), *pieces)
            room_bytes -= PREFIX_BYTES + size
            self.waiting_bytes -= PREFIX_BYTES + size
        return leaving

    def asked(self) -> list[int]:
        """Return what was asked with frames that have left since the last call, if only in part."""
        asked, self._asked = self._asked, []
        return asked
