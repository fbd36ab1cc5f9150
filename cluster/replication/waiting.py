"""Who waits for one partition: acks for their records to be committed, long polls for more to read.

Offsets of acks rise, because batches are appended in order; so the high watermark frees a prefix.
Tokens are the caller's own and are handed back, once: released, expired or failed.

Invariants:
    WAITING_IN_OFFSET_ORDER    an ack is parked behind all that were parked before it.
    WAITING_READ_ONCE          a long poll waits once for a partition.
"""

from collections import deque
from typing import Final, Generic, NamedTuple, TypeVar

from model.ids import MonotonicMs, Offset

AckT = TypeVar("AckT")
ReadT = TypeVar("ReadT")

_NEVER: Final = MonotonicMs(1 << 62)


class _Parked(NamedTuple, Generic[AckT]):
    end_offset: Offset
    deadline: MonotonicMs
    token: AckT


class Waiting(Generic[AckT, ReadT]):
    """The acks and long polls of one partition. Tokens of long polls are hashable."""

    __slots__ = ("_acks", "_earliest", "_reads")

    def __init__(self) -> None:
        """Nobody waits."""
        self._acks: deque[_Parked[AckT]] = deque()
        self._reads: dict[ReadT, Offset] = {}
        self._earliest = _NEVER
        """No ack is due before; a released one may have been the reason."""

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._acks) + len(self._reads)

    def park(self, end_offset: Offset, deadline: MonotonicMs, token: AckT) -> None:
        """Let an ack wait until everything below `end_offset` is committed, or the deadline."""
        assert not self._acks or self._acks[-1].end_offset <= end_offset, "WAITING_IN_OFFSET_ORDER"
        self._acks.append(_Parked(end_offset, deadline, token))
        self._earliest = min(self._earliest, deadline)

    def release(self, high_watermark: Offset) -> list[AckT]:
        """Return the acks whose records are committed, in offset order."""
        acks = self._acks
        released: list[AckT] = []
        while acks and acks[0].end_offset <= high_watermark:
            released.append(acks.popleft().token)
        if not acks:
            self._earliest = _NEVER
        return released

    def next_deadline(self) -> MonotonicMs | None:
        """Return a time before which no ack expires; None if none waits."""
        return self._earliest if self._acks else None

    def expire(self, now: MonotonicMs) -> list[AckT]:
        """Return the acks whose deadline has come, in offset order: their outcome is unknown."""
        if now < self._earliest:
            return []
        expired = [parked.token for parked in self._acks if parked.deadline <= now]
        self._acks = deque(parked for parked in self._acks if parked.deadline > now)
        self._earliest = min((parked.deadline for parked in self._acks), default=_NEVER)
        return expired

    def fail_all(self) -> tuple[list[AckT], list[ReadT]]:
        """Return everybody: acks in offset order, and long polls. Nobody waits any more."""
        acks = [parked.token for parked in self._acks]
        reads = list(self._reads)
        self._acks.clear()
        self._reads.clear()
        self._earliest = _NEVER
        return acks, reads

    def park_read(self, offset: Offset, token: ReadT) -> None:
        """Let a long poll wait until the record at `offset` is committed.

        Its deadline is the poll's own: it may wait for many partitions, and leaves them together.
        """
        assert token not in self._reads, "WAITING_READ_ONCE"
        self._reads[token] = offset

    def cancel_read(self, token: ReadT) -> None:
        """Let a long poll go, which need not be waiting any more."""
        self._reads.pop(token, None)

    def release_reads(self, high_watermark: Offset) -> list[ReadT]:
        """Return the long polls that have something to read now, longest waiting first."""
        if not self._reads:
            return []
        ready = [token for token, offset in self._reads.items() if offset < high_watermark]
        for token in ready:
            del self._reads[token]
        return ready
