"""Length-prefixed frames over one TCP connection: bytes in, whole frames out, one write a tick.

A frame is an i32 length (big-endian) and as many bytes. The Kafka protocol is framed so, and so
are the links between nodes. Frames are handed over where they lie in the connection's one read
buffer; nothing is copied and nothing is allocated per frame. What the owner has to send is asked
for once, at the end of the tick, and leaves in one write.

Bounds (P53, P55, P58): a length above the limit is refused before anything is allocated for it;
the buffer grows with the bytes that really came, at most fourfold, and for a frame that has room:
all of it or none, so that frames of which there are halves never wait for each other. While the
owner, the socket or the node's memory cannot take more, frames stay where they are, and the socket
is read until the buffer is full and no further: so the end of a connection is noticed while its
owner waits, though not while it waits in the row for room. What the peer leaves unread beyond a
connection's own small share counts among the node's answers.
"""

import asyncio
from typing import Final, TypeAlias, cast

from cluster.shell.read_buffer import (
    CLOSED,
    MEMORY,
    OWNER,
    PREFIX_BYTES,
    SOCKET,
    ReadBuffer,
    length_at,
)
from cluster.shell.tick import Tick
from cluster.shell.wire_limits import Memory, ReadRoom, WireLimits

Buffer: TypeAlias = bytes | bytearray | memoryview

JOINED_BYTES_MAX: Final = 64 << 10  # up to here one copy is cheaper than a gathering write


