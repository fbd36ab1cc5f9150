"""What other leaders hold, for use cases of this node: asked by the calls that clients make."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from api.broker.append_runs import StoredBatch
from api.broker.broker import Broker
from api.broker.forward import Forwarding
from api.broker.place import (
    AfterEarliest,
    Ago,
    AtOffset,
    AtTime,
    BeforeLatest,
    Earliest,
    Place,
)
from api.broker.read_on import Diverged, Gap, Read, ReadFrom, Step
from api.broker.resolve import Resolved
from api.rpc.convert import CLOCKS_OUT, timestamp
from api.rpc.fetch_elsewhere import FETCH
from api.rpc.resolve_elsewhere import RESOLVE
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, NodeId, Offset
from model.principal import Principal
from model.record import BatchHeader, iter_batches
from tidelog.v1 import common_pb2, log_service_pb2

READ_MS: Final = 2_000
"""For what a leader has at hand."""


class RemoteReads:
    """`api.broker.anywhere.RemoteReads` over forwarded calls. Loop only."""

    def __init__(self, broker: Broker, forwarding: Forwarding) -> None:
        """Ask by `forwarding`."""
        self._broker, self._forwarding = broker, forwarding

    async def read(
        self, principal: Principal, places: Sequence[ReadFrom], *, max_bytes: int
    ) -> list[Read]:
        """Return what each leader says of these places, in order."""
        found: dict[int, Read] = {}
        groups: dict[NodeId, list[int]] = {}
        for slot, place in enumerate(places):
            leader = self._leader(place.partition)
            if leader is None:
                found[slot] = place.partition.not_serving()
            else:
                groups.setdefault(leader, []).append(slot)

        async def ask(node: NodeId, slots: list[int]) -> None:
            mine = [places[slot] for slot in slots]
            try:
                rows = await self._fetched(node, principal, mine, max_bytes=max_bytes)
            except RequestError as refusal:
                found.update(dict.fromkeys(slots, refusal))
            else:
                told = map(_read, mine, rows)
                found.update(zip(slots, told, strict=True))

        async with asyncio.TaskGroup() as tasks:
            for node, slots in groups.items():
                tasks.create_task(ask(node, slots))
        return [found[slot] for slot in range(len(places))]

    async def resolve(
        self, principal: Principal, partition: HostedPartition, place: Place
    ) -> Resolved:
        """Return where a place lies, as the leader says.

        Raises:
            RequestError: its refusal, or that of the way to it.
        """
        leader = self._leader(partition)
        if leader is None:
            raise partition.not_serving()
        request = log_service_pb2.ResolveOffsetsRequest(seek=_seek(place))
        request.partitions.add(topic=partition.topic.name, partition=partition.number)
        answer = await self._forwarding.call(
            leader, RESOLVE, principal, payload=request.SerializeToString(), left_ms=READ_MS
        )
        (row,) = log_service_pb2.ResolveOffsetsResponse.FromString(answer).resolved
        if row.HasField("error"):
            raise _error(row.error)
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

    def _leader(self, partition: HostedPartition) -> NodeId | None:
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
            node, FETCH, principal, payload=request.SerializeToString(), left_ms=READ_MS
        )
        return log_service_pb2.FetchResponse.FromString(answer).results


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
            return _error(row.error)


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


def _error(row: common_pb2.RecordError) -> RequestError:
    """Return a row's refusal as the error that it was."""
    code = ErrorCode.__members__.get(row.reason)
    if code is None:
        unknown = row.outcome != common_pb2.OUTCOME_NOT_DONE
        code = ErrorCode.INTERNAL if unknown else ErrorCode.NOT_IMPLEMENTED
        return RequestError(code, f"{row.reason}: {row.message}")
    told = {name: text for name, text in row.metadata.items() if name not in _RESERVED}
    return RequestError(code, row.message, retry_delay_ms=None, **told)


_RESERVED: Final = frozenset({"outcome", "retryable", "retry_delay_ms"})


def _seek(place: Place) -> common_pb2.Seek:
    seek = common_pb2.Seek()
    match place:
        case AtOffset(offset):
            seek.offset = offset
        case AtTime(time_ms, clock):
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
