"""Offsets and groups go: at somebody's word, or when nobody has needed them for long (P30)."""

from collections.abc import Callable
from itertools import islice

from consumer_groups.group import Group
from consumer_groups.groups import Groups
from consumer_groups.offsets import check_empty
from consumer_groups.records import GroupDeleted, GroupRecord, OffsetsForgotten
from consumer_groups.requests import DeleteOffsets
from consumer_groups.topics import TopicView
from consumer_groups.views import PartitionRow
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, PartitionId
from model.result import Result


def delete_offsets(
    groups: Groups, request: DeleteOffsets, *, topics: TopicView
) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
    """Decide; see `GroupMachine.delete_offsets`."""
    group = groups.existing(request.group)
    rows = tuple(
        PartitionRow(partition=partition, error=_consumed(group, partition, topics))
        for partition in request.partitions
    )
    free = {row.partition for row in rows if row.error is None}
    forgotten = tuple(sorted(free & group.offsets.keys()))
    if not forgotten:
        return Result((), rows)
    return Result((OffsetsForgotten(group=group.name, partitions=forgotten),), rows)


def delete_group(groups: Groups, name: GroupId) -> Result[GroupRecord, None]:
    """Decide; see `GroupMachine.delete_group`."""
    group = groups.existing(name)
    check_empty(group)
    return Result((GroupDeleted(group=name),), None)


def expire(
    groups: Groups,
    *,
    now: AppendTimeMs,
    retention_ms: Callable[[GroupId], int],
    at_most: int,
) -> Result[GroupRecord, tuple[GroupId, ...]]:
    """Decide; see `GroupMachine.expire`.

    A group goes whole: a partition in which nothing happens is not committed for long, and its
    place is needed all the same once the group comes back.
    """
    old = (
        group.name
        for group in groups.by_name.values()
        if not group.members and now - _last_sign_of_life(group) > retention_ms(group.name)
    )
    gone = tuple(islice(old, at_most))
    return Result(tuple(GroupDeleted(group=name) for name in gone), gone)


def _last_sign_of_life(group: Group) -> AppendTimeMs:
    """Return when the last member went or the last offset was committed."""
    turned, committed = group.changed.state_since, group.last_commit
    return turned if committed is None else max(turned, committed)


def _consumed(group: Group, partition: PartitionId, topics: TopicView) -> RequestError | None:
    """Return the refusal of a partition whose topic a member wants."""
    name = topics.name_of(partition.topic)
    takers = sorted(
        member_id for member_id, member in group.members.items() if name in member.joined.topics
    )
    if not takers:
        return None
    return RequestError(
        ErrorCode.GROUP_NOT_EMPTY,
        f'topic "{name}" is consumed by member "{takers[0]}" of group "{group.name}"',
        group=group.name,
        topic=str(name),
        members=takers[0],
    )
