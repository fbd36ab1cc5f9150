"""One group as its records made it: members, what they hold, committed offsets.

Nothing but `Groups.replay` calls the methods that change a group.

Invariants:
    ONE_OWNER            a partition is given to a member only when no other one holds it (P29).
    GROUP_EPOCH_RISES    every change of a group raises its epoch; no hold begins in a later one.
    MEMBER_JOINS_ONCE    a member id is taken by one membership.
    MEMBER_IS_KNOWN      what is said about a member is said while it is one.
    MEMBERS_LEAVE_FIRST  a group is deleted only without members.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

from consumer_groups.records import (
    AssignmentChanged,
    GroupChanged,
    GroupDeleted,
    GroupEpoch,
    MemberId,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
    OffsetsForgotten,
    Owned,
    StreamNumber,
)
from consumer_groups.views import GroupState, GroupSummary, GroupView, MemberView, OffsetRow
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, PartitionId, TopicId, TopicName


class Member:
    """One member: the record that says who it is, and the one that says what it holds."""

    __slots__ = ("_assignment", "_joined", "_view")

    def __init__(self, joined: MemberJoined) -> None:
        """Come without anything."""
        self._joined = joined
        self._view: MemberView | None = None
        self._assignment = AssignmentChanged(
            group=joined.group,
            member_id=joined.member_id,
            epoch=joined.epoch,
            fenced_below=joined.epoch,
            owned=(),
            revoking=(),
            target=(),
        )

    @property
    def joined(self) -> MemberJoined:
        """Who it is."""
        return self._joined

    @joined.setter
    def joined(self, joined: MemberJoined) -> None:
        self._joined, self._view = joined, None

    @property
    def assignment(self) -> AssignmentChanged:
        """What it holds."""
        return self._assignment

    @assignment.setter
    def assignment(self, assignment: AssignmentChanged) -> None:
        self._assignment, self._view = assignment, None

    def view(self, *, epoch: GroupEpoch) -> MemberView:
        """Return the member as it is told, in a group of this epoch; the same while it is so."""
        if self._view is None:
            self._view = member_view(self._joined, self._assignment, group_epoch=epoch)
        elif self._view.epoch != epoch:
            self._view = replace(self._view, epoch=epoch)
        return self._view

    def holds(self) -> Iterable[Owned]:
        """Yield what no other member may have: owned, or still to be handed over."""
        yield from self.assignment.owned
        yield from self.assignment.revoking


class Group:
    """A group's state. Readers outside get views."""

    __slots__ = (
        "_commits_of",
        "changed",
        "holders",
        "last_commit",
        "members",
        "offsets",
        "revision",
    )

    def __init__(self, changed: GroupChanged) -> None:
        """Come into being, without members."""
        self.changed = changed
        self.members: dict[MemberId, Member] = {}
        self.holders: dict[PartitionId, MemberId] = {}
        self.offsets: dict[PartitionId, OffsetCommitted] = {}
        self._commits_of: dict[TopicId, int] = {}
        """How many partitions of a topic have an offset; none stands at 0."""
        self.last_commit: AppendTimeMs | None = None
        """Latest of the offsets that are there."""
        self.revision = 0
        """Rises with everything that is told of members, in this process alone; offsets are not."""

    @property
    def name(self) -> GroupId:
        """The group's name."""
        return self.changed.group

    @property
    def epoch(self) -> GroupEpoch:
        """The group's epoch."""
        return self.changed.epoch

    # Reading.

    def member(self, member_id: MemberId, *, instance_id: str | None = None) -> Member:
        """Return a member.

        A replaced member is known by who took its place; later, by its instance id alone.

        Raises:
            RequestError: UNKNOWN_MEMBER; FENCED_INSTANCE when one with its instance id came.
        """
        found = self.members.get(member_id)
        if found is not None:
            return found
        for other in self.members.values():
            has = other.joined.instance_id
            if other.joined.replaced == member_id or (has is not None and has == instance_id):
                raise RequestError(
                    ErrorCode.FENCED_INSTANCE,
                    f'member "{member_id}" was replaced by "{other.joined.member_id}", which has '
                    f'the same instance id "{has}"',
                    group=self.name,
                    member_id=member_id,
                    instance_id=str(has),
                )
        raise unknown_member(self.name, member_id)

    def member_on(self, member_id: MemberId, stream: StreamNumber) -> Member:
        """Return a member that speaks over its newest stream.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH.
        """
        found = self.member(member_id)
        if found.joined.stream != stream:
            raise RequestError(
                ErrorCode.STALE_MEMBER_EPOCH,
                f'member "{member_id}" goes on over a newer stream',
                group=self.name,
                member_id=member_id,
            )
        return found

    def subscribed(self) -> set[TopicName]:
        """Return every topic that a member wants."""
        return {name for member in self.members.values() for name in member.joined.topics}

    def topic_ids(self) -> set[TopicId]:
        """Return every topic with an offset, a holder or a target."""
        found = set(self._commits_of)
        for member in self.members.values():
            # What is owned is always part of the target.
            found.update(topics_of(member.assignment.target))
            found.update(hold.partition.topic for hold in member.assignment.revoking)
        return found

    def state(self) -> GroupState:
        """Return how the group stands."""
        if not self.members:
            return GroupState.EMPTY
        settled = all(
            not member.assignment.revoking
            and len(member.assignment.owned) == len(member.assignment.target)
            for member in self.members.values()
        )
        return GroupState.STABLE if settled else GroupState.RECONCILING

    def summary(self) -> GroupSummary:
        """Return the group without its members."""
        return GroupSummary(
            group=self.name,
            kind=self.changed.kind,
            state=self.state(),
            epoch=self.epoch,
            assignor=self.changed.assignor,
            member_count=len(self.members),
            state_since=self.changed.state_since,
        )

    def view(self) -> GroupView:
        """Return the group with its members."""
        members = [self.member_view(self.members[name]) for name in sorted(self.members)]
        return GroupView(summary=self.summary(), members=tuple(members))

    def member_view(self, member: Member) -> MemberView:
        """Return one member."""
        return member.view(epoch=self.epoch)

    def offset_rows(self, topics: Collection[TopicId] | None) -> tuple[OffsetRow, ...]:
        """Return partitions (of some topics) with a commit or an owner, in rising order."""
        rows = [
            OffsetRow(
                partition=partition,
                committed=self.offsets.get(partition),
                owner=self.holders.get(partition),
            )
            for partition in sorted(self.offsets.keys() | self.holders.keys())
            if topics is None or partition.topic in topics
        ]
        return tuple(rows)

    # Replaying.

    def change(self, changed: GroupChanged) -> None:
        """Let the epoch rise."""
        assert changed.epoch > self.epoch, "GROUP_EPOCH_RISES"
        self.revision += 1
        self.changed = changed

    def admit(self, joined: MemberJoined) -> None:
        """Add a member."""
        assert joined.member_id not in self.members, "MEMBER_JOINS_ONCE"
        self.revision += 1
        self.members[joined.member_id] = Member(joined)

    def resume(self, resumed: MemberResumed) -> None:
        """Note a member's newest stream."""
        assert resumed.member_id in self.members, "MEMBER_IS_KNOWN"
        self.revision += 1
        member = self.members[resumed.member_id]
        member.joined = replace(member.joined, stream=resumed.stream)

    def dismiss(self, left: MemberLeft) -> None:
        """Drop a member; what it held is free."""
        assert left.member_id in self.members, "MEMBER_IS_KNOWN"
        self.revision += 1
        for hold in self.members.pop(left.member_id).holds():
            del self.holders[hold.partition]

    def assign(self, assignment: AssignmentChanged) -> None:
        """Note what a member holds from here on."""
        assert assignment.member_id in self.members, "MEMBER_IS_KNOWN"
        self.revision += 1
        member = self.members[assignment.member_id]
        for hold in member.holds():
            del self.holders[hold.partition]
        member.assignment = assignment
        for hold in member.holds():
            assert hold.since_epoch <= self.epoch, "GROUP_EPOCH_RISES"
            assert hold.partition not in self.holders, "ONE_OWNER"
            self.holders[hold.partition] = assignment.member_id

    def commit(self, committed: OffsetCommitted) -> None:
        """Note an offset."""
        partition, at = committed.partition, committed.committed_at
        if partition not in self.offsets:
            self._commits_of[partition.topic] = self._commits_of.get(partition.topic, 0) + 1
        self.offsets[partition] = committed
        self.last_commit = at if self.last_commit is None else max(self.last_commit, at)

    def forget(self, forgotten: OffsetsForgotten) -> None:
        """Drop offsets."""
        for partition in forgotten.partitions:
            if self.offsets.pop(partition, None) is not None:
                self._commits_of[partition.topic] -= 1
                if not self._commits_of[partition.topic]:
                    del self._commits_of[partition.topic]
        times = (committed.committed_at for committed in self.offsets.values())
        self.last_commit = max(times, default=None)


