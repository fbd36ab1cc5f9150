"""Groups as messages: cursors, members, rows of answers."""

from collections.abc import Iterable, Sequence
from typing import Final

from api.broker.broker import Broker
from api.broker.group_commits import NamedCursor
from api.broker.readable import Readable
from api.rpc.convert import refuse
from api.rpc.details import record_error
from consumer_groups.records import GroupEpoch, GroupKind, MemberId
from consumer_groups.views import GroupState, GroupSummary, MemberView
from model.errors import RequestError
from model.ids import LeaderEpoch, NodeId, Offset, PartitionId
from tidelog.v1 import common_pb2, group_service_pb2

EPOCH_MAX: Final = (1 << 31) - 1

_Group = group_service_pb2.ConsumerGroup
_KINDS: Final = {
    GroupKind.UNSET: _Group.KIND_UNSPECIFIED,
    GroupKind.NATIVE: _Group.KIND_NATIVE,
}
_STATES: Final = {
    GroupState.EMPTY: _Group.STATE_EMPTY,
    GroupState.RECONCILING: _Group.STATE_RECONCILING,
    GroupState.STABLE: _Group.STATE_STABLE,
}


def named_cursors(cursors: Iterable[common_pb2.Cursor]) -> list[NamedCursor]:
    """Return what a client wants to have committed, or where it wants to go."""
    return [
        NamedCursor(
            one.topic,
            one.partition,
            Offset(one.offset),
            LeaderEpoch(one.leader_epoch) if one.HasField("leader_epoch") else None,
            one.metadata,
        )
        for one in cursors
    ]


def names(partitions: Iterable[common_pb2.TopicPartition]) -> list[tuple[str, int]]:
    """Return partitions as they are named."""
    return [(one.topic, one.partition) for one in partitions]


def topic_partition(partition: Readable) -> common_pb2.TopicPartition:
    """Return a partition's name."""
    return common_pb2.TopicPartition(topic=partition.topic.name, partition=partition.number)


def results(
    named: Iterable[tuple[str, int]], errors: Sequence[RequestError | None]
) -> list[common_pb2.PartitionResult]:
    """Return a row for each partition; None: done."""
    return [
        common_pb2.PartitionResult(
            partition=common_pb2.TopicPartition(topic=topic, partition=number),
            error=None if error is None else record_error(error),
        )
        for (topic, number), error in zip(named, errors, strict=True)
    ]


def claim(member: common_pb2.Membership) -> tuple[MemberId, GroupEpoch]:
    """Return who claims a membership, and from which epoch.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    if not member.member_id:
        refuse("member.member_id", "it is empty; leave out member to join anew")
    if member.member_epoch < 0:
        refuse("member.member_epoch", f"{member.member_epoch} is negative")
    return MemberId(member.member_id), GroupEpoch(member.member_epoch)


def membership(member_id: MemberId, epoch: GroupEpoch) -> common_pb2.Membership:
    """Return a member's claim on its group."""
    return common_pb2.Membership(member_id=member_id, member_epoch=epoch)


def group_message(group: GroupSummary, coordinator: NodeId) -> group_service_pb2.ConsumerGroup:
    """Return a group without its members."""
    return _Group(
        name=group.group,
        kind=_KINDS[group.kind],
        state=_STATES[group.state],
        epoch=group.epoch,
        assignor=group.assignor,
        coordinator_id=coordinator,
    )


def member_message(broker: Broker, member: MemberView) -> group_service_pb2.ConsumerGroup.Member:
    """Return one member; what it has still to hand over is among its assignment."""
    holds = sorted((*member.owned, *member.revoking))
    held = [hold.partition for hold in holds]
    return _Group.Member(
        membership=membership(member.member_id, member.epoch),
        instance_id=member.instance_id or "",
        client_id=member.client_id,
        host=member.host,
        assignment=_named(broker, held),
        pending=_named(broker, [one for one in member.pending if one not in set(held)]),
    )


def _named(broker: Broker, partitions: Iterable[PartitionId]) -> list[common_pb2.TopicPartition]:
    """Return partitions by name, in the order of names; topics that are gone have none."""
    topics = broker.image.topics_by_id
    found = [(topics[one.topic].name, one.number) for one in partitions if one.topic in topics]
    return [common_pb2.TopicPartition(topic=name, partition=at) for name, at in sorted(found)]
