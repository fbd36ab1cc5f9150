"""What a partition's leader has to say of its followers: who is in sync, and whom it answers for.

A proposal names the leader epoch and the version of the row (its partition epoch) that it rests on,
and for each follower the registration epoch under which it caught up (KIP-903): one that has
restarted since may hold less than the leader believes. Each row is taken or refused by itself, and
the answer brings the row as it is.

A mark on a member of the ELR stays until the leader answers for it (`AnswerForUnclean`). By then
the leader must have flushed all that is below its high watermark at the version of the row which it
names: the row is younger than the restart, so the leader was alive after it and lacks nothing, and
what it holds survives whatever becomes of it. Until then the marked one may hold, alone, a record
that was acknowledged. The shell of the leader therefore, for each row that it leads and that has
marks or lost copies: syncs its log up to the high watermark, then sends this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from cluster.controller.election import altered, answered_for
from cluster.controller.image import BrokerImage, PartitionImage
from cluster.controller.partition_changes import Rows
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.ids import LeaderEpoch, NodeId, RegistrationEpoch, TopicId
from model.result import Result

_NO_REGISTRATION: Final = RegistrationEpoch(0)
"""They begin with 1."""


class IsrVerdict(Enum):
    """What became of a row; all but TAKEN changed nothing."""

    TAKEN = "taken"
    UNKNOWN_PARTITION = "unknown partition"
    """Deleted meanwhile."""
    NOT_LEADER = "not leader"
    """Somebody else leads, or nobody, or the asker has been registered anew: resign."""
    STALE_LEADER_EPOCH = "stale leader epoch"
    """The asker leads, in another epoch by now."""
    STALE_ROW = "stale row"
    """The row has changed since: look at it, and ask again if it is still wanted."""
    INELIGIBLE = "ineligible"
    """A follower is no replica, is down or stopping, or has been registered anew."""


class IsrAnswer(NamedTuple):
    """The verdict, and the row as it is."""

    verdict: IsrVerdict
    row: PartitionImage | None
    """None: the partition is not there."""


class RowVersion(NamedTuple):
    """A row as its leader knows it."""

    topic_id: TopicId
    number: int
    leader_epoch: LeaderEpoch
    partition_epoch: int


class IsrProposal(NamedTuple):
    """Count these followers in sync, beside the leader, and nobody else."""

    version: RowVersion
    followers: tuple[tuple[NodeId, RegistrationEpoch | None], ...]
    """Each with the registration epoch under which it reported what makes it a member.

    None: it is one, and has not spoken to this leader. Then it stays as whom the metadata have
    registered, and the leader's node says so (`naming`): no controller takes a row without.
    """

    def naming(self, brokers: Mapping[NodeId, BrokerImage]) -> "IsrProposal":
        """Return the proposal with every follower's registration, those left open from metadata."""
        followers = tuple(
            (node, _registration(brokers.get(node)) if epoch is None else epoch)
            for node, epoch in self.followers
        )
        return self._replace(followers=followers)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterIsr(Request[tuple[IsrAnswer, ...]]):
    """A leader's proposals; answered row by row, in their order."""

    leader: NodeId
    registration_epoch: RegistrationEpoch
    """Of the leader."""
    rows: tuple[IsrProposal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForUnclean(Request[tuple[IsrAnswer, ...]]):
    """A leader has flushed what is committed: marks and lost copies of its rows are settled."""

    leader: NodeId
    registration_epoch: RegistrationEpoch
    rows: tuple[RowVersion, ...]


def alter_isr(
    state: MetadataState, request: AlterIsr, _: Circumstances
) -> Result[MetadataRecord, tuple[IsrAnswer, ...]]:
    """Decide row by row; what changes nothing writes nothing."""
    rows = Rows(state)

    def one(proposal: IsrProposal) -> IsrAnswer:
        def change(row: PartitionImage) -> PartitionImage | None:
            if not all(_may_be_member(state, row, member) for member in proposal.followers):
                return None
            members = {request.leader, *(node for node, _ in proposal.followers)}
            return altered(row, members, rows.least_in_sync(proposal.version.topic_id))

        return _decide(state, rows, request, version=proposal.version, change=change)

    answers = tuple(map(one, request.rows))
    return Result(rows.records(), answers)


def answer_for_unclean(
    state: MetadataState, request: AnswerForUnclean, _: Circumstances
) -> Result[MetadataRecord, tuple[IsrAnswer, ...]]:
    """Decide row by row; a row without marks and losses stays as it is."""
    rows = Rows(state)
    answers = tuple(
        _decide(state, rows, request, version=version, change=answered_for)
        for version in request.rows
    )
    return Result(rows.records(), answers)


def _decide(
    state: MetadataState,
    rows: Rows,
    request: AlterIsr | AnswerForUnclean,
    *,
    version: RowVersion,
    change: Callable[[PartitionImage], PartitionImage | None],
) -> IsrAnswer:
    """Change one row if its leader asks for it and knows it as it is."""
    row = rows.get(version.topic_id, version.number)
    if row is None:
        return IsrAnswer(IsrVerdict.UNKNOWN_PARTITION, None)
    broker = state.brokers.get(request.leader)
    if (
        broker is None
        or broker.registration_epoch != request.registration_epoch
        or row.leader != request.leader
    ):
        return IsrAnswer(IsrVerdict.NOT_LEADER, row)
    if row.leader_epoch != version.leader_epoch:
        return IsrAnswer(IsrVerdict.STALE_LEADER_EPOCH, row)
    if row.partition_epoch != version.partition_epoch:
        return IsrAnswer(IsrVerdict.STALE_ROW, row)
    after = change(row)
    if after is None:
        return IsrAnswer(IsrVerdict.INELIGIBLE, row)
    return IsrAnswer(IsrVerdict.TAKEN, rows.put(version.topic_id, after))


def _may_be_member(
    state: MetadataState, row: PartitionImage, member: tuple[NodeId, RegistrationEpoch | None]
) -> bool:
    """Tell whether a follower may be counted in sync: who is in already may stay while it stops."""
    node, epoch = member
    broker = state.brokers.get(node)
    if broker is None or node not in row.replicas or broker.registration_epoch != epoch:
        return False
    return broker.standing.may_join or (broker.standing.is_up and node in row.isr)


def _registration(broker: BrokerImage | None) -> RegistrationEpoch:
    """Return the newest of a node; one that nobody has, so that it is refused, if it is gone."""
    return _NO_REGISTRATION if broker is None else broker.registration_epoch
