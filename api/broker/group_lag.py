"""Where a group stands, and how far behind that is: in offsets, and in time.

Where a partition goes to is told by its leader. When the first record that was not read was
appended stands in every replica alike; where there is none here, its leader tells that too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from api.broker.anywhere import ReadAnywhere
from api.broker.context import BrokerContext
from api.broker.every_partition import EveryPartition
from api.broker.forward import passing
from api.broker.group_state import GroupState
from api.broker.place import Latest
from api.broker.read_on import ReadFrom, Step
from api.broker.readable import Readable
from api.broker.resolve import Resolved
from api.broker.search import Searches
from api.broker.turns import Turns
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import MemberId, OffsetCommitted
from consumer_groups.views import OffsetRow
from logstore.append_search import append_time_of
from logstore.searchable import SegmentGone
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId
from model.principal import Principal

TRIES_MAX: Final = 3
"""Of asking when a record was appended that retention is about to remove."""


class Extent(NamedTuple):
    """From where to where a partition goes, as its leader says."""

    log_start: Offset
    high_watermark: Offset
    last_stable_offset: Offset


class GroupOffset(NamedTuple):
    """One partition of a group."""

    partition: Readable
    committed: OffsetCommitted | None
    """None: nothing was."""
    owner: MemberId | None
    """Who has it, or has still to hand it over."""
    log_start: Offset | None
    """None, and likewise the two below: the leader did not answer (`error`)."""
    high_watermark: Offset | None
    lag: int | None
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
    partitions: EveryPartition
    state: GroupState
    searches: Searches
    elsewhere: ReadAnywhere

    async def __call__(
        self, principal: Principal, group: GroupId, topics: Sequence[str]
    ) -> list[GroupOffset]:
        """Return every partition with a commit or an owner (of some topics), by topic and number.

        Raises:
            RequestError: UNKNOWN_GROUP, UNKNOWN_TOPIC.
        """
        wanted = None
        if topics:
            wanted = {self.partitions.get(topic, 0).topic.topic_id for topic in topics}
        rows = await self.state.read(group, lambda machine: machine.offsets(group, wanted))
        found: list[tuple[Readable, OffsetRow]] = []
        for row in rows:
            partition = self.partitions.by_id(row.partition)
            if partition is not None:  # else the topic is gone: so will be the row
                found.append((partition, row))
        found.sort(key=lambda one: (one[0].topic.name, one[0].number))
        ends = await self._ends(principal, [partition for partition, _ in found])
        turns = Turns(self.node.clock, self.searches.turn)
        offsets: list[GroupOffset] = []
        for (partition, row), end in zip(found, ends, strict=True):
            if isinstance(end, RequestError):
                offsets.append(_untold(partition, row, passing(end)))
            else:
                offsets.append(await self._row(principal, partition, row, end=end))
            await turns.give_way()
        return offsets

    async def _ends(
        self, principal: Principal, partitions: Sequence[Readable]
    ) -> Sequence[Extent | RequestError]:
        """Return how far each partition goes, or why nobody says so."""
        remote = self.elsewhere.remote
        away = [one for one in partitions if not one.serves]
        told: dict[PartitionId, Extent | RequestError] = {}
        if remote is not None and away:
            for one, said in zip(
                away, await remote.resolve_all(principal, away, Latest()), strict=True
            ):
                told[one.id] = said if isinstance(said, RequestError) else _extent(said)
        return [told.get(one.id) or _extent(one) for one in partitions]

    async def _row(
        self, principal: Principal, partition: Readable, row: OffsetRow, *, end: Extent
    ) -> GroupOffset:
        committed, start = row.committed, end.log_start
        at = start if committed is None else max(committed.offset, start)
        lag_time_ms, error = None, None
        try:
            lag_time_ms = await self._lag_time_ms(principal, partition, at, end=end)
        except RequestError as damage:
            error = damage
        return GroupOffset(
            partition=partition,
            committed=committed,
            owner=row.owner,
            log_start=start,
            high_watermark=end.high_watermark,
            lag=max(0, end.last_stable_offset - at),
            lag_time_ms=lag_time_ms,
            truncated=committed is not None and committed.offset < start,
            error=error,
        )

    async def _lag_time_ms(
        self, principal: Principal, partition: Readable, at: Offset, *, end: Extent
    ) -> int:
        """Return how long the first record from an offset on has been there.

        Raises:
            RequestError: nobody can read when it was appended.
        """
        for _ in range(TRIES_MAX):
            if at >= end.last_stable_offset:
                return 0
            if not isinstance(partition, HostedPartition) or at >= partition.high_watermark:
                appended = await self._told_by_leader(principal, partition, at)
                break
            at = max(at, partition.log_start)
            try:
                appended = await self.searches.run(partition.log, append_time_of(partition.log, at))
            except SegmentGone:  # retention was faster: the log begins later now
                continue
            break
        else:
            appended = None
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

    async def _told_by_leader(
        self, principal: Principal, partition: Readable, at: Offset
    ) -> AppendTimeMs | None:
        """Return when a record was appended that no replica here has; None: it is not there now.

        Raises:
            RequestError: its leader does not say.
        """
        remote = self.elsewhere.remote
        if remote is None:
            return None
        (read,) = await remote.read(principal, [ReadFrom(partition, at, 1)], max_bytes=1)
        if isinstance(read, RequestError):
            raise passing(read)
        return read.batches[0].append_time if isinstance(read, Step) and read.batches else None


def _extent(told: Readable | Resolved) -> Extent:
    return Extent(told.log_start, told.high_watermark, told.last_stable_offset)


def _untold(partition: Readable, row: OffsetRow, why: RequestError) -> GroupOffset:
    """Return a row of which only the coordinator has said its part."""
    return GroupOffset(
        partition=partition,
        committed=row.committed,
        owner=row.owner,
        log_start=None,
        high_watermark=None,
        lag=None,
        lag_time_ms=None,
        truncated=False,
        error=why,
    )
