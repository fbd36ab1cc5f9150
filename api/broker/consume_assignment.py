"""What one member has been told that it has, held against what it has: the difference is news.

An epoch is told after what was lost by it: a member that resumes from there is believed where it
stands in what it has, and names it by topics of which there may be another one by now.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from api.broker.consume_events import Assigned, Event, Joined, Named, Opening, Revoke, Stand
from api.broker.consume_places import Held, Places
from api.broker.consume_starts import Starts, stand_of
from api.broker.every_partition import EveryPartition
from api.broker.members import Members
from api.broker.readable import Readable
from api.broker.subscribe import Bounds
from consumer_groups.records import Owned
from consumer_groups.requests import ByStream
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import Offset, PartitionId
from model.principal import Principal


class _Said(NamedTuple):
    """A partition that a member which resumes says that it has."""

    partition: PartitionId | None
    """None: there is none by that name."""
    hold: Owned | None
    """What it had of it when it resumed; None: nothing that it knew of."""


class Assignment:
    """One member's partitions over one stream. Loop only."""

    def __init__(
        self,
        partitions: EveryPartition,
        starts: Starts,
        time_left_ms: Callable[[Owned], int],
        *,
        members: Members,
        principal: Principal,
        opening: Opening,
    ) -> None:
        """Begin with nothing told."""
        self._partitions = partitions
        self._starts = starts
        self._members = members
        self._time_left_ms = time_left_ms
        self._principal = principal
        self._opening = opening
        self.places = Places()
        self._epoch: int | None = None
        self._told: MemberView | None = None
        self._given: MemberView | None = None
        self._wanted: dict[Owned, Readable] = {}
        """Given, and nobody knows yet where it begins there."""
        self._found: dict[Owned, Bounds] = {}
        """Given, with where it begins, and not told yet."""
        self._asked: frozenset[Owned] = frozenset()
        self._unanswered: dict[Named, deque[Owned | None]] = {}
        """What each Revoke named and the member has not handed over; oldest first. None: it was
        told so of what only it believed to have."""
        self._said: dict[Named, _Said] = {}
        """What a member that resumes says that it has, until it is told otherwise or given it."""
        self._known: Mapping[Named, Owned] = {}
        """What a member that resumes knows that it has, until it is told."""
        self.claimed: Mapping[PartitionId, Offset] = {}
        """How far a member that resumes says that it has read in what it still has: its coordinator
        may have been told less. It is that member's word, and holds for its own commits alone."""
        self._stands: Mapping[PartitionId, Stand] = (
            {} if opening.rejoin is None else opening.rejoin.stands
        )

    def changed(self, member: MemberView) -> list[Event]:
        """Return the news about a member's epoch and what it is to give up."""
        if member is self._told:
            return []
        self._told = member
        lost = self._revoked(member)
        before, self._epoch = self._epoch, member.epoch
        joined = Joined(member.member_id, member.epoch, member.session_timeout_ms)
        if before is not None:
            return lost if before == member.epoch else [*lost, joined]
        # A stream begins with Joined: while something was lost, with the epoch that is known.
        rejoin = self._opening.rejoin
        if not lost or rejoin is None or rejoin.member_epoch == member.epoch:
            return [joined, *lost]
        return [joined._replace(member_epoch=rejoin.member_epoch), *lost, joined]

    @property
    def seeks(self) -> bool:
        """Whether it is given more than it has been told of: `find` is to be run."""
        return bool(self._wanted)

    def given(self, member: MemberView) -> list[Event]:
        """Return what a member is given anew, as far as it is known where it begins."""
        if member is not self._given:
            self._given = member
            self._look_over(member)
        found, self._found = self._found, {}
        if not self._wanted:
            self._known = {}
        if not found:
            return []
        for owned, bounds in found.items():
            held = Held(owned, bounds)
            self.places.take(held)
            self._said.pop(held.named, None)
        # What is told must not move on with what is read.
        return [Assigned([replace(bounds) for bounds in found.values()])]

    async def find(self, member: MemberView, tell: Callable[[], None]) -> None:
        """Find where a member begins in what it is given; `tell` is called for each topic.

        Raises:
            RequestError: a place cannot be found or committed.
        """
        wanted = dict(self._wanted)
        holds = {partition.id: owned for owned, partition in wanted.items()}
        places = self._starts(
            self._principal,
            self._opening,
            list(wanted.values()),
            committer=ByStream(member.member_id, member.stream),
            alike=lambda: self._members.starting_late(self._opening.group),
        )
        async for found in places:
            for place in found:
                owned = holds[place.partition.id]
                if self._wanted.pop(owned, None) is not None:  # else it was taken meanwhile
                    self._found[owned] = place
            tell()

    def _look_over(self, member: MemberView) -> None:
        """Note what a member has and was not told of; a resumed one says where it stands."""
        stands, self._stands = self._stands, {}
        rejoin = self._opening.rejoin
        known = -1 if rejoin is None else rejoin.member_epoch
        found, self._found, self._wanted = self._found, {}, {}
        for owned in member.owned:
            if self.places.of(owned) is not None:
                continue
            partition, stand = self._found_by(owned.partition), stands.get(owned.partition)
            if owned in found:
                self._found[owned] = found[owned]
            elif partition is not None and stand is not None and owned.since_epoch <= known:
                self._found[owned] = stand_of(partition, stand)
            elif partition is not None:
                self._wanted[owned] = partition

    def resumed(self, member: MemberView) -> None:
        """Note what a member has that came back: it may commit before it is told."""
        rejoin = self._opening.rejoin
        if rejoin is not None:
            holds = [
                hold
                for hold in (*member.owned, *member.revoking)
                if hold.since_epoch <= rejoin.member_epoch
            ]
            self._known = {
                (partition.topic.name, partition.number): hold
                for hold in holds
                if (partition := self._found_by(hold.partition)) is not None
            }
            self.claimed = {
                hold.partition: stand.offset
                for hold in holds
                if (stand := rejoin.stands.get(hold.partition)) is not None
            }
            by_id = {hold.partition: hold for hold in holds}
            self._said = {
                name: _Said(partition, None if partition is None else by_id.get(partition))
                for name, partition in rejoin.said.items()
            }

    def meant(self, name: Named) -> Owned | None:
        """Return the hold that a member means when it commits; None: it was told of none.

        As long as it has not handed over what was asked of it, or taken from it, it means that,
        whatever it has been given since: it may not have heard of either.
        """
        if asked := self._unanswered.get(name):
            return asked[0]
        held = self.places.at(name)
        return self._known.get(name) if held is None else held.owned

    def handed_over(self, names: Sequence[Named]) -> tuple[Owned, ...]:
        """Return the holds that a member means by names it gives back.

        It means those that it was asked for, also where a new topic has the name by now. Others
        that it does not have are passed over.

        Raises:
            RequestError: INVALID_REQUEST, it was not asked for one that it has.
        """
        found: list[Owned] = []
        for name in names:
            asked = self._unanswered.get(name)
            if asked:
                if (hold := asked.popleft()) is not None:
                    found.append(hold)
                if not asked:
                    del self._unanswered[name]
            elif self.places.at(name) is not None:
                raise RequestError(
                    ErrorCode.INVALID_REQUEST,
                    f"revoked: {name[0]}/{name[1]} was not asked for; hand over only what Revoke "
                    "named",
                    field="revoked",
                    topic=name[0],
                    partition=str(name[1]),
                )
        return tuple(found)

    def _revoked(self, member: MemberView) -> list[Event]:
        """Return what a member has lost, and what is asked of it, by the names that it knows."""
        owned, revoking = frozenset(member.owned), frozenset(member.revoking)
        asked = [hold for hold in member.revoking if hold not in self._asked]
        self._asked = revoking
        wanted = [(name, hold) for hold in asked if (name := self._name_of(hold)) is not None]
        dropped = [held for held in self.places.every() if held.owned not in owned]
        for held in dropped:
            self.places.drop(held)
        taken = [(held.named, held.owned) for held in dropped if held.owned not in revoking]
        gone: list[tuple[Named, Owned | None]] = [*taken, *self._believed(owned | revoking)]
        for name, hold in (*gone, *wanted):
            self._unanswered.setdefault(name, deque()).append(hold)
            self._said.pop(name, None)
        delivered = [held.bounds.partition for held in dropped]
        events: list[Event] = []
        if gone:
            events.append(Revoke([name for name, _ in gone], 0, delivered))
        if wanted:
            left_ms = min(self._time_left_ms(hold) for _, hold in wanted)
            events.append(Revoke([name for name, _ in wanted], left_ms, delivered))
        return events

    def _believed(self, has: frozenset[Owned]) -> list[tuple[Named, Owned | None]]:
        """Return what a member that resumes believes to have, and has not."""
        partitions = {hold.partition for hold in has}
        return [
            (name, hold)
            for name, (partition, hold) in self._said.items()
            if (partition not in partitions if hold is None else hold not in has)
        ]

    def _name_of(self, hold: Owned) -> Named | None:
        """Return by which name a member knows a hold; None: it knows of none, nor is there one."""
        held, partition = self.places.of(hold), self._found_by(hold.partition)
        if held is not None:
            return held.named
        if partition is not None:
            return partition.topic.name, partition.number
        return next((name for name, said in self._said.items() if said.hold == hold), None)

    def _found_by(self, partition: PartitionId) -> Readable | None:
        """Return a partition; None when its topic is gone, which the coordinator will follow."""
        return self._partitions.by_id(partition)
