"""All groups of one coordinator partition: finding them, and the one way in which they change."""

from collections.abc import Callable, Mapping
from heapq import nsmallest
from typing import Any, Final

from consumer_groups.group import Group, Member, check_deleted, unknown_member
from consumer_groups.records import (
    AssignmentChanged,
    GroupChanged,
    GroupDeleted,
    GroupRecord,
    MemberId,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
    OffsetsForgotten,
    StreamNumber,
)
from consumer_groups.views import GroupSummary
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, TopicId
from model.limits import GROUPS_MAX

# A function takes exactly the record type that it stands beside.
_REPLAY: Final[Mapping[type, Callable[[Group, Any], None]]] = {
    AssignmentChanged: Group.assign,
    GroupChanged: Group.change,
    GroupDeleted: check_deleted,
    MemberJoined: Group.admit,
    MemberLeft: Group.dismiss,
    MemberResumed: Group.resume,
    OffsetCommitted: Group.commit,
    OffsetsForgotten: Group.forget,
}


class Groups:
    """Groups by name. A group's first record is a GroupChanged; GroupDeleted is its last.

    Invariant:
        GROUP_IS_KNOWN  what is said about a group is said while there is one.
    """

    __slots__ = ("_all_groups", "by_name", "commits", "rises")

    def __init__(self, all_groups: Callable[[], int] | None = None) -> None:
        """Start empty; `all_groups` counts those of every coordinator, else these are all."""
        self.by_name: dict[GroupId, Group] = {}
        self._all_groups = all_groups or self.by_name.__len__
        self.commits = 0
        """Offsets that were replayed."""
        self.rises = 0
        """How often the epoch of a group rose, in what was replayed."""

    def existing(self, name: GroupId) -> Group:
        """Return a group.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        found = self.by_name.get(name)
        if found is None:
            detail = f'group "{name}" does not exist'
            raise RequestError(ErrorCode.UNKNOWN_GROUP, detail, group=name)
        return found

    def member(
        self, name: GroupId, member_id: MemberId, *, instance_id: str | None = None
    ) -> tuple[Group, Member]:
        """Return a group and one of its members, which may have an instance id.

        Raises:
            RequestError: UNKNOWN_MEMBER (also when there is no such group), FENCED_INSTANCE.
        """
        group = self.by_name.get(name)
        if group is None:
            raise unknown_member(name, member_id)
        return group, group.member(member_id, instance_id=instance_id)

    def member_on(
        self, name: GroupId, member_id: MemberId, *, stream: StreamNumber
    ) -> tuple[Group, Member]:
        """Return a group and a member of it that speaks over its newest stream.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH.
        """
        group, _ = self.member(name, member_id)
        return group, group.member_on(member_id, stream)

    def check_room(self) -> None:
        """Refuse another group beyond the limit of the cluster.

        Raises:
            RequestError: LIMIT_EXCEEDED.
        """
        there_are = self._all_groups()
        if there_are >= GROUPS_MAX.value:
            detail = f"there are {there_are} groups, at most {GROUPS_MAX.value}"
            raise RequestError(ErrorCode.LIMIT_EXCEEDED, detail, limit=str(GROUPS_MAX.value))

    def listed(self, prefix: str, *, after: str, limit: int) -> tuple[GroupSummary, ...]:
        """Return the first groups behind a name, by name."""
        names = (name for name in self.by_name if name > after and name.startswith(prefix))
        return tuple(self.by_name[name].summary() for name in nsmallest(limit, names))

    def topic_ids(self) -> set[TopicId]:
        """Return every topic with an offset, a holder or a target."""
        return {topic for group in self.by_name.values() for topic in group.topic_ids()}

    def replay(self, record: GroupRecord) -> None:
        """Apply one record: the only change of state."""
        group = self.by_name.get(record.group)
        if group is None:
            assert isinstance(record, GroupChanged), "GROUP_IS_KNOWN"
            self.rises += record.epoch > 0
            self.by_name[record.group] = Group(record)
            return
        self.commits += isinstance(record, OffsetCommitted)
        self.rises += isinstance(record, GroupChanged)
        _REPLAY[type(record)](group, record)
        if isinstance(record, GroupDeleted):
            del self.by_name[record.group]
