"""Append batches, and answer when each is as durable as its producer asked for.

The hot path: plain calls, no task, nothing copied but the batch itself, nothing decoded unless the
topic bounds event times. What arrives in a tick is accepted at its end, partition by partition, in
the order in which it came: clock, room and settings are looked at once for all of them. `done` is
called exactly once, on the loop: at the tick's end for a refusal, else when the batch is written
(`LEADER`) or committed (`ALL`), or when the wait has lasted too long.
"""

from typing import TypeAlias

from api.broker.acks import Acks, Done, Parking
from api.broker.context import BrokerContext
from api.broker.encode_records import Encoded
from api.broker.taking import Taking
from cluster.controller.topics import check_not_internal
from cluster.replication.append import check_in_sync, decide
from cluster.shell.hosted_partition import HostedPartition
from logstore.event_bounds import Bounds
from logstore.producer_state import Duplicate
from logstore.validate import check_produced
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import AppendTimeMs
from model.principal import Principal
from model.record import BatchHeader

Arrival: TypeAlias = tuple[bytearray, Bounds | None, Acks, int, Done]
"""A batch of our own, its event times if they are known, what to wait for and how long, ms, and
whom to tell. Plain, for one is made for each request."""


class Produce:
    """The use case; one for each node. Loop only.

    What waits for the end of a tick is bounded by what the doors have read in it: by their read
    buffers, which are counted (P53).
    """

    def __init__(self, context: BrokerContext) -> None:
        """Append through this node's log directory."""
        self._node = context
        self._parking = Parking(context.clock)
        self._arrived: dict[HostedPartition, list[Arrival]] = {}

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
        arrivals = self._arrived.get(partition)
        if arrivals is None:
            arrivals = self._first_of(partition)
        if isinstance(records, Encoded):
            arrivals.append((*records, acks, timeout_ms, done))
        else:
            arrivals.append((bytearray(records), None, acks, timeout_ms, done))

    def accept(self) -> None:
        """Accept what has arrived, without waiting for the end of the tick."""
        while self._arrived:  # a refusal may be answered by another batch
            arrived, self._arrived = self._arrived, {}
            now = self._node.append_time()
            for partition, arrivals in arrived.items():
                try:
                    _check_open(partition)
                except RequestError as refusal:
                    for *_, done in arrivals:
                        done(refusal)
                else:
                    self._accept(partition, arrivals, now)

    def fail(self, failed: Exception) -> None:
        """The disk or its writer failed: everybody who waits has an unknown outcome (P44)."""
        self._parking.fail(failed)

    def dropped(self, partition: HostedPartition) -> None:
        """The topic was deleted: what waits for the disk is let go, and its senders hear."""
        self._node.memory.give_back(sum(run.size_bytes for run in partition.log.pending))
        for ack in partition.drop():
            ack.tell(_deleted(partition, "committed"))
        self._parking.forget(partition)

    def _first_of(self, partition: HostedPartition) -> list[Arrival]:
        """Return where a tick's batches of a partition are gathered; see to it that it ends."""
        if not self._arrived:
            self._node.tick.at_end(self.accept)
            self._node.writer.ask()  # behind it: what is accepted goes with this tick's round
        arrivals = self._arrived[partition] = []
        return arrivals

    def _accept(
        self, partition: HostedPartition, arrivals: list[Arrival], now: AppendTimeMs
    ) -> None:
        """Append what may be appended, in order; tell or park everybody."""
        node, settings = self._node, partition.log.settings
        size_max, stamped = settings.max_message_bytes, settings.log_append_time
        looked_into, has_room = settings.bounds_event_times, self._has_room(partition, arrivals)
        taking, row, size_bytes = Taking(partition, now), None, 0
        for batch, bounds, acks, timeout_ms, done in arrivals:
            try:
                producer_id = check_produced(batch, max_message_bytes=size_max)
                is_plain = producer_id < 0 and bounds is None and not stamped
                if looked_into or producer_id >= 0:
                    known = self._known(partition, batch, acks, now=now)
                    if known is not None:
                        taking.repeated(known, acks, timeout_ms, done=done)
                        row = None
                        continue
                # Only now: of a batch that is in the log already nobody may say "not done" (P4).
                if not has_room:
                    self._check_appendable(partition, len(batch), acks)
                    node.accepted(len(batch))
            except RequestError as refusal:
                done(refusal)
                continue
            if row is None or row.waits_for != (acks, timeout_ms):
                row = taking.begin(acks, timeout_ms)
            row.told.append(done)
            size_bytes += len(batch)
            if is_plain:
                taking.plain.append(batch)
            else:
                self._append_one(taking, batch, bounds, now=now)
        if has_room:
            node.accepted(size_bytes)
        for row in taking.end():
            self._parking.park(row)

    def _append_one(
        self, taking: Taking, batch: bytearray, bounds: Bounds | None, *, now: AppendTimeMs
    ) -> None:
        """Append a batch that is not like the others."""
        if taking.partition.log.settings.log_append_time:
            self._node.stamp(batch, now)
            bounds = None  # the stamp tells
        taking.append_one(batch, bounds)

    def _has_room(self, partition: HostedPartition, arrivals: list[Arrival]) -> bool:
        """Tell whether all of a tick's batches can be taken, and count them; else each is asked."""
        if len(arrivals) == 1 or not partition.enough_in_sync:
            return False
        size_bytes = sum([len(arrival[0]) for arrival in arrivals])
        if size_bytes > self._node.memory.free_bytes:
            return False
        try:
            self._node.check_room(size_bytes)
        except RequestError:
            return False
        return True

    def _known(
        self, partition: HostedPartition, batch: bytearray, acks: Acks, *, now: AppendTimeMs
    ) -> Duplicate | None:
        """Return where a batch is in the log already; None: it is new and may follow.

        Raises:
            RequestError: what `decide` refuses.
        """
        view = memoryview(batch)
        try:
            verdict = decide(partition.log, BatchHeader.of_checked(view), view, now=now)
        except RequestError as refusal:
            # Where there is no room the batches before it were refused for that: so is this one.
            if refusal.code.outcome is Outcome.NOT_DONE:
                self._check_appendable(partition, len(batch), acks)
            raise
        return verdict if isinstance(verdict, Duplicate) else None

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


def _check_open(partition: HostedPartition) -> None:
    """Refuse what nobody may append to.

    Raises:
        RequestError: UNKNOWN_TOPIC, POLICY_VIOLATION.
    """
    if partition.log.deleted:  # while the records were on their way
        raise _deleted(partition, "appended")
    check_not_internal(partition.topic, "is written by the node alone")


def _deleted(partition: HostedPartition, what: str) -> RequestError:
    name = partition.topic.name
    return RequestError(
        ErrorCode.UNKNOWN_TOPIC,
        f'topic "{name}" was deleted before the batch was {what}',
        topic=name,
    )
