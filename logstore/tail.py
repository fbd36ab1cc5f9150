"""The in-memory end of a partition: what was accepted and is not yet on disk, and a little more."""

from bisect import bisect_right
from typing import Final, NamedTuple

from model.ids import Offset

_DEAD_MAX: Final = 512
"""Released slots at the front before the lists are moved up."""


class ReadResult(NamedTuple):
    """Whole batches, in offset order; the first may begin below the offset that was asked for."""

    buffers: "list[bytes | bytearray | memoryview]"
    """Must not be changed: the log, and other readers, share them."""
    first_offset: Offset
    next_offset: Offset
    """First offset behind the batches."""
    size_bytes: int


class Tail:
    """Batches of one partition, newest last. Loop only; holds what it is given, copies nothing."""

    __slots__ = ("_batches", "_dead", "_offsets", "end", "size_bytes")

    def __init__(self, end: Offset) -> None:
        """Begin empty behind what is on disk."""
        self._offsets: list[Offset] = []
        self._batches: list[bytearray] = []
        self._dead = 0
        self.end = end
        self.size_bytes = 0

    @property
    def start(self) -> Offset:
        """First offset that can be read from memory."""
        return self._offsets[self._dead] if self._dead < len(self._offsets) else self.end

    def add(self, offset: Offset, batch: bytearray, end: Offset) -> None:
        """Take over a batch; nobody changes its bytes from now on."""
        self._offsets.append(offset)
        self._batches.append(batch)
        self.end = end
        self.size_bytes += len(batch)

    def add_all(
        self, offsets: list[Offset], batches: list[bytearray], end: Offset, *, size_bytes: int
    ) -> None:
        """Take over batches, as `add` does; `size_bytes`: of all of them."""
        self._offsets += offsets
        self._batches += batches
        self.end = end
        self.size_bytes += size_bytes

    def release(self, written_end: Offset, keep_bytes: int) -> None:
        """Forget batches that are on disk, oldest first, until no more than `keep_bytes` remain."""
        offsets, batches, dead = self._offsets, self._batches, self._dead
        size, count = self.size_bytes, len(self._offsets)
        while size > keep_bytes and dead < count:
            batch_end = offsets[dead + 1] if dead + 1 < count else self.end
            if batch_end > written_end:
                break
            size -= len(batches[dead])
            dead += 1
        if dead == self._dead:
            return
        self.size_bytes = size
        if dead == count:
            self._offsets, self._batches, dead = [], [], 0
        elif dead > _DEAD_MAX:
            del offsets[:dead], batches[:dead]
            dead = 0
        else:
            batches[self._dead : dead] = [bytearray()] * (dead - self._dead)
        self._dead = dead

    def truncate(self, offset: Offset) -> None:
        """Forget every batch that holds something at or above an offset."""
        keep = bisect_right(self._offsets, offset, lo=self._dead)
        if keep > self._dead and (
            self._end_of(keep - 1) > offset or self._offsets[keep - 1] == offset
        ):
            keep -= 1
        self.size_bytes -= sum(map(len, self._batches[keep:]))
        del self._offsets[keep:], self._batches[keep:]
        self.end = offset

    def read(self, offset: Offset, max_bytes: int, *, end: Offset) -> ReadResult:
        """Return batches from the one that holds `offset`, at least one if it ends by `end`.

        `start <= offset < end`, which the caller has made sure of.
        """
        slot = bisect_right(self._offsets, offset, lo=self._dead) - 1
        first = following = self._offsets[slot]
        buffers: list[bytes | bytearray | memoryview] = []
        size = 0
        for index in range(slot, len(self._batches)):
            batch = self._batches[index]
            batch_end = self._end_of(index)
            if batch_end > end or (buffers and size + len(batch) > max_bytes):
                break
            buffers.append(batch)
            size += len(batch)
            following = batch_end
        return ReadResult(buffers, first, following, size)

    def joined(self, found: ReadResult, max_bytes: int, *, end: Offset) -> ReadResult:
        """Return what was read from files together with the batches behind it, as many as fit.

        All lie below `end`. A reader's answer need not stop where the files do.
        """
        following, left = found.next_offset, max_bytes - found.size_bytes
        if not found.size_bytes or not self.start <= following < min(end, self.end):
            return found
        more = self.read(following, left, end=end)
        if more.first_offset != following or more.size_bytes > left:  # one is read however large
            return found
        buffers = [*found.buffers, *more.buffers]
        size_bytes = found.size_bytes + more.size_bytes
        return ReadResult(buffers, found.first_offset, more.next_offset, size_bytes)

    def _end_of(self, slot: int) -> Offset:
        return self._offsets[slot + 1] if slot + 1 < len(self._offsets) else self.end
