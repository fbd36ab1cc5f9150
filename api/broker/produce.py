"""Append batches, and answer when each is as durable as its producer asked for.

The hot path: plain calls, no task, nothing copied but the batch itself, nothing decoded unless the
topic bounds event times. What arrives in a tick is accepted at its end, partition by partition, in
the order in which it came: clock, room and settings are looked at once for all of them. `done` is
called exactly once, on the loop: at the tick's end for a refusal (for a gap in a sequence, once it
is confirmed), else when the batch is written (`LEADER`) or committed (`ALL`), or when the wait has
lasted too long; with `NONE` at once.
"""

from typing import TypeAlias

from api.broker.acks import Acks, Done, Parking
from api.broker.context import BrokerContext
from api.broker.doubtful_gaps import DoubtfulGaps
from api.broker.encode_records import Encoded
from api.broker.refused_batches import RefusedBatches
from api.broker.taking import Taking
from cluster.controller.topics import check_not_internal
from cluster.replication.append import check_in_sync, check_not_alone, decide
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import Stamp
from logstore.event_bounds import Bounds
from logstore.producer_state import Duplicate
from logstore.validate import check_produced
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import AppendTimeMs, TopicId
from model.principal import Principal
from model.record import BatchHeader

Arrival: TypeAlias = tuple[bytearray, Bounds | None, Acks, int, Done]
"""A batch of our own, its event times if they are known, what to wait for and how long, ms, and
whom to tell. Plain, for one is made for each request."""


