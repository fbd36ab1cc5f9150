"""A group is sent elsewhere, while it runs: what that means for each partition, and the fence.

One batch holds the offsets, the next epoch and the end of every membership. No commit of a former
member can follow it: such a member is none. It joins anew and goes on from the new place.
"""

from consumer_groups.group import Group
from consumer_groups.groups import Groups
from consumer_groups.offsets import (
    check_empty,
    check_named_once,
    misplaced,
    without_members,
)
from consumer_groups.records import (
    Cause,
    GroupChanged,
    GroupEpoch,
    GroupRecord,
    LeaveReason,
    MemberLeft,
    OffsetCommitted,
)
from consumer_groups.requests import Move, Seek
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicView, absent
from consumer_groups.views import SeekPlan, SeekRow
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, PartitionId
from model.result import Result


def seek(
    groups: Groups,
    settings: GroupSettings,
    request: Seek,
    *,
    now: AppendTimeMs,
    topics: TopicView,
) -> Result[GroupRecord, SeekPlan | None]:
    """Decide; see `GroupMachine.seek`."""
    group = groups.by_name.get(request.group)
    if request.every is not None and request.every != _every(group, topics):
        return Result((), None)
    _check(request, topics)
    rows = tuple(planned(move, before=_before(group, move)) for move in request.moves)
    members = () if group is None else tuple(sorted(group.members))
    if request.validate_only:
        epoch = GroupEpoch(0) if group is None else group.epoch
        return Result((), SeekPlan(rows=rows, group_epoch=epoch, fenced=members))
    changed = _changed(groups, settings, request, now=now)
    left = (
        MemberLeft(group=request.group, member_id=member_id, reason=LeaveReason.SOUGHT)
        for member_id in members
    )
    moved = (_moved(request, move, now=now) for move in request.moves)
    plan = SeekPlan(rows=rows, group_epoch=changed.epoch, fenced=members)
    return Result((changed, *left, *moved), plan)


def planned(move: Move, *, before: Offset | None) -> SeekRow:
    """Return what a move means, in offsets of what the log still holds.

    Where nothing is committed the group is taken to stand at the log's start, and nothing counts as
    delivered; what retention has removed is neither delivered again nor skipped by the seek.
    """
    stands = move.log_start if before is None else max(before, move.log_start)
    redelivered = 0 if before is None else before - max(move.after, move.log_start)
    return SeekRow(
        partition=move.partition,
        before=before,
        after=move.after,
        redelivered=max(0, redelivered),
        skipped=max(0, move.after - stands),
        truncated=move.truncated,
    )


def _check(request: Seek, topics: TopicView) -> None:
    """Refuse the whole request for one bad move: it is done everywhere or nowhere."""
    if not request.moves:
        detail = f'nothing that group "{request.group}" has committed is to be moved: name topics'
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="moves")
    check_named_once((move.partition for move in request.moves), topics)
    for move in request.moves:
        if (gone := absent(topics, move.partition)) is not None:
            raise gone
        if (wrong := misplaced(move.after, move.leader_epoch)) is not None:
            raise wrong


def _every(group: Group | None, topics: TopicView) -> frozenset[PartitionId]:
    """Return the partitions with an offset, but those that are not there any more."""
    rows = () if group is None else group.offsets
    return frozenset(row for row in rows if absent(topics, row) is None)


def _before(group: Group | None, move: Move) -> Offset | None:
    committed = None if group is None else group.offsets.get(move.partition)
    return None if committed is None else committed.offset


def _changed(
    groups: Groups, settings: GroupSettings, request: Seek, *, now: AppendTimeMs
) -> GroupChanged:
    """Return the group in its next epoch, without members."""
    group = groups.by_name.get(request.group)
    if group is None:
        groups.check_room()
        return without_members(request.group, settings, now=now)
    if not request.force:
        check_empty(group)
    return GroupChanged(
        group=group.name,
        epoch=GroupEpoch(group.epoch + 1),
        kind=group.changed.kind,
        state_since=now if group.members else group.changed.state_since,
        assignor=group.changed.assignor,
    )


def _moved(request: Seek, move: Move, *, now: AppendTimeMs) -> OffsetCommitted:
    return OffsetCommitted(
        group=request.group,
        partition=move.partition,
        offset=move.after,
        leader_epoch=move.leader_epoch,
        metadata="",
        committed_at=now,
        actor=request.principal,
        cause=Cause.SEEK,
    )
