"""Where a member begins in partitions that it is given: its own place, the group's, or a start.

Where nothing of a topic is committed and the start is not the beginning, the places of all its
partitions are committed before anything is delivered, in one decision: whoever gets a partition,
now or later, begins there, and nothing is skipped or comes from before the group.

A start that is counted from the end is looked up before a member joins, in all topics, and
committed with its join: what is appended once it has heard that it is a member is not skipped,
whenever it gets a partition, also after it has resumed. What was not there then begins at its
beginning; so does, where another node has become the coordinator, what somebody else had when it
joined (`starts_at_join`), and a topic for which the batch of its join had no room.

All this is looked up for members of this node's streams, whose partitions it has given them by a
change that was committed; what is looked up before a join comes to nothing unless the join is. So
nobody is asked whether this node coordinates the group still: one that does not, and has not heard
of it, delivers again what it delivered, and commits nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias
from weakref import WeakValueDictionary

from api.broker.consume_events import Opening, Stand
from api.broker.context import BrokerContext
from api.broker.distant import DistantPartition
from api.broker.every_partition import EveryPartition
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.place import BeforeLatest, Earliest, Latest, Place
from api.broker.readable import Readable
from api.broker.resolve import Resolve, reads_from
from api.broker.subscribe import Bounds
from consumer_groups.machine import GroupMachine
from consumer_groups.native.begin import has_begun
from consumer_groups.records import MemberId, OffsetCommitted
from consumer_groups.requests import Begin, ByStream, Cursor
from model.errors import RequestError
from model.ids import GroupId, Offset, PartitionId, TopicId
from model.principal import Principal

Key: TypeAlias = tuple[GroupId, TopicId]
Alike: TypeAlias = Callable[[], frozenset[MemberId]]
"""Returns the members of a group whose start is not the beginning, as of now."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    partitions: EveryPartition
    state: GroupState
    resolve: Resolve
    beginning: "WeakValueDictionary[Key, asyncio.Lock]" = field(
        default_factory=WeakValueDictionary[Key, asyncio.Lock]
    )
    """Held while a group's places in a topic are found: members that come at once find them once"""

    async def at_join(self, principal: Principal, opening: Opening) -> Mapping[PartitionId, Offset]:
        """Return where a start that is counted from the end lies, where a group has not begun.

        Raises:
            RequestError: it is no place in one of them; the group is coordinated elsewhere.
        """
        group = opening.group
        if not _is_from_end(opening.start):
            return {}
        known = self.node.quorum.image.topics
        topics = {known[name].topic_id for name in opening.topics if name in known}
        begun = await self.state.look(group, lambda machine: _begun(machine, group, topics))
        new = [
            partition
            for topic in sorted(topics - begun)
            for partition in self.partitions.of_topic_id(topic)
        ]
        return await self._resolved(principal, new, opening.start)

    async def __call__(
        self,
        principal: Principal,
        opening: Opening,
        partitions: Sequence[Readable],
        *,
        committer: ByStream,
        alike: Alike,
    ) -> AsyncIterator[Sequence[Bounds]]:
        """Yield where partitions begin, topic by topic, once it is committed.

        Once a group has begun in a topic, its other partitions begin at their beginning: they are
        new, or had nothing to read when the group began.

        Raises:
            RequestError: the start is no place in one of them; what the state partition refuses.
        """
        group = opening.group
        for topic, several in groupby(partitions, key=lambda one: one.id.topic):
            of_topic = list(several)
            committed = await self._committed(group, topic)
            if not (isinstance(opening.start, Earliest) or has_begun(committed.values())):
                lock = self.beginning.setdefault((group, topic), asyncio.Lock())
                async with lock:
                    committed = await self._begun(
                        principal, opening, of_topic, committer=committer, alike=alike
                    )
            yield await self._places(principal, of_topic, committed)

    async def of_group(self, principal: Principal, group: GroupId, partition: Readable) -> Bounds:
        """Return where a group stands in a partition; the beginning where nothing is committed."""
        committed = await self._committed(group, partition.id.topic)
        (place,) = await self._places(principal, [partition], committed)
        return place

    async def _begun(
        self,
        principal: Principal,
        opening: Opening,
        partitions: Sequence[Readable],
        *,
        committer: ByStream,
        alike: Alike,
    ) -> Mapping[PartitionId, OffsetCommitted]:
        """Return what is committed in a topic, after the group has begun there if it had not."""
        group, topic = opening.group, partitions[0].id.topic
        committed = await self._committed(group, topic)
        if has_begun(committed.values()):  # while another member was waited for
            return committed
        new = [one for one in self.partitions.of_topic_id(topic) if one.id not in committed]
        if _is_from_end(opening.start):
            since = [one for one in new if one.id not in opening.at_join]
            beginnings = await self._resolved(principal, since, Earliest())
            offsets = {**opening.at_join, **beginnings}
        else:
            offsets = await self._resolved(principal, new, opening.start)
        cursors = [Cursor(partition=one.id, offset=offsets[one.id]) for one in new]
        request = Begin(
            group=group, by=committer, topic=topic, cursors=tuple(cursors), alike=frozenset()
        )
        await self.state.call(
            group,
            lambda machine, now: machine.begin(
                replace(request, alike=alike()),
                now=now,
                topics=ImageTopics(self.node.quorum.image),
            ),
        )
        return await self._committed(group, topic)

    async def _committed(
        self, group: GroupId, topic: TopicId
    ) -> Mapping[PartitionId, OffsetCommitted]:
        """Return every commit of a topic."""
        rows = await self.state.look(group, lambda machine: machine.offsets(group, {topic}))
        return {row.partition: row.committed for row in rows if row.committed is not None}

    async def _resolved(
        self, principal: Principal, partitions: Sequence[Readable], start: Place
    ) -> dict[PartitionId, Offset]:
        """Return where a start lies in each of several partitions.

        Raises:
            RequestError: it is no place in one of them.
        """
        offsets: dict[PartitionId, Offset] = {}
        found = await self.resolve.each(principal, partitions, start)
        for one, place in zip(partitions, found, strict=True):
            if isinstance(place, RequestError):
                raise place
            offsets[one.id] = reads_from(start, place)
        return offsets

    async def _places(
        self,
        principal: Principal,
        partitions: Sequence[Readable],
        committed: Mapping[PartitionId, OffsetCommitted],
    ) -> list[Bounds]:
        """Return where a group goes on; only its leader knows where a partition elsewhere begins.

        Raises:
            RequestError: its leader does not say.
        """
        distant = [
            one
            for one in partitions
            if isinstance(one, DistantPartition) and one.id not in committed
        ]
        starts = await self._resolved(principal, distant, Earliest())
        places: list[Bounds] = []
        for one in partitions:
            known = committed.get(one.id)
            if known is not None:
                places.append(Bounds(one, known.offset, last_epoch=known.leader_epoch))
            else:
                places.append(Bounds(one, starts.get(one.id, one.log_start)))
        return places


def _is_from_end(start: Place) -> bool:
    """Tell whether a start moves on with every record."""
    return isinstance(start, Latest | BeforeLatest)


def _begun(machine: GroupMachine, group: GroupId, topics: Collection[TopicId]) -> set[TopicId]:
    """Return the topics in which a group has begun; none of one that is not there."""
    if machine.revision(group) is None:
        return set()
    rows = [row.committed for row in machine.offsets(group, topics) if row.committed is not None]
    return {row.partition.topic for row in rows if has_begun([row])}


def stand_of(partition: Readable, stand: Stand) -> Bounds:
    """Return where a reader said that it stands."""
    return Bounds(partition, stand.offset, last_epoch=stand.last_epoch)
