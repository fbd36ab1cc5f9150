"""What a producer waits for, what it is told, and who waits at the moment.

Batches that were accepted together and wait for the same are told together: one entry among the
waiting of their partition, however many producers stand behind it.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from cluster.shell.hosted_partition import HostedPartition
from logstore.producer_state import Duplicate
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, MonotonicMs, Offset
from model.ports import Clock

TIMEOUT_MS_MAX: Final = 300_000
"""Longest wait for an ack; more than any client's delivery timeout makes sense of, ms."""


class Acks(IntEnum):
    """What an acknowledgement waits for; numbered as Kafka does."""

    NONE = 0
    LEADER = 1
    ALL = -1


class Produced(NamedTuple):
    """What became of a batch that is in the log."""

    base_offset: Offset | None
    """The first record's true offset; None with `Acks.NONE`."""
    append_time: AppendTimeMs | None
    log_start: Offset
    duplicate: bool
    """It was there already; offset and append time are those of the first write."""
    log_append_time: bool
    """The topic stamps records with the append time."""


Done: TypeAlias = Callable[[Produced | RequestError], None]


class Accepted:
    """Producers whose batches lie one behind the other, with one append time, and who wait alike.

    An `Ack` of their partition.
    """

    __slots__ = (
        "_append_time",
        "duplicate",
        "end_offset",
        "offsets",
        "partition",
        "told",
        "waits_for",
    )

    def __init__(
        self, partition: HostedPartition, append_time: AppendTimeMs, waits_for: tuple[Acks, int]
    ) -> None:
        """Begin with nobody."""
        self.partition = partition
        self.waits_for = waits_for
        """What for, and how long, ms."""
        self._append_time = append_time
        self.duplicate = False
        self.told: list[Done] = []
        self.offsets: list[Offset] = []
        """Where the batch of each begins."""
        self.end_offset = Offset(0)
        """What they wait for: behind the last of their batches."""

    def repeats(self, known: Duplicate, done: Done) -> None:
        """Take a producer whose batch had been in the log before."""
        self._append_time, self.duplicate = known.append_time, True
        self.told.append(done)
        self.offsets.append(known.base_offset)

    def tell(self, error: RequestError | None) -> None:
        """Tell everybody where the batch is, or that nobody knows."""
        if error is not None:
            for done in self.told:
                done(error)
            return
        time, duplicate, log = self._append_time, self.duplicate, self.partition.log
        start, stamped = log.log_start, log.settings.log_append_time
        for done, base_offset in zip(self.told, self.offsets, strict=True):
            done(Produced(base_offset, time, start, duplicate, stamped))

    def tell_nothing(self) -> None:
        """Nothing was promised, so no place is told."""
        log = self.partition.log
        for done in self.told:
            done(Produced(None, None, log.log_start, self.duplicate, log.settings.log_append_time))


class Parking:
    """Partitions in which somebody waits for an ack, and when the first has waited too long."""

    def __init__(self, clock: Clock) -> None:
        """Nobody waits."""
        self._clock = clock
        self._waiting: dict[HostedPartition, None] = {}
        self._next_look: MonotonicMs | None = None

    def park(self, accepted: Accepted) -> None:
        """Tell those who were accepted once their batches are as durable as they asked for.

        At once if they are. After their timeout they hear REQUEST_TIMED_OUT.
        """
        partition, end = accepted.partition, accepted.end_offset
        acks, timeout_ms = accepted.waits_for
        if acks is Acks.NONE:
            accepted.tell_nothing()
            return
        if acks is Acks.LEADER:
            reached, waiting = partition.log.written_end, partition.written_acks
        else:
            reached, waiting = partition.high_watermark, partition.committed_acks
        if end <= reached:
            accepted.tell(None)
            return
        wait = min(max(timeout_ms, 0), TIMEOUT_MS_MAX)
        deadline = MonotonicMs(self._clock.monotonic_ms() + wait)
        waiting.park(end, deadline, accepted)
        self._waiting[partition] = None
        if self._next_look is None or deadline < self._next_look:
            self._next_look = deadline
            self._clock.call_at(deadline, self._expire)

    def fail(self, failed: Exception) -> None:
        """The disk or its writer failed: everybody who waits has an unknown outcome (P44)."""
        for partition in list(self._waiting):
            for ack in partition.fail():
                ack.tell(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
        self._waiting.clear()

    def forget(self, partition: HostedPartition) -> None:
        """Nobody waits there any more."""
        self._waiting.pop(partition, None)

    def _expire(self) -> None:
        """Answer those that have waited long enough; look again when the next may have."""
        now = self._clock.monotonic_ms()
        if self._next_look is None:
            return
        if now < self._next_look:  # an earlier timer, or one that a coarse clock let go too soon
            self._clock.call_at(self._next_look, self._expire)
            return
        self._next_look = None
        for partition in list(self._waiting):
            for ack in partition.expire(now):
                late = RequestError(
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"{partition.topic.name}/{partition.number}: not committed in time",
                )
                ack.tell(late)
            if partition.next_deadline is None:
                self._waiting.pop(partition, None)
        deadlines = [p.next_deadline for p in self._waiting]
        known = [deadline for deadline in deadlines if deadline is not None]
        if known:
            self._next_look = min(known)
            self._clock.call_at(self._next_look, self._expire)
