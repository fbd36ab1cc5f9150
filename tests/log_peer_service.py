"""The gRPC surface of `tests.log_peer`: what of tidelog/v1 the SDK calls."""

# ruff: noqa: N802 - the names of the calls are the proto's
from collections.abc import AsyncIterator

import grpc.aio

from model.errors import ErrorCode, RequestError
from model.record import NewRecord
from tests.log_peer import (
    EPOCH,
    LogPeer,
    PeerPartition,
    Stored,
    abort,
    any_of,
    row_error,
    rows_of_encoded,
    unknown_topic,
)
from tests.log_peer_admin import (
    Context,
    PeerCluster,
    PeerConfig,
    PeerTopics,
    enter,
    place_of,
    stamp_of,
)
from tidelog.v1 import cluster_service_pb2_grpc as cluster_rpc
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import config_service_pb2_grpc as config_rpc
from tidelog.v1 import log_service_pb2 as log
from tidelog.v1 import log_service_pb2_grpc as log_rpc
from tidelog.v1 import topic_service_pb2_grpc as topics_rpc


def add_services(server: grpc.aio.Server, peer: LogPeer) -> None:
    log_rpc.add_LogServiceServicer_to_server(PeerLog(peer), server)  # type: ignore[abstract]  # what is not called is not there
    topics_rpc.add_TopicServiceServicer_to_server(PeerTopics(peer), server)
    config_rpc.add_ConfigServiceServicer_to_server(PeerConfig(peer), server)
    cluster_rpc.add_ClusterServiceServicer_to_server(PeerCluster(peer), server)  # type: ignore[abstract]


