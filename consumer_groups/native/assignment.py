"""Partitions change hands: handed over, taken by force, gained and lost by topics."""

from collections.abc import Collection
from dataclasses import replace

from consumer_groups.group import Group
from consumer_groups.groups import Groups
from consumer_groups.native.rebalance import Rebalance
from consumer_groups.records import GroupEpoch, GroupRecord, MemberId, OffsetsForgotten, Owned
from consumer_groups.requests import Revoked
from consumer_groups.seats import Seats, assignments, give, seats_of, without
from consumer_groups.topics import TopicView
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, TopicId
from model.result import Result


def revoked(groups: Groups, request: Revoked) -> Result[GroupRecord, MemberView]:
    """Decide; see `GroupMachine.revoked`."""
    group, member = groups.member_on(request.group, request.member_id, stream=request.stream)
    given = frozenset(request.holds)
    for hold in member.assignment.owned:
        if hold in given:
            number, topic = hold.partition.number, hold.partition.topic.hex()
            raise RequestError(
                ErrorCode.INVALID_REQUEST,
                f'member "{request.member_id}" was not asked for partition {number} of topic '
                f"{topic}; hand over only what was asked for",
                group=group.name,
                member_id=request.member_id,
                topic_id=topic,
                partition=str(number),
            )
    # What was asked for once, taken since and given again is another hold: it stays.
    gone = given.intersection(member.assignment.revoking)
    seats = _handed_over(group, request.member_id, gone)
    return Result(assignments(seats), seats[request.member_id].view(epoch=group.epoch))


def revoke_overdue(
    groups: Groups, name: GroupId, member_id: MemberId, *, overdue: tuple[Owned, ...]
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.revoke_overdue`.

    The epoch rises with it: a member that was told the former one may not know of its loss, and
    must not resume as if there had been none.
    """
    group = groups.by_name.get(name)
    member = None if group is None else group.members.get(member_id)
    if group is None or member is None:
        return Result((), response=False)
    gone = frozenset(overdue).intersection(member.assignment.revoking)
    if not gone:
        return Result((), response=False)
    epoch = GroupEpoch(group.epoch + 1)
    seats = seats_of(group)
    seats[member_id] = without(seats[member_id], gone, epoch=epoch, fenced=True)
    moved = assignments(give(seats, epoch=epoch))
    return Result((replace(group.changed, epoch=epoch), *moved), response=True)


def topics_changed(
    groups: Groups, name: GroupId, *, now: AppendTimeMs, topics: TopicView
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.topics_changed`."""
    group = groups.by_name.get(name)
    if group is None or not group.members:
        return Result((), response=False)
    records = _redistributed(group, now=now, topics=topics)
    return Result(records, bool(records))


def forget_topics(
    groups: Groups,
    name: GroupId,
    gone: Collection[TopicId],
    *,
    now: AppendTimeMs,
    topics: TopicView,
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.forget_topics`."""
    group = groups.by_name.get(name)
    if group is None:
        return Result((), response=False)
    ids = group.topic_ids().intersection(gone)
    forgotten = tuple(sorted(row for row in group.offsets if row.topic in ids)) if ids else ()
    records: tuple[GroupRecord, ...] = ()
    if forgotten:
        records = (OffsetsForgotten(group=group.name, partitions=forgotten),)
    if ids and group.members:
        records += _redistributed(group, now=now, topics=topics)
    return Result(records, bool(records))


def _handed_over(group: Group, member_id: MemberId, gone: frozenset[Owned]) -> Seats:
    """Return the seats once a member has handed these over; whoever waits for them gets them.

    The group's epoch stays: targets were set with it, this only follows them.
    """
    seats = seats_of(group)
    if gone:
        seats[member_id] = without(seats[member_id], gone, epoch=group.epoch, fenced=False)
        seats = give(seats, epoch=group.epoch)
    return seats


def _redistributed(
    group: Group, *, now: AppendTimeMs, topics: TopicView
) -> tuple[GroupRecord, ...]:
    change = Rebalance(
        group=group,
        seats=seats_of(group),
        now=now,
        topics=topics,
        assignor=group.changed.assignor,
    )
    return change.decide_if_moved().records
