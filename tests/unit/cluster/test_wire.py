"""Frames over one connection: cut anywhere, held back, refused, bounded (P53, P55, P58)."""

import asyncio
from struct import pack

import pytest

from api.broker.memory import MemoryBudget
from api.broker.read_room import ReadRoom
from cluster.shell.tick import Tick
from cluster.shell.wire import Buffer, FrameConnection
from cluster.shell.wire_limits import WireLimits
from tests.wire_transport import ManualTick, RecordingTransport

LIMITS = WireLimits(
    frame_bytes_max=4096,
    read_buffer_bytes=64,
    kept_buffer_bytes_max=256,
    unwritten_bytes_max=1000,
)
BUDGET_BYTES = 1 << 20


class Echo(FrameConnection):
    """Sends every frame back as it came; `answers` times as long if asked to."""

    def __init__(
        self,
        tick: Tick,
        *,
        memory: MemoryBudget,
        room: ReadRoom,
        answers: MemoryBudget,
        times: int = 1,
    ) -> None:
        super().__init__(LIMITS, tick, memory=memory, room=room, answers=answers)
        self.frames: list[bytes] = []
        self.refused_lengths: list[int] = []
        self.host = ""
        self.lost = False
        self.released = True
        self._times = times
        self._to_send: list[Buffer] = []

    def opened(self, host: str) -> None:
        self.host = host

    def frame(self, frame: memoryview) -> None:
        self.frames.append(bytes(frame))
        self._to_send += [pack(">i", len(frame) * self._times), bytes(frame) * self._times]
        self.flush_later()

    def refused(self, length: int) -> None:
        self.refused_lengths.append(length)

    def gather(self) -> list[Buffer]:
        parts, self._to_send = self._to_send, []
        return parts

    def flushed(self) -> None:
        if self.released:
            self.release()

    @property
    def waiting_bytes(self) -> int:
        return 0

    def settled(self) -> bool:
        return not self._to_send

    def closed(self, error: Exception | None) -> None:
        self.lost = True


class Peer:
    """An echoing connection, its transport and its tick."""

    def __init__(
        self, *, times: int = 1, reads_answers: bool = True, room: ReadRoom | None = None
    ) -> None:
        self.tick = ManualTick()
        self.memory = MemoryBudget(BUDGET_BYTES)
        self.room = room or ReadRoom(BUDGET_BYTES)
        self.answers = MemoryBudget(BUDGET_BYTES)
        self.echo = Echo(
            Tick(self.tick.call_soon),
            memory=self.memory,
            room=self.room,
            answers=self.answers,
            times=times,
        )
        self.transport = RecordingTransport(self.echo, reads_answers=reads_answers)


def framed(*bodies: bytes) -> bytes:
    return b"".join(pack(">i", len(body)) + body for body in bodies)


BODIES = (b"", b"a", b"bc" * 30, b"d" * 61, b"e" * 400, b"f" * 4096, b"g")


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 60, 64, 65, 1 << 16])
def test_frames_arrive_whole_however_they_are_cut(at_once: int) -> None:
    peer = Peer()
    data = framed(*BODIES)
    assert peer.transport.feed(data, at_once=at_once) == len(data)
    peer.tick.end()
    assert peer.echo.frames == list(BODIES)
    assert b"".join(peer.transport.writes) == data


def test_what_arrives_in_one_tick_leaves_in_one_write() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"one", b"two") + framed(b"three"))
    assert peer.transport.writes == []
    peer.tick.end()
    assert peer.transport.writes == [framed(b"one", b"two", b"three")]


@pytest.mark.parametrize("length", [LIMITS.frame_bytes_max + 1, 2**31 - 1, -1, -(2**31)])
def test_a_length_beyond_the_limit_is_refused_before_anything_is_allocated(length: int) -> None:
    peer = Peer()
    peer.transport.feed(framed(b"before") + pack(">i", length) + b"rest")
    assert peer.echo.refused_lengths == [length]
    assert peer.echo.capacity_bytes == LIMITS.read_buffer_bytes
    peer.tick.end()
    assert peer.transport.writes == [framed(b"before")]
    assert peer.transport.closing and not peer.transport.aborted


def test_the_longest_frame_is_accepted() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"x" * LIMITS.frame_bytes_max))
    assert len(peer.echo.frames[0]) == LIMITS.frame_bytes_max


def test_a_promise_of_a_long_frame_allocates_little() -> None:
    peer = Peer()
    data = pack(">i", 4096) + b"x" * 4095
    for sent in range(1, len(data)):
        peer.transport.feed(data[sent - 1 : sent])
        assert peer.echo.capacity_bytes <= max(LIMITS.read_buffer_bytes, 4 * sent + 4)


def test_a_large_buffer_is_given_back_and_so_is_its_share_of_the_memory() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"x" * 4096)[:-1])
    assert peer.room.taken_bytes == peer.echo.capacity_bytes - LIMITS.read_buffer_bytes > 0
    peer.transport.feed(b"x")
    assert peer.echo.capacity_bytes == LIMITS.read_buffer_bytes
    assert peer.room.taken_bytes == 0