class PeerLog(log_rpc.LogServiceServicer):
    def __init__(self, peer: LogPeer) -> None:
        self.peer = peer

    async def InitProducer(
        self, request: log.InitProducerRequest, context: Context
    ) -> log.InitProducerResponse:
        await enter(self.peer, context)
        self.peer.next_producer += 1
        producer = common.ProducerId(id=self.peer.next_producer, epoch=0)
        return log.InitProducerResponse(producer=producer)

    async def ProduceStream(
        self, requests: AsyncIterator[log.ProduceStreamRequest], context: Context
    ) -> AsyncIterator[log.ProduceStreamResponse]:
        self.peer.metadata_seen.append(dict(context.invocation_metadata() or ()))
        async for request in requests:
            results = [self._produce(batch) for batch in request.produce.batches]
            if self.peer.faults.answer_first:
                self.peer.faults.answer_first -= 1
            elif self.peer.faults.lose_answers:
                self.peer.faults.lose_answers -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            if request.produce.acks == log.ACKS_NONE:
                for result in results:
                    result.ClearField("base_offset")
                    result.ClearField("append_time")
            yield log.ProduceStreamResponse(
                correlation_id=request.correlation_id,
                produce=log.ProduceResponse(results=results),
            )

    def _produce(self, batch: log.ProduceBatch) -> log.ProduceResult:
        self.peer.batches_seen += 1
        result = log.ProduceResult(topic=batch.topic, partition=batch.partition)
        faults = self.peer.faults
        try:
            if faults.refuse_batches:
                raise faults.refuse_batches.popleft()
            stored, duplicate = self._append(batch)
            if faults.unanswered_refusals:
                raise faults.unanswered_refusals.popleft()
        except RequestError as refused:
            result.error.CopyFrom(row_error(refused))
            return result
        result.base_offset = stored.records[0].offset
        result.append_time.CopyFrom(stamp_of(stored.append_time_ms))
        result.duplicate = duplicate
        return result

    def _append(self, batch: log.ProduceBatch) -> tuple[Stored, bool]:
        partition = self.peer.partition(batch.topic, batch.partition)
        stamp, codec = (-1, -1, -1), 0
        if batch.HasField("encoded"):
            rows, stamp, codec = rows_of_encoded(batch.encoded)
        else:
            rows = [
                NewRecord(
                    one.timestamp_ms if one.HasField("timestamp_ms") else self.peer.now_ms,
                    one.key if one.HasField("key") else None,
                    one.value if one.HasField("value") else None,
                    tuple(
                        (header.key.encode(), header.value if header.HasField("value") else None)
                        for header in one.headers
                    ),
                )
                for one in batch.records
            ]
            if batch.HasField("producer"):
                who = batch.producer.producer
                stamp = (who.id, who.epoch, batch.producer.base_sequence)
        size = len(batch.encoded) or sum(len(row.value or b"") for row in rows)
        if size > self.peer.max_message_bytes:
            raise RequestError(
                ErrorCode.RECORD_TOO_LARGE,
                f"the record batch has {size} bytes, limit {self.peer.max_message_bytes}",
            )
        return partition.append(rows, self.peer.now_ms, stamp=stamp, codec=codec)

    async def Fetch(self, request: log.FetchRequest, context: Context) -> log.FetchResponse:
        await enter(self.peer, context)
        results = []
        for cursor in request.cursors:
            partition = self.peer.partition(cursor.topic, cursor.partition)
            if cursor.offset < partition.log_start:
                where = common.TopicPartition(topic=cursor.topic, partition=cursor.partition)
                gap = common.Gap(
                    partition=where, expected_offset=cursor.offset, next_offset=partition.log_start
                )
                results.append(log.FetchResult(gap=gap))
                continue
            if cursor.offset > partition.end:
                error = RequestError(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"offset {cursor.offset} lies beyond the end, {partition.end}",
                    topic=cursor.topic, partition=str(cursor.partition),
                    offset=str(cursor.offset), log_start_offset=str(partition.log_start),
                    high_watermark=str(partition.end),
                )  # fmt: skip
                results.append(log.FetchResult(error=row_error(error)))
                continue
            step = step_of(partition, cursor, request.encoding, stop=None)
            results.append(log.FetchResult(records=step))
        return log.FetchResponse(results=results)

    async def ResolveOffsets(
        self, request: log.ResolveOffsetsRequest, context: Context
    ) -> log.ResolveOffsetsResponse:
        await enter(self.peer, context)
        rows = []
        names = [(one.topic, [one.partition]) for one in request.partitions]
        for topic, numbers in [*((topic, None) for topic in request.topics), *names]:
            if topic not in self.peer.topics:
                await abort(context, unknown_topic(topic))
            for number, partition in enumerate(self.peer.topics[topic]):
                if numbers is not None and number not in numbers:
                    continue
                row = log.Resolved(
                    partition=common.TopicPartition(topic=topic, partition=number),
                    log_start_offset=partition.log_start,
                    high_watermark=partition.end,
                    last_stable_offset=partition.end,
                    leader_epoch=EPOCH,
                    closed_time=stamp_of(self.peer.now_ms),
                )
                offset = place_of(partition, request.seek, self.peer.now_ms)
                if offset is None:
                    row.end.SetInParent()
                else:
                    row.offset = offset
                rows.append(row)
        return log.ResolveOffsetsResponse(resolved=rows)

    async def Subscribe(
        self, request: log.SubscribeRequest, context: Context
    ) -> AsyncIterator[log.SubscribeResponse]:
        self.peer.encodings_seen.append(request.encoding)
        names = [(t, n) for t in request.topics for n in range(len(self.peer.topics.get(t, ())))]
        names += [(one.topic, one.partition) for one in request.partitions]
        for topic in request.topics:
            if topic not in self.peer.topics:
                await abort(context, unknown_topic(topic))
        times = absolute(request, self.peer.now_ms)
        given = {(one.start.topic, one.start.partition): one for one in request.bounds}
        bounds = {}
        for at in names:
            partition = self.peer.partition(*at)
            bounds[at] = given.get(at) or self._bounds(at, partition, request, times=times)
        opened = log.SubscribeResponse.Opened(bounds=bounds.values(), range=times)
        yield log.SubscribeResponse(opened=opened)
        cut = self.peer.faults.cut_after.pop(0) if self.peer.faults.cut_after else None
        caught_up = False
        while True:
            # From before the look: what comes while this is being told is not slept through.
            events = [self.peer.partition(*at).changed for at in bounds]
            event = self._turn(bounds, request)
            if event is None and finished(bounds):
                return
            if event is not None:
                if cut == 0:
                    if self.peer.faults.refuse_reads:
                        await abort(context, self.peer.faults.refuse_reads.popleft())
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
                cut = None if cut is None else cut - 1
                yield event
                continue
            if not caught_up:
                caught_up = True
                yield log.SubscribeResponse(caught_up=common.CaughtUp())
            await any_of(events)

    def _bounds(
        self,
        at: tuple[str, int],
        partition: PeerPartition,
        request: log.SubscribeRequest,
        *,
        times: common.TimeRange | None,
    ) -> log.ReadBounds:
        start = partition.log_start
        if times is None:
            found = place_of(partition, request.start, self.peer.now_ms)
            start = partition.end if found is None else found
        cursor = common.Cursor(topic=at[0], partition=at[1], offset=start)
        bounds = log.ReadBounds(start=cursor, truncated=times is not None and start > 0)
        if times is not None:
            bounds.stop_offset = partition.end
        elif request.HasField("stop"):
            stop = place_of(partition, request.stop, self.peer.now_ms)
            bounds.stop_offset = partition.end if stop is None else max(stop, start)
        return bounds

    def _turn(
        self, bounds: dict[tuple[str, int], log.ReadBounds], request: log.SubscribeRequest
    ) -> log.SubscribeResponse | None:
        for at, bound in bounds.items():
            partition = self.peer.partition(*at)
            stop = bound.stop_offset if bound.HasField("stop_offset") else None
            if bound.start.offset < partition.log_start:
                where = common.TopicPartition(topic=at[0], partition=at[1])
                gap = common.Gap(
                    partition=where, expected_offset=bound.start.offset,
                    next_offset=partition.log_start,
                )  # fmt: skip
                bound.start.offset = partition.log_start
                return log.SubscribeResponse(gap=gap)
            if bound.start.offset < min(partition.end, partition.end if stop is None else stop):
                step = step_of(partition, bound.start, request.encoding, stop=stop)
                bound.start.CopyFrom(step.next)
                return log.SubscribeResponse(records=common.Records(partitions=[step]))
        return None


