"""The judge of the world of groups: what was decided, what was told, and whether it may be so.

It keeps books of its own, from the records that coordinators append, from what members are told,
and from what they ask for. It shares nothing with the code that it judges but the records.

    ONE_OWNER                   a partition has one holder at a time, and one for each epoch.
    OWNER_COMMITS               a member's commit is taken only of what it holds.
    OLDER_HOLD_FENCED           ... and only of the hold that it was told of when it committed.
    RESUMED_STREAM_FENCES       ... and only over its newest stream.
    OUTSIDER_WAITS              whoever is no member commits only while there is none.
    OFFSETS_MOVE_BY_REQUEST     an offset is what somebody asked for, in that partition.
    OFFSETS_NEVER_BACK          nobody here commits less than before: so no offset ever falls.
    ANSWER_AFTER_COMMIT         nothing is told that a crash could take back.
    NOTHING_ANSWERED_IS_LOST    after a crash everything that was told is there.
    RESTORED_IS_WHAT_WAS_SAID   and the state is that which the records tell, no more, no less.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer_groups.records import (
    AssignmentChanged,
    Cause,
    GroupChanged,
    GroupDeleted,
    GroupRecord,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
    OffsetsForgotten,
)
from model.ids import GroupId, PartitionId


class Place(NamedTuple):
    """Where in a coordinator's log something stands: it is durable once the log is up to `end`."""

    number: int
    end: int


class Asked(NamedTuple):
    """A commit as it was asked for; its metadata names it."""

    group: str
    partition: PartitionId
    offset: int
    member: str | None
    stream: int | None
    since_epoch: int | None


class Hold(NamedTuple):
    member: str
    since_epoch: int


@dataclass
class GroupBook:
    """One group."""

    epoch: int
    members: dict[str, int] = field(default_factory=dict)
    """The newest stream of each."""
    holds: dict[PartitionId, Hold] = field(default_factory=dict)
    offsets: dict[PartitionId, int] = field(default_factory=dict)


