"""LogService: append, read, follow, find by time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from api.broker.broker import Broker
from api.broker.place import AtTime, Place
from api.rpc.call import Call
from api.rpc.convert import check_consistency, check_isolation, not_built, refuse, timestamp
from api.rpc.details import ErrorRows
from api.rpc.fetch import FetchCall
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional, Handler, ServerStream, Unary
from api.rpc.places import place_of
from api.rpc.produce import INT16_MAX, Producing, rows_bytes
from api.rpc.produce_stream import ProduceStream, Requests, Send
from api.rpc.resolve_elsewhere import ONWARD, resolved_elsewhere
from api.rpc.selection import select
from api.rpc.subscribe import SubscribeCall
from cluster.shell.hosted_partition import HostedPartition
from model.errors import RequestError
from model.ids import NodeId, ProducerEpoch, ProducerId
from tidelog.v1 import common_pb2, log_service_pb2


class LogService:
    """The service. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Serve a node's use cases."""
        self._broker = broker
        self._guard = guard
        self._producing = Producing(broker)
        self._fetch = FetchCall(broker, guard)
        self._subscribe = SubscribeCall(broker, guard)
        self._turns: dict[NodeId, asyncio.Lock] = {}
        """Of nodes that bring calls of their clients."""

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {
            "LogService/InitProducer": Unary(self.init_producer),
            "LogService/Produce": Unary(self.produce),
            "LogService/ProduceStream": Bidirectional(self.produce_stream),
            "LogService/Fetch": Unary(self._fetch, can_wait=True),
            "LogService/Subscribe": ServerStream(self._subscribe),
            "LogService/ResolveOffsets": Unary(self.resolve_offsets, can_wait=True),
        }

    async def init_producer(
        self, request: log_service_pb2.InitProducerRequest, call: Call
    ) -> log_service_pb2.InitProducerResponse:
        """Hand out a producer id, or the next epoch of the one that the caller has."""
        if request.transactional_id:
            not_built("transactional_id", request.transactional_id, 6)
        current = None
        if request.HasField("current"):
            asked = request.current
            if asked.id < 0 or not 0 <= asked.epoch <= INT16_MAX:
                refuse(
                    "current", f"id {asked.id}, epoch {asked.epoch}: from 0, to {INT16_MAX} at most"
                )
            current = (ProducerId(asked.id), ProducerEpoch(asked.epoch))
        producer, epoch = await self._broker.init_producer_id(call.principal, current)
        return log_service_pb2.InitProducerResponse(
            producer=common_pb2.ProducerId(id=producer, epoch=epoch)
        )

    async def produce(
        self, request: log_service_pb2.ProduceRequest, call: Call
    ) -> log_service_pb2.ProduceResponse:
        """Append every batch; answer when each is as durable as was asked for."""
        answer = log_service_pb2.ProduceResponse()
        held_bytes = request.ByteSize() + rows_bytes(len(request.batches))
        with self._broker.context.memory.held(held_bytes):  # the caller keeps the request, too
            if call.brought_by is None:
                offered = await self._producing.offer(request, answer, call)
            else:  # one by one, as they came: that node's clients count on their order
                async with self._turns.setdefault(call.brought_by, asyncio.Lock()):
                    offered = await self._producing.offer(request, answer, call)
            return await offered.answer

    async def produce_stream(self, requests: Requests, send: Send, call: Call) -> None:
        """Do the same, pipelined."""
        memory = self._broker.context.memory
        stream = ProduceStream(self._producing, self._guard, memory, send=send)
        await stream.run(requests, call)

    async def resolve_offsets(
        self, request: log_service_pb2.ResolveOffsetsRequest, call: Call
    ) -> log_service_pb2.ResolveOffsetsResponse:
        """Turn a place into an offset in each partition."""
        check_isolation(request.isolation_level)
        check_consistency(request.consistency)
        if not request.HasField("seek"):
            refuse("seek", "it is missing: name a place")
        place = place_of(self._broker, "seek", request.seek)
        if call.name == ONWARD and isinstance(place, AtTime):
            place = replace(place, onward=True)
        chosen = await select(self._broker, request.topics, request.partitions)
        rows = await self._resolved(chosen, place, call)
        await resolved_elsewhere(self._broker, request.seek, place, call=call, rows=rows)
        return log_service_pb2.ResolveOffsetsResponse(resolved=rows)

    async def _resolved(
        self,
        chosen: Sequence[HostedPartition | tuple[common_pb2.TopicPartition, RequestError]],
        place: Place,
        call: Call,
    ) -> list[log_service_pb2.Resolved]:
        errors, turns = ErrorRows(), self._broker.turns()
        rows: list[log_service_pb2.Resolved] = []
        for one in chosen:
            if isinstance(one, tuple):
                row = log_service_pb2.Resolved(partition=one[0], error=errors.row(one[1]))
            else:
                row = await self._row(one, place, call, errors=errors)
            rows.append(row)
            await turns.give_way()
        return rows

    async def _row(
        self, partition: HostedPartition, place: Place, call: Call, *, errors: ErrorRows
    ) -> log_service_pb2.Resolved:
        named = common_pb2.TopicPartition(topic=partition.topic.name, partition=partition.number)
        try:
            found = await self._broker.resolve(call.principal, partition, place)
        except RequestError as refusal:
            return log_service_pb2.Resolved(partition=named, error=errors.row(refusal))
        row = log_service_pb2.Resolved(
            partition=named,
            time=None if found.time_ms is None else timestamp(found.time_ms),
            truncated=found.truncated,
            log_start_offset=found.log_start,
            high_watermark=found.high_watermark,
            last_stable_offset=found.last_stable_offset,
            leader_epoch=found.leader_epoch,
            closed_time=timestamp(found.closed_time),
        )
        if found.offset is None:
            row.end.SetInParent()
        else:
            row.offset = found.offset
        return row
