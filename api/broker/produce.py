"""Append one batch to one partition, and answer when it is as durable as its producer asked for.

The hot path: a plain call, no task, nothing copied but the batch itself, nothing decoded unless the
topic bounds event times. `done` is called exactly once, on the loop: at once for a refusal, else
when the batch is written (`LEADER`) or committed (`ALL`), or when the wait has lasted too long.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from api.broker.context import BrokerContext
from api.broker.encode_records import Encoded
from cluster.controller.topics import check_not_internal
from cluster.replication.append import check_in_sync, decide
from cluster.shell.hosted_partition import Ack, HostedPartition
from logstore.producer_state import Duplicate
from logstore.validate import check_produced
from model.errors import ErrorCode, MalformedError, Outcome, RequestError
from model.ids import AppendTimeMs, MonotonicMs, Offset
from model.principal import Principal
from model.record import peek_size

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


class Produce:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext) -> None:
        """Append through this node's log directory."""
        self._node = context
        self._waiting: set[HostedPartition] = set()
        self._next_look: MonotonicMs | None = None

    def __call__(
        self,
        principal: Principal,
        partition: HostedPartition,
        records: memoryview | Encoded,
        *,
        acks: Acks,
        timeout_ms: int,
        done: Done,
    ) -> None:
        """Append `records`, one whole batch; a view is copied before this returns.

        `done` gets `Produced` or the refusal: UNKNOWN_TOPIC (deleted meanwhile),
        POLICY_VIOLATION (one of Tidelog's own topics), CORRUPT_BATCH, RECORD_TOO_LARGE,
        INVALID_REQUEST, TIMESTAMP_OUT_OF_RANGE, UNSUPPORTED_COMPRESSION, the producer's sequence
        errors, DISK_FULL, OVERLOADED, NOT_ENOUGH_REPLICAS: *not done*.
        DUPLICATE_SEQUENCE: *done*. REQUEST_TIMED_OUT, STORAGE_ERROR: *unknown*.
        """
        del principal  # every principal may append until there are access rules
        try:
            self._accept(partition, records, acks=acks, timeout_ms=timeout_ms, done=done)
        except RequestError as refusal:
            done(refusal)

    def _accept(
        self,
        partition: HostedPartition,
        records: memoryview | Encoded,
        *,
        acks: Acks,
        timeout_ms: int,
        done: Done,
    ) -> None:
        node = self._node
        log = partition.log
        if log.deleted:  # while the records were being encoded
            raise _deleted(partition, "appended")
        check_not_internal(partition.topic, "is written by the node alone")
        encoded = records if isinstance(records, Encoded) else None
        if isinstance(records, Encoded):
            records = memoryview(records.batch)
        size = len(records)
        _check_one_batch(records)
        header = check_produced(records, max_message_bytes=log.settings.max_message_bytes)
        now = node.append_time()
        try:
            verdict = decide(log, header, records, now=now)
        except RequestError as refusal:
            # Where there is no room the batches before it were refused for that: so is this one.
            if refusal.code.outcome is Outcome.NOT_DONE:
                self._check_appendable(partition, size, acks)
            raise
        if isinstance(verdict, Duplicate):
            ack = Ack(
                self._teller(partition, done),
                verdict.base_offset,
                verdict.append_time,
                duplicate=True,
            )
            # Acks leave in offset order: one for a batch that is still on its way waits with the
            # newest. The first write's own ack is parked at its true end.
            end = verdict.end_offset
            end = end if end <= partition.high_watermark else log.log_end
            self._park(partition, ack, end, acks=acks, timeout_ms=timeout_ms)
            return
        # Only now: of a batch that is in the log already nobody may say "not done" (P4).
        self._check_appendable(partition, size, acks)
        batch = bytearray(records) if encoded is None else encoded.batch
        bounds = None if encoded is None else encoded.bounds
        if log.settings.log_append_time:
            node.stamp(batch, now)
            bounds = None  # the stamp tells
        epoch = partition.leader_epoch
        appended = log.append([batch], leader_epoch=epoch, append_time=now, bounds=bounds)
        partition.appended(appended.end_offset, now)
        node.accepted(size)
        ack = Ack(self._teller(partition, done), appended.base_offset, now, duplicate=False)
        self._park(partition, ack, appended.end_offset, acks=acks, timeout_ms=timeout_ms)

    def _check_appendable(self, partition: HostedPartition, size_bytes: int, acks: Acks) -> None:
        """Refuse an append that the partition, the memory or the disk cannot take now.

        Raises:
            RequestError: NOT_ENOUGH_REPLICAS, OVERLOADED, DISK_FULL, STORAGE_ERROR.
        """
        if acks is Acks.ALL and not partition.enough_in_sync:
            check_in_sync(
                in_sync=len(partition.topic.partitions[partition.number].isr),
                min_insync_replicas=partition.rule.min_insync_replicas,
            )
        self._node.check_room(size_bytes)

    def _park(
        self, partition: HostedPartition, ack: Ack, end: Offset, *, acks: Acks, timeout_ms: int
    ) -> None:
        if acks is Acks.NONE:  # nothing is promised, so nothing is told
            ack.tell(ack._replace(base_offset=None, append_time=None), None)
            return
        reached, waiting = (
            (partition.log.written_end, partition.written_acks)
            if acks is Acks.LEADER
            else (partition.high_watermark, partition.committed_acks)
        )
        if end <= reached:
            ack.tell(ack, None)
            return
        wait = min(max(timeout_ms, 0), TIMEOUT_MS_MAX)
        deadline = MonotonicMs(self._node.clock.monotonic_ms() + wait)
        waiting.park(end, deadline, ack)
        self._waiting.add(partition)
        if self._next_look is None or deadline < self._next_look:
            self._next_look = deadline
            self._node.clock.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Answer those that have waited long enough; look again when the next may have."""
        now = self._node.clock.monotonic_ms()
        if self._next_look is None:
            return
        if now < self._next_look:  # an earlier timer, or one that a coarse clock let go too soon
            self._node.clock.call_at(self._next_look, self._expire)
            return
        self._next_look = None
        for partition in list(self._waiting):
            for ack in partition.expire(now):
                late = RequestError(
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"{partition.topic.name}/{partition.number}: not committed in time",
                )
                ack.tell(ack, late)
            if partition.next_deadline is None:
                self._waiting.discard(partition)
        deadlines = [p.next_deadline for p in self._waiting]
        known = [deadline for deadline in deadlines if deadline is not None]
        if known:
            self._next_look = min(known)
            self._node.clock.call_at(self._next_look, self._expire)

    def fail(self, failed: Exception) -> None:
        """The disk or its writer failed: everybody who waits has an unknown outcome (P44)."""
        for partition in list(self._waiting):
            for ack in partition.fail():
                ack.tell(ack, RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
        self._waiting.clear()

    def dropped(self, partition: HostedPartition) -> None:
        """The topic was deleted: what waits for the disk is let go, and its senders hear."""
        self._node.memory.give_back(sum(run.size_bytes for run in partition.log.pending))
        for ack in partition.gone():
            ack.tell(ack, _deleted(partition, "committed"))
        self._waiting.discard(partition)

    @staticmethod
    def _teller(
        partition: HostedPartition, done: Done
    ) -> Callable[[Ack, RequestError | None], None]:
        def tell(ack: Ack, error: RequestError | None) -> None:
            if error is not None:
                done(error)
            else:
                done(
                    Produced(
                        ack.base_offset,
                        ack.append_time,
                        partition.log_start,
                        ack.duplicate,
                        partition.log.settings.log_append_time,
                    )
                )

        return tell


def _check_one_batch(records: memoryview) -> None:
    """Refuse bytes that are not one whole batch and no more.

    Raises:
        RequestError: CORRUPT_BATCH.
    """
    try:
        whole = peek_size(records, 0) == len(records)
    except MalformedError as malformed:
        raise RequestError(ErrorCode.CORRUPT_BATCH, str(malformed)) from malformed
    if not whole:
        raise RequestError(
            ErrorCode.CORRUPT_BATCH, f"{len(records)} bytes are not exactly one record batch"
        )


def _deleted(partition: HostedPartition, what: str) -> RequestError:
    name = partition.topic.name
    return RequestError(
        ErrorCode.UNKNOWN_TOPIC,
        f'topic "{name}" was deleted before the batch was {what}',
        topic=name,
    )
