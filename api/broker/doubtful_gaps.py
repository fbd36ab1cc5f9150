"""Gaps in a producer's sequence, told only once it is certain that the gap is not this node's own.

A leader that stood still, or was cut off, may have been replaced and not have heard of it. Its log
ends where it was deposed, and a producer that has gone on at the new leader seems to have left
something out. To a client that refusal is the last word: the SDK takes it for proof that the batch
is in no log, librdkafka begins a new epoch and repeats under it what it had no answer for, and
either may store twice what the new leader has (P20). So the controllers are asked first; those who
are refused in the meantime share the next question.
"""

from typing import NamedTuple

from api.broker.acks import Done
from api.broker.context import BrokerContext
from api.broker.refused_batches import OUT_OF_TURN
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.shared_barrier import SharedBarrier
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch


class _Refused(NamedTuple):
    partition: HostedPartition
    epoch: LeaderEpoch
    """In which this node led when it refused."""
    refusal: RequestError
    done: Done


class DoubtfulGaps:
    """Refusals that wait to be confirmed. Loop only."""

    __slots__ = ("_barrier", "_spawn")

    def __init__(self, node: BrokerContext) -> None:
        """None waits."""
        self._spawn = node.spawn
        self._barrier = SharedBarrier(node.quorum)

    def tell(self, partition: HostedPartition, refusal: RequestError, done: Done) -> None:
        """Tell a producer that its batch is refused: at once, or when a gap is confirmed."""
        if refusal.code not in OUT_OF_TURN or partition.only_here:
            done(refusal)
            return
        refused = _Refused(partition, partition.leader_epoch, refusal, done)
        self._spawn.start(self._ask(refused), "gap of a producer")

    async def _ask(self, refused: _Refused) -> None:
        unconfirmed = None
        try:
            await self._barrier.passed()
        except RequestError as nobody:
            unconfirmed = nobody
        refused.done(_verdict(refused, unconfirmed))


def _verdict(refused: _Refused, unconfirmed: RequestError | None) -> RequestError:
    """Return what a producer is told once the controllers have answered, or have not."""
    partition, epoch, refusal, _ = refused
    if unconfirmed is None and partition.leads and partition.leader_epoch == epoch:
        return refusal
    if not partition.leads:
        return partition.not_serving()
    why = "led anew meanwhile" if unconfirmed is None else unconfirmed.detail
    return RequestError(
        ErrorCode.LEADER_NOT_AVAILABLE,
        f"{partition.topic.name}/{partition.number}: a batch before this one is missing here, and "
        f"nobody confirms that this node still leads: {why}; ask again",
        topic=partition.topic.name,
        partition=str(partition.number),
        leader_epoch=str(partition.leader_epoch),
    )
