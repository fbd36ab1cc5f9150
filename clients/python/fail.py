"""Fail in both ways: one row of an answer, and a whole call."""

import grpc
from events import say, say_row_error
from refusal import say_error

from tidelog.v1 import (
    common_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

NO_SUCH_PARTITION = 99


async def fail(channel: grpc.aio.Channel, topic: str) -> None:
    """Append to three partitions, one of which does not exist; describe a topic that does not."""
    await one_row(channel, topic)
    await whole_call(channel, f"{topic}-that-does-not-exist")


async def one_row(channel: grpc.aio.Channel, topic: str) -> None:
    """A call that goes well tells of each batch by itself: look at every row."""
    log = log_service_pb2_grpc.LogServiceStub(channel)
    request = log_service_pb2.ProduceRequest()
    for partition in (0, NO_SUCH_PARTITION, 1):
        record = common_pb2.Record(value=f"for partition {partition}".encode())
        request.batches.add(topic=topic, partition=partition, records=[record])
    response = await log.Produce(request, timeout=10)
    for batch, result in zip(request.batches, response.results, strict=True):
        if result.HasField("error"):
            say_row_error(batch.partition, result.error)
        else:
            say("row", partition=result.partition, base_offset=result.base_offset)


async def whole_call(channel: grpc.aio.Channel, topic: str) -> None:
    """A call that fails carries an ErrorInfo in its status: decide by it, not by the text."""
    topics = topic_service_pb2_grpc.TopicServiceStub(channel)
    try:
        await topics.GetTopic(topic_service_pb2.GetTopicRequest(name=topic), timeout=10)
    except grpc.aio.AioRpcError as error:
        say_error(error)
