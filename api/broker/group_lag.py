"""Where a group stands, and how far behind that is: in offsets, and in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from api.broker.search import Searches
from api.broker.turns import Turns
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import MemberId, OffsetCommitted
from consumer_groups.views import OffsetRow
from logstore.append_search import append_time_of
from logstore.searchable import SegmentGone
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset
from model.principal import Principal

TRIES_MAX: Final = 3
"""Of asking when a record was appended that retention is about to remove."""


class GroupOffset(NamedTuple):
    """One partition of a group."""

    partition: HostedPartition
    committed: OffsetCommitted | None
    """None: nothing was."""
    owner: MemberId | None
    """Who has it, or has still to hand it over."""
    log_start: Offset
    high_watermark: Offset
    lag: int
    """Offsets from the committed one, or the log start, to what READ_COMMITTED may show."""
    lag_time_ms: int | None
    """Age, on the append clock, of the first record not read; 0: there is none. None: `error`."""
    truncated: bool
    """Retention or trimming has passed the committed offset."""
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class GroupLag:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    state: GroupState
    searches: Searches

    async def __call__(
        self, principal: Principal, group: GroupId, topics: Sequence[str]
    ) -> list[GroupOffset]:
        """Return every partition with a commit or an owner (of some topics), by topic and number.

        Raises:
            RequestError: UNKNOWN_GROUP, UNKNOWN_TOPIC.
        """
        del principal
        wanted = None
        if topics:
            wanted = {self.node.partitions.get(topic, 0).topic.topic_id for topic in topics}
        rows = await self.state.read(group, lambda machine: machine.offsets(group, wanted))
        found: list[tuple[HostedPartition, OffsetRow]] = []
        for row in rows:
            hosted = self.node.partitions.by_id(row.partition)
            if hosted is not None:  # else the topic is gone: so will be the row
                found.append((hosted, row))
        found.sort(key=lambda one: (one[0].topic.name, one[0].number))
        turns = Turns(self.node.clock, self.searches.turn)
        offsets: list[GroupOffset] = []
        for partition, row in found:
            offsets.append(await self._row(partition, row))
            await turns.give_way()
        return offsets

    async def _row(self, partition: HostedPartition, row: OffsetRow) -> GroupOffset:
        committed, start = row.committed, partition.log_start
        at = start if committed is None else max(committed.offset, start)
        lag_time_ms, error = None, None
        try:
            lag_time_ms = await self._lag_time_ms(partition, at)
        except RequestError as damage:
            error = damage
        return GroupOffset(
            partition=partition,
            committed=committed,
            owner=row.owner,
            log_start=start,
            high_watermark=partition.high_watermark,
            lag=max(0, partition.last_stable_offset - at),
            lag_time_ms=lag_time_ms,
            truncated=committed is not None and committed.offset < start,
            error=error,
        )

    async def _lag_time_ms(self, partition: HostedPartition, at: Offset) -> int:
        """Return how long the first record from an offset on has been there.

        Raises:
            RequestError: nobody can read when it was appended.
        """
        for _ in range(TRIES_MAX):
            at = max(at, partition.log_start)
            if at >= partition.last_stable_offset:
                return 0
            try:
                appended = await self.searches.run(partition.log, append_time_of(partition.log, at))
            except SegmentGone:  # retention was faster: the log begins later now
                continue
            if appended is not None:
                return max(0, self.node.append_time() - appended)
        name = f"{partition.topic.name}/{partition.number}"
        raise RequestError(
            ErrorCode.OFFSET_NOT_AVAILABLE,
            f"{name}: the record at offset {at} is being removed",
            topic=partition.topic.name,
            partition=str(partition.number),
            offset=str(at),
        )
