"""A stream of records that outlives its connections: it goes on at the very next record.

The place in each partition is kept as the node told it, and sent back when a stream breaks, to the
next node. So a reader sees each record once, in offset order within a partition.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import grpc.aio

from tidelog.calls import RESOLVE_OFFSETS, SUBSCRIBE
from tidelog.checkpoint import Checkpoint, Key, Place
from tidelog.compression import CodecMissing
from tidelog.connection import Connection, Node
from tidelog.errors import (
    CONNECTION_LOST,
    LOG_DIVERGED,
    LOG_GAP,
    ConnectError,
    LogDiverged,
    LogGap,
    TidelogError,
)
from tidelog.places import datetime_of_timestamp
from tidelog.retry import Budget
from tidelog.steps import (
    Advance,
    Live,
    Raw,
    Step,
    Trouble,
    Within,
    behind_corrupt,
    ended_by,
    take_steps,
)
from tidelog.types import Position, TopicPartition
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log
from tidelog.wire_errors import Failure, failure_of_row, failure_of_status, harmless

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall

LOGGER: Final = logging.getLogger("tidelog.client")
SILENCE_S: Final = 20.0
"""A node sends something every 5 s; one that is silent for so long is left."""


class Subscription:
    """One replay's stream, with where it stands."""

    def __init__(
        self, connection: Connection, request: log.SubscribeRequest, resume: Checkpoint | None
    ) -> None:
        """Take what to read; nothing is asked yet."""
        self._connection = connection
        self._request = request
        self._call: UnaryStreamCall[log.SubscribeRequest, log.SubscribeResponse] | None = None
        self._node: Node | None = None
        self._budget: Budget | None = None
        self._within = Within(None)
        self.opened = False
        """A node has said what is read."""
        self.places: dict[Key, Place] = {}
        """Up to where records were received; they may not have been handed out yet."""
        self.times: common.TimeRange | None = None
        self._resumed = resume is not None
        begins_at_offset = resume is None and request.start.HasField("offset")
        self.start_offset = request.start.offset if begins_at_offset else None
        """Where reading was to begin in each partition, if that is an offset: what had been removed
        there is a gap like any other. Who begins at a time is told by `Place.truncated`: nobody
        knows which of the records that are gone were meant."""
        self.positions: dict[TopicPartition, Position] = {}
        if resume is not None:
            checkpoint = Checkpoint(resume.places, resume.times)
            asked = {(one.topic, one.partition) for one in request.partitions}
            self.places = {
                at: place for at, place in checkpoint.places.items() if not asked or at in asked
            }
            self._set_times(resume.times)

    async def open(self) -> Sequence[Step]:
        """Ask, and wait until a node has said what is read; return what came with it.

        Raises:
            TidelogError: it cannot be read.
        """
        if self._resumed and self.times is None:
            await self._resolve_stops()
        steps: list[Step] = []
        while not self.opened:
            more = await self.next()
            if more is None:
                raise lost_error(self._address, "ended the stream before it said what is read")
            steps += more
        return steps

    async def next(self) -> Sequence[Step] | None:
        """Return the next steps; None at the end of a bounded read.

        Raises:
            TidelogError: it cannot be read on, within the retry budget.
        """
        while True:
            if self._budget is None:
                self._budget = self._connection.budget()
            call = self._call or await self._begin(self._budget)
            failure = None
            try:
                async with asyncio.timeout(SILENCE_S):
                    message = await call.read()
            except asyncio.CancelledError:
                self._call = None  # gRPC ends a call whose reader is interrupted
                raise
            except TimeoutError:
                failure = Failure(lost_error(self._address, "is silent"), other_node=True)
            except grpc.aio.AioRpcError as status:
                failure = failure_of_status(status, self._address)
            else:
                if not isinstance(message, log.SubscribeResponse):
                    self._call = None
                    return None
                self._budget = None
                return self._steps(message)
            if self._is_done():
                return None
            damaged = self._behind(failure)
            if damaged:
                return damaged
            await self._recover(failure, self._budget)

    async def _resolve_stops(self) -> None:
        """Find where a resumed read ends: where this call says, not where the earlier one ended.

        The wire's bounds carry both ends, so the stop is found here. Partitions that the topic has
        grown meanwhile are read from their beginning.
        """
        asked = self._request
        if not asked.HasField("stop"):
            for place in self.places.values():
                place.stop = None
            return
        fixed = asked.stop.offset if asked.stop.HasField("offset") else None
        request = log.ResolveOffsetsRequest(
            topics=asked.topics,
            partitions=asked.partitions,
            seek=asked.stop if fixed is None else common.Seek(edge=common.EDGE_EARLIEST),
            isolation_level=asked.isolation_level,
        )
        uncommitted = asked.isolation_level == common.ISOLATION_LEVEL_READ_UNCOMMITTED
        for row in (await self._connection.call(RESOLVE_OFFSETS, request)).resolved:
            if row.HasField("error"):
                raise failure_of_row(row.error).error
            end = row.high_watermark if uncommitted else row.last_stable_offset
            found = row.offset if row.WhichOneof("at") == "offset" else end
            key = (row.partition.topic, row.partition.partition)
            place = self.places.setdefault(key, Place(row.log_start_offset))
            place.stop = max(place.offset, found if fixed is None else fixed)

    def close(self) -> None:
        """End the stream."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    @property
    def _address(self) -> str:
        return self._node.address if self._node is not None else "a node"

    async def _begin(
        self, budget: Budget
    ) -> "UnaryStreamCall[log.SubscribeRequest, log.SubscribeResponse]":
        """Ask a node to go on from where this stands."""
        self._node = await self._connection.ready(budget)
        request = log.SubscribeRequest()
        request.CopyFrom(self._request)
        for (topic, partition), place in self.places.items():
            start = common.Cursor(topic=topic, partition=partition, offset=place.offset)
            if place.leader_epoch is not None:
                start.leader_epoch = place.leader_epoch
            bounds = log.ReadBounds(start=start, truncated=place.truncated)
            if place.stop is not None:
                bounds.stop_offset = place.stop
            request.bounds.append(bounds)
        if self.times is not None:
            request.range.CopyFrom(self.times)
        self._call = self._connection.subscribe(self._node, SUBSCRIBE, request)
        return self._call

    async def _recover(self, failure: Failure, budget: Budget) -> None:
        """Wait before asking again; raise what will not be otherwise."""
        self.close()
        error = harmless(failure.error)
        if not error.retryable:
            raise ended_by(error)
        if failure.other_node and self._node is not None:
            self._connection.leave(self._node)
        await self._connection.clock.sleep(budget.failed(error, failure.retry_after_s))

    def _behind(self, failure: Failure) -> Sequence[Step]:
        """Go on behind batches that no node can serve; nothing, if that is not what happened."""
        found = behind_corrupt(failure.error)
        if found is None:
            return ()
        key, next_offset = found
        place = self.places.get(key)
        if place is None or next_offset <= place.offset:
            return ()
        self.close()
        self._budget = None
        place.offset = next_offset if place.stop is None else min(next_offset, place.stop)
        place.leader_epoch = None
        return [Trouble(failure.error), Advance(key, place.offset, None)]

    def _is_done(self) -> bool:
        """Tell whether every partition has been read to its end, though the stream did not say."""
        return self.opened and all(
            place.stop is not None and place.offset >= place.stop for place in self.places.values()
        )

    def _steps(self, message: log.SubscribeResponse) -> Sequence[Step]:
        match message.WhichOneof("event"):
            case "opened":
                return self._open(message.opened)
            case "records":
                return self._records(message.records)
            case "caught_up" | "fell_behind" as turned:
                return [Live(caught_up=turned == "caught_up")]
            case "gap":
                return self._gap(message.gap)
            case "diverged":
                return [Trouble(diverged_error(message.diverged))]
            case _:
                pass  # an event of a newer node
        return ()

    def _open(self, opened: log.SubscribeResponse.Opened) -> Sequence[Step]:
        self.opened = True
        gaps: list[Step] = []
        if opened.HasField("range"):
            self._set_times(opened.range)
        for bounds in opened.bounds:
            key = (bounds.start.topic, bounds.start.partition)
            stop = bounds.stop_offset if bounds.HasField("stop_offset") else None
            place = self.places.get(key)
            if place is not None:
                place.stop = stop if place.stop is None else place.stop
                continue
            epoch = bounds.start.leader_epoch if bounds.start.HasField("leader_epoch") else None
            self.places[key] = Place(bounds.start.offset, epoch, stop, bounds.truncated)
            if bounds.truncated and self.start_offset is not None:
                gaps.append(Trouble(removed(key, self.start_offset, bounds.start.offset)))
        return gaps

    def _set_times(self, times: common.TimeRange | None) -> None:
        self.times = times
        self._within = Within(times)

    def _records(self, records: common.Records) -> list[Step]:
        steps: list[Step] = []
        for message in records.partitions:
            key = (message.next.topic, message.next.partition)
            place = self.places.setdefault(key, Place(0))
            begun = len(steps)
            try:
                take_steps(message, place, within=self._within, steps=steps)
            except CodecMissing as missing:
                LOGGER.debug("asking for plain records: %s", missing)
                self._request.encoding = common.ENCODING_RECORDS
                self.close()
                _go_behind(place, steps[begun:])
                return steps
            place.offset = message.next.offset
            epoch = message.next.leader_epoch if message.next.HasField("leader_epoch") else None
            place.leader_epoch = epoch
            self.positions[TopicPartition(*key)] = position_of(message)
        return steps

    def _gap(self, gap: common.Gap) -> Sequence[Step]:
        key = (gap.partition.topic, gap.partition.partition)
        place = self.places.setdefault(key, Place(gap.next_offset))
        place.offset, place.leader_epoch = gap.next_offset, None
        return [Trouble(gap_error(gap)), Advance(key, gap.next_offset, None)]


def behind(places: Mapping[Key, Place]) -> dict[Key, Place]:
    """Return a copy of places that moves on its own."""
    return {
        key: Place(one.offset, one.leader_epoch, one.stop, one.truncated)
        for key, one in places.items()
    }


def _go_behind(place: Place, steps: Sequence[Step]) -> None:
    """Go on behind the last record of steps that were cut short."""
    for step in reversed(steps):
        if isinstance(step, Raw):
            place.offset, place.leader_epoch = step.offset + 1, step.leader_epoch
            return


def position_of(message: common.PartitionRecords) -> Position:
    """Return how far a partition's log reached when a message was sent."""
    closed = message.HasField("closed_time")
    return Position(
        message.log_start_offset,
        message.high_watermark,
        message.last_stable_offset,
        datetime_of_timestamp(message.closed_time) if closed else None,
    )


