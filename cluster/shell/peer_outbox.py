"""What waits to leave on a link: what is urgent first, bulk as far as the network takes it.

Heartbeats and the quorum's messages are small, and late ones cost elections; batches and clients'
calls are large, and whatever has been handed to the kernel stands before all that comes later. So
bulk is handed over a little at a time (`Pace`), in parts where a frame is longer than that, and
waits here otherwise. So do long frames of the urgent families, before bulk, always in parts; what
follows them in their family stays behind them, but for heartbeats, which say nothing of what was
said before. Parts of two frames are never mixed: what is begun is finished first.
Each kind leaves in the order in which it was given.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cluster.peer.part import PART_BYTES, PART_HEAD_BYTES, parts_of
from cluster.peer.table import TABLE, Family, FrameType
from cluster.shell.peer_pace import Pace
from cluster.shell.read_buffer import LENGTH, PREFIX_BYTES
from cluster.shell.wire import Buffer

_URGENT: Final = frozenset(
    number
    for number, row in TABLE.items()
    if row.family in {Family.LINK, Family.PING, Family.RAFT, Family.CONTROLLER}
)
_HEARTBEATS: Final = frozenset(
    {
        FrameType.RAFT_HEARTBEAT,
        FrameType.RAFT_HEARTBEAT_REPLY,
        FrameType.BROKER_HEARTBEAT,
        FrameType.HEARD,
    }
)
"""What overtakes a long frame of its own family: who leads, and who lives, is to be known."""


class _Piece(NamedTuple):
    """A frame, or one part of a long one."""

    size: int
    pieces: Sequence[Buffer]
    asks: int
    """The number of what is asked with it; 0: nothing is, or an earlier part has told."""
    left: int
    """Bytes of the same frame that follow in later pieces."""
    family: Family
    is_part: bool = False


class Outbox:
    """Of one link. Loop only."""

    __slots__ = (
        "_asked", "_begun", "_bulk", "_held", "_long", "_pace", "_urgent", "_urgent_asks",
        "_urgent_bytes", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, pace: Pace) -> None:
        """Begin with nothing; cut bulk by a pace."""
        self._pace = pace
        self._urgent: list[Buffer] = []
        self._urgent_bytes = 0
        self._urgent_asks: list[int] = []
        self._bulk: deque[_Piece] = deque()
        self._long: deque[_Piece] = deque()
        """Urgent frames in parts, and whole ones that stay behind them."""
        self._held = Counter[Family]()
        """How many pieces of each family are in that row."""
        self._begun: deque[_Piece] | None = None
        """The row whose first frame has left in part."""
        self._asked: list[int] = []
        self.waiting_bytes = 0
        """Of everything, with the lengths before it."""

    @property
    def waits(self) -> bool:
        """Whether something waits for the network to take more."""
        return bool(self._bulk or self._long)

    def put(self, frame: Sequence[Buffer], size: int, *, asks: int = 0) -> None:
        """Let a frame wait, in pieces that are not copied and must not change any more.

        `asks`: the number under which `asked` tells that it leaves; 0: nobody wants to know.
        """
        # Python 3.12's gathering write never ends over an empty part that comes last.
        pieces = [piece for piece in frame if len(piece)]
        kind = FrameType(frame[0][0])
        family = TABLE[kind].family
        whole = _Piece(size, pieces, asks, 0, family)
        if kind not in _URGENT:  # how long its parts may be is known when it leaves
            self._wait(self._bulk, whole)
        elif size > PART_BYTES:
            for part in _in_parts(whole):
                self._wait(self._long, part)
        elif self._held[family] and kind not in _HEARTBEATS:
            self._wait(self._long, whole)
        else:
            self.waiting_bytes += PREFIX_BYTES + size
            self._urgent_bytes += PREFIX_BYTES + size
            self._urgent += (LENGTH.pack(size), *pieces)
            if asks:
                self._urgent_asks.append(asks)

    def take(self, room_bytes: int) -> list[Buffer]:
        """Return what leaves now: all that is short and urgent; the rest up to so many bytes."""
        leaving, self._urgent = self._urgent, []
        self.waiting_bytes -= self._urgent_bytes
        self._urgent_bytes = 0
        self._asked += self._urgent_asks
        self._urgent_asks = []
        while room_bytes > 0 and (row := self._begun or self._long or self._bulk):
            if row is self._bulk:
                self._cut_next()
            piece = row.popleft()
            self._begun = row if piece.left else None
            if row is self._long:
                self._held[piece.family] -= 1
            if piece.asks:
                self._asked.append(piece.asks)
            leaving += (LENGTH.pack(piece.size), *piece.pieces)
            room_bytes -= PREFIX_BYTES + piece.size
            self.waiting_bytes -= PREFIX_BYTES + piece.size
        return leaving

    def _cut_next(self) -> None:
        """Cut the first frame of bulk, if it is longer than what may stand before urgent ones."""
        whole = self._bulk[0]
        if whole.is_part or whole.size <= self._pace.ahead_bytes:
            return
        parts = list(_in_parts(self._bulk.popleft()))
        self.waiting_bytes += sum(PREFIX_BYTES + part.size for part in parts)
        self.waiting_bytes -= PREFIX_BYTES + whole.size
        self._bulk.extendleft(reversed(parts))

    def _wait(self, row: deque[_Piece], piece: _Piece) -> None:
        row.append(piece)
        self.waiting_bytes += PREFIX_BYTES + piece.size
        if row is self._long:
            self._held[piece.family] += 1

    def asked(self) -> list[int]:
        """Return what was asked with frames that have left since the last call, if only in part."""
        asked, self._asked = self._asked, []
        return asked


def _in_parts(whole: _Piece) -> Iterator[_Piece]:
    """Yield the parts of a frame; with the first what is asked is told."""
    left, asks = whole.size, whole.asks
    for length, part in parts_of(whole.pieces, left):
        left -= length - PART_HEAD_BYTES
        yield _Piece(length, part, asks, left, whole.family, is_part=True)
        asks = 0
