"""Any bytes as requests of the gRPC calls that are served, through their use cases; a node answers.

The first byte chooses the call. A produce names a topic that is not there, and its records are
encoded beside it; a subscription is opened, not followed; what would change something is only
validated: so no input changes what the next one meets. A call that waits gets more time than it may
ask for, by the node's clock, and must have an answer then.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf.message import DecodeError, Message

from api.rpc.call import Call
from api.rpc.cluster_service import ClusterService
from api.rpc.config_service import ConfigService
from api.rpc.details import record_error, status
from api.rpc.guard import Guard
from api.rpc.handlers import Unary
from api.rpc.log_service import LogService
from api.rpc.plain_records import new_records
from api.rpc.subscribe import _Opening
from api.rpc.topic_service import TopicService
from logstore.batch import encode_batch
from model.errors import RequestError
from model.ids import WallMs
from model.limits import PRODUCE_WAIT_MS_MAX
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node
from tidelog.v1 import (
    cluster_service_pb2,
    config_service_pb2,
    log_service_pb2,
    topic_service_pb2,
)
from tidelog.v1 import common_pb2 as common

CALL: Final = Call("Fuzz", ANONYMOUS, 0)
TOPIC: Final = "orders"
ABSENT: Final = "absent"


WAIT_TURNS: Final = 12
"""Of the loop, after which a call that is not answered waits for the clock."""
ANSWER_S: Final = 10.0
"""Real time, for work of the node's threads."""