def finished(bounds: dict[tuple[str, int], log.ReadBounds]) -> bool:
    """Tell whether every partition has been read to its stop."""
    return all(
        bound.HasField("stop_offset") and bound.start.offset >= bound.stop_offset
        for bound in bounds.values()
    )


def step_of(
    partition: PeerPartition, cursor: common.Cursor, encoding: int, *, stop: int | None
) -> common.PartitionRecords:
    """Return the batch that holds the cursor's offset: whole, if it is asked for as it is."""
    found = next((b for b in partition.batches if b.end > cursor.offset), None)
    step = common.PartitionRecords(
        log_start_offset=partition.log_start,
        high_watermark=partition.end,
        last_stable_offset=partition.end,
    )
    step.next.CopyFrom(cursor)
    if found is None:
        return step
    step.next.offset = found.end if stop is None else min(found.end, stop)
    step.next.leader_epoch = EPOCH
    batch = common.RecordBatch(append_time=stamp_of(found.append_time_ms), leader_epoch=EPOCH)
    if encoding == common.ENCODING_BATCH:
        batch.encoded = found.encoded
    else:
        for record in found.records:
            if cursor.offset <= record.offset and (stop is None or record.offset < stop):
                one = batch.records.add(offset=record.offset, key=record.key, value=record.value)
                if record.timestamp_ms != -1:
                    one.timestamp_ms = record.timestamp_ms
                for key, value in record.headers:
                    one.headers.add(key=key.decode("utf-8", "replace"), value=value)
    step.batches.append(batch)
    return step


def absolute(request: log.SubscribeRequest, now_ms: int) -> common.TimeRange | None:
    """Return the range of a request in absolute times."""
    if not request.HasField("range"):
        return None
    asked = request.range
    times = common.TimeRange(clock=asked.clock)
    if asked.HasField("start_time"):
        times.start_time.CopyFrom(asked.start_time)
    elif asked.HasField("start_ago"):
        times.start_time.CopyFrom(stamp_of(now_ms - asked.start_ago.seconds * 1000))
    if asked.HasField("end_time"):
        times.end_time.CopyFrom(asked.end_time)
    elif asked.HasField("end_ago"):
        times.end_time.CopyFrom(stamp_of(now_ms - asked.end_ago.seconds * 1000))
    return times
