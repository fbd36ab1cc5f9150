"""A member comes: new, in another's place, or back over another stream."""

from dataclasses import replace

from consumer_groups.assignors.table import check_assignor
from consumer_groups.group import Group, Member
from consumer_groups.groups import Groups
from consumer_groups.native.begin import begun_with
from consumer_groups.native.rebalance import Rebalance
from consumer_groups.records import (
    GroupChanged,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
)
from consumer_groups.requests import Join, Resume
from consumer_groups.seats import Seat, newcomer, seats_of
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicView
from consumer_groups.views import Joined
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, TopicName
from model.limits import (
    REBALANCE_TIMEOUT_MS_MAX,
    REBALANCE_TIMEOUT_MS_MIN,
    RESUME_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MIN,
)
from model.result import Result


def join(
    groups: Groups,
    settings: GroupSettings,
    request: Join,
    *,
    now: AppendTimeMs,
    topics: TopicView,
) -> Result[GroupRecord, Joined]:
    """Decide; see `GroupMachine.join`."""
    subscribed = _subscription(request, topics)
    group = groups.by_name.get(request.group)
    if group is None:
        groups.check_room()
        group = _unborn(request, settings, now=now)
    replaced = _same_instance(group, request.instance_id)
    if replaced is None and len(group.members) >= settings.members_max:
        detail = f'group "{group.name}" has {len(group.members)} members, as many as it may'
        limit = str(settings.members_max)
        raise RequestError(ErrorCode.LIMIT_EXCEEDED, detail, group=group.name, limit=limit)
    joined = _joined(request, settings, group=group, subscribed=subscribed, replaced=replaced)
    seats = seats_of(group)
    seats[joined.member_id] = _seat(joined, replaced)
    left: tuple[MemberLeft, ...] = ()
    if replaced is not None:
        del seats[replaced.joined.member_id]
        left = (_left(replaced),)
    assignor = group.changed.assignor
    if request.assignor is not None:
        assignor = check_assignor(request.assignor)
    change = Rebalance(
        group=group,
        seats=seats,
        now=now,
        topics=topics,
        assignor=assignor,
        left=left,
        joined=joined,
    )
    in_place = replaced is not None and replaced.joined.topics == subscribed
    if in_place and assignor == group.changed.assignor:
        decided = change.decide_as_seated()
    else:
        decided = change.decide()
    pinned = {row.partition for row in decided.records if isinstance(row, OffsetCommitted)}
    begun = begun_with(group, request, but=pinned, now=now, topics=topics)
    member = decided.seats[joined.member_id].view(epoch=change.epoch)
    answer = Joined(member=member, replaced=joined.replaced)
    return Result((*decided.records, *begun), answer)


def resume(groups: Groups, request: Resume) -> Result[GroupRecord, Joined]:
    """Decide; see `GroupMachine.resume`."""
    group, member = groups.member(request.group, request.member_id, instance_id=request.instance_id)
    current = group.member_view(member)
    fenced_below = member.assignment.fenced_below
    if not fenced_below <= request.member_epoch <= current.epoch:
        raise RequestError(
            ErrorCode.STALE_MEMBER_EPOCH,
            f'member "{request.member_id}" can go on from epochs {fenced_below} to '
            f"{current.epoch}, not from {request.member_epoch}",
            group=group.name,
            member_id=request.member_id,
            member_epoch=str(request.member_epoch),
            current_epoch=str(current.epoch),
        )
    record = MemberResumed(group=group.name, member_id=request.member_id, stream=request.stream)
    return Result((record,), Joined(member=replace(current, stream=request.stream)))


def _subscription(request: Join, topics: TopicView) -> tuple[TopicName, ...]:
    """Return the topics in order, each of which there is."""
    if not request.topics:
        detail = "name at least one topic to consume"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="topics")
    for name in request.topics:
        if topics.find(name) is None:
            detail = f'topic "{name}" does not exist'
            raise RequestError(ErrorCode.UNKNOWN_TOPIC, detail, topic=name)
    return tuple(sorted(set(request.topics)))


def _unborn(request: Join, settings: GroupSettings, *, now: AppendTimeMs) -> Group:
    """Return the group that the first member brings into being."""
    return Group(
        GroupChanged(
            group=request.group,
            epoch=GroupEpoch(0),
            kind=GroupKind.UNSET,
            state_since=now,
            assignor=settings.assignor.value,
        )
    )


def _same_instance(group: Group, instance_id: str | None) -> Member | None:
    """Return the member whose place a newcomer takes (KIP-345)."""
    if instance_id is None:
        return None
    same = (member for member in group.members.values() if member.joined.instance_id == instance_id)
    return next(same, None)


def _joined(
    request: Join,
    settings: GroupSettings,
    *,
    group: Group,
    subscribed: tuple[TopicName, ...],
    replaced: Member | None,
) -> MemberJoined:
    return MemberJoined(
        group=group.name,
        member_id=request.new_member_id,
        epoch=GroupEpoch(group.epoch + 1),
        stream=request.stream,
        instance_id=request.instance_id,
        client_id=request.client_id,
        host=request.host,
        topics=subscribed,
        session_timeout_ms=_timeout(
            "session_timeout",
            request.session_timeout_ms,
            default=settings.session_timeout_ms,
            low=SESSION_TIMEOUT_MS_MIN.value,
            high=SESSION_TIMEOUT_MS_MAX.value,
        ),
        rebalance_timeout_ms=_timeout(
            "rebalance_timeout",
            request.rebalance_timeout_ms,
            default=settings.rebalance_timeout_ms,
            low=REBALANCE_TIMEOUT_MS_MIN.value,
            high=REBALANCE_TIMEOUT_MS_MAX.value,
        ),
        resume_timeout_ms=_timeout(
            "resume_timeout",
            request.resume_timeout_ms,
            default=settings.resume_timeout_ms,
            low=0,
            high=RESUME_TIMEOUT_MS_MAX.value,
        ),
        replaced=None if replaced is None else replaced.joined.member_id,
    )


def _timeout(field: str, asked: int | None, *, default: int, low: int, high: int) -> int:
    """Return a member's timeout in ms."""
    if asked is None:
        return default
    if not low <= asked <= high:
        detail = f"{field} of {asked} ms is outside {low}..{high} ms"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field=field, value=str(asked))
    return asked


def _seat(joined: MemberJoined, replaced: Member | None) -> Seat:
    """Return a newcomer's seat: with nothing, or to be given what the replaced one was to have.

    It gets those partitions as new holds, in the new epoch: the replaced member's are over.
    """
    seat = newcomer(joined)
    if replaced is None:
        return seat
    target = replaced.assignment.target
    return replace(seat, assignment=replace(seat.assignment, target=target))


def _left(replaced: Member) -> MemberLeft:
    return MemberLeft(
        group=replaced.joined.group,
        member_id=replaced.joined.member_id,
        reason=LeaveReason.REPLACED,
    )