class _Node:
    """A node on a simulated disk, without doors, and its services."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self.running = self.loop.run_until_complete(self._start())
        self.broker = self.running.broker
        guard = Guard(self.broker, rand=random.Random(1), note=lambda event, /, **fields: None)
        self.log = LogService(self.broker, guard)
        self.handlers = (
            self.log.handlers()
            | TopicService(self.broker).handlers()
            | ConfigService(self.broker).handlers()
            | ClusterService(self.broker, guard).handlers()
        )

    async def _start(self) -> BrokerNode:
        running = await self._stack.enter_async_context(broker_node())
        partition = await running.create(TOPIC, 2, retention_ms="-1")
        await running.produce(partition, batch_of([b"one", b"two"]))
        return running


@lru_cache(maxsize=1)
def _node() -> _Node:
    return _Node()


async def _produce(node: _Node, request: log_service_pb2.ProduceRequest) -> Message:
    for batch in request.batches:
        with suppress(RequestError):
            if records := list(new_records(batch.records, WallMs(1), one_key=False)):
                encode_batch(records)
        batch.topic = batch.topic.replace(TOPIC, ABSENT)
    return await node.log.produce(request, CALL)


Ask: TypeAlias = Callable[[_Node, Any], Awaitable[Message | None]]


async def _subscribe(node: _Node, request: log_service_pb2.SubscribeRequest) -> None:
    await _Opening(node.broker, request, CALL).subscription()


def _unary(name: str) -> "Ask":
    """Return what serves a call; one that can be told only to validate is told so."""

    async def ask(node: _Node, request: Any) -> Message:
        if "validate_only" in type(request).DESCRIPTOR.fields_by_name:
            request.validate_only = True
        handler = node.handlers[name]
        assert isinstance(handler, Unary)
        return await handler.serve(request, CALL)

    return ask


class _Served(NamedTuple):
    """One call: a message that is right, and who takes it."""

    sample: Message
    ask: "Ask"


def _seek() -> common.Seek:
    seek = common.Seek(clock=common.CLOCK_APPEND)
    seek.time.seconds = 1_700_000_000
    return seek


def _calls() -> list[_Served]:
    placed = common.TopicPartition(topic=TOPIC, partition=0)
    record = common.Record(key=b"k", value=b"v", timestamp_ms=17)
    record.headers.add(key="trace", value=b"1")
    produce = log_service_pb2.ProduceRequest(acks=log_service_pb2.ACKS_ALL)
    produce.timeout.seconds = 1
    produce.batches.add(topic=ABSENT, partition=0, records=[record, record])
    produce.batches.add(topic=ABSENT, partition=1, encoded=batch_of([b"x"]))
    fetch = log_service_pb2.FetchRequest(max_bytes=1 << 20)
    fetch.cursors.add(topic=TOPIC, partition=0, offset=0, leader_epoch=0)
    subscribe = log_service_pb2.SubscribeRequest(topics=[TOPIC], start=_seek())
    subscribe.stop.offset = 2
    ranged = log_service_pb2.SubscribeRequest(partitions=[placed])
    ranged.range.start_time.seconds = 1_700_000_000
    ranged.range.end_ago.seconds = 60
    create = topic_service_pb2.CreateTopicRequest()
    create.topic.name = "new"
    create.topic.config["retention.ms"] = "1000"
    config = config_service_pb2.ConfigResource(
        type=config_service_pb2.ConfigResource.TYPE_TOPIC, name=TOPIC
    )
    update = config_service_pb2.UpdateConfigRequest(resource=config, unset=["segment.ms"])
    update.set["retention.bytes"] = "1000"
    waiting = log_service_pb2.FetchRequest(min_bytes=1 << 20)
    waiting.cursors.add(topic=TOPIC, partition=1, offset=0, leader_epoch=0)
    waiting.max_wait.nanos = 5_000_000
    trim = topic_service_pb2.TrimTopicRequest(name=TOPIC, partitions=[0], before=_seek())
    grow = topic_service_pb2.AddPartitionsRequest(name=TOPIC, partition_count=5)
    current = common.ProducerId(id=7, epoch=2)
    rows: list[tuple[Message, str]] = [
        (fetch, "LogService/Fetch"),
        (waiting, "LogService/Fetch"),
        (
            log_service_pb2.ResolveOffsetsRequest(topics=[TOPIC], seek=_seek()),
            "LogService/ResolveOffsets",
        ),
        (log_service_pb2.InitProducerRequest(current=current), "LogService/InitProducer"),
        (create, "TopicService/CreateTopic"),
        (topic_service_pb2.GetTopicRequest(name=TOPIC), "TopicService/GetTopic"),
        (topic_service_pb2.ListTopicsRequest(page_size=10), "TopicService/ListTopics"),
        (topic_service_pb2.DeleteTopicRequest(name=TOPIC), "TopicService/DeleteTopic"),
        (trim, "TopicService/TrimTopic"),
        (grow, "TopicService/AddPartitions"),
        (config_service_pb2.GetConfigRequest(resource=config), "ConfigService/GetConfig"),
        (update, "ConfigService/UpdateConfig"),
        (cluster_service_pb2.GetClusterRequest(), "ClusterService/GetCluster"),
    ]
    return [
        _Served(produce, _produce),
        _Served(subscribe, _subscribe),
        _Served(ranged, _subscribe),
        *(_Served(sample, _unary(name)) for sample, name in rows),
    ]


CALLS: Final = _calls()


def samples() -> list[bytes]:
    """Return a message for each call that is right."""
    return [bytes([number]) + call.sample.SerializeToString() for number, call in enumerate(CALLS)]


def fuzz(data: bytes) -> None:
    """Parse the message and serve it; a refusal must fit into a status and a row."""
    _answered(data)


def expanded_bytes(data: bytes) -> int:
    """Return how long the answer is: two bytes name a batch whose row says why it is refused."""
    return len(_answered(data))


def _answered(data: bytes) -> bytes:
    """Return what the caller gets; nothing if there was no call."""
    if not data:
        return b""
    sample, ask = CALLS[data[0] % len(CALLS)]
    request = type(sample)()
    try:
        request.ParseFromString(data[1:])
    except DecodeError:
        return b""
    node = _node()
    try:
        answer = node.loop.run_until_complete(_ask(node, ask, request))
    except RequestError as refusal:
        return bytes(
            status(refusal).SerializeToString() + record_error(refusal).SerializeToString()
        )
    assert not node.running.failures, node.running.failures
    return b"" if answer is None else bytes(answer.SerializeToString())


async def _ask(node: _Node, ask: Ask, request: Message) -> Message | None:
    call = asyncio.ensure_future(ask(node, request))
    for _ in range(WAIT_TURNS):
        if call.done():
            break
        turn = node.loop.create_future()
        node.loop.call_soon(turn.set_result, None)
        await turn
    else:
        node.running.clock.advance(2 * PRODUCE_WAIT_MS_MAX.value)
    return await asyncio.wait_for(call, ANSWER_S)
