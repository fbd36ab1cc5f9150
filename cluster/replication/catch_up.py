"""What to send next on the stream to one node, and how much: under the bytes it has room for.

Every partition that has something for the node stands in a row; each turn reads some batches and
goes to the back. Two rows: partitions that are sent from the tail, and those so far behind that
their batches are read from files. A partition moves between them by itself, for each time it is
announced with where it stands. The tail goes first, since acks wait for it; but a quarter of the
node's room is kept for files while any wait, so that catching up comes to an end. No more than that
is on its way from files: what is sent from the tail stands behind it, on the network and in the
node's rounds, and an ack waits for both. And only one read from files is under way, so that what a
slow node makes this one hold is bounded by its room.

The follower gives room back (`Intake`) when rounds there are done with batches, a sync later than
they are written: their bytes are held so long. One with a slow disk is sent no more than fits its
room, and the leader holds none of it, for what leaves the tail meanwhile is read from files when
its turn comes.

What the shell does, on the stream's sender:
    on `Ready` of a partition      `ready(partition, Source.TAIL or FILES)`, by whether
                                   `next_to_send` lies in the tail.
    at the end of a tick, and when room, a read, or the socket comes back
                                   while `grant()` returns one: read whole batches of at most that
                                   many bytes (at least one batch), from the tail at once, from
                                   files in the read pool; then `done(grant, size_bytes)`, and tell
                                   the leader `Taken`.
    on `Credit`                    `credited`.
On the receiver's: `appended` or `refused` for each frame, `settled` when a round ends, `dropped`
for a partition that is cut; after each of them `give_back`, and send what it returns.
A stream that ends is thrown away; the next one begins with all its room.

Invariants:
    CREDIT_WITHIN_ROOM    no more room is given back than was taken.
    GRANT_ENDS_ONCE       a grant is ended by whoever got it.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from cluster.peer.replica import Credit
from model.ids import Offset

KeyT = TypeVar("KeyT", bound=Hashable)

_FILES_SHARE: Final = 4
"""One part in so many of the room is for files. With all of it a producer's p99 beside a catch-up
was 165 to 250 ms, with a quarter 56 to 92, at 0.7 of the rate."""
_GIVE_BACK_SHARE: Final = 32
"""Room is given back in parts of this many: few frames, and the sender never waits for one."""


class Source(Enum):
    """Where the batches that a follower needs next are."""

    TAIL = "in memory"
    FILES = "on disk"


@dataclass(frozen=True, slots=True)
class Grant(Generic[KeyT]):
    """Leave to read for one partition."""

    partition: KeyT
    source: Source
    max_bytes: int
    """One batch may be larger: it is sent, and the debt is worked off."""


class Sender(Generic[KeyT]):
    """The sending side of the stream to one node."""

    __slots__ = (
        "_ahead", "_files", "_files_ahead_bytes", "_frame_bytes_max", "_in_row", "_reading",
        "_room", "_room_max", "_tail",
    )  # fmt: skip

    def __init__(self, *, room_bytes: int, frame_bytes_max: int) -> None:
        """Begin with the node's whole room; a frame carries at most `frame_bytes_max`."""
        self._room_max = self._room = room_bytes
        self._frame_bytes_max = frame_bytes_max
        self._tail: deque[KeyT] = deque()
        self._files: deque[KeyT] = deque()
        self._in_row: dict[KeyT, Source] = {}
        self._reading: Grant[KeyT] | None = None
        self._ahead: deque[tuple[Source, int]] = deque()
        """What takes the room, in the order in which it was sent: bytes, neighbours of a source as
        one. Room comes back in about that order."""
        self._files_ahead_bytes = 0
        """Of that, what came from files."""

    @property
    def room_bytes(self) -> int:
        """How much the node has room for; below zero while it works off a large batch."""
        return self._room

    def ready(self, partition: KeyT, source: Source) -> None:
        """Let a partition wait for its turn; it stands in one row, once."""
        if partition in self._in_row:
            return
        self._in_row[partition] = source
        (self._tail if source is Source.TAIL else self._files).append(partition)

    def forget(self, partition: KeyT) -> None:
        """Take a partition out of the rows: it is gone, or led elsewhere."""
        source = self._in_row.pop(partition, None)
        if source is not None:
            (self._tail if source is Source.TAIL else self._files).remove(partition)

    def grant(self) -> Grant[KeyT] | None:
        """Return whose turn it is and how much to read; None: nobody's, or no room."""
        for_files = self._room_max // _FILES_SHARE - self._files_ahead_bytes
        kept = max(0, for_files) if self._files or self._reading else 0
        room = self._room - kept
        if self._tail and room > 0:
            return self._next(self._tail, Source.TAIL, room)
        room = min(self._room, for_files)
        if self._files and self._reading is None and room > 0:
            self._reading = self._next(self._files, Source.FILES, room)
            return self._reading
        return None

    def done(self, grant: Grant[KeyT], size_bytes: int) -> None:
        """End a grant: so much was read and is on its way, perhaps nothing."""
        if grant.source is Source.FILES:
            assert self._reading is grant, "GRANT_ENDS_ONCE"
            self._reading = None
            self._files_ahead_bytes += size_bytes
        self._room -= size_bytes
        if self._ahead and self._ahead[-1][0] is grant.source:
            size_bytes += self._ahead.pop()[1]
        if size_bytes:
            self._ahead.append((grant.source, size_bytes))

    def credited(self, credit: Credit) -> None:
        """Have so much room more. Whoever reads the frame refuses more than was taken."""
        self._room += credit.size_bytes
        assert self._room <= self._room_max, "CREDIT_WITHIN_ROOM"
        left = credit.size_bytes
        while left:
            source, size = self._ahead.popleft()
            if size > left:
                self._ahead.appendleft((source, size - left))
            back = min(size, left)
            left -= back
            self._files_ahead_bytes -= back if source is Source.FILES else 0

    def may_be_credited(self, credit: Credit) -> bool:
        """Tell whether a frame's credit can be right; else the stream is closed."""
        return 0 < credit.size_bytes <= self._room_max - self._room

    def _next(self, row: deque[KeyT], source: Source, room: int) -> Grant[KeyT]:
        partition = row.popleft()
        del self._in_row[partition]
        return Grant(partition, source, min(room, self._frame_bytes_max))