def gap_error(gap: common.Gap) -> LogGap:
    """Return what a gap is to a program."""
    key = (gap.partition.topic, gap.partition.partition)
    return removed(key, gap.expected_offset, gap.next_offset)


def removed(key: Key, expected_offset: int, next_offset: int) -> LogGap:
    """Return what a program is told of records that were to be read, and are gone."""
    topic, partition = key
    return LogGap(
        f"{topic}/{partition}: offsets {expected_offset} to {next_offset - 1} were removed, by "
        "retention or a trim, before they were read",
        reason=LOG_GAP,
        metadata={
            "topic": topic,
            "partition": str(partition),
            "expected_offset": str(expected_offset),
            "next_offset": str(next_offset),
        },
    )


def diverged_error(diverged: common.Diverged) -> LogDiverged:
    """Return what records that are no longer there are to a program."""
    topic, partition = diverged.partition.topic, diverged.partition.partition
    return LogDiverged(
        f"{topic}/{partition}: records that were read, from offset {diverged.offset} on, are no "
        "longer in the log",
        reason=LOG_DIVERGED,
        metadata={"topic": topic, "partition": str(partition), "offset": str(diverged.offset)},
    )


def lost_error(address: str, what: str) -> TidelogError:
    """Return what a stream without a word from a node ended with."""
    return ConnectError(f"{address} {what}", reason=CONNECTION_LOST, retryable=True)
