"""Committed offsets: who may commit what, and what becomes of each row.

A member commits what it holds, also what it is about to hand over; somebody else commits only
while there is no member whose place would be lost by it. A commit may go back: that is the member's
own will, and only an older hold's commit is refused (P29).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from consumer_groups.group import Group, Member
from consumer_groups.groups import Groups
from consumer_groups.records import (
    Cause,
    GroupChanged,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    OffsetCommitted,
    Owned,
)
from consumer_groups.requests import ByEpoch, ByStream, Commit, Cursor, FromOutside
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicView, absent, shown
from consumer_groups.views import PartitionRow
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, PartitionId
from model.result import Result

MEMBERS_NAMED_MAX: Final = 10
"""Members that an error names; it says how many there are."""


class Committer(NamedTuple):
    """Somebody who commits, and whether he may commit a partition."""

    actor: str
    may: Callable[[Cursor], bool]


def commit(
    groups: Groups,
    settings: GroupSettings,
    request: Commit,
    *,
    now: AppendTimeMs,
    topics: TopicView,
) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
    """Decide; see `GroupMachine.commit`."""
    committer = _committer(groups, request)
    check_named_once((cursor.partition for cursor in request.cursors), topics)
    records: list[GroupRecord] = []
    rows: list[PartitionRow] = []
    for cursor in request.cursors:
        fault = _fault(cursor, committer, settings=settings, topics=topics)
        rows.append(PartitionRow(partition=cursor.partition, error=fault))
        if fault is None:
            records.append(_committed(request.group, cursor, actor=committer.actor, now=now))
    if records and request.group not in groups.by_name:
        groups.check_room()
        records.insert(0, without_members(request.group, settings, now=now))
    return Result(tuple(records), tuple(rows))


def without_members(group: GroupId, settings: GroupSettings, *, now: AppendTimeMs) -> GroupChanged:
    """Return the first record of a group that comes into being by an offset."""
    return GroupChanged(
        group=group,
        epoch=GroupEpoch(0),
        kind=GroupKind.UNSET,
        state_since=now,
        assignor=settings.assignor.value,
    )


def check_named_once(partitions: Iterable[PartitionId], topics: TopicView) -> None:
    """Refuse a request that says two things about one partition.

    Raises:
        RequestError: INVALID_REQUEST, naming it.
    """
    seen: set[PartitionId] = set()
    for partition in partitions:
        if partition in seen:
            name = shown(topics, partition)
            raise RequestError(
                ErrorCode.INVALID_REQUEST,
                f"{name} is named twice; say where it goes once",
                field="partition",
                value=name,
            )
        seen.add(partition)


def _committer(groups: Groups, request: Commit) -> Committer:
    """Return who commits.

    Raises:
        RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH, GROUP_NOT_EMPTY.
    """
    match request.actor:
        case ByStream(member_id=member_id, stream=stream):
            group, member = groups.member_on(request.group, member_id, stream=stream)
            return Committer(member_id, lambda cursor: _holds(group, member, cursor))
        case ByEpoch(member_id=member_id, member_epoch=epoch):
            group, member = groups.member(request.group, member_id)
            held = _held_in(group, member, epoch=epoch)
            return Committer(member_id, lambda cursor: cursor.partition in held)
        case FromOutside(principal=principal):
            known = groups.by_name.get(request.group)
            if known is not None:
                check_empty(known)
            return Committer(principal, lambda _: True)


def check_empty(group: Group) -> None:
    """Refuse what would take the place of live members.

    Raises:
        RequestError: GROUP_NOT_EMPTY, naming some of them.
    """
    if not group.members:
        return
    names = sorted(group.members)
    shown = ", ".join(names[:MEMBERS_NAMED_MAX])
    more = f" and {len(names) - MEMBERS_NAMED_MAX} more" if len(names) > MEMBERS_NAMED_MAX else ""
    raise RequestError(
        ErrorCode.GROUP_NOT_EMPTY,
        f'group "{group.name}" has live members: {shown}{more}',
        group=group.name,
        members=shown,
        member_count=str(len(names)),
    )


def _holds(group: Group, member: Member, cursor: Cursor) -> bool:
    """Tell whether a member has what it commits: a later hold of the same is not what it means."""
    partition = cursor.partition
    if group.holders.get(partition) != member.joined.member_id:
        return False
    if cursor.since_epoch is None:
        return True
    meant = Owned(partition, cursor.since_epoch)
    return _among(meant, member.assignment.owned) or _among(meant, member.assignment.revoking)


def _among(meant: Owned, holds: Sequence[Owned]) -> bool:
    """Look for a hold among some in rising order."""
    at = bisect_left(holds, meant)
    return at < len(holds) and holds[at] == meant


def _held_in(group: Group, member: Member, *, epoch: GroupEpoch) -> frozenset[PartitionId]:
    """Return what a member has held without a break since an epoch of its own.

    Raises:
        RequestError: STALE_MEMBER_EPOCH, an epoch that it was never in.
    """
    current = group.epoch
    if not member.joined.epoch <= epoch <= current:
        raise RequestError(
            ErrorCode.STALE_MEMBER_EPOCH,
            f'member "{member.joined.member_id}" is in epoch {current}, not in {epoch}',
            group=group.name,
            member_id=member.joined.member_id,
            member_epoch=str(epoch),
            current_epoch=str(current),
        )
    return frozenset(hold.partition for hold in member.holds() if hold.since_epoch <= epoch)


def _fault(
    cursor: Cursor, committer: Committer, *, settings: GroupSettings, topics: TopicView
) -> RequestError | None:
    """Return why one cursor is refused."""
    if not committer.may(cursor):
        return RequestError(
            ErrorCode.STALE_MEMBER_EPOCH,
            f'member "{committer.actor}" does not hold {shown(topics, cursor.partition)}, or got '
            "it in a later epoch",
            member_id=committer.actor,
            topic_id=cursor.partition.topic.hex(),
            partition=str(cursor.partition.number),
        )
    if (gone := absent(topics, cursor.partition)) is not None:
        return gone
    if (wrong := misplaced(cursor.offset, cursor.leader_epoch)) is not None:
        return wrong
    size_bytes = len(cursor.metadata.encode())
    if size_bytes > settings.offset_metadata_bytes_max:
        return RequestError(
            ErrorCode.OFFSET_METADATA_TOO_LARGE,
            f"{size_bytes} bytes of metadata, at most {settings.offset_metadata_bytes_max}",
            size_bytes=str(size_bytes),
            limit_bytes=str(settings.offset_metadata_bytes_max),
        )
    return None


def misplaced(offset: Offset, leader_epoch: LeaderEpoch | None) -> RequestError | None:
    """Return the refusal of a place that no log has; None when it may be one.

    A leader epoch below zero is also what a record says in place of none: it must not be told.
    """
    for field, number in (("offset", offset), ("leader_epoch", leader_epoch)):
        if number is not None and number < 0:
            detail = f"{field} {number} is below zero"
            return RequestError(ErrorCode.INVALID_REQUEST, detail, field=field, value=str(number))
    return None


def _committed(group: GroupId, cursor: Cursor, *, actor: str, now: AppendTimeMs) -> OffsetCommitted:
    return OffsetCommitted(
        group=group,
        partition=cursor.partition,
        offset=cursor.offset,
        leader_epoch=cursor.leader_epoch,
        metadata=cursor.metadata,
        committed_at=now,
        actor=actor,
        cause=Cause.COMMIT,
    )
