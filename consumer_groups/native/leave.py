"""A membership ends: the member says so, or its time has run out."""

from consumer_groups.groups import Groups
from consumer_groups.native.rebalance import Rebalance
from consumer_groups.records import GroupRecord, MemberLeft
from consumer_groups.requests import Leave
from consumer_groups.seats import seats_of
from consumer_groups.topics import TopicView
from model.ids import AppendTimeMs
from model.result import Result


def leave(
    groups: Groups, request: Leave, *, now: AppendTimeMs, topics: TopicView
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.leave`.

    Nothing happens to a member that came back over another stream while this was on its way.
    """
    group = groups.by_name.get(request.group)
    member = None if group is None else group.members.get(request.member_id)
    if group is None or member is None or member.joined.stream != request.stream:
        return Result((), response=False)
    seats = seats_of(group)
    del seats[request.member_id]
    left = MemberLeft(group=group.name, member_id=request.member_id, reason=request.reason)
    change = Rebalance(
        group=group,
        seats=seats,
        now=now,
        topics=topics,
        assignor=group.changed.assignor,
        left=(left,),
    )
    return Result(change.decide().records, response=True)
