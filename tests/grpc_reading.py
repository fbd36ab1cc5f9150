"""Reading over gRPC in tests: messages of a stream, the records in them, batches that are sick."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from api.rpc.convert import timestamp
from logstore.batch import Stamp, seal
from logstore.compression import Codec, compress
from tests.grpc_node import GrpcNode
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2

# Constructors take dictionaries for messages; their stubs do not say so.
Request: Any = log_service_pb2.SubscribeRequest
Fetch: Any = log_service_pb2.FetchRequest
Seek: Any = common_pb2.Seek
Range: Any = common_pb2.TimeRange
START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)


async def events(served: GrpcNode, request: Any) -> list[log_service_pb2.SubscribeResponse]:
    """Return every message of a read that ends."""
    return [event async for event in served.logs.Subscribe(request)]


def records_of(messages: list[log_service_pb2.SubscribeResponse]) -> list[common_pb2.Record]:
    return [
        one
        for message in messages
        for part in message.records.partitions
        for batch in part.batches
        for one in batch.records
    ]


async def read(served: GrpcNode, **fields: Any) -> list[bytes]:
    """Return the values that a read which ends delivers."""
    return [one.value for one in records_of(await events(served, Request(**fields)))]


async def until(stream: AsyncIterator[Any], kind: str) -> Any:
    """Return the next message of a kind."""
    async for message in stream:
        if message.WhichOneof("event") == kind:
            return message
    raise AssertionError(f"the stream ended without {kind}")


def at(time_ms: int) -> Timestamp:
    return timestamp(time_ms)


async def trim(served: GrpcNode, topic: str, offset: int) -> None:
    """Let the one partition of a topic begin at an offset."""
    request = topic_service_pb2.TrimTopicRequest(name=topic, before=Seek(offset=offset))
    (row,) = (await served.topics.TrimTopic(request)).trimmed
    assert row.after == offset


def bomb() -> bytearray:
    """Return a sound batch of a few KiB that expands beyond what a node decodes."""
    body = compress(Codec.ZSTD, bytes(65 << 20))
    return seal([body], Stamp(), records=1, times=(0, 0), attributes=Codec.ZSTD)


def garbage() -> bytearray:
    """Return a batch whose checksum is right and whose records are none."""
    return seal([b"no records at all"], Stamp(), records=1, times=(0, 0))
