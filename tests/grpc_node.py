"""A whole node in this process with its gRPC door, on real files, and a channel to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode, aio

from api.door import Address
from api.node.assemble import Node
from api.node.system_rand import SystemRand
from api.rpc.server import GrpcDoor
from api.settings import NodeSettings
from logstore.settings import LogSettings
from model.ports import Clock, Disk
from tests.world import Log, real_world
from tidelog.v1 import (
    cluster_service_pb2,
    cluster_service_pb2_grpc,
    common_pb2,
    config_service_pb2_grpc,
    group_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

SETTINGS = NodeSettings(log=LogSettings(journal_file_bytes=4 << 20))  # soon filled with zeros


@dataclass
class GrpcNode:
    """A node, its door, and stubs over one channel."""

    node: Node
    door: GrpcDoor
    address: Address
    log: Log
    channel: aio.Channel
    failures: list[BaseException]

    def __post_init__(self) -> None:
        self.logs: Any = log_service_pb2_grpc.LogServiceStub(self.channel)
        self.topics: Any = topic_service_pb2_grpc.TopicServiceStub(self.channel)
        self.configs: Any = config_service_pb2_grpc.ConfigServiceStub(self.channel)
        self.groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(self.channel)
        self.clusters: Any = cluster_service_pb2_grpc.ClusterServiceStub(self.channel)

    @property
    def target(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    async def turn(self) -> None:
        """Let the node go on: a call there and back."""
        await self.clusters.GetCluster(cluster_service_pb2.GetClusterRequest())

    async def create(
        self, name: str, partitions: int = 1, **config: str
    ) -> topic_service_pb2.Topic:
        """Create a topic; setting names have underscores for dots."""
        topic = topic_service_pb2.Topic(
            name=name,
            partition_count=partitions,
            config={key.replace("__", "."): value for key, value in config.items()},
        )
        answer = await self.topics.CreateTopic(topic_service_pb2.CreateTopicRequest(topic=topic))
        created: topic_service_pb2.Topic = answer.topic
        return created

    async def produce(
        self, topic: str, *batches: log_service_pb2.ProduceBatch, **fields: Any
    ) -> list[log_service_pb2.ProduceResult]:
        for batch in batches:
            batch.topic = topic
        request = log_service_pb2.ProduceRequest(batches=batches, **fields)
        answer = await self.logs.Produce(request)
        return list(answer.results)


def record(
    value: bytes | None, key: bytes | None = None, time: int | None = None, **headers: bytes
) -> common_pb2.Record:
    return common_pb2.Record(
        key=key,
        value=value,
        timestamp_ms=time,
        headers=[common_pb2.Header(key=name, value=text) for name, text in headers.items()],
    )


def plain(
    *values: bytes, partition: int | None = 0, time: int | None = None
) -> log_service_pb2.ProduceBatch:
    records = [
        record(value, time=None if time is None else time + at) for at, value in enumerate(values)
    ]
    return log_service_pb2.ProduceBatch(partition=partition, records=records)


def encoded(batch: bytes | bytearray, partition: int = 0) -> log_service_pb2.ProduceBatch:
    return log_service_pb2.ProduceBatch(partition=partition, encoded=bytes(batch))


@dataclass(frozen=True)
class Refused:
    """A status as a client gets it, taken apart."""

    code: StatusCode
    text: str
    info: error_details_pb2.ErrorInfo
    retry: error_details_pb2.RetryInfo | None
    bad: error_details_pb2.BadRequest | None

    @property
    def reason(self) -> str:
        return str(self.info.reason)


def refused(error: aio.AioRpcError) -> Refused:
    """Read the details of a status; exactly one ErrorInfo must be among them."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found: dict[str, Any] = {}
    for kind in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.BadRequest,
    ):
        rows = [one for one in status.details if one.Is(kind.DESCRIPTOR)]
        assert len(rows) <= 1
        if rows:
            message = kind()
            rows[0].Unpack(message)
            found[kind.DESCRIPTOR.name] = message
    info = found["ErrorInfo"]
    assert info.domain == "tidelog"
    assert info.metadata["outcome"] in {"DONE", "NOT_DONE", "UNKNOWN"}
    assert info.metadata["retryable"] in {"true", "false"}
    return Refused(
        error.code(),
        str(error.details()),
        info,
        found.get("RetryInfo"),
        found.get("BadRequest"),
    )


async def refusal(call: Any) -> Refused:
    """Await a call that must fail; return its status."""
    try:
        if hasattr(call, "read"):
            async for _ in call:
                pass
        else:
            await call
    except aio.AioRpcError as error:
        return refused(error)
    raise AssertionError("the call was to be refused")


@asynccontextmanager
async def grpc_node(
    directory: Path,
    settings: NodeSettings | None = None,
    *,
    reflection: bool = True,
    clock: Clock | None = None,
    disk: Disk | None = None,
) -> AsyncIterator[GrpcNode]:
    """Start a node, open its door, stop both in order. `clock`, `disk`: else the machine's own.

    What ends the node meanwhile is in `failures`; a test that wants it so clears the list.
    """
    failures: list[BaseException] = []
    log = Log()
    world = real_world(directory, failures, disk=disk, clock=clock)
    node = await Node.start(settings or SETTINGS, world, failed=failures.append)
    door = GrpcDoor(
        node.broker,
        Address("127.0.0.1", 0),
        reflection=reflection,
        rand=SystemRand(),
        note=log,
    )
    address = await door.start()
    try:
        async with aio.insecure_channel(f"{address.host}:{address.port}") as channel:
            yield GrpcNode(node, door, address, log, channel, failures)
    finally:
        await door.drain()
        await node.settle()
        await door.stop()
        await node.stop(clean=True)
    assert failures == []
