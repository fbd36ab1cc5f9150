"""One coordinator partition's groups: where requests are decided and records are replayed.

Handlers read the state and return a `Result`, or raise `RequestError`; `replay` is the only change
of state, shared by leader and restart. Views return values and no records. What holds the machine
(`cluster.state_partition`) replays a decision when it is appended and lets answers, refusals and
views out once everything that they saw is committed; neither knows the other.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from consumer_groups.expiry import delete_group, delete_offsets, expire
from consumer_groups.groups import Groups
from consumer_groups.native.assignment import (
    forget_topics,
    revoke_overdue,
    revoked,
    topics_changed,
)
from consumer_groups.native.begin import begin
from consumer_groups.native.join import join, resume
from consumer_groups.native.leave import leave
from consumer_groups.offsets import commit
from consumer_groups.records import GroupRecord, MemberId, OffsetCommitted, Owned, StreamNumber
from consumer_groups.requests import (
    Begin,
    Commit,
    DeleteOffsets,
    Join,
    Leave,
    Resume,
    Revoked,
    Seek,
)
from consumer_groups.seek import seek
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicView
from consumer_groups.views import (
    GroupSummary,
    GroupView,
    Joined,
    MemberView,
    OffsetRow,
    PartitionRow,
    SeekPlan,
)
from model.ids import AppendTimeMs, GroupId, PartitionId, TopicId, TopicName
from model.limits import PAGE_ITEMS_MAX
from model.result import Result

EXPIRED_AT_ONCE_MAX: Final = 1_000
"""Groups that one decision deletes: one batch, and a moment of the loop."""


class GroupMachine:
    """The groups of one partition of the coordinator's topic."""

    def __init__(
        self, settings: GroupSettings, *, all_groups: Callable[[], int] | None = None
    ) -> None:
        """Start empty; `all_groups` counts those of every coordinator, else these are all."""
        self._settings = settings
        self._groups = Groups(all_groups)

    # Membership.

    def join(
        self, request: Join, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, Joined]:
        """Take a member in; with the instance id of another one, in its place.

        Its group begins with it where it says, in topics in which it has not begun.

        Raises:
            RequestError: INVALID_REQUEST (no topics, a timeout out of bounds, an assignor that
                nobody knows), UNKNOWN_TOPIC, LIMIT_EXCEEDED.
        """
        return join(self._groups, self._settings, request, now=now, topics=topics)

    def resume(self, request: Resume) -> Result[GroupRecord, Joined]:
        """Let a member go on over another stream, without a rebalance.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH.
        """
        return resume(self._groups, request)

    def revoked(self, request: Revoked) -> Result[GroupRecord, MemberView]:
        """Take partitions over from a member that had to give them up.

        What it does not hold any more is passed over, also where it has got the same again since.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH (an older stream),
                INVALID_REQUEST (a partition that it shall keep).
        """
        return revoked(self._groups, request)

    def leave(
        self, request: Leave, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, bool]:
        """End a membership; false when it had ended already or has another stream by now."""
        return leave(self._groups, request, now=now, topics=topics)

    def revoke_overdue(
        self, group: GroupId, member_id: MemberId, overdue: tuple[Owned, ...]
    ) -> Result[GroupRecord, bool]:
        """Take from a member what it did not hand over in time; false when nothing was left.

        Everybody's epoch rises, so that the member cannot resume unaware of it.
        """
        return revoke_overdue(self._groups, group, member_id, overdue=overdue)

    def topics_changed(
        self, group: GroupId, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, bool]:
        """Distribute anew when the group's topics have other partitions; false when not."""
        return topics_changed(self._groups, group, now=now, topics=topics)

    def forget_topics(
        self, group: GroupId, gone: Collection[TopicId], *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, bool]:
        """Drop a group's offsets and assignments of deleted topics; false when it has none."""
        return forget_topics(self._groups, group, gone, now=now, topics=topics)

    # Offsets.

    def commit(
        self, request: Commit, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
        """Remember offsets; one row for each cursor, in their order.

        A row is refused with STALE_MEMBER_EPOCH (the member does not hold the partition, or got it
        later), UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_REQUEST (below zero),
        OFFSET_METADATA_TOO_LARGE.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH, GROUP_NOT_EMPTY (from
                outside), INVALID_REQUEST (a partition named twice), LIMIT_EXCEEDED.
        """
        return commit(self._groups, self._settings, request, now=now, topics=topics)

    def begin(
        self, request: Begin, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, bool]:
        """Remember where a group begins in a topic, in all its partitions that have no place.

        False, and nothing done: it has begun there already.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH (an older stream).
        """
        return begin(self._groups, request, now=now, topics=topics)

    def seek(
        self, request: Seek, *, now: AppendTimeMs, topics: TopicView
    ) -> Result[GroupRecord, SeekPlan | None]:
        """Send the group elsewhere: offsets, epoch and fencing in one batch.

        None, and nothing done: every partition was meant, and there are others by now.

        Raises:
            RequestError: GROUP_NOT_EMPTY, INVALID_REQUEST (no move, a partition named twice, a
                negative offset), UNKNOWN_TOPIC, UNKNOWN_PARTITION, LIMIT_EXCEEDED.
        """
        return seek(self._groups, self._settings, request, now=now, topics=topics)

    def delete_offsets(
        self, request: DeleteOffsets, *, topics: TopicView
    ) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
        """Forget offsets; GROUP_NOT_EMPTY in the rows of topics that a member has subscribed to.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        return delete_offsets(self._groups, request, topics=topics)

    def delete_group(self, group: GroupId) -> Result[GroupRecord, None]:
        """Delete a group without members, and its offsets.

        Raises:
            RequestError: UNKNOWN_GROUP, GROUP_NOT_EMPTY.
        """
        return delete_group(self._groups, group)

    def expire(
        self,
        *,
        now: AppendTimeMs,
        retention_ms: Callable[[GroupId], int] | None = None,
        at_most: int = EXPIRED_AT_ONCE_MAX,
    ) -> Result[GroupRecord, tuple[GroupId, ...]]:
        """Delete groups that had no member and no commit for their retention (P30).

        `retention_ms`: what each group's configuration says; without it the node's setting.
        """
        default = self._settings.offsets_retention_ms
        return expire(
            self._groups, now=now, retention_ms=retention_ms or (lambda _: default), at_most=at_most
        )

    # Views.

    def group(self, group: GroupId) -> GroupView:
        """Return a group with its members.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        return self._groups.existing(group).view()

    def list(
        self, *, prefix: str = "", after: str = "", limit: int = PAGE_ITEMS_MAX.value
    ) -> tuple[GroupSummary, ...]:
        """Return the first groups behind `after`, by name."""
        return self._groups.listed(prefix, after=after, limit=limit)

    def offsets(
        self, group: GroupId, topics: Collection[TopicId] | None = None
    ) -> tuple[OffsetRow, ...]:
        """Return every partition (of these topics) with a commit or an owner.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        return self._groups.existing(group).offset_rows(topics)

    def committed(self, group: GroupId, partition: PartitionId) -> OffsetCommitted | None:
        """Return a partition's last commit."""
        found = self._groups.by_name.get(group)
        return None if found is None else found.offsets.get(partition)

    def member(self, group: GroupId, member_id: MemberId) -> MemberView:
        """Return a member.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE.
        """
        found, member = self._groups.member(group, member_id)
        return found.member_view(member)

    def check_stream(self, group: GroupId, member_id: MemberId, stream: StreamNumber) -> MemberView:
        """Return a member if this is its newest stream.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH.
        """
        found, member = self._groups.member_on(group, member_id, stream=stream)
        return found.member_view(member)

    def revision(self, group: GroupId) -> int | None:
        """Return a number that is another one whenever a group's members are; None: no group.

        It means nothing in another process, nor for a group that was deleted and came again.
        """
        found = self._groups.by_name.get(group)
        return None if found is None else found.revision

    def members(self) -> Iterator[tuple[GroupId, MemberView]]:
        """Yield every member of every group: whose time is to be watched after a restart."""
        for group in self._groups.by_name.values():
            for member in group.members.values():
                yield group.name, group.member_view(member)

    def groups_with_topics(self, topics: Collection[TopicId]) -> tuple[GroupId, ...]:
        """Return the groups with an offset, a holder or a target in one of some topics."""
        return tuple(
            group.name
            for group in self._groups.by_name.values()
            if not group.topic_ids().isdisjoint(topics)
        )

    def groups_wanting(self, topics: Collection[TopicName]) -> tuple[GroupId, ...]:
        """Return the groups of which a member has subscribed to one of some topics."""
        return tuple(
            group.name
            for group in self._groups.by_name.values()
            if not group.subscribed().isdisjoint(topics)
        )

    def topic_ids(self) -> set[TopicId]:
        """Return every topic with an offset or an owner: those deleted meanwhile are forgotten."""
        return self._groups.topic_ids()

    def group_count(self) -> int:
        """Return how many groups there are."""
        return len(self._groups.by_name)

    def counted(self) -> tuple[int, int]:
        """Return how many offsets were committed and how often an epoch rose, by what it has seen.

        It means nothing in another process.
        """
        return self._groups.commits, self._groups.rises

    # State.

    def replay(self, record: GroupRecord) -> None:
        """Apply one record: the only change of state."""
        self._groups.replay(record)

    def snapshot(self) -> tuple[GroupRecord, ...]:
        """Return records that bring an empty machine to this state.

        Records are held as they came; making the tuple copies references.
        """
        records: list[GroupRecord] = []
        for group in self._groups.by_name.values():
            records.append(group.changed)
            for member in group.members.values():
                records += (member.joined, member.assignment)
            records.extend(group.offsets.values())  # hundreds of thousands: no step for each
        return tuple(records)
