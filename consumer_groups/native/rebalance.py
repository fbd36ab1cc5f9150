"""From a group's members as they shall be to the records that make them so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from consumer_groups.group import Group, numbers_of
from consumer_groups.records import (
    Cause,
    GroupChanged,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    MemberJoined,
    MemberLeft,
    OffsetCommitted,
)
from consumer_groups.seats import (
    Seats,
    assignments,
    distribute,
    drop_topics,
    give,
    present,
    retarget,
)
from consumer_groups.topics import TopicPartitions, TopicView
from model.ids import AppendTimeMs, Offset, PartitionId, TopicId, TopicName


class Decided(NamedTuple):
    """A change as records, in the order in which they are replayed, and the members after it."""

    records: tuple[GroupRecord, ...]
    seats: Seats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    """A change of a group's members or topics, and when it happens."""

    group: Group
    seats: Seats
    """The members as they shall be."""
    now: AppendTimeMs
    topics: TopicView
    assignor: str
    left: tuple[MemberLeft, ...] = ()
    joined: MemberJoined | None = None

    @property
    def epoch(self) -> GroupEpoch:
        """The group's epoch afterwards."""
        return GroupEpoch(self.group.epoch + 1)

    def decide(self) -> Decided:
        """Return the change with its partitions distributed anew."""
        seats, pinned = self._distributed()
        return Decided((*self._head(), *pinned, *assignments(seats)), seats)

    def decide_if_moved(self) -> Decided:
        """Return the change, or no records where no member would notice it."""
        seats, pinned = self._distributed()
        moved: tuple[GroupRecord, ...] = (*pinned, *assignments(seats))
        return Decided((*self._head(), *moved) if moved else (), seats)

    def decide_as_seated(self) -> Decided:
        """Return the change without distributing anew: the seats have their targets."""
        seats = give(self.seats, epoch=self.epoch)
        return Decided((*self._head(), *assignments(seats)), seats)

    def _distributed(self) -> tuple[Seats, tuple[OffsetCommitted, ...]]:
        wanted = present(self.seats, self.topics)
        alive = frozenset(self._alive(wanted.values()))
        seats = drop_topics(self.seats, alive, epoch=self.epoch)
        targets = distribute(seats, wanted, assignor=self.assignor)
        seats = retarget(seats, targets, epoch=self.epoch)
        return give(seats, epoch=self.epoch), self._pinned(wanted)

    def _alive(self, wanted: Iterable[TopicPartitions]) -> Iterable[TopicId]:
        """Yield the topics of which members may hold something.

        One that nobody wants now is among them until it is handed over.
        """
        yield from (topic for topic, _ in wanted)
        for topic in self.group.topic_ids():
            if self.topics.name_of(topic) is not None:
                yield topic

    def _pinned(self, wanted: Mapping[TopicName, TopicPartitions]) -> tuple[OffsetCommitted, ...]:
        """Return a commit of the beginning for each partition that a topic has gained.

        Members were there before the partition and its first record: whatever they chose as the
        start for places where nothing is committed, nothing of it may be skipped.
        """
        subscribed = self.group.subscribed()
        gained = [
            partition
            for name, (topic, count) in wanted.items()
            if name in subscribed
            for partition in self._gained(topic, count)
        ]
        return tuple(
            OffsetCommitted(
                group=self.group.name,
                partition=partition,
                offset=Offset(0),
                leader_epoch=None,
                metadata="",
                committed_at=self.now,
                actor="",
                cause=Cause.COMMIT,
            )
            for partition in gained
        )

    def _gained(self, topic: TopicId, count: int) -> Iterable[PartitionId]:
        """Yield the partitions of a topic that are in nobody's target and have no offset."""
        targets = [member.assignment.target for member in self.group.members.values()]
        known = [number for target in targets for number in numbers_of(target, topic)]
        if len(known) == count:  # as almost always: nobody shares one, and there are no others
            return
        for number in sorted(set(range(count)).difference(known)):
            partition = PartitionId(topic, number)
            if partition not in self.group.offsets:
                yield partition

    def _head(self) -> tuple[GroupRecord, ...]:
        turned = bool(self.group.members) != bool(self.seats)
        changed = GroupChanged(
            group=self.group.name,
            epoch=self.epoch,
            kind=GroupKind.NATIVE,
            state_since=self.now if turned else self.group.changed.state_since,
            assignor=self.assignor,
        )
        return (changed, *self.left, *(() if self.joined is None else (self.joined,)))
