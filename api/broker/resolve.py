"""Turn a place into an offset; exactly, also when it is a time (P36)."""

from collections.abc import Sequence
from typing import NamedTuple

from api.broker.context import BrokerContext
from api.broker.place import (
    AfterEarliest,
    Ago,
    AtOffset,
    AtTime,
    BeforeLatest,
    Earliest,
    Latest,
    MaxTimestamp,
    Place,
)
from api.broker.reach import reach_of
from api.broker.readable import Readable
from api.broker.search import Searches
from api.broker.turns import Turns
from cluster.shell.hosted_partition import HostedPartition
from logstore.time_search import Found, max_timestamp, offset_for_time
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.principal import Principal
from model.record import ClockKind


class Resolved(NamedTuple):
    """Where a place lies in one partition, as of now."""

    offset: Offset | None
    """None: no record at or after the time asked for exists."""
    time_ms: int | None
    """The found record's time on the clock asked for; None where no record was looked at."""
    truncated: bool
    """Retention or trimming removed history between the place asked for and the answer, or may
    have; of a time that is asked `onward`, a record of that time or a later one."""
    log_start: Offset
    high_watermark: Offset
    last_stable_offset: Offset
    leader_epoch: LeaderEpoch
    """Of the record at the offset, where that is known; else the partition's."""
    closed_time: AppendTimeMs
    """On the append clock an answer "none" is final for times up to this."""


class Resolve:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, searches: Searches) -> None:
        """Look into this node's partitions."""
        self._node = context
        self._searches = searches

    async def __call__(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        """Find the place among the committed records.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE (beyond the end), INVALID_REQUEST, CORRUPT_LOG;
                NOT_LEADER, LEADER_NOT_AVAILABLE, OFFSET_NOT_AVAILABLE.
        """
        del principal
        if not isinstance(partition, HostedPartition):
            raise partition.not_serving()
        partition.check_serves()
        match place:
            case AtTime(time_ms, clock, onward):
                return await self._at_time(partition, time_ms, clock, onward=onward)
            case Ago(before_ms, clock):
                now = self._now(clock)
                return await self._at_time(partition, now - before_ms, clock)
            case MaxTimestamp():
                search = max_timestamp(partition.log, end=partition.high_watermark)
                found = await self._searches.run(partition.log, search)
                if isinstance(found, Found):
                    return self._answer(partition, found.offset, found.time)
                return self._answer(partition, None, truncated=found.truncated)
            case _:
                return self._by_offset(partition, place)

    async def each(
        self, principal: Principal, partitions: Sequence[Readable], place: Place
    ) -> list[Resolved | RequestError]:
        """Find the same place in several partitions, in order: each, or why it cannot be found."""
        found: list[Resolved | RequestError] = []
        turns = Turns(self._node.clock, self._searches.turn)
        for one in partitions:
            found.append(await self._tried(principal, one, place))
            await turns.give_way()
        return found

    async def _tried(
        self, principal: Principal, partition: Readable, place: Place
    ) -> Resolved | RequestError:
        try:
            return await self(principal, partition, place)
        except RequestError as refusal:
            return refusal

    def _now(self, clock: ClockKind) -> int:
        if clock is ClockKind.APPEND:
            return self._node.append_time()
        return self._node.clock.wall_ms()

    def _by_offset(self, partition: HostedPartition, place: Place) -> Resolved:
        start, end = partition.log_start, partition.high_watermark
        match place:
            case Earliest():
                return self._answer(partition, start)
            case Latest():
                return self._answer(partition, end)
            case AfterEarliest(offsets) if offsets >= 0:
                return self._answer(partition, min(Offset(start + offsets), end))
            case BeforeLatest(offsets) if offsets >= 0:
                cut = end - offsets < start and start > 0
                return self._answer(partition, max(Offset(end - offsets), start), truncated=cut)
            case AtOffset(offset):
                found = held_within(partition, offset, start=start, mark=end)
                return self._answer(partition, found, truncated=offset < start)
            case _:
                raise _negative(place)

    async def _at_time(
        self, partition: HostedPartition, time_ms: int, clock: ClockKind, *, onward: bool = False
    ) -> Resolved:
        closed = partition.closed_time(self._node.closed_time())
        search = offset_for_time(
            partition.log, time_ms, clock, end=partition.high_watermark, onward=onward
        )
        found = await self._searches.run(partition.log, search)
        if isinstance(found, Found):
            return self._answer(
                partition, found.offset, found.time, truncated=found.truncated, closed=closed
            )
        return self._answer(partition, None, truncated=found.truncated, closed=closed)

    def _answer(
        self,
        partition: HostedPartition,
        offset: Offset | None,
        time_ms: int | None = None,
        *,
        truncated: bool = False,
        closed: AppendTimeMs | None = None,
    ) -> Resolved:
        epoch = None if offset is None else partition.log.leader_epochs.epoch_at(offset)
        return Resolved(
            offset,
            time_ms,
            truncated,
            partition.log_start,
            partition.high_watermark,
            partition.last_stable_offset,
            partition.leader_epoch if epoch is None else epoch,
            partition.closed_time(self._node.closed_time()) if closed is None else closed,
        )


def reads_from(place: Place, found: Resolved) -> Offset:
    """Return where a reader begins that goes on from there by itself.

    At an offset that was asked for as it is, also below the log start: its first read tells what is
    gone (`Gap`). Where no record is of the time asked for, at the end.
    """
    if isinstance(place, AtOffset):
        return Offset(place.offset)
    return found.high_watermark if found.offset is None else found.offset


def held_within(partition: Readable, offset: int, *, start: Offset, mark: Offset) -> Offset:
    """Return an offset, or the log start where it lies below that.

    `start`, `mark`: what the leader says; an offset may lie above its mark, where others may have
    been told of more (`reach_of`).

    Raises:
        RequestError: OFFSET_OUT_OF_RANGE, it lies beyond the end; INVALID_REQUEST, below zero.
    """
    if offset < 0:
        raise _negative(AtOffset(offset))
    end = max(mark, reach_of(partition))
    if offset > end:
        raise RequestError(
            ErrorCode.OFFSET_OUT_OF_RANGE,
            f"{partition.topic.name}/{partition.number}: offset {offset} lies beyond the end, "
            f"{end}",
            topic=partition.topic.name,
            partition=str(partition.number),
            offset=str(offset),
            log_start_offset=str(start),
            high_watermark=str(mark),
        )
    return max(Offset(offset), start)


def _negative(place: Place) -> RequestError:
    return RequestError(ErrorCode.INVALID_REQUEST, f"{place}: negative; count from 0", field="seek")