class FrameConnection(ReadBuffer):
    """One connection. A subclass says what a frame means and what there is to send. Loop only.

    `received_bytes` and `written_bytes` only grow: whoever watches for stalls compares them.
    """

    def __init__(
        self, limits: WireLimits, tick: Tick, *, memory: Memory, room: ReadRoom, answers: Memory
    ) -> None:
        """Hold one small buffer until frames need a larger one.

        `memory` says whether frames may be handled; `room` is for frames that are longer than a
        small buffer; `answers` counts what the peer has not taken.
        """
        super().__init__(limits, memory=memory, room=room)
        self.written_bytes = 0
        self._answers = answers
        self._unread_bytes = 0  # as counted among the answers
        self._tick = tick
        self._transport: asyncio.Transport | None = None
        self._ending = False  # close as soon as the owner has sent what is due
        self._flush_due = False

    # What a subclass provides.

    def opened(self, host: str) -> None:
        """The connection stands; `host` is the peer's address without its port."""
        raise NotImplementedError

    def frame(self, frame: memoryview) -> None:
        """Handle one whole frame, without its length. It is valid only until this returns."""
        raise NotImplementedError

    def refused(self, length: int) -> None:
        """A length was negative or above the limit; the connection ends without an answer."""
        raise NotImplementedError

    def gather(self) -> list[Buffer]:
        """Return what is to be sent now. Called at the end of a tick, after `flush_later`."""
        raise NotImplementedError

    def flushed(self) -> None:
        """What `gather` returned is with the socket: the place to go on from."""
        raise NotImplementedError

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what is ready and not to be sent yet."""
        raise NotImplementedError

    def settled(self) -> bool:
        """Tell whether an ending connection owes its peer nothing more."""
        raise NotImplementedError

    def closed(self, error: Exception | None) -> None:
        """The connection is gone; `error` if it was not its orderly end."""
        raise NotImplementedError

    # What a subclass may ask for.

    def flush_later(self) -> None:
        """Send what `gather` returns at the end of this tick."""
        if not self._flush_due:
            self._flush_due = True
            self._tick.at_end(self._flush)

    def flush_alone(self) -> None:
        """Send what `gather` returns now, where nothing of this tick can join it; else later.

        For the one answer that a peer waits for, when it comes from elsewhere than its own frames.
        Frames that were held back may be handled before this returns.
        """
        if self._taking or self._flush_due:
            self.flush_later()
        else:
            self._flush()

    def hold(self) -> None:
        """Handle no further frame until `release`."""
        self._holds |= OWNER

    def release(self) -> None:
        """Go on with the frames that have come meanwhile."""
        if self._holds & OWNER:
            self._let_go(OWNER)

    def end(self) -> None:
        """Handle no further frame; close once everything owed is sent."""
        self._ending = True
        self._holds |= OWNER
        self._queue_no_more()
        if not self._taking:
            self._drop_unread()
        self.flush_later()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._holds |= CLOSED
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return not self._holds & CLOSED

    def count_unread(self) -> None:
        """Count among the node's answers what the peer has not taken, if that is much."""
        if self._holds & CLOSED:
            return
        unread = self.waiting_bytes + self.unwritten_bytes
        if unread <= self.limits.unwritten_bytes_max:
            unread = 0
        before, self._unread_bytes = self._unread_bytes, unread
        if unread > before:
            self._answers.take(unread - before)
        elif unread < before:
            self._answers.give_back(before - unread)

    @property
    def moved_bytes(self) -> int:
        """What the peer has sent, and what it has taken."""
        return self.received_bytes + self.written_bytes - self.unwritten_bytes

    @property
    def unwritten_bytes(self) -> int:
        """Bytes that the peer has not yet taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        # Not every loop's transport derives from asyncio's class; all of them behave like it.
        self._transport = stream = cast(asyncio.Transport, transport)
        stream.set_write_buffer_limits(high=self.limits.unwritten_bytes_max)
        peer = stream.get_extra_info("peername")
        self.opened(str(peer[0]) if isinstance(peer, tuple) else "")

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over the frames that are now whole."""
        self._filled += nbytes
        self.received_bytes += nbytes
        if self._memory.congested:
            self._wait_for_memory()
        self._take()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we answer."""
        self._holds |= SOCKET

    def resume_writing(self) -> None:
        """The peer has taken most of it."""
        self.count_unread()
        self._let_go(SOCKET)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        if self._holds & MEMORY:
            self._memory.forget(self._relieved)
        self._holds |= CLOSED
        self._answers.give_back(self._unread_bytes)
        self._unread_bytes = 0
        self._queue_no_more()
        self._start = self._filled = self._end = 0
        self._view = memoryview(bytearray(0))
        self._vacate()
        self.closed(exc)

    # Frames.

    def _take(self) -> None:
        """Hand over whole frames until there is none or something holds them."""
        if self._taking:
            return
        self._taking = True
        view, longest = self._view, self.limits.frame_bytes_max
        while not self._holds:
            body = self._start + PREFIX_BYTES
            if body > self._filled:
                break
            (length,) = length_at(view, self._start)
            if not 0 <= length <= longest:
                self._refuse(length)
                break
            if body + length > self._filled:
                break
            self._start = body + length
            self.frame(view[body : body + length])
        self._taking = False
        if self._ending:
            self._drop_unread()
        if not self._holds & CLOSED:
            self._make_room()

    def _refuse(self, length: int) -> None:
        self.refused(length)
        self.end()

    def _let_go(self, hold: int) -> None:
        """Take one reason away; go on if it was the last."""
        self._holds &= ~hold
        if self._ending or self._holds:
            return
        self._take()

    def _wait_for_memory(self) -> None:
        """Leave frames where they are until the node has relief."""
        if not self._holds & MEMORY:
            self._holds |= MEMORY
            self._memory.when_relieved(self._relieved)

    def _relieved(self) -> None:
        if not self._holds & CLOSED:
            self._let_go(MEMORY)

    def _set_reading(self, *, wanted: bool) -> None:
        if wanted is self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # Writing.

    def _flush(self) -> None:
        """Write what there is in one go; end if this was to be the last."""
        self._flush_due = False
        if self._transport is None or self._holds & CLOSED:
            return
        self._write(self._transport, self.gather())
        if self._unread_bytes or self._holds & SOCKET:
            self.count_unread()
        if not self._ending:
            self.flushed()
        elif self.settled():
            self._transport.close()

    def _write(self, transport: asyncio.Transport, parts: list[Buffer]) -> None:
        if not parts:
            return
        size = sum(map(len, parts))
        self.written_bytes += size
        if len(parts) == 1:
            transport.write(parts[0])
        elif size <= JOINED_BYTES_MAX:
            transport.write(b"".join(parts))
        else:
            transport.writelines(parts)
