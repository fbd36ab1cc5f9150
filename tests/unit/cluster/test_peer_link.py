"""One end of a link, by hand: what it refuses, how it tells, how long it waits, what it holds."""

from collections.abc import Callable
from errno import ECONNRESET, EHOSTUNREACH, ETIMEDOUT
from random import Random
from struct import pack, unpack_from

import pytest

from cluster.peer import forward
from cluster.peer.forward import CallRefused, Forwarded, encode_forwarded
from cluster.peer.handshake import FIRST_FRAME_BYTES_MAX, Handshake
from cluster.peer.hello import LinkRefused, Reason, Side, decode, encode_refused
from cluster.peer.ping import Ping, Pong, encode
from cluster.peer.replica import Beat
from cluster.peer.replica_frames import encode_stream
from cluster.peer.table import FRAME_BYTES_MAX, HEAD, Frame, FrameType, packed, parse
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_doors import (
    ACCEPTED_BYTES_MAX,
    CALLS_LEAVE_BYTES,
    HANDSHAKE_MS,
    IDLE_MS,
    LINGER_MS,
    UNPROVEN_MAX,
    PeerDoors,
)
from cluster.shell.peer_link import PeerLink
from cluster.shell.peer_listener import PeerListener
from cluster.shell.peer_loss import Loss, loss_of
from cluster.shell.tick import Tick
from model.errors import ErrorCode, Outcome
from model.ids import AppendTimeMs, MonotonicMs, NodeId
from tests.peer_frames import samples
from tests.peer_network import SECRET, Chance, MemoryNetwork, Process, address_of, hello_of
from tests.wire_transport import RecordingTransport

NEVER_HEARD = MonotonicMs(0)
BEAT = encode_stream(Beat(AppendTimeMs(7)))


def framed(*frames: bytes) -> bytes:
    return b"".join(pack(">i", len(frame)) + frame for frame in frames)


def split(data: bytes) -> list[bytes]:
    """Return the frames of a stream of bytes."""
    frames = []
    while data:
        (length,) = unpack_from(">i", data)
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


def held(link: PeerLink) -> int:
    """Return how much of what was said the other end has not taken."""
    return link.waiting_bytes + link.unwritten_bytes


