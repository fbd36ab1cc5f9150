"""What one member has been told that it has, held against what it has: the difference is news."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from api.broker.consume_events import Assigned, Event, Joined, Named, Opening, Revoke, Stand
from api.broker.consume_places import Held, Places
from api.broker.consume_starts import Starts, stand_of
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from consumer_groups.records import Owned
from consumer_groups.requests import ByStream
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import PartitionId
from model.principal import Principal


class Assignment:
    """One member's partitions over one stream. Loop only."""

    def __init__(
        self,
        partitions: Partitions,
        starts: Starts,
        time_left_ms: Callable[[Owned], int],
        *,
        principal: Principal,
        opening: Opening,
    ) -> None:
        """Begin with nothing told."""
        self._partitions = partitions
        self._starts = starts
        self._time_left_ms = time_left_ms
        self._principal = principal
        self._opening = opening
        self.places = Places()
        self._epoch: int | None = None
        self._told: MemberView | None = None
        self._given: MemberView | None = None
        self._asked: frozenset[Owned] = frozenset()
        self._unanswered: dict[Named, deque[Owned]] = {}
        """What each Revoke named and the member has not handed over; oldest first."""
        self._known: Mapping[Named, Owned] = {}
        """What a member that resumes knows that it has, until it is told."""
        self._stands: Mapping[PartitionId, Stand] = (
            {} if opening.rejoin is None else opening.rejoin.stands
        )

    def changed(self, member: MemberView) -> list[Event]:
        """Return the news about a member's epoch and what it is to give up."""
        if member is self._told:
            return []
        self._told = member
        events: list[Event] = []
        if member.epoch != self._epoch:
            self._epoch = member.epoch
            events.append(Joined(member.member_id, member.epoch, member.session_timeout_ms))
        return events + self._revoked(member)

    async def given(self, member: MemberView) -> list[Event]:
        """Return what a member is given anew, with the places where it begins.

        Raises:
            RequestError: a place cannot be found or committed.
        """
        if member is self._given:
            return []
        self._given = member
        stands, self._stands = self._stands, {}
        gained = [
            (owned, partition)
            for owned in member.owned
            if self.places.of(owned) is None
            and (partition := self._hosted(owned.partition)) is not None
        ]
        if not gained:
            self._known = {}
            return []
        rejoin = self._opening.rejoin
        known = -1 if rejoin is None else rejoin.member_epoch
        news = [
            partition
            for owned, partition in gained
            if owned.since_epoch > known or owned.partition not in stands
        ]
        bounds = {
            owned.partition: stand_of(partition, stands[owned.partition])
            for owned, partition in gained
            if partition not in news
        }
        if news:
            found = await self._starts(
                self._principal,
                self._opening.group,
                news,
                committer=ByStream(member.member_id, member.stream),
                start=self._opening.start,
            )
            bounds |= {place.partition.log.id: place for place in found}
        for owned, _ in gained:
            self.places.take(Held(owned, bounds[owned.partition]))
        self._known = {}
        # What is told must not move on with what is read.
        return [Assigned([replace(bounds[owned.partition]) for owned, _ in gained])]

    def resumed(self, member: MemberView) -> None:
        """Note what a member has that came back: it may commit before it is told."""
        rejoin = self._opening.rejoin
        if rejoin is not None:
            self._known = {
                (partition.topic.name, partition.number): hold
                for hold in (*member.owned, *member.revoking)
                if hold.since_epoch <= rejoin.member_epoch
                and (partition := self._hosted(hold.partition)) is not None
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
                found.append(asked.popleft())
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
        owned, revoking = frozenset(member.owned), frozenset(member.revoking)
        taken: list[Held] = []
        for held in self.places.every():
            if held.owned not in owned:
                self.places.drop(held)
                if held.owned not in revoking:
                    taken.append(held)
        asked = [hold for hold in member.revoking if hold not in self._asked]
        self._asked = revoking
        found = [(hold, self._hosted(hold.partition)) for hold in asked]
        wanted = [partition for _, partition in found if partition is not None]
        gone = [(held.owned, held.bounds.partition) for held in taken]
        for hold, partition in (*gone, *found):
            if partition is not None:
                name = partition.topic.name, partition.number
                self._unanswered.setdefault(name, deque()).append(hold)
        events: list[Event] = []
        if taken:
            events.append(Revoke([held.bounds.partition for held in taken], 0))
        if wanted:
            events.append(Revoke(wanted, min(self._time_left_ms(hold) for hold in asked)))
        return events

    def _hosted(self, partition: PartitionId) -> HostedPartition | None:
        """Return a partition; None when its topic is gone, which the coordinator will follow."""
        hosted = self._partitions.of_topic_id(partition.topic)
        return hosted[partition.number] if partition.number < len(hosted) else None
