"""The read buffer of one connection: small while it is quiet, and as long as the frame it is in.

It grows with the bytes that really came, at most fourfold, and only for a frame that has room: all
of it or none (`wire_limits.ReadRoom`). Behind such a frame no more is read than a small buffer
holds. So whenever one was handled its room can be given to whoever waits, and what follows waits
for its own turn: nobody keeps a part of what he needs while he waits for the rest.
"""

import asyncio
from struct import Struct
from typing import Final

from cluster.shell.wire_limits import Memory, ReadRoom, WireLimits

LENGTH: Final = Struct(">i")
PREFIX_BYTES: Final = LENGTH.size
length_at: Final = LENGTH.unpack_from
"""Bound once: this runs for every frame."""
GROWTH: Final = 4  # a client makes us hold at most so many times what it has sent

# Why no further frame is handled now: bits of one integer, which is tested for every frame.
OWNER: Final = 1
SOCKET: Final = 2
MEMORY: Final = 4
CLOSED: Final = 8


class ReadBuffer(asyncio.BufferedProtocol):
    """What `wire.FrameConnection` reads into, and how far. Loop only.

    Invariants:
        READ_AHEAD_SMALL    what follows a frame that had room fits into a small buffer.
    """

    __slots__ = (
        "_end",
        "_filled",
        "_holds",
        "_memory",
        "_reading",
        "_room",
        "_room_bytes",
        "_start",
        "_taking",
        "_view",
        "_waits_for_room",
        "limits",
        "received_bytes",
    )

    def __init__(self, limits: WireLimits, *, memory: Memory, room: ReadRoom) -> None:
        """Begin with a small buffer, and without a reason to hold frames."""
        self.limits = limits
        self.received_bytes = 0
        self._memory = memory
        self._room = room
        self._room_bytes = 0  # reserved beside the small buffer, whether it is used by now or not
        self._waits_for_room = False
        self._view = memoryview(bytearray(limits.read_buffer_bytes))
        self._start = 0  # where the first byte not yet handled lies
        self._filled = 0  # where the next byte from the socket goes
        self._end = limits.read_buffer_bytes  # how far the socket may be read
        self._holds = 0
        self._reading = True
        self._taking = False

    # What the connection provides.

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        raise NotImplementedError

    def _set_reading(self, *, wanted: bool) -> None:
        raise NotImplementedError

    def _wait_for_memory(self) -> None:
        raise NotImplementedError

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet handled."""
        return self._filled - self._start

    @property
    def waits_for_us(self) -> bool:
        """The peer's frames stand, or are not read, for lack of memory that others have."""
        return self._waits_for_room or bool(self._holds & MEMORY)

    @property
    def capacity_bytes(self) -> int:
        """Size of the read buffer."""
        return len(self._view)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go; never empty, for a full buffer stops the reading."""
        return self._view[self._filled : self._end]

    def _make_room(self) -> None:
        """See to it that the next read has somewhere to go, or stop reading."""
        waiting, capacity = self._filled - self._start, len(self._view)
        if not waiting:
            if self._room_bytes:
                self._keep_or_vacate(capacity)
            self._start = self._filled = 0
        elif self._room_bytes:
            self._bound_reading(waiting, capacity)
        elif self._start and capacity - self._filled < capacity // GROWTH:
            self._view[:waiting] = self._view[self._start : self._filled]
            self._start, self._filled = 0, waiting
        if self._filled == self._end:
            self._grow_or_stop()
        elif not self._reading:
            self._set_reading(wanted=True)

    def _keep_or_vacate(self, capacity: int) -> None:
        """All is handled: keep the buffer for what comes next, unless others wait."""
        if capacity > self.limits.kept_buffer_bytes_max or self._room.contended:
            self._start = self._filled
            self._go_small()
        else:
            self._end = self.limits.read_buffer_bytes

    def _bound_reading(self, waiting: int, capacity: int) -> None:
        """Let in no more behind the first frame than a small buffer holds.

        Room that was for an earlier frame is kept for this one, unless others wait or it is longer:
        then it waits for its turn without. Of a frame that is longer than a small buffer more may
        have come by the time that others wait: it keeps its room.
        """
        if self._start:
            if self._room.contended and waiting <= self.limits.read_buffer_bytes:
                self._go_small()
                return
            if capacity - self._filled < capacity // GROWTH:
                self._view[:waiting] = self._view[self._start : self._filled]
                self._start, self._filled = 0, waiting
        small, end = self.limits.read_buffer_bytes, self._start
        if waiting >= PREFIX_BYTES:
            (length,) = length_at(self._view, end)
            if length + PREFIX_BYTES > small + self._room_bytes:
                self._go_small()
                return
            if length > 0:
                end += length + PREFIX_BYTES
        end += small
        self._end = end if end < capacity else capacity

    def _grow_or_stop(self) -> None:
        """There is nothing more to be read into; a frame begins where the first byte is.

        Either whole frames are held back: then there is no more reading until they are handled;
        or the one frame is longer than the buffer: then the buffer grows with it. Once it has room
        it is read to its end whatever is held, since others may wait for its room.
        """
        (length,) = length_at(self._view, self._start)
        size = length + PREFIX_BYTES
        if size <= self._filled - self._start or (self._holds and not self._room_bytes):
            self._set_reading(wanted=False)
        elif self._room_bytes:
            self._grow()
        elif self._memory.congested:
            self._wait_for_memory()
            self._set_reading(wanted=False)
        elif not self._waits_for_room:
            if self._room.reserve(self, length):
                self.granted(length)
            else:
                self._waits_for_room = True
                self._set_reading(wanted=False)

    def granted(self, size_bytes: int) -> None:
        """There is room for the frame that has begun: read on."""
        self._waits_for_room = False
        self._room_bytes = size_bytes
        self._grow()

    def _grow(self) -> None:
        """Behind the frame there is place for the beginning of the next: one read takes both."""
        capacity = self.limits.read_buffer_bytes + self._room_bytes
        capacity = min(capacity, len(self._view) * GROWTH)
        grown = memoryview(bytearray(capacity))
        grown[: self._filled] = self._view[: self._filled]
        self._view, self._end = grown, capacity
        self._set_reading(wanted=True)

    def give_way(self) -> None:
        """Others wait for room: give it up unless a frame is on its way that needs it."""
        if (
            self._room_bytes
            and not self._taking
            and self.buffered_bytes < self.limits.read_buffer_bytes
        ):
            self._go_small()
            self._make_room()

    @property
    def moved_bytes(self) -> int:
        """Only grows while the peer sends, or takes what it was sent."""
        return self.received_bytes

    @property
    def is_whole(self) -> bool:
        """The frame that has room is here, and waits for us: it is not its peer that keeps it."""
        if self._holds & SOCKET:
            return False
        body = self._start + PREFIX_BYTES
        if body > self._filled:
            return False
        (length,) = length_at(self._view, self._start)
        return bool(body + length <= self._filled)

    def too_slow(self) -> None:
        """Others wait for room, and the peer does not send what it is for: the connection ends."""
        self.abort()

    def _go_small(self) -> None:
        """Go on in a small buffer, and give the room to others."""
        small, waiting = self.limits.read_buffer_bytes, self._filled - self._start
        assert waiting <= small, "READ_AHEAD_SMALL"
        view = memoryview(bytearray(small))
        view[:waiting] = self._view[self._start : self._filled]
        self._view, self._start, self._filled, self._end = view, 0, waiting, small
        self._vacate()

    def _vacate(self) -> None:
        size, self._room_bytes = self._room_bytes, 0
        if size:
            self._room.vacate(self, size)

    def _queue_no_more(self) -> None:
        if self._waits_for_room:
            self._waits_for_room = False
            self._room.leave(self)

    def _drop_unread(self) -> None:
        """No frame is handled any more: keep nothing of them."""
        self._start = self._filled
        if self._room_bytes:
            self._go_small()

    def shrink(self) -> None:
        """Go back to the small buffer if nothing is in the large one: for quiet connections."""
        if self._room_bytes and not self._filled:
            self._go_small()
