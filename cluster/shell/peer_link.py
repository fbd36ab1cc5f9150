"""One link between two nodes, seen from one of its ends.

Who dialled a link asks and says on it; the other end answers, and nothing else. So each pair of
nodes has two links, nobody decides a tie, and what one node sends another arrives in its order,
what is urgent and what is bulk each for itself.
Format and handshake: docs/formats/peer_frames.md.

Frames leave at the end of the tick, together: what is urgent in its order, then bulk in its order,
as far as the network takes it (`peer_outbox`). Their bytes are not copied and must not change any
more. Answers are always read, even while the other end leaves unread what is said to it: else two
ends could wait for each other. An end whose urgent answers are not read takes no further frames;
for bulk it is told that there is no room.

What is not understood ends the link: the other end is told why, as far as it listens.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cluster.peer.handshake import Handshake, Link
from cluster.peer.hello import LinkRefused, Reason, Side, decode, encode_refused
from cluster.peer.part import Assembly
from cluster.peer.ping import Ping, Pong, encode
from cluster.peer.table import (
    FRAME_BYTES_MAX,
    HEAD,
    Family,
    Frame,
    FrameType,
    Manner,
    UnknownFrameError,
    parse,
)
from cluster.shell.peer_asks import Asks, Encode, unreachable
from cluster.shell.peer_doors import (
    ACCEPTED_BYTES_MAX,
    CALLS_LEAVE_BYTES,
    HANDSHAKE_MS,
    IDLE_MS,
    LINGER_MS,
    PROVEN_LIMITS,
    UNPROVEN_LIMITS,
    PeerDoors,
)
from cluster.shell.peer_link_owner import LinkOwner
from cluster.shell.peer_loss import Loss, loss_of
from cluster.shell.peer_outbox import Outbox
from cluster.shell.peer_pace import Pace
from cluster.shell.peer_silence import Seen, Silence, Step
from cluster.shell.peer_socket import bound_acknowledgements, bound_unsent
from cluster.shell.wire import Buffer, FrameConnection
from model.errors import MalformedError
from model.ids import MonotonicMs, NodeId

Parts: TypeAlias = Buffer | Sequence[Buffer]
"""A whole frame, from its type on: in one piece, or in several that follow each other."""
_Call: TypeAlias = Callable[[], None]
_CALLS: Final = frozenset({FrameType.FORWARD, FrameType.FORWARDED})
"""Calls of clients on their way, and their answers: the only large frames that others can spare."""


def _nothing() -> None:
    """No timer is set."""


class PeerLink(FrameConnection):
    """See the module. Loop only.

    Invariants:
        PEER_FRAME_FITS         what is said is no longer than the other end reads.
    """

    def __init__(
        self,
        doors: PeerDoors,
        owner: "LinkOwner[PeerLink]",
        *,
        side: Side,
        expected: NodeId | None = None,
    ) -> None:
        """Wait for the connection. `expected`: whom the dialler calls; None: whoever answers."""
        memory = doors.memory
        super().__init__(UNPROVEN_LIMITS, doors.tick, memory=memory, room=memory, answers=memory)
        self.side = side
        self.host = ""
        self.link: Link | None = None
        """Both ends, once they are proven; it stays when the link has ended."""
        self.loss: Loss | None = None
        """How it ended; None: it has not."""
        self.refusal: LinkRefused | None = None
        self._doors = doors
        self._owner = owner
        self._clock = doors.clock
        self._handshake = Handshake(doors.hello(), doors.secret, side=side, expected=expected)
        self._asks = Asks(doors.clock)
        self._silence: Silence | None = None
        self._received_at = MonotonicMs(0)
        self._pace = Pace()
        self._outbox = Outbox(self._pace)
        self._is_full = False
        """The transport has as much as it should: bulk waits."""
        self._assembly = Assembly()
        self._behind_bytes = 0
        """What the kernel had not taken when that was last looked at: never less than it is."""
        self._behind_at = MonotonicMs(0)
        self._cancel_timer: _Call = _nothing

    # What a node does with it.

    @property
    def is_up(self) -> bool:
        """Both ends are proven, and it has not ended."""
        return self.link is not None and self.loss is None

    @property
    def node(self) -> NodeId | None:
        """Who the other end is; None before it has proven itself."""
        return None if self.link is None else self.link.peer.node

    def say(self, frame: Parts, *, asks: int = 0) -> bool:
        """Send a frame at the end of the tick; tell whether there is room for it, and a link.

        `asks`: the number of what it asks, if anybody is to know whether it has left.
        """
        if not self.is_up:
            return False
        parts = [frame] if isinstance(frame, bytes | bytearray | memoryview) else frame
        size = sum(map(len, parts))
        assert HEAD.size <= size <= FRAME_BYTES_MAX, "PEER_FRAME_FITS"
        if not self._has_room(size + CALLS_LEAVE_BYTES * (parts[0][0] in _CALLS)):
            return False
        self._append(parts, size, asks=asks)
        return True

    async def ask(self, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer to a frame; it lasts.

        Raises:
            RequestError: the other end's refusal, or NODE_UNREACHABLE (*not done*), UPSTREAM_LOST
                or REQUEST_TIMED_OUT (*unknown*), OVERLOADED (*not done*).
        """
        self._asks.check_room()
        correlation = self._asks.correlation()
        frame = encode(correlation=correlation)
        if not self.say(frame, asks=correlation):
            full = "what was said before waits to be taken" if self.is_up else "no link is up"
            raise unreachable(self.node, full)
        return await self._asks.answer(correlation, FrameType(frame[0]), timeout_ms=timeout_ms)

    def belongs_to(self, owner: "LinkOwner[PeerLink]") -> None:
        """Tell another owner from now on."""
        self._owner = owner

    def leave(self) -> None:
        """End it in good order: what was said before still leaves."""
        if self.loss is None and self.is_open:
            self._end_in_order(Loss.LEFT)

    def cut(self, loss: Loss = Loss.LEFT) -> None:
        """End it at once: nothing more is heard, and what was said last may be lost."""
        self._drop(loss)

    # What the wire calls.

    def opened(self, host: str) -> None:
        """Begin to prove who we are."""
        self.host = host
        self._doors.open_links.add(self)
        bound_acknowledgements(self._transport)
        bound_unsent(self._transport)
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=self._pace.ahead_bytes)
        self._set_timer(HANDSHAKE_MS, self._too_slow)
        self._owner.opened(self)
        self._answer_hello(self._handshake.begin())

    def buffer_updated(self, nbytes: int) -> None:
        """Note that something came, and handle it."""
        if self.link is not None:
            self._received_at = now = self._clock.monotonic_ms()
            self._owner.heard(self.link.peer.node, now)
        super().buffer_updated(nbytes)

    def frame(self, frame: memoryview) -> None:
        """Handle one frame, or end the link over it."""
        try:
            if self.link is None:
                self._answer_hello(self._handshake.take(frame))
            else:
                version = self.link.version
                self._take_frame(parse(frame, version=version), version)
        except LinkRefused as refused:
            self._refuse_link(refused)
        except UnknownFrameError as unknown:
            self._refuse_link(LinkRefused(Reason.UNKNOWN_FRAME, str(unknown)))
        except MalformedError as malformed:
            self._refuse_link(LinkRefused(Reason.MALFORMED, str(malformed)))

    def refused(self, length: int) -> None:
        """Say why nothing more is read."""
        most = self.limits.frame_bytes_max
        why = f"a frame of {length} bytes, where {most} are the most"
        self._refuse_link(LinkRefused(Reason.MALFORMED, why))

    def gather(self) -> list[Buffer]:
        """Return the frames of this tick, of bulk no more than is to be on its way at once."""
        if self._pace.measures:  # how slow it has become is known before more is handed over
            self._see_pace()
        ahead_bytes = 0 if self._is_full else self._pace.ahead_bytes - self.unwritten_bytes
        leaving = self._outbox.take(ahead_bytes)
        self._asks.sent(self._outbox.asked())
        self._see_pace()
        return leaving

    def _see_pace(self) -> None:
        """See how much the network takes while more is waiting for it."""
        if not self._outbox.waits:
            self._pace.rests()
        elif self._transport is not None:
            taken_bytes = self.written_bytes - self.unwritten_bytes
            if self._pace.took(self._clock.monotonic_ms(), taken_bytes):
                self._transport.set_write_buffer_limits(high=self._pace.ahead_bytes)

    def flushed(self) -> None:
        """See how much the other end leaves unread: answers that nobody takes hold it back."""
        self._behind_bytes = self.unwritten_bytes
        self.count_unread()
        # Only while the transport is full: it tells when it is not, and nobody else would.
        held = self._is_full and self._behind_bytes > self.limits.unwritten_bytes_max
        if held and self.side is Side.LISTENS:
            super().pause_writing()
        self._go_on()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that leave at the end of the tick, or wait for room."""
        return self._outbox.waiting_bytes

    def settled(self) -> bool:
        """Tell whether all that was said is with the transport."""
        self._go_on()
        return not self._outbox.waiting_bytes

    def pause_writing(self) -> None:
        """Let bulk wait; see `flushed` for what holds frames back that come."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Let more of it leave, and take what was held back."""
        self._is_full = False
        super().resume_writing()
        self._go_on()

    def closed(self, error: Exception | None) -> None:
        """Tell how it ended, unless it was ended from here."""
        self._finish(loss_of(error))
        self._cancel_timer()
        self._doors.open_links.discard(self)
        self._doors.memory.give_back(self._assembly.held_bytes)
        self._assembly = Assembly()

    # Frames.

    def _answer_hello(self, frame: bytes) -> None:
        if frame:
            self._append([frame], len(frame))
        if self._handshake.link is None:
            return
        self.link = self._handshake.link
        self.limits = PROVEN_LIMITS
        self._received_at = now = self._clock.monotonic_ms()
        self._owner.heard(self.link.peer.node, now)
        if self.side is Side.DIALS:
            self._silence = Silence(now)
            self._set_timer(self._silence.wait_ms, self._look)
        else:
            self._set_timer(IDLE_MS, self._look_whether_idle)
        self._owner.proven(self)

    def _take_frame(self, frame: Frame, version: int) -> None:
        """Handle a frame, or the one whose last part it is."""
        if frame.type is not FrameType.PART:
            self._take_proven(frame)
            return
        held_bytes = self._assembly.held_bytes
        whole = self._assembly.take(frame)
        self._doors.memory.take(self._assembly.held_bytes)
        self._doors.memory.give_back(held_bytes)
        if whole is not None:
            self._take_proven(parse(whole, version=version))

    def _take_proven(self, frame: Frame) -> None:
        row = frame.row
        if row.family is Family.LINK:
            said = decode(frame)
            over = LinkRefused(Reason.UNKNOWN_FRAME, f"{frame.type.name}: the handshake is over")
            raise said if isinstance(said, LinkRefused) else over
        answers = row.manner is Manner.ANSWERS
        if answers is not (self.side is Side.DIALS):
            turn = "who dialled asks and says, the other end answers"
            raise LinkRefused(Reason.UNKNOWN_FRAME, f"{frame.type.name} on the wrong side: {turn}")
        if answers:
            self._asks.answered(frame)
        elif frame.type is FrameType.PING:
            self.say(encode(Pong(), correlation=frame.correlation))
        else:
            self._owner.took(self, frame)

    def _has_room(self, size: int) -> bool:
        """Tell whether so much more may be accepted. A loop may walk its buffer to say its size."""
        left = ACCEPTED_BYTES_MAX - self._outbox.waiting_bytes - size
        if self._behind_bytes <= left:
            return True
        now = self._clock.monotonic_ms()
        if now > self._behind_at:
            self._behind_at = now
            self._behind_bytes = self.unwritten_bytes
        return self._behind_bytes <= left

    def _append(self, parts: Sequence[Buffer], size: int, *, asks: int = 0) -> None:
        self._outbox.put(parts, size, asks=asks)
        self.flush_later()

    def _go_on(self) -> None:
        """Let the next of the bulk leave in the next tick, if there is room for it."""
        if self._outbox.waits and not self._is_full:
            self.flush_later()

    # The end.

    def _refuse_link(self, refused: LinkRefused) -> None:
        if self.loss is not None:
            return
        self.refusal = refused
        if not refused.by_peer:
            frame = encode_refused(refused)
            self._append([frame], len(frame))
        self._end_in_order(Loss.REFUSED)

    def _end_in_order(self, loss: Loss) -> None:
        """Let leave what was said; wait for that only so long."""
        self._asks.all_leave()
        self._set_timer(LINGER_MS, self.abort)
        self.end()
        self._finish(loss)

    def _drop(self, loss: Loss) -> None:
        if self.loss is not None:  # it may be saying its last words
            return
        self.abort()
        self._finish(loss)

    def _finish(self, loss: Loss) -> None:
        """Tell everybody who waits, once."""
        if self.loss is None:
            self.loss = loss
            self._asks.lost(self.node, loss.value)
            self._owner.ended(self)

    # Time.

    def _set_timer(self, after_ms: int, call: _Call) -> None:
        self._cancel_timer()
        when = MonotonicMs(self._clock.monotonic_ms() + after_ms)
        self._cancel_timer = self._clock.call_at(when, call)

    def _too_slow(self) -> None:
        self._drop(Loss.SILENT)

    def _look_whether_idle(self) -> None:
        idle_ms = self._clock.monotonic_ms() - self._received_at
        if idle_ms >= IDLE_MS:
            self._drop(Loss.SILENT)
        else:
            self._set_timer(IDLE_MS - idle_ms, self._look_whether_idle)

    def _look(self) -> None:
        assert self.link is not None and self._silence is not None, "PEER_LINK_PROVEN"
        seen = Seen(
            self._clock.monotonic_ms(),
            self._received_at,
            self._owner.heard_at(self.link.peer.node),
            self.written_bytes,
            self.unwritten_bytes,
        )
        step = self._silence.look(seen)
        if step is Step.END:
            self._drop(Loss.SILENT)
            return
        if step is Step.PING:
            ping = encode(Ping(), correlation=self._asks.correlation())
            self._append([ping], len(ping))
        self._set_timer(self._silence.wait_ms, self._look)
