"""Where a member begins in partitions that it is given: its own place, the group's, or a start.

Where nothing is committed and the start is not the beginning, the place is committed before
anything is delivered: who gets the partition next begins there too, and skips nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.broker.consume_events import Stand
from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.place import Earliest, Place
from api.broker.resolve import Resolve
from api.broker.subscribe import Bounds
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import OffsetCommitted
from consumer_groups.requests import ByStream, Commit, Cursor
from model.ids import GroupId, Offset, PartitionId
from model.principal import Principal


@dataclass(frozen=True, slots=True)
class Starts:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    state: GroupState
    resolve: Resolve

    async def __call__(
        self,
        principal: Principal,
        group: GroupId,
        partitions: Sequence[HostedPartition],
        *,
        committer: ByStream,
        start: Place,
    ) -> list[Bounds]:
        """Return where each partition begins, and commit what was not committed before.

        Once a group has committed anywhere in a topic, its other partitions begin at their
        beginning: they are new, or had nothing to read when the group began.

        Raises:
            RequestError: the start is no place in one of them; what the state partition refuses.
        """
        committed = await self._committed(group, partitions)
        begun = {partition.topic for partition in committed}
        places: list[Bounds] = []
        pins: list[Cursor] = []
        for partition in partitions:
            here = committed.get(partition.log.id)
            if here is not None:
                places.append(Bounds(partition, here.offset, last_epoch=here.leader_epoch))
            elif isinstance(start, Earliest) or partition.log.id.topic in begun:
                places.append(Bounds(partition, partition.log_start))
            else:
                offset = await self._resolved(principal, partition, start)
                places.append(Bounds(partition, offset))
                pins.append(Cursor(partition=partition.log.id, offset=offset))
        if pins:
            await self._pin(Commit(group=group, actor=committer, cursors=tuple(pins)))
        return places

    async def of_group(self, group: GroupId, partition: HostedPartition) -> Bounds:
        """Return where a group stands in a partition; the beginning where nothing is committed."""
        here = (await self._committed(group, [partition])).get(partition.log.id)
        if here is None:
            return Bounds(partition, partition.log_start)
        return Bounds(partition, here.offset, last_epoch=here.leader_epoch)

    async def _committed(
        self, group: GroupId, partitions: Sequence[HostedPartition]
    ) -> Mapping[PartitionId, OffsetCommitted]:
        """Return every commit of the partitions' topics."""
        topics = {partition.log.id.topic for partition in partitions}
        rows = await self.state.read(group, lambda machine: machine.offsets(group, topics))
        return {row.partition: row.committed for row in rows if row.committed is not None}

    async def _resolved(
        self, principal: Principal, partition: HostedPartition, start: Place
    ) -> Offset:
        found = await self.resolve(principal, partition, start)
        return found.high_watermark if found.offset is None else found.offset

    async def _pin(self, commit: Commit) -> None:
        """Commit; a partition that was lost meanwhile is refused in its row, and told elsewhere."""
        await self.state.call(
            commit.group,
            lambda machine, now: machine.commit(
                commit, now=now, topics=ImageTopics(self.node.quorum.image)
            ),
        )


def stand_of(partition: HostedPartition, stand: Stand) -> Bounds:
    """Return where a reader said that it stands."""
    return Bounds(partition, stand.offset, last_epoch=stand.last_epoch)