@dataclass
class Books:
    """All groups, over all lives of the node."""

    groups: dict[str, GroupBook] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    sought: Counter[tuple[str, PartitionId, int]] = field(default_factory=Counter)
    skipped: dict[tuple[str, PartitionId], set[int]] = field(default_factory=dict)
    """Offsets that a group was sent past, by its own will."""
    counts: Counter[str] = field(default_factory=Counter)
    _logs: dict[int, list[GroupRecord]] = field(default_factory=dict)
    _told: dict[int, int] = field(default_factory=dict)
    _places: dict[tuple[object, ...], Place] = field(default_factory=dict)
    _holders: dict[tuple[str, PartitionId, int], str] = field(default_factory=dict)

    # What is decided.

    def append(self, number: int, end: int, records: Iterable[GroupRecord]) -> None:
        """Note a decision: one batch of a coordinator's log, which ends at `end` now."""
        log = self._logs.setdefault(number, [])
        for record in records:
            log.append(record)
            self._judge(record)
            self._apply(record, Place(number, end))
            self.counts[type(record).__name__] += 1
        assert len(log) == end, "DECISIONS_ARE_THE_LOG"

    def _judge(self, record: GroupRecord) -> None:
        group = self.groups.get(record.group)
        match record:
            case OffsetCommitted():
                assert group is not None
                self._judge_commit(group, record)
            case AssignmentChanged():
                assert group is not None
                self._judge_holds(group, record)
            case _:
                pass

    def _judge_holds(self, group: GroupBook, changed: AssignmentChanged) -> None:
        for partition, since in (*changed.owned, *changed.revoking):
            holder = group.holds.get(partition)
            assert holder is None or holder.member == changed.member_id, "ONE_OWNER"
            key = changed.group, partition, since
            assert self._holders.setdefault(key, changed.member_id) == changed.member_id, (
                "ONE_OWNER"
            )
            assert since <= group.epoch, "ONE_OWNER"

    def _judge_commit(self, group: GroupBook, record: OffsetCommitted) -> None:
        partition, before = record.partition, group.offsets.get(record.partition)
        if record.cause is Cause.SEEK:
            key = record.group, partition, int(record.offset)
            assert self.sought[key] > 0, "OFFSETS_MOVE_BY_REQUEST"
            return
        if not record.metadata:  # the node's own: where a member is to begin
            assert before is None, "OFFSETS_MOVE_BY_REQUEST"
            return
        asked = self.asked.get(record.metadata)
        assert asked is not None, "OFFSETS_MOVE_BY_REQUEST"
        wanted = asked.group, asked.partition, asked.offset
        assert wanted == (record.group, partition, record.offset), "OFFSETS_MOVE_BY_REQUEST"
        if asked.member is None:
            assert not group.members, "OUTSIDER_WAITS"
        else:
            assert group.members.get(asked.member) == asked.stream, "RESUMED_STREAM_FENCES"
            hold = group.holds.get(partition)
            assert hold is not None, "OWNER_COMMITS"
            assert hold.member == asked.member, "OWNER_COMMITS"
            assert hold.since_epoch == asked.since_epoch, "OLDER_HOLD_FENCED"
        assert before is None or record.offset >= before, "OFFSETS_NEVER_BACK"

    def _skip(self, record: OffsetCommitted, before: int | None) -> None:
        """Note what is passed over by the group's own will: all but what a member has read."""
        asked = self.asked.get(record.metadata)
        if record.cause is Cause.COMMIT and asked is not None and asked.member is not None:
            return
        passed = range(before or 0, record.offset)
        self.skipped.setdefault((record.group, record.partition), set()).update(passed)

    def _apply(self, record: GroupRecord, place: Place) -> None:
        groups, places = self.groups, self._places
        if isinstance(record, GroupChanged):
            groups.setdefault(record.group, GroupBook(0)).epoch = record.epoch
            places["epoch", record.group, record.epoch] = place
            return
        group = groups[record.group]
        match record:
            case MemberJoined() | MemberResumed():
                group.members[record.member_id] = record.stream
                places["stream", record.stream] = place
            case MemberLeft():
                del group.members[record.member_id]
                _release(group, record.member_id)
            case AssignmentChanged():
                _release(group, record.member_id)
                for hold in (*record.owned, *record.revoking):
                    group.holds[hold.partition] = Hold(record.member_id, hold.since_epoch)
                    places.setdefault(("hold", record.member_id, hold.partition), place)
            case _:
                self._apply_offsets(group, record, place)

    def _apply_offsets(
        self,
        group: GroupBook,
        record: OffsetCommitted | OffsetsForgotten | GroupDeleted,
        place: Place,
    ) -> None:
        match record:
            case OffsetCommitted():
                self._skip(record, group.offsets.get(record.partition))
                group.offsets[record.partition] = record.offset
                self._places["commit", record.metadata] = place
            case OffsetsForgotten():
                for partition in record.partitions:
                    group.offsets.pop(partition, None)
            case GroupDeleted():
                del self.groups[record.group]
                for key in [key for key in self._holders if key[0] == record.group]:
                    del self._holders[key]

    # What is told.

    def told(self, durable: dict[int, int], *what: object) -> None:
        """Note that somebody was told of something that a record says.

        `durable`: how far each coordinator's log is on disk now.
        """
        place = self._places.get(what)
        assert place is not None, f"ANSWER_AFTER_COMMIT: nobody said {what}"
        assert durable.get(place.number, 0) >= place.end, "ANSWER_AFTER_COMMIT"
        self._told[place.number] = max(self._told.get(place.number, 0), place.end)

    # After a crash.

    def led(self, number: int, end: int, state: Iterable[GroupRecord]) -> None:
        """Note the state that a coordinator begins with; its log ends at `end`."""
        assert end >= self._told.get(number, 0), "NOTHING_ANSWERED_IS_LOST"
        log = self._logs.get(number, [])
        assert end <= len(log), "RESTORED_IS_WHAT_WAS_SAID"
        self.counts["records lost"] += len(log) - end
        self._logs[number] = log[:end]
        said, restored = Books(asked=self.asked), Books()
        said._replay(number, self._logs[number])
        restored._replay(number, state)
        assert restored.groups == said.groups, "RESTORED_IS_WHAT_WAS_SAID"
        self.groups, self._places, self._holders, self.skipped = {}, {}, {}, {}
        for each, records in self._logs.items():
            self._replay(each, records)

    def check_leading(self, numbers: Collection[int]) -> None:
        """Hold what is led after a start against who was told something."""
        assert self._told.keys() <= set(numbers), "NOTHING_ANSWERED_IS_LOST"

    def _replay(self, number: int, records: Iterable[GroupRecord]) -> None:
        for at, record in enumerate(records, 1):
            if isinstance(record, AssignmentChanged):
                self._judge_holds(self.groups[record.group], record)
            self._apply(record, Place(number, at))

    def committed(self, group: GroupId, partition: PartitionId) -> int | None:
        book = self.groups.get(group)
        return None if book is None else book.offsets.get(partition)

    def hold(self, group: GroupId, partition: PartitionId) -> Hold | None:
        book = self.groups.get(group)
        return None if book is None else book.holds.get(partition)


def _release(group: GroupBook, member: str) -> None:
    for partition in [one for one, hold in group.holds.items() if hold.member == member]:
        del group.holds[partition]
