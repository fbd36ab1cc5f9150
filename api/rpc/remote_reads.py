"""What other leaders hold, for use cases of this node: asked by the calls that clients make."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from api.broker.append_runs import StoredBatch
from api.broker.broker import Broker
from api.broker.distant import DistantPartition
from api.broker.forward import GRACE_MS, Forwarding
from api.broker.place import (
    AfterEarliest,
    Ago,
    AtOffset,
    AtTime,
    BeforeLatest,
    Earliest,
    Latest,
    Place,
)
from api.broker.read_on import Diverged, Gap, Read, ReadFrom, Step
from api.broker.readable import Readable
from api.broker.resolve import Resolved
from api.rpc.answers import check_rows, read_answer, refusal_of, unreadable
from api.rpc.convert import CLOCKS_OUT, timestamp
from api.rpc.fetch_elsewhere import FETCH
from api.rpc.resolve_elsewhere import ONWARD, RESOLVE
from model.errors import MalformedError, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, NodeId, Offset
from model.principal import INTERNAL, Principal
from model.record import BatchHeader, iter_batches
from tidelog.v1 import common_pb2, log_service_pb2

FoundT = TypeVar("FoundT")
READ_MS: Final = 1_000
"""For what a leader has at hand, the way included. Members of groups wait as long for one that does
not answer, and are told something every 5 s all the same."""
FIND_MS: Final = 2_000
"""For a place that has to be searched for, and the way besides."""


class RemoteReads:
    """`api.broker.anywhere.RemoteReads` over forwarded calls. Loop only."""

    def __init__(self, broker: Broker, forwarding: Forwarding) -> None:
        """Ask by `forwarding`."""
        self._broker, self._forwarding = broker, forwarding

    async def read(
        self, principal: Principal, places: Sequence[ReadFrom], *, max_bytes: int
    ) -> list[Read]:
        """Return what each leader says of these places, in order."""

        async def ask(node: NodeId, slots: list[int]) -> list[Read]:
            mine = [places[slot] for slot in slots]
            rows = await self._fetched(node, principal, mine, max_bytes=max_bytes)
            return list(map(_read, mine, rows))

        return await self._of_leaders([place.partition for place in places], ask)

    async def resolve(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        """Return where a place lies, as the leader says.

        Raises:
            RequestError: its refusal, or that of the way to it.
        """
        (found,) = await self.resolve_all(principal, [partition], place)
        if isinstance(found, RequestError):
            raise found
        return found

    async def resolve_all(
        self, principal: Principal, partitions: Sequence[Readable], place: Place
    ) -> list[Resolved | RequestError]:
        """Return the same of many, in order; each leader is asked once."""
        return await self._found(principal, partitions, place, left_ms=FIND_MS, grace_ms=GRACE_MS)

    async def ends(
        self, partitions: Sequence[DistantPartition]
    ) -> Sequence[Resolved | RequestError]:
        """Return how far some partitions go; asked by the node itself."""
        return await self._found(INTERNAL, partitions, Latest(), left_ms=READ_MS, grace_ms=0)

    async def _found(
        self,
        principal: Principal,
        partitions: Sequence[Readable],
        place: Place,
        *,
        left_ms: int,
        grace_ms: int,
    ) -> list[Resolved | RequestError]:
        name = ONWARD if isinstance(place, AtTime) and place.onward else RESOLVE

        async def ask(node: NodeId, slots: list[int]) -> list[Resolved | RequestError]:
            request = log_service_pb2.ResolveOffsetsRequest(seek=_seek(place))
            for slot in slots:
                one = partitions[slot]
                request.partitions.add(topic=one.topic.name, partition=one.number)
            answer = await self._forwarding.call(
                node,
                name,
                principal,
                payload=request.SerializeToString(),
                left_ms=left_ms,
                grace_ms=grace_ms,
            )
            told = read_answer(node, log_service_pb2.ResolveOffsetsResponse, answer)
            return list(map(_resolved, check_rows(node, told.resolved, len(slots))))

        return await self._of_leaders(partitions, ask)

    async def _of_leaders(
        self,
        partitions: Sequence[Readable],
        ask: Callable[[NodeId, list[int]], Awaitable[list[FoundT]]],
    ) -> list[FoundT | RequestError]:
        """Ask each leader once for what it leads; return what they say in the order of these."""
        found: dict[int, FoundT | RequestError] = {}
        groups: dict[NodeId, list[int]] = {}
        for slot, partition in enumerate(partitions):
            leader = self._leader(partition)
            if leader is None:
                found[slot] = partition.not_serving()
            else:
                groups.setdefault(leader, []).append(slot)

        async def asked(node: NodeId, slots: list[int]) -> None:
            try:
                found.update(zip(slots, await ask(node, slots), strict=True))
            except RequestError as refusal:
                found.update(dict.fromkeys(slots, refusal))
            except MalformedError as wrong:
                found.update(dict.fromkeys(slots, unreadable(node, str(wrong))))

        async with asyncio.TaskGroup() as tasks:
            for node, slots in groups.items():
                tasks.create_task(asked(node, slots))
        return [found[slot] for slot in range(len(partitions))]

    def _leader(self, partition: Readable) -> NodeId | None:
        image, topic = self._broker.image, partition.topic.name
        return self._forwarding.leader_elsewhere(image, topic, partition.number)

    async def _fetched(
        self, node: NodeId, principal: Principal, places: Sequence[ReadFrom], *, max_bytes: int
    ) -> Iterable[log_service_pb2.FetchResult]:
        request = log_service_pb2.FetchRequest(
            encoding=common_pb2.ENCODING_BATCH,
            max_bytes=max_bytes,
            partition_max_bytes=max(place.max_bytes for place in places),
        )
        for place in places:
            topic, number = place.partition.topic.name, place.partition.number
            cursor = request.cursors.add(topic=topic, partition=number, offset=place.offset)
            if place.last_epoch is not None:
                cursor.leader_epoch = place.last_epoch
        answer = await self._forwarding.call(
            node,
            FETCH,
            principal,
            payload=request.SerializeToString(),
            left_ms=READ_MS,
            grace_ms=0,
        )
        told = read_answer(node, log_service_pb2.FetchResponse, answer)
        return check_rows(node, told.results, len(places))


def _read(place: ReadFrom, row: log_service_pb2.FetchResult) -> Read:
    partition = place.partition
    match row.WhichOneof("result"):
        case "gap":
            expected = Offset(row.gap.expected_offset)
            return Gap(partition, expected, Offset(row.gap.next_offset))
        case "diverged":
            offset = Offset(row.diverged.offset)
            return Diverged(partition, offset, LeaderEpoch(row.diverged.leader_epoch))
        case "records":
            return _step(place, row.records)
        case _:
            return refusal_of(row.error)


def _step(place: ReadFrom, records: common_pb2.PartitionRecords) -> Step:
    batches = []
    for run in records.batches:
        append_time = AppendTimeMs(_ms(run.append_time))
        for view in iter_batches(memoryview(run.encoded)):
            header = BatchHeader.of_checked(view)
            batches.append(
                StoredBatch(
                    view,
                    header.base_offset,
                    header.end_offset,
                    header.leader_epoch,
                    append_time,
                )
            )
    return Step(
        place.partition,
        place.offset,
        batches,
        Offset(records.next.offset),
        Offset(records.log_start_offset),
        Offset(records.high_watermark),
        Offset(records.last_stable_offset),
        AppendTimeMs(_ms(records.closed_time)),
    )


def _resolved(row: log_service_pb2.Resolved) -> Resolved | RequestError:
    if row.HasField("error"):
        return refusal_of(row.error)
    return Resolved(
        Offset(row.offset) if row.HasField("offset") else None,
        _ms(row.time) if row.HasField("time") else None,
        row.truncated,
        Offset(row.log_start_offset),
        Offset(row.high_watermark),
        Offset(row.last_stable_offset),
        LeaderEpoch(row.leader_epoch),
        AppendTimeMs(_ms(row.closed_time)),
    )


def _seek(place: Place) -> common_pb2.Seek:
    seek = common_pb2.Seek()
    match place:
        case AtOffset(offset):
            seek.offset = offset
        case AtTime(time_ms, clock, _):
            seek.time.CopyFrom(timestamp(time_ms))
            seek.clock = CLOCKS_OUT[clock]
        case Ago(before_ms, clock):
            seek.ago.FromMilliseconds(before_ms)
            seek.clock = CLOCKS_OUT[clock]
        case AfterEarliest(offsets):
            seek.after_earliest = offsets
        case BeforeLatest(offsets):
            seek.before_latest = offsets
        case Earliest():
            seek.edge = common_pb2.EDGE_EARLIEST
        case _:
            seek.edge = common_pb2.EDGE_LATEST
    return seek


def _ms(time: Timestamp) -> int:
    return time.seconds * 1_000 + time.nanos // 1_000_000
