"""What is known of one group from outside: a plain model of what a coordinator has promised."""

from dataclasses import dataclass, field

from hypothesis.stateful import RuleBasedStateMachine, invariant

from consumer_groups.records import GroupEpoch, MemberId, OffsetCommitted, Owned, StreamNumber
from consumer_groups.settings import GroupSettings
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId, TopicName
from tests.group_bench import GroupBench

GROUP = GroupId("g")
NAMES = ("orders", "bills")
RETENTION_MS = 10_000


@dataclass
class Life:
    """What one member was told, and the streams that it had."""

    member_id: MemberId
    streams: list[StreamNumber]
    epochs: list[GroupEpoch]
    """The epochs that it was in, the one of its joining first."""
    topics: tuple[TopicName, ...]
    unaware_of_loss: list[GroupEpoch] = field(default_factory=list)
    """Epochs in which something was taken from it."""


class GroupModel(RuleBasedStateMachine):
    """One group, one log; rules are added by who inherits. Held against the machine each time."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = GroupBench(GroupSettings(members_max=5, offsets_retention_ms=RETENTION_MS))
        self.machine = self.bench.machine
        self.topics = self.bench.topics
        for name in NAMES:
            self.topics.create(name, 2)
        self.lives: list[Life] = []
        self.streams = 0
        self.offsets: dict[PartitionId, Offset] = {}
        self.holders: dict[Owned, MemberId] = {}
        self.before: dict[MemberId, MemberView] = {}
        self.released: set[Owned] = set()
        self.seen = 0
        self.member_seen_at = AppendTimeMs(0)

    # What is there.

    def members(self) -> dict[MemberId, MemberView]:
        return {view.member_id: view for _, view in self.machine.members()}

    def one(self, number: int) -> Life:
        """Choose a member: mostly one that is there, and then the one that hands over longest."""
        there = self.members()
        lives = [life for life in self.lives if life.member_id in there]
        slow = [life for life in lives if there[life.member_id].revoking]
        choice = (slow, lives, lives, self.lives)[number % 4] or self.lives
        return choice[number // 4 % len(choice)]

    def stream(self) -> StreamNumber:
        self.streams += 1
        return StreamNumber(self.streams)

    def is_current(self, life: Life, stream: StreamNumber) -> bool:
        view = self.members().get(life.member_id)
        return view is not None and view.stream == stream

    def is_over(self, hold: Owned) -> bool:
        """Tell whether nobody has a hold any more that somebody had."""
        views = self.members().values()
        return not any(hold in (*view.owned, *view.revoking) for view in views)

    def refused(self, error: RequestError, *codes: ErrorCode) -> None:
        assert error.code in codes, error
        assert len(self.bench.log) == self.seen, "a refusal writes nothing"

    def last_sign_of_life(self) -> AppendTimeMs:
        """Return when the last member was there, or an offset that still is was committed."""
        latest = self.member_seen_at
        for record in self.bench.log:
            if isinstance(record, OffsetCommitted) and record.partition in self.offsets:
                latest = max(latest, record.committed_at)
        return latest

    def is_due(self) -> bool:
        """Tell whether the group has had no member and no commit for its retention."""
        if not self.machine.group_count() or self.members():
            return False
        rows = self.machine.offsets(GROUP)
        commits = [row.committed.committed_at for row in rows if row.committed is not None]
        since = self.machine.group(GROUP).summary.state_since
        return self.bench.now - max([since, *commits]) > RETENTION_MS

    # What holds after every event.

    @invariant()
    def holds(self) -> None:
        self.note()
        self.check_offsets()
        self.check_topics()
        self.check_balance()

    def note(self) -> None:
        """Hold the members against what they were, and remember what they are."""
        self.learn_pins()
        members = self.members()
        held: dict[PartitionId, MemberId] = {}
        for view in members.values():
            for hold in (*view.owned, *view.revoking):
                assert held.setdefault(hold.partition, view.member_id) == view.member_id
                assert self.holders.setdefault(hold, view.member_id) == view.member_id
                assert hold.since_epoch <= view.epoch
        for member_id, old in self.before.items():
            if member_id in members:
                self.check_kept(old, members[member_id])
        self.before = members
        if members:
            self.member_seen_at = self.bench.now
        self.released.clear()
        self.seen = len(self.bench.log)
        for life in self.lives:
            if life.member_id in members and members[life.member_id].epoch != life.epochs[-1]:
                life.epochs.append(members[life.member_id].epoch)

    def check_kept(self, old: MemberView, new: MemberView) -> None:
        """Check that a member lost only what it gave, what was overdue, and what is no more."""
        now = {*new.owned, *new.revoking}
        lost = {*old.owned, *old.revoking} - now - self.released
        assert all(self.topics.name_of(hold.partition.topic) is None for hold in lost)
        if lost:
            (life,) = [life for life in self.lives if life.member_id == new.member_id]
            life.unaware_of_loss.append(new.epoch)
        assert not {*old.revoking} & {*new.owned}

    def learn_pins(self) -> None:
        """Take the beginnings that the machine itself has committed, for new partitions only."""
        for record in self.bench.log[self.seen :]:
            if isinstance(record, OffsetCommitted) and not record.actor:
                assert record.offset == 0
                assert record.partition not in self.offsets
                assert not any(hold.partition == record.partition for hold in self.holders)
                self.offsets[record.partition] = record.offset

    def check_offsets(self) -> None:
        if not self.machine.group_count():
            assert not self.offsets
            return
        rows = self.machine.offsets(GROUP)
        assert {
            row.partition: row.committed.offset for row in rows if row.committed is not None
        } == self.offsets

    def check_topics(self) -> None:
        """Hold the topics that are counted against the partitions that there are."""
        held = [hold.partition for view in self.members().values() for hold in view.owned]
        held += [hold.partition for view in self.members().values() for hold in view.revoking]
        held += [wanted for view in self.members().values() for wanted in view.pending]
        found = {partition.topic for partition in (*self.offsets, *held)}
        assert self.machine.topic_ids() == found
        assert all(self.machine.groups_with_topics([topic]) == (GROUP,) for topic in found)

    def check_balance(self) -> None:
        """Members that want the same differ by one at most in what they have or shall have."""
        shares: dict[tuple[TopicName, ...], list[int]] = {}
        for view in self.members().values():
            shares.setdefault(view.topics, []).append(len(view.owned) + len(view.pending))
        assert all(max(share) - min(share) <= 1 for share in shares.values())