class Owner:
    """Notes what the link tells; its reader does what the test wants."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.frames: list[bytes] = []
        self.read: Callable[[Frame], None] = lambda frame: None

    def opened(self, link: PeerLink) -> None:
        self.told.append("opened")

    def proven(self, link: PeerLink) -> None:
        self.told.append(f"proven {link.node}")

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        pass

    def heard_at(self, node: NodeId) -> MonotonicMs:
        return NEVER_HEARD

    def took(self, link: PeerLink, frame: Frame) -> None:
        self.frames.append(packed(frame.type, bytes(frame.body), correlation=frame.correlation))
        self.read(frame)

    def ended(self, link: PeerLink) -> None:
        assert link.loss is not None
        self.told.append(link.loss.name)


class Alone:
    """One end, and the test at the other."""

    def __init__(self, side: Side, *, reads_answers: bool = True) -> None:
        self.net = MemoryNetwork()
        self.owner = Owner()
        self.doors = PeerDoors(
            me=hello_of(1),
            secret=SECRET,
            clock=self.net.clock,
            rand=Chance(1),
            tick=Tick(self.net.tick.call_soon),
            network=self.net.host(address_of(1)),
        )
        self.link = PeerLink(self.doors, self.owner, side=side)
        other = Side.LISTENS if side is Side.DIALS else Side.DIALS
        self.handshake = Handshake(hello_of(2)._replace(nonce=bytes([9]) * 32), SECRET, side=other)
        self.transport = RecordingTransport(self.link, reads_answers=reads_answers)
        self.net.tick.end()

    def sent(self) -> list[bytes]:
        """Return the frames that it sent since the last call."""
        self.net.tick.end()
        data, self.transport.writes = b"".join(self.transport.writes), []
        return split(data)

    def proven(self) -> "Alone":
        """Go through the handshake."""
        frames = [frame for frame in [self.handshake.begin(), *self.sent()] if frame]
        if self.link.side is Side.DIALS:
            frames = [self.handshake.take(frame) for frame in frames]
        self.transport.feed(framed(*frames))
        for frame in self.sent():
            answer = self.handshake.take(frame)
            if answer:
                self.transport.feed(framed(answer))
        for frame in self.sent():
            self.handshake.take(frame)
        assert self.handshake.link is not None and self.link.is_up
        return self


def refusal(frames: list[bytes]) -> LinkRefused:
    """Return the one refusal that was sent."""
    said = decode(parse(frames[-1], version=1))
    assert isinstance(said, LinkRefused)
    return said


@pytest.mark.parametrize("side", Side)
def test_both_sides_end_their_handshake(side: Side) -> None:
    alone = Alone(side).proven()
    assert alone.owner.told == ["opened", "proven 2"]
    assert not alone.transport.closing


@pytest.mark.parametrize("side", Side)
def test_who_says_nothing_is_not_waited_for(side: Side) -> None:
    alone = Alone(side)
    alone.net.after(HANDSHAKE_MS - 1)
    assert not alone.transport.aborted
    alone.net.after(1)
    assert alone.transport.aborted
    assert alone.owner.told == ["opened", "SILENT"]


def test_a_stranger_cannot_make_us_hold_more_than_a_first_frame() -> None:
    alone = Alone(Side.LISTENS)
    alone.transport.feed(pack(">i", FIRST_FRAME_BYTES_MAX + 1))
    assert refusal(alone.sent()).reason is Reason.MALFORMED
    assert alone.transport.closing
    assert alone.owner.told == ["opened", "REFUSED"]
    proven = Alone(Side.LISTENS).proven()
    proven.transport.feed(pack(">i", FIRST_FRAME_BYTES_MAX + 1))
    assert not proven.transport.closing
    proven.transport.feed(bytes(FIRST_FRAME_BYTES_MAX + 1))
    assert refusal(proven.sent()).reason is Reason.UNKNOWN_FRAME, "a frame of type 0"


def test_a_length_above_the_limit_is_told_and_ends_the_link() -> None:
    alone = Alone(Side.LISTENS).proven()
    alone.transport.feed(framed(BEAT) + pack(">i", FRAME_BYTES_MAX + 1))
    assert alone.owner.frames == [BEAT]
    told = refusal(alone.sent())
    assert told.reason is Reason.MALFORMED
    assert str(FRAME_BYTES_MAX) in told.detail


def test_nothing_is_handled_before_the_proof() -> None:
    alone = Alone(Side.LISTENS)
    alone.transport.feed(framed(BEAT))
    assert alone.owner.frames == []
    assert refusal(alone.sent()).reason is Reason.UNKNOWN_FRAME
    assert not alone.link.say(BEAT)


@pytest.mark.parametrize("frame", [sample.frame for sample in samples()], ids=range(len(samples())))
@pytest.mark.parametrize("side", Side)
def test_each_side_takes_what_is_its_own_and_refuses_the_rest(side: Side, frame: bytes) -> None:
    alone = Alone(side).proven()
    read = parse(frame, version=1)
    alone.transport.feed(framed(frame))
    sent = alone.sent()
    ours = read.row.manner.value != "answers" and read.row.family.value != "link"
    if read.type is FrameType.PART:
        assert alone.owner.frames == sent == [], "more of it is to come"
        assert alone.doors.memory.taken_bytes == len(b"piece")
    elif side is Side.LISTENS and ours and read.type is not FrameType.PING:
        assert alone.owner.frames == [frame]
        assert alone.link.is_up
    elif side is Side.LISTENS and ours:
        assert sent == [encode(Pong(), correlation=read.correlation)]
    elif read.type is FrameType.LINK_REFUSED:
        assert alone.link.refusal is not None and alone.link.refusal.by_peer
        assert sent == [], "a refusal is not answered"
        assert alone.owner.told[-1] == "REFUSED"
    else:  # nothing was asked yet, so no answer is its own either
        assert refusal(sent).reason in {Reason.UNKNOWN_FRAME, Reason.MALFORMED}
        assert alone.owner.frames == []
        assert alone.owner.told[-1] == "REFUSED"


def test_what_came_behind_a_refused_frame_is_not_handled() -> None:
    alone = Alone(Side.LISTENS).proven()
    alone.transport.feed(framed(BEAT, bytes(6), BEAT, BEAT))
    assert alone.owner.frames == [BEAT]


def test_any_bytes_end_in_a_refusal_or_are_frames() -> None:
    chance = Random(11)
    for _ in range(100):
        alone = Alone(chance.choice(list(Side)))
        if chance.random() < 0.7:
            alone.proven()
        frames = [bytearray(chance.choice(samples()).frame) for _ in range(4)]
        frames[chance.randrange(4)][chance.randrange(6)] ^= 1 << chance.randrange(8)
        alone.transport.feed(framed(*map(bytes, frames)), at_once=chance.randrange(1, 64))
        alone.net.tick.end()
        assert alone.link.is_up or alone.link.loss is Loss.REFUSED or alone.link.link is None
        assert (alone.link.loss is None) is not alone.transport.closing


def test_last_words_are_waited_for_only_so_long() -> None:
    alone = Alone(Side.LISTENS).proven()
    alone.link.leave()
    alone.net.tick.end()
    assert alone.transport.closing and not alone.transport.aborted
    alone.net.after(LINGER_MS)
    assert alone.transport.aborted
    assert alone.owner.told == ["opened", "proven 2", "LEFT"]


def test_a_lost_link_is_told_once_and_leaves_no_timer() -> None:
    for side in Side:
        alone = Alone(side).proven()
        alone.transport.lose()
        alone.link.leave()
        alone.link.cut()
        assert alone.owner.told == ["opened", "proven 2", "CLOSED"]
        assert alone.net.clock.next_timer() is None
        assert len(alone.doors.open_links) == 0
        assert alone.doors.memory.taken_bytes == 0


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (None, Loss.CLOSED),
        (OSError(ECONNRESET, "reset"), Loss.RESET),
        (BrokenPipeError(), Loss.RESET),
        (OSError(ETIMEDOUT, "timed out"), Loss.SILENT),
        (OSError(EHOSTUNREACH, "no route"), Loss.BROKEN),
    ],
)
def test_only_the_other_kernel_tells_of_a_death(error: OSError | None, loss: Loss) -> None:
    assert loss_of(error) is loss
    assert {one for one in Loss if one.ended_there} == {Loss.CLOSED, Loss.RESET}


def test_a_quiet_link_pings_and_an_incoming_one_that_nobody_pings_is_dropped() -> None:
    dials = Alone(Side.DIALS).proven()
    dials.net.after(1_250)
    (ping,) = dials.sent()
    assert parse(ping, version=1).type is FrameType.PING
    listens = Alone(Side.LISTENS).proven()
    listens.net.after(IDLE_MS - 1)
    listens.transport.feed(framed(encode(Ping(), correlation=3)))
    listens.net.after(IDLE_MS - 1)
    assert listens.link.is_up
    listens.net.after(1)
    assert listens.link.loss is Loss.SILENT


def test_answers_are_read_while_nobody_reads_what_is_said() -> None:
    """Else both ends of a link, each waiting to be read, would wait for ever."""
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    while alone.link.unwritten_bytes <= 2 * alone.link.limits.unwritten_bytes_max:
        assert alone.link.say([HEAD.pack(FrameType.APPEND_REQUEST, 0, 0), bytes(1 << 17)])
        alone.net.tick.end()
    alone.transport.feed(framed(encode_refused(LinkRefused(Reason.MALFORMED, "why"))))
    assert alone.link.refusal is not None


def test_what_clients_read_leaves_room_for_what_nodes_tell_each_other() -> None:
    """Else a reader that is slow would end the link, and replication with it."""
    alone = Alone(Side.LISTENS, reads_answers=False).proven()
    large, answered = bytes(8 << 20), 0
    while held(alone.link) + len(large) < ACCEPTED_BYTES_MAX - CALLS_LEAVE_BYTES:
        answered += 1
        Answer(alone.link, answered)(encode_forwarded(Forwarded(large), correlation=answered))
        alone.net.tick.end()
    before = held(alone.link)
    Answer(alone.link, 99)(encode_forwarded(Forwarded(large), correlation=99))
    alone.net.tick.end()
    assert alone.link.is_up
    assert held(alone.link) - before < 1_000
    assert alone.link.say([HEAD.pack(FrameType.BATCHES, 0, 0), bytes(1 << 20)])
    frames = alone.sent()
    while alone.link.waiting_bytes:
        alone.transport.drained()
        frames += alone.sent()
    (refused,) = [frame for frame in frames if frame[0] == FrameType.CALL_REFUSED]
    told = forward.decode(parse(refused, version=1))
    assert isinstance(told, CallRefused)
    assert told.error.code is ErrorCode.REQUEST_TIMED_OUT
    assert told.error.code.outcome is Outcome.UNKNOWN


def test_a_link_without_room_for_a_word_is_ended() -> None:
    alone = Alone(Side.LISTENS, reads_answers=False).proven()
    for size in (4 << 20, 1 << 14, 1 << 7, 0):
        while alone.link.say([HEAD.pack(FrameType.BATCHES, 0, 0), bytes(size)]):
            pass
    alone.net.tick.end()
    assert alone.link.is_up
    Answer(alone.link, 7)(encode_forwarded(Forwarded(b"answer"), correlation=7))
    assert alone.link.loss is Loss.LEFT


def test_who_does_not_read_its_answers_is_not_served_further() -> None:
    alone = Alone(Side.LISTENS, reads_answers=False).proven()
    ping = encode(Ping(), correlation=3)
    fed = 0
    flood = framed(*[ping] * 5_000)
    for _ in range(120):
        fed += alone.transport.feed(flood)
        alone.net.tick.end()
    assert fed < 120 * len(flood), "it would take them all"
    assert alone.link.unwritten_bytes < 4 << 20
    assert alone.link.buffered_bytes <= alone.link.capacity_bytes <= 64 << 10
    assert alone.doors.memory.taken_bytes == alone.link.unwritten_bytes > 1 << 20
    alone.transport.drained()
    alone.net.tick.end()
    assert alone.link.is_up


def test_strangers_at_once_are_bounded_and_nodes_are_not_counted_among_them() -> None:
    net = MemoryNetwork()
    process = Process(net, hello_of(1))
    listener: PeerListener = process.links.listener
    admitted = [listener.admit("192.0.2.7", 40) for _ in range(UNPROVEN_MAX)]
    assert all(admitted)
    assert listener.admit("192.0.2.7", 40) is None
    for link in admitted[:2]:
        assert link is not None
        link.connection_lost(None)
    two = Process(net, hello_of(2))
    two.know(1)
    assert two.links.peer(NodeId(1)) is not None
    assert listener.admit("192.0.2.7", 40) is not None
    assert listener.admit("192.0.2.7", 40) is not None
    assert listener.admit("192.0.2.7", 40) is None


def test_a_frame_is_written_without_being_copied() -> None:
    alone = Alone(Side.DIALS).proven()
    body = bytes(1 << 20)
    assert alone.link.say([HEAD.pack(FrameType.BATCHES, 0, 0), body])
    parts = alone.link.gather()
    assert any(isinstance(part, memoryview) and part.obj is body for part in parts)
    with pytest.raises(AssertionError, match="PEER_FRAME_FITS"):
        alone.link.say([HEAD.pack(FrameType.BATCHES, 0, 0), bytes(FRAME_BYTES_MAX)])


def test_the_link_of_a_stranger_ends_without_a_word_about_anybody() -> None:
    alone = Alone(Side.LISTENS)
    alone.transport.lose()
    assert alone.owner.told == ["opened", "CLOSED"]
    assert alone.link.node is None
