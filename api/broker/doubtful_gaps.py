"""Gaps in a producer's sequence, told only once it is certain that the gap is not this node's own.

A leader that stood still, or was cut off, may have been replaced and not have heard of it. Its log
ends where it was deposed, and a producer that has gone on at the new leader seems to have left
something out. To a client that refusal is the last word: the SDK takes it for proof that the batch
is in no log, librdkafka begins a new epoch and repeats under it what it had no answer for, and
either may store twice what the new leader has (P20). So the controllers are asked first; those who
are refused in the meantime share the next question.

Nor does a gap count at once that is no gap of the log, but of what has come. Where a leadership has
moved, a client has a batch to send again that the old leader did not take; librdkafka, in which two
threads see to that, may send the one behind it first, by a few milliseconds. So the batches of a
producer of which a young leadership has stored none may be out of turn for a moment: they are
refused for the moment, and so is what is behind them (`refused_batches`).
"""

from typing import Final, NamedTuple

from api.broker.acks import Done
from api.broker.context import BrokerContext
from api.broker.refused_batches import OUT_OF_TURN, RefusedBatches
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.shared_barrier import SharedBarrier
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, MonotonicMs, PartitionId, ProducerId

YOUNG_MS: Final = 120_000
"""For so long a leadership may meet what clients had sent to the one before: they wait for the
answer of a node that stands still (librdkafka's `socket.timeout.ms` is 60 s by default)."""
OVERTAKEN_MS: Final = 2_000
"""Such a gap counts when it has stood for so long: many times the backoff after which clients send
again (`retry.backoff.ms` is 100), and less than after which the SDK tries another node."""
OVERTAKEN_MAX: Final = 1 << 12
"""Gaps of the whole node that may close, about 1 MiB; one more is told at once."""


class _Gap(NamedTuple):
    partition: PartitionId
    epoch: LeaderEpoch
    producer: ProducerId
    expected: str
    """The sequence that is missing."""


class _Refused(NamedTuple):
    partition: HostedPartition
    epoch: LeaderEpoch
    """In which this node led when it refused."""
    refusal: RequestError
    done: Done


class DoubtfulGaps:
    """Refusals that wait to be confirmed. Loop only."""

    __slots__ = ("_barrier", "_batches", "_clock", "_since", "_spawn")

    def __init__(self, node: BrokerContext, batches: RefusedBatches) -> None:
        """None waits. `batches`: where those that are refused for the moment are remembered."""
        self._batches = batches
        self._clock = node.clock
        self._spawn = node.spawn
        self._barrier = SharedBarrier(node.quorum)
        self._since: dict[_Gap, MonotonicMs] = {}
        """When gaps that may close were first seen, the latest last."""

    def tell(self, partition: HostedPartition, refusal: RequestError, done: Done) -> None:
        """Tell a producer that its batch is refused: at once, or when a gap is confirmed."""
        if refusal.code not in OUT_OF_TURN or partition.only_here:
            done(refusal)
            return
        if self._may_close(partition, refusal):
            told = _for_the_moment(partition, "may be on its way; ask again")
            self._batches.out_of_turn(partition.id, refusal, told)
            done(told)
            return
        refused = _Refused(partition, partition.leader_epoch, refusal, done)
        self._spawn.start(self._ask(refused), "gap of a producer")

    def _may_close(self, partition: HostedPartition, refusal: RequestError) -> bool:
        """Tell whether the batch that is missing may have been overtaken by this one."""
        leader, told, now = partition.replica.leader, refusal.metadata, self._clock.monotonic_ms()
        producer, expected = ProducerId(int(told["producer_id"])), told["expected_sequence"]
        newest = partition.log.producers.newest(producer)
        if leader is None or not leader.began_above(newest, now, within_ms=YOUNG_MS):
            return False
        gap = _Gap(partition.id, partition.leader_epoch, producer, expected)
        since = self._since.get(gap)
        if since is None and self._has_room(now):
            since = self._since[gap] = now
        return since is not None and now - since < OVERTAKEN_MS

    def _has_room(self, now: MonotonicMs) -> bool:
        """Tell whether there is room for one more; forget those that have been told long ago."""
        since = self._since
        while since and now - since[first := next(iter(since))] > 2 * OVERTAKEN_MS:
            del since[first]
        return len(since) < OVERTAKEN_MAX

    async def _ask(self, refused: _Refused) -> None:
        unconfirmed = None
        try:
            await self._barrier.passed()
        except RequestError as nobody:
            unconfirmed = nobody
        told = _verdict(refused, unconfirmed)
        self._batches.out_of_turn(refused.partition.id, refused.refusal, told)
        refused.done(told)


def _verdict(refused: _Refused, unconfirmed: RequestError | None) -> RequestError:
    """Return what a producer is told once the controllers have answered, or have not."""
    partition, epoch, refusal, _ = refused
    if unconfirmed is None and partition.leads and partition.leader_epoch == epoch:
        return refusal
    if not partition.leads:
        return partition.not_serving()
    why = "led anew meanwhile" if unconfirmed is None else unconfirmed.detail
    doubt = f"is missing here, and nobody confirms that this node still leads: {why}; ask again"
    return _for_the_moment(partition, doubt)


def _for_the_moment(partition: HostedPartition, doubt: str) -> RequestError:
    """Return a refusal after which a client sends the same batches again, in their order."""
    return RequestError(
        ErrorCode.LEADER_NOT_AVAILABLE,
        f"{partition.topic.name}/{partition.number}: a batch before this one {doubt}",
        topic=partition.topic.name,
        partition=str(partition.number),
        leader_epoch=str(partition.leader_epoch),
    )
