"""One group under everything that can happen to it, against a plain model of what it promised.

Members join, leave, lose their streams and come back, answer revokes late or never; offsets are
committed by owners, former owners, older streams and strangers; the group is sought; topics grow,
go and come back under their names. After every event: one owner for each partition, no hold twice,
nobody disturbed in what he keeps, offsets exactly where accepted commits and seeks put them, and
the same state from the snapshot.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from consumer_groups.records import (
    LeaveReason,
    MemberId,
)
from consumer_groups.requests import (
    Actor,
    ByEpoch,
    ByStream,
    Commit,
    Cursor,
    DeleteOffsets,
    FromOutside,
    Join,
    Leave,
    Move,
    Resume,
    Revoked,
    Seek,
)
from consumer_groups.views import GroupState
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, PartitionId, TopicName
from tests.group_model import GROUP, NAMES, RETENTION_MS, GroupModel, Life

somebody = st.integers(0, 50)
seeks = st.sampled_from(["plain", "plain", "dry", "dry", "force"])
offsets = st.integers(0, 30).map(Offset)


class Groups(GroupModel):
    """Everything that can happen to the group."""

    # Membership.

    @initialize(members=st.integers(0, 3))
    def begin(self, members: int) -> None:
        for _ in range(members):
            self.join(set(NAMES), instance=None, knows=True)

    @rule(
        topics=st.sets(st.sampled_from(NAMES), min_size=1),
        instance=st.sampled_from([None, None, "i"]),
        knows=st.integers(0, 4).map(bool),
    )
    def join(self, topics: set[str], *, instance: str | None, knows: bool) -> None:
        if knows:
            topics = {name for name in topics if self.topics.find(TopicName(name))} or topics
        member_id = MemberId(f"m{len(self.lives)}")
        stream = self.stream()
        request = Join(
            group=GROUP,
            new_member_id=member_id,
            stream=stream,
            topics=tuple(map(TopicName, topics)),
            instance_id=instance,
        )
        there = self.members()
        same = [view for view in there.values() if instance and view.instance_id == instance]
        try:
            answer = self.bench.take(
                self.machine.join(request, now=self.bench.now, topics=self.topics)
            )
        except RequestError as error:
            full = len(there) >= 5 and not same
            missing = any(self.topics.find(TopicName(name)) is None for name in topics)
            assert full or missing
            self.refused(error, ErrorCode.LIMIT_EXCEEDED, ErrorCode.UNKNOWN_TOPIC)
            return
        assert answer.replaced == (same[0].member_id if same else None)
        life = Life(member_id, [stream], [answer.member.epoch], request.topics)
        self.lives.append(life)
        assert answer.member == self.members()[member_id]

    @precondition(lambda self: self.lives)
    @rule(number=somebody, missed=st.integers(0, 3))
    def resume(self, number: int, missed: int) -> None:
        """Come back naming the last epoch but some: refused only where something was lost."""
        life = self.one(number)
        epoch = life.epochs[max(0, len(life.epochs) - 1 - missed)]
        stream = self.stream()
        request = Resume(group=GROUP, member_id=life.member_id, member_epoch=epoch, stream=stream)
        is_member = life.member_id in self.members()
        lost = any(epoch < taken for taken in life.unaware_of_loss)
        try:
            answer = self.bench.take(self.machine.resume(request))
        except RequestError as error:
            if is_member:
                assert lost
                self.refused(error, ErrorCode.STALE_MEMBER_EPOCH)
            else:
                self.refused(error, ErrorCode.UNKNOWN_MEMBER, ErrorCode.FENCED_INSTANCE)
            return
        assert is_member
        assert not lost
        assert answer.member == self.members()[life.member_id]
        life.streams.append(stream)

    @precondition(lambda self: self.lives)
    @rule(number=somebody, older=st.integers(0, 1), reason=st.sampled_from(list(LeaveReason)[:3]))
    def leave(self, number: int, older: int, reason: LeaveReason) -> None:
        life = self.one(number)
        stream = life.streams[max(0, len(life.streams) - 1 - older)]
        current = self.is_current(life, stream)
        request = Leave(group=GROUP, member_id=life.member_id, stream=stream, reason=reason)
        left = self.bench.take(self.machine.leave(request, now=self.bench.now, topics=self.topics))
        assert left == current
        assert left != (life.member_id in self.members()) or not current

    @precondition(lambda self: self.lives)
    @rule(number=somebody, older=st.integers(0, 1), part=st.floats(0, 1))
    def revoked(self, number: int, older: int, part: float) -> None:
        life = self.one(number)
        stream = life.streams[max(0, len(life.streams) - 1 - older)]
        view = self.members().get(life.member_id)
        current = self.is_current(life, stream)
        holds = () if view is None else view.revoking[: round(part * len(view.revoking))]
        # An answer that comes late names holds that are over; those since stay as they are.
        former = [hold for hold in self.holders if self.is_over(hold)]
        request = Revoked(
            group=GROUP,
            member_id=life.member_id,
            stream=stream,
            holds=(*holds, *former),
        )
        try:
            answer = self.bench.take(self.machine.revoked(request))
        except RequestError as error:
            assert not current
            self.refused(
                error,
                ErrorCode.UNKNOWN_MEMBER,
                ErrorCode.FENCED_INSTANCE,
                ErrorCode.STALE_MEMBER_EPOCH,
            )
            return
        assert current
        assert not {*answer.owned, *answer.revoking} & {*holds}
        self.released |= {*holds}

    @precondition(lambda self: self.lives)
    @rule(number=somebody)
    def take_what_is_overdue(self, number: int) -> None:
        life = self.one(number)
        view = self.members().get(life.member_id)
        overdue = () if view is None else view.revoking
        taken = self.bench.take(self.machine.revoke_overdue(GROUP, life.member_id, overdue))
        assert taken == bool(overdue)
        self.released |= {*overdue}
        if overdue:
            epoch = self.machine.group(GROUP).summary.epoch
            assert epoch > life.epochs[-1], "no epoch that it was told knows of the loss"
            life.unaware_of_loss.append(epoch)

    # Offsets.

    @precondition(lambda self: self.lives)
    @rule(number=somebody, older=st.integers(0, 1), of=somebody, offset=offsets)
    def commit_over_a_stream(self, *, number: int, older: int, of: int, offset: Offset) -> None:
        """Commit what this member or another one holds: accepted only from who holds it now."""
        life, other = self.one(number), self.one(of)
        stream = life.streams[max(0, len(life.streams) - 1 - older)]
        target = self.members().get(other.member_id)
        if target is None or not (holds := (*target.owned, *target.revoking)):
            return
        hold = holds[offset % len(holds)]
        may = self.is_current(life, stream) and life is other
        self.commit(ByStream(life.member_id, stream), hold.partition, offset=offset, may=may)

    @precondition(lambda self: self.lives)
    @rule(number=somebody, missed=st.integers(0, 3), offset=offsets, known=st.integers(0, 20))
    def commit_in_an_epoch(self, *, number: int, missed: int, offset: Offset, known: int) -> None:
        """Commit anything ever held, in an epoch of one's own: not before it was got."""
        life = self.one(number)
        epoch = life.epochs[max(0, len(life.epochs) - 1 - missed)]
        if not self.holders:
            return
        partition = sorted(self.holders)[known % len(self.holders)].partition
        view = self.members().get(life.member_id)
        holds = () if view is None else (*view.owned, *view.revoking)
        may = any(hold.partition == partition and hold.since_epoch <= epoch for hold in holds)
        self.commit(ByEpoch(life.member_id, epoch), partition, offset=offset, may=may)

    @rule(offset=offsets, name=st.sampled_from(NAMES))
    def commit_from_outside(self, offset: Offset, name: str) -> None:
        found = self.topics.find(TopicName(name))
        if found is not None:
            partition = PartitionId(found.topic, offset % found.partitions)
            may = not self.members()
            self.commit(FromOutside("anna"), partition, offset=offset, may=may)

    def commit(self, actor: Actor, partition: PartitionId, *, offset: Offset, may: bool) -> None:
        cursor = Cursor(partition=partition, offset=offset)
        request = Commit(group=GROUP, actor=actor, cursors=(cursor,))
        there = self.topics.name_of(partition.topic) is not None
        try:
            (row,) = self.bench.take(
                self.machine.commit(request, now=self.bench.now, topics=self.topics)
            )
        except RequestError as error:
            assert not may
            self.refused(
                error,
                ErrorCode.UNKNOWN_MEMBER,
                ErrorCode.FENCED_INSTANCE,
                ErrorCode.STALE_MEMBER_EPOCH,
                ErrorCode.GROUP_NOT_EMPTY,
            )
            return
        assert (row.error is None) == (may and there), row
        if row.error is None:
            self.offsets[partition] = offset

    @rule(name=st.sampled_from(NAMES), to=offsets, how=seeks)
    def seek(self, name: str, to: Offset, how: str) -> None:
        force, dry = how == "force", how == "dry"
        found = self.topics.find(TopicName(name))
        if found is None:
            return
        rows = [PartitionId(found.topic, number) for number in range(found.partitions)]
        moves = tuple(Move(partition=row, after=to, log_start=Offset(0)) for row in rows)
        request = Seek(group=GROUP, principal="anna", moves=moves, force=force, validate_only=dry)
        there = set(self.members())
        try:
            plan = self.bench.take(
                self.machine.seek(request, now=self.bench.now, topics=self.topics)
            )
        except RequestError as error:
            assert there
            assert not force
            assert not dry
            self.refused(error, ErrorCode.GROUP_NOT_EMPTY)
            return
        assert plan is not None
        assert set(plan.fenced) == there
        assert [row.before for row in plan.rows] == [self.offsets.get(row) for row in rows]
        if dry:
            assert len(self.bench.log) == self.seen
            return
        assert not self.members()
        self.offsets |= dict.fromkeys(rows, to)

    @rule(name=st.sampled_from(NAMES))
    def delete_offsets(self, name: str) -> None:
        found = self.topics.find(TopicName(name))
        if found is None or not self.machine.group_count():
            return
        partition = PartitionId(found.topic, 0)
        request = DeleteOffsets(group=GROUP, partitions=(partition,))
        (row,) = self.bench.take(self.machine.delete_offsets(request, topics=self.topics))
        consumed = any(name in view.topics for view in self.members().values())
        assert (row.error is None) == (not consumed)
        if row.error is None:
            self.offsets.pop(partition, None)

    # Topics and time.

    @rule(name=st.sampled_from(NAMES), told=st.booleans())
    def grow(self, name: str, told: bool) -> None:
        found = self.topics.find(TopicName(name))
        if found is not None and found.partitions < 5:
            self.topics.grow(name, found.partitions + 1)
        if told:
            self.tell_topics()

    @rule(name=st.sampled_from(NAMES), told=st.booleans(), really=st.booleans())
    def delete_topic(self, name: str, told: bool, really: bool) -> None:
        if really and self.topics.find(TopicName(name)) is not None:
            self.topics.delete(name)
        if told:
            self.forget_topics()

    @rule(name=st.sampled_from(NAMES))
    def create_topic(self, name: str) -> None:
        if self.topics.find(TopicName(name)) is None:
            self.topics.create(name, 2)
            self.tell_topics()

    @rule()
    def tell_topics(self) -> None:
        self.bench.take(self.machine.topics_changed(GROUP, now=self.bench.now, topics=self.topics))

    @rule()
    def forget_topics(self) -> None:
        gone = {topic for topic in self.machine.topic_ids() if self.topics.name_of(topic) is None}
        for group in self.machine.groups_with_topics(gone):
            touched = self.bench.take(
                self.machine.forget_topics(group, gone, now=self.bench.now, topics=self.topics)
            )
            assert touched
        assert not self.machine.topic_ids() & gone
        self.offsets = {row: at for row, at in self.offsets.items() if row.topic not in gone}

    @rule(passes=st.sampled_from([10, 1_000, RETENTION_MS, RETENTION_MS + 1]))
    def expire(self, passes: int) -> None:
        """Pass some time; a group goes only without members, and not before its retention."""
        self.bench.now = AppendTimeMs(self.bench.now + passes)
        due = self.is_due()
        gone = self.bench.take(self.machine.expire(now=self.bench.now))
        assert bool(gone) == due
        if gone:
            assert not self.members()
            assert self.bench.now - self.last_sign_of_life() > RETENTION_MS
            self.offsets.clear()
            self.holders.clear()  # another group of this name counts its epochs anew

    @precondition(lambda self: self.machine.group_count())
    @rule()
    def everybody_answers(self) -> None:
        """If all hand over what they are asked for, everything wanted is owned (P31)."""
        self.forget_topics()
        self.tell_topics()
        self.note()
        for view in self.members().values():
            request = Revoked(
                group=GROUP,
                member_id=view.member_id,
                stream=view.stream,
                holds=view.revoking,
            )
            self.bench.take(self.machine.revoked(request))
            self.released |= {*view.revoking}
        views = self.members().values()
        summary = self.machine.group(GROUP).summary
        assert summary.state is (GroupState.STABLE if views else GroupState.EMPTY)
        owned = {hold.partition for view in views for hold in view.owned}
        wanted = {name for view in views for name in view.topics}
        found = [row for name in wanted if (row := self.topics.find(name)) is not None]
        assert owned == {
            PartitionId(topic, number) for topic, count in found for number in range(count)
        }


Groups.TestCase.settings = settings(stateful_step_count=40)
TestGroups = Groups.TestCase