def topics_of(rising: Sequence[PartitionId]) -> Iterator[TopicId]:
    """Yield the topics of partitions in rising order; looks at few of them."""
    at = 0
    while at < len(rising):
        topic = rising[at].topic
        yield topic
        at = bisect_right(rising, topic, at, key=attrgetter("topic"))


def numbers_of(rising: Sequence[PartitionId], topic: TopicId) -> list[int]:
    """Return the numbers of a topic's partitions among some in rising order."""
    by_topic = attrgetter("topic")
    first = bisect_left(rising, topic, key=by_topic)
    return [row.number for row in rising[first : bisect_right(rising, topic, first, key=by_topic)]]


def member_view(
    joined: MemberJoined, assignment: AssignmentChanged, *, group_epoch: GroupEpoch
) -> MemberView:
    """Return a member as it is told."""
    owned = {hold.partition for hold in assignment.owned}
    return MemberView(
        member_id=joined.member_id,
        epoch=group_epoch,
        stream=joined.stream,
        instance_id=joined.instance_id,
        client_id=joined.client_id,
        host=joined.host,
        topics=joined.topics,
        session_timeout_ms=joined.session_timeout_ms,
        rebalance_timeout_ms=joined.rebalance_timeout_ms,
        resume_timeout_ms=joined.resume_timeout_ms,
        owned=assignment.owned,
        revoking=assignment.revoking,
        pending=tuple(wanted for wanted in assignment.target if wanted not in owned),
    )


def unknown_member(group: GroupId, member_id: MemberId) -> RequestError:
    """Return the refusal of somebody who is no member."""
    detail = f'group "{group}" has no member "{member_id}"'
    return RequestError(ErrorCode.UNKNOWN_MEMBER, detail, group=group, member_id=member_id)


def check_deleted(group: Group, _: GroupDeleted) -> None:
    """Hold a deletion against the group that it deletes."""
    assert not group.members, "MEMBERS_LEAVE_FIRST"
