"""A group begins in a topic: the place of every partition is committed at once, whoever has it.

The members that come with a new group get its partitions one after another. If the first of them
committed the start of its own alone, the group would have begun there, and what the next ones get
would begin at the beginning.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Final

from consumer_groups.group import Group
from consumer_groups.groups import Groups
from consumer_groups.offsets import misplaced
from consumer_groups.records import Cause, GroupRecord, MemberId, OffsetCommitted
from consumer_groups.requests import Begin, Cursor, Join
from consumer_groups.topics import TopicView, absent
from model.ids import AppendTimeMs, PartitionId, TopicId
from model.limits import JOIN_STARTS_BYTES_MAX
from model.result import Result

RECORD_BYTES: Final = 100
"""A commit takes no more in its batch beside its texts: some sixty, and room for larger numbers."""


def has_begun(committed: Iterable[OffsetCommitted]) -> bool:
    """Tell by a topic's commits whether the group has begun there.

    What the machine itself commits for partitions that a topic gains says nothing of the others.
    """
    return any(one.actor or one.offset or one.cause is Cause.SEEK for one in committed)


def begin(
    groups: Groups, request: Begin, *, now: AppendTimeMs, topics: TopicView
) -> Result[GroupRecord, bool]:
    """Decide; see `GroupMachine.begin`."""
    by = request.by
    group, _ = groups.member_on(request.group, by.member_id, stream=by.stream)
    check_places(request.cursors)
    here = {one: row for one, row in group.offsets.items() if one.topic == request.topic}
    if has_begun(here.values()):
        return Result((), response=False)
    alike = {None, by.member_id, *request.alike}
    places = [
        cursor
        for cursor in request.cursors
        if cursor.partition not in here
        and group.holders.get(cursor.partition) in alike
        and absent(topics, cursor.partition) is None
    ]
    return Result(tuple(_committed(group, places, by.member_id, now=now)), response=True)


def begun_with(
    group: Group,
    request: Join,
    *,
    but: Collection[PartitionId],
    now: AppendTimeMs,
    topics: TopicView,
) -> tuple[GroupRecord, ...]:
    """Return what a member's coming commits in topics in which its group has not begun.

    So that whoever hears that it is a member, and how long that took, has missed nothing since.
    Topic by topic, as many as there is room for in one batch: a group begins in a topic once, and
    what is left out is begun when its first partition is given to somebody.
    `but`: partitions whose place is committed along with it anyway.
    """
    check_places(request.starts)
    begun = {at.topic for at, row in group.offsets.items() if has_begun([row])}
    alike = {None, *request.alike}
    places = [
        cursor
        for cursor in request.starts
        if cursor.partition.topic not in begun
        and cursor.partition not in group.offsets
        and cursor.partition not in but
        and group.holders.get(cursor.partition) in alike
        and absent(topics, cursor.partition) is None
    ]
    records: list[GroupRecord] = []
    left_bytes = JOIN_STARTS_BYTES_MAX.value
    places.sort(key=_topic_of)
    for _, of_topic in groupby(places, key=_topic_of):
        rows = list(_committed(group, of_topic, request.new_member_id, now=now))
        left_bytes -= sum(map(_size_of, rows))
        if left_bytes < 0:
            break
        records += rows
    return tuple(records)


def _topic_of(cursor: Cursor) -> TopicId:
    return cursor.partition.topic


def _size_of(record: OffsetCommitted) -> int:
    """Return what a record takes in a batch, or some bytes more."""
    texts = (record.group, record.actor, record.metadata)
    return RECORD_BYTES + sum(len(text.encode()) for text in texts if text)


def check_places(cursors: Iterable[Cursor]) -> None:
    """Refuse a place that no log has.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    for cursor in cursors:
        if (wrong := misplaced(cursor.offset, cursor.leader_epoch)) is not None:
            raise wrong


def _committed(
    group: Group, places: Iterable[Cursor], actor: MemberId, *, now: AppendTimeMs
) -> Iterator[OffsetCommitted]:
    for cursor in places:
        yield OffsetCommitted(
            group=group.name,
            partition=cursor.partition,
            offset=cursor.offset,
            leader_epoch=cursor.leader_epoch,
            metadata=cursor.metadata,
            committed_at=now,
            actor=actor,
            cause=Cause.COMMIT,
        )
