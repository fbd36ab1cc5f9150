"""Many connections share the room for long frames: it is never exceeded, and all get through."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from api.broker.read_room import ReadRoom
from tests.unit.cluster.test_wire import LIMITS, Peer, framed

SMALL = LIMITS.read_buffer_bytes
LONGEST = LIMITS.frame_bytes_max
SIZES = st.one_of(st.integers(0, 2 * SMALL), st.integers(0, LIMITS.frame_bytes_max))
SENDERS = st.lists(st.lists(SIZES, min_size=1, max_size=6), min_size=1, max_size=6)
STEP = st.tuples(st.integers(0, 5), st.integers(1, 2_000), st.integers(0, 40))


class Sender:
    """A client that has frames to send, and what the plain model says of its room."""

    def __init__(self, room: ReadRoom, name: int, sizes: list[int]) -> None:
        self.bodies = [bytes([65 + name]) * size for size in sizes]
        self.data = framed(*self.bodies)
        self.sent = 0
        self.peer = Peer(room=room)

    def send(self, size: int, at_once: int) -> int:
        part = self.data[self.sent : self.sent + size]
        fed = self.peer.transport.feed(part, at_once=at_once)
        self.sent += fed
        self.peer.tick.end()
        return fed

    @property
    def held(self) -> int:
        return self.peer.echo.capacity_bytes - SMALL


class Watched(ReadRoom):
    """Notes who asked first, and holds each turn against that."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.row: deque[object] = deque()

    def reserve(self, reader, size_bytes):  # type: ignore[no-untyped-def]
        has_room = super().reserve(reader, size_bytes)
        if has_room:
            assert not self.row, "it overtook those who wait"
        else:
            self.row.append(reader)
        return has_room

    def leave(self, reader):  # type: ignore[no-untyped-def]
        self.row.remove(reader)
        super().leave(reader)

    def _take(self, reader, size_bytes):  # type: ignore[no-untyped-def]
        if self.row:
            assert self.row.popleft() is reader, "it was another one's turn"
        super()._take(reader, size_bytes)


@given(
    frames=SENDERS,
    limit=st.integers(LONGEST, 2 * LONGEST),
    steps=st.lists(STEP, max_size=60),
    one_leaves=st.booleans(),
)
def test_the_room_is_kept_and_everything_comes_through(
    *, frames: list[list[int]], limit: int, steps: list[tuple[int, int, int]], one_leaves: bool
) -> None:
    room = Watched(limit)
    senders = [Sender(room, name, sizes) for name, sizes in enumerate(frames)]

    def check() -> None:
        assert sum(sender.held for sender in senders) <= room.taken_bytes <= limit
        assert bool(room.row) is room.contended

    for who, size, cut in steps:
        senders[who % len(senders)].send(size, cut + 1)
        check()
    if one_leaves:
        gone = senders.pop()
        gone.peer.transport.lose()
        check()
    left = True
    while left:  # whoever is read sends on: somebody always is, until all is sent
        moved = sum(sender.send(500, 500) for sender in senders)
        check()
        left = any(sender.sent < len(sender.data) for sender in senders)
        assert moved or not left, "they wait for each other"
    for sender in senders:
        assert sender.peer.echo.frames == sender.bodies
        sender.peer.transport.lose()
    assert room.taken_bytes == 0 and not room.contended
