"""A group begins in a topic: the place of every partition is committed at once, whoever has it.

The members that come with a new group get its partitions one after another. If the first of them
committed the start of its own alone, the group would have begun there, and what the next ones get
would begin at the beginning.
"""

from collections.abc import Iterable

from consumer_groups.groups import Groups
from consumer_groups.offsets import misplaced
from consumer_groups.records import Cause, GroupRecord, OffsetCommitted
from consumer_groups.requests import Begin
from consumer_groups.topics import TopicView, absent
from model.ids import AppendTimeMs
from model.result import Result


def has_begun(committed: Iterable[OffsetCommitted]) -> bool:
    """Tell by a topic's commits whether the group has begun there.

    What the machine itself commits for partitions that a topic gains says nothing of the others.
    """
    return any(one.actor or one.offset or one.cause is Cause.SEEK for one in committed)


def begin(
    groups: Groups, request: Begin, *, now: AppendTimeMs, topics: TopicView
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.begin`."""
    for cursor in request.cursors:
        if (wrong := misplaced(cursor.offset, cursor.leader_epoch)) is not None:
            raise wrong
    by = request.by
    group, _ = groups.member_on(request.group, by.member_id, stream=by.stream)
    here = {one: row for one, row in group.offsets.items() if one.topic == request.topic}
    if has_begun(here.values()):
        return Result((), response=False)
    alike = {None, by.member_id, *request.alike}
    records = tuple(
        OffsetCommitted(
            group=request.group,
            partition=cursor.partition,
            offset=cursor.offset,
            leader_epoch=cursor.leader_epoch,
            metadata=cursor.metadata,
            committed_at=now,
            actor=by.member_id,
            cause=Cause.COMMIT,
        )
        for cursor in request.cursors
        if cursor.partition not in here
        and group.holders.get(cursor.partition) in alike
        and absent(topics, cursor.partition) is None
    )
    return Result(records, response=True)