def test_a_buffer_that_is_kept_shrinks_when_the_connection_is_quiet() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"x" * 200))
    assert peer.echo.capacity_bytes == 4 * LIMITS.read_buffer_bytes
    assert peer.room.taken_bytes == 200
    peer.echo.shrink()
    assert peer.echo.capacity_bytes == LIMITS.read_buffer_bytes
    assert peer.room.taken_bytes == 0


def test_held_frames_wait_in_the_buffer_and_the_socket() -> None:
    peer = Peer()
    peer.echo.hold()
    peer.echo.released = False
    data = framed(*(b"%03d" % n for n in range(100)))
    fed = peer.transport.feed(data)
    assert peer.echo.frames == []
    assert fed == LIMITS.read_buffer_bytes, "the buffer fills, so that an end would be noticed"
    assert not peer.transport.reading
    peer.echo.released = True
    peer.echo.release()
    assert peer.transport.reading
    assert fed + peer.transport.feed(data[fed:]) == len(data)
    assert peer.echo.frames == [b"%03d" % n for n in range(100)]


def test_a_frame_longer_than_the_buffer_comes_through_after_a_hold() -> None:
    peer = Peer()
    peer.echo.hold()
    data = framed(b"x" * 3000, b"y")
    fed = peer.transport.feed(data)
    peer.echo.release()
    peer.transport.feed(data[fed:])
    assert [len(frame) for frame in peer.echo.frames] == [3000, 1]


def test_a_client_that_does_not_read_is_not_served_further() -> None:
    peer = Peer(times=10, reads_answers=False)
    request = framed(b"x" * 20)
    for _ in range(100):
        peer.transport.feed(request)
        peer.tick.end()
    unread = peer.transport.get_write_buffer_size()
    assert LIMITS.unwritten_bytes_max < unread <= LIMITS.unwritten_bytes_max + 204
    served = len(peer.echo.frames)
    assert peer.answers.taken_bytes == unread, "what it leaves is counted"
    peer.transport.drained()
    assert peer.answers.taken_bytes == 0
    peer.tick.end()
    assert len(peer.echo.frames) > served


def test_what_a_client_left_unread_goes_with_it() -> None:
    peer = Peer(times=100, reads_answers=False)
    peer.transport.feed(framed(b"x" * 20))
    peer.tick.end()
    assert peer.answers.taken_bytes == 2004
    peer.transport.lose()
    assert peer.answers.taken_bytes == 0


def test_a_little_that_is_unread_is_a_connections_own_affair() -> None:
    peer = Peer(times=10, reads_answers=False)
    peer.transport.feed(framed(b"x" * 20))
    peer.tick.end()
    assert 0 < peer.transport.get_write_buffer_size() <= LIMITS.unwritten_bytes_max
    assert peer.answers.taken_bytes == 0


def test_a_congested_node_takes_no_frame_until_it_has_relief() -> None:
    peer = Peer()
    peer.memory.take(BUDGET_BYTES)
    peer.transport.feed(framed(b"one", b"two"))
    assert peer.echo.frames == []
    peer.memory.give_back(BUDGET_BYTES)
    assert peer.echo.frames == [b"one", b"two"]


def test_a_congested_node_lets_no_buffer_grow() -> None:
    peer = Peer()
    data = framed(b"x" * 1000)
    fed = peer.transport.feed(data[:60])
    peer.memory.take(BUDGET_BYTES)
    fed += peer.transport.feed(data[fed:])
    assert peer.echo.capacity_bytes == LIMITS.read_buffer_bytes
    assert not peer.transport.reading
    peer.memory.give_back(BUDGET_BYTES)
    assert peer.transport.reading
    peer.transport.feed(data[fed:])
    assert len(peer.echo.frames) == 1


def test_a_connection_that_is_lost_while_it_waits_for_memory_is_not_kept() -> None:
    """Clients that come again and again while the disk stands still would pile up."""
    peer = Peer()
    peer.memory.take(BUDGET_BYTES)
    peer.transport.feed(framed(b"one"))
    assert len(peer.memory._relieved) == 1
    peer.transport.lose()
    assert len(peer.memory._relieved) == 0


def test_a_lost_connection_gives_everything_back() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"x" * 4096)[:-1])
    peer.transport.lose()
    assert peer.echo.lost
    assert peer.room.taken_bytes == 0
    peer.echo.flush_later()
    peer.tick.end()
    assert peer.transport.writes == []


def test_an_end_lets_what_is_owed_leave_first() -> None:
    peer = Peer()
    peer.transport.feed(framed(b"last"))
    peer.echo.end()
    assert not peer.transport.closing
    peer.tick.end()
    assert peer.transport.writes == [framed(b"last")]
    assert peer.transport.closing


async def test_over_a_real_socket() -> None:
    loop = asyncio.get_running_loop()
    memory, room = MemoryBudget(BUDGET_BYTES), ReadRoom(BUDGET_BYTES)
    server = await loop.create_server(
        lambda: Echo(Tick(loop.call_soon), memory=memory, room=room, answers=memory), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        data = framed(*BODIES) * 20
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.write(pack(">i", -1))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert (memory.taken_bytes, room.taken_bytes) == (0, 0)