class Intake(Generic[KeyT]):
    """The receiving side: room is given back for what is written, or was not taken."""

    __slots__ = ("_give_back_at", "_held", "_owed")

    def __init__(self, *, room_bytes: int) -> None:
        """Hold nothing yet."""
        self._give_back_at = max(1, room_bytes // _GIVE_BACK_SHARE)
        self._held: dict[KeyT, deque[tuple[Offset, int]]] = {}
        self._owed = 0

    def appended(self, partition: KeyT, end: Offset, size_bytes: int) -> None:
        """Note that batches of this size are in the tail, up to `end`."""
        self._held.setdefault(partition, deque()).append((end, size_bytes))

    def refused(self, size_bytes: int) -> None:
        """Note that batches were not taken."""
        self._owed += size_bytes

    def settled(self, partition: KeyT, settled_end: Offset) -> None:
        """Owe what rounds have done with of a partition: not while a sync of it goes on."""
        held = self._held.get(partition)
        if held is None:
            return
        while held and held[0][0] <= settled_end:
            self._owed += held.popleft()[1]
        if not held:
            del self._held[partition]

    def dropped(self, partition: KeyT) -> None:
        """Owe all that was held of a partition: it was cut, or is gone."""
        self._owed += sum(size for _, size in self._held.pop(partition, ()))

    def give_back(self) -> Credit | None:
        """Return the room to give back now; None: too little to be worth a frame, or nothing."""
        if self._owed == 0 or (self._owed < self._give_back_at and self._held):
            return None
        owed, self._owed = self._owed, 0
        return Credit(owed)