class Produce:
    """The use case; one for each node. Loop only.

    What waits for the end of a tick counts in the memory budget from its arrival on (P53).
    """

    def __init__(self, context: BrokerContext) -> None:
        """Append through this node's log directory."""
        self._node = context
        self._parking = Parking(context.clock)
        self._refused = RefusedBatches(context.clock)
        self._gaps = DoubtfulGaps(context, self._refused)
        self._arrived: dict[HostedPartition, list[Arrival]] = {}
        self._accepting = False

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

        `done` gets `Produced` or the refusal: UNKNOWN_TOPIC (deleted meanwhile), NOT_LEADER,
        LEADER_NOT_AVAILABLE, POLICY_VIOLATION (one of Tidelog's own topics), CORRUPT_BATCH,
        RECORD_TOO_LARGE, INVALID_REQUEST, TIMESTAMP_OUT_OF_RANGE, UNSUPPORTED_COMPRESSION, the
        producer's sequence errors, DISK_FULL, OVERLOADED, NOT_ENOUGH_REPLICAS: *not done*.
        DUPLICATE_SEQUENCE: *done*. REQUEST_TIMED_OUT, LEADERSHIP_LOST, STORAGE_ERROR: *unknown*.
        """
        del principal  # every principal may append until there are access rules
        arrivals = self._arrived.get(partition)
        if arrivals is None:
            arrivals = self._first_of(partition)
        if isinstance(records, Encoded):
            arrivals.append((*records, acks, timeout_ms, done))
            self._node.memory.take(len(records.batch))
        else:
            arrivals.append((bytearray(records), None, acks, timeout_ms, done))
            self._node.memory.take(len(records))
        if acks is Acks.NONE and not self._accepting:
            self.accept()  # a refusal ends the connection: nothing may come in behind it

    def not_found(
        self, topic: str | TopicId, number: int, batch: memoryview | Stamp, *, refusal: RequestError
    ) -> None:
        """Note that a batch was refused since its partition is not here, or not yet.

        `topic`: as its client calls it; `batch`: whole, or its producer's stamp. Those behind it
        may find the partition, and are not told then that they are out of turn.
        """
        self._refused.not_found(topic, number, batch, refusal=refusal)

    def accept(self) -> None:
        """Accept what has arrived, without waiting for the end of the tick.

        Whoever is told may send more at once: that has its turn afterwards, with a time of its own.
        """
        self._accepting = True
        try:
            while self._arrived:
                arrived, self._arrived = self._arrived, {}
                now = self._node.append_time()
                for partition, arrivals in arrived.items():
                    self._accept_in(partition, arrivals, now)
        finally:
            self._accepting = False

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

    def _accept_in(
        self, partition: HostedPartition, arrivals: list[Arrival], now: AppendTimeMs
    ) -> None:
        """Accept what has arrived for one partition, if it takes anything."""
        try:
            _check_open(partition)
        except RequestError as refusal:
            for batch, _, _, _, done in arrivals:
                self._node.memory.give_back(len(batch))
                name = partition.topic.name
                done(self._refused.told(partition.id, batch, refusal, topic=name))
        else:
            self._accept(partition, arrivals, now)

    def _accept(
        self, partition: HostedPartition, arrivals: list[Arrival], now: AppendTimeMs
    ) -> None:
        """Append what may be appended, in order; tell or park everybody."""
        node, settings = self._node, partition.log.settings
        stamped = settings.log_append_time
        behind = sum([len(arrival[0]) for arrival in arrivals])
        has_room = len(arrivals) > 1 and self._has_room(partition, behind)
        taking, row = Taking(partition, now), None
        appended = 0
        for batch, bounds, acks, timeout_ms, done in arrivals:
            size = len(batch)
            behind -= size
            room_behind = None if has_room else behind
            found = self._look_at(partition, batch, acks, now=now, behind=room_behind)
            if not isinstance(found, int):
                node.memory.give_back(size)
                if isinstance(found, Duplicate):
                    taking.repeated(found, acks, timeout_ms, done=done)
                    row = None
                elif acks is Acks.NONE:
                    done(found)  # it ends the connection, and nobody goes by what it says
                else:
                    self._gaps.tell(partition, found, done)
                continue
            if row is None or row.waits_for != (acks, timeout_ms):
                row = taking.begin(acks, timeout_ms)
            row.told.append(done)
            if found < 0 and bounds is None and not stamped:
                taking.plain.append(batch)
            else:
                self._append_one(taking, batch, bounds, now=now)
            appended += size
        if appended:
            node.appended(appended)
        for row in taking.end():
            self._parking.park(row)

    def _look_at(
        self,
        partition: HostedPartition,
        batch: bytearray,
        acks: Acks,
        *,
        now: AppendTimeMs,
        behind: int | None,
    ) -> int | Duplicate | RequestError:
        """Return the producer id of a batch that may be appended, or why it is not.

        `behind`: bytes that came after it; None: there is room for all.
        """
        settings = partition.log.settings
        try:
            producer_id = check_produced(batch, max_message_bytes=settings.max_message_bytes)
            if producer_id >= 0 or settings.bounds_event_times:
                known = self._known(partition, batch, acks, now=now, behind=behind)
                if known is not None:
                    return known
            # Only now: of a batch that is in the log already nobody may say "not done" (P4).
            if behind is not None:
                self._check_appendable(partition, len(batch), acks, behind=behind)
        except RequestError as refusal:
            return self._refused.told(partition.id, batch, refusal, topic=partition.topic.name)
        return producer_id

    def _append_one(
        self, taking: Taking, batch: bytearray, bounds: Bounds | None, *, now: AppendTimeMs
    ) -> None:
        """Append a batch that is not like the others."""
        if taking.partition.log.settings.log_append_time:
            self._node.stamp(batch, now)
            bounds = None  # the stamp tells
        taking.append_one(batch, bounds)

    def _has_room(self, partition: HostedPartition, size_bytes: int) -> bool:
        """Tell whether all of a tick's batches can be taken, and count them; else each is asked."""
        if partition.alone or not partition.enough_in_sync or self._node.memory.is_over:
            return False
        try:
            self._node.directory.accepts(size_bytes)
        except RequestError:
            return False
        return True

    def _known(
        self,
        partition: HostedPartition,
        batch: bytearray,
        acks: Acks,
        *,
        now: AppendTimeMs,
        behind: int | None,
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
            if refusal.code.outcome is Outcome.NOT_DONE and behind is not None:
                self._check_appendable(partition, len(batch), acks, behind=behind)
            raise
        return verdict if isinstance(verdict, Duplicate) else None

    def _check_appendable(
        self, partition: HostedPartition, size_bytes: int, acks: Acks, *, behind: int
    ) -> None:
        """Refuse an append that the partition, the memory or the disk cannot take now.

        Raises:
            RequestError: NOT_ENOUGH_REPLICAS, OVERLOADED, DISK_FULL, STORAGE_ERROR.
        """
        if acks is Acks.ALL and not partition.enough_in_sync:
            check_in_sync(
                in_sync=len(partition.topic.partitions[partition.number].isr),
                min_insync_replicas=partition.rule.min_insync_replicas,
            )
        if acks is Acks.ALL and partition.alone:
            check_not_alone(alone=True, min_insync_replicas=partition.rule.min_insync_replicas)
        self._node.check_room(size_bytes, behind=behind)


def _check_open(partition: HostedPartition) -> None:
    """Refuse what nobody may append to.

    Raises:
        RequestError: UNKNOWN_TOPIC, NOT_LEADER, LEADER_NOT_AVAILABLE, POLICY_VIOLATION.
    """
    if partition.log.deleted:  # while the records were on their way
        raise _deleted(partition, "appended")
    if not partition.leads:
        raise partition.not_serving()
    check_not_internal(partition.topic, "is written by the node alone")


def _deleted(partition: HostedPartition, what: str) -> RequestError:
    name = partition.topic.name
    return RequestError(
        ErrorCode.UNKNOWN_TOPIC,
        f'topic "{name}" was deleted before the batch was {what}',
        topic=name,
    )
