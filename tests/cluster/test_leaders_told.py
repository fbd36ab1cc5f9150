"""A client is told whom it could have asked itself: with the answer, or with a refusal if it asks.

Everything but the network is the door's own: metadata go in, and trailing metadata come out.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from api.rpc.call import NO_FORWARD
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional
from api.rpc.leader_trailers import LEADER
from api.rpc.server import handlers_of
from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from tests.cluster_members import Request, ready
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2, topic_service_pb2
from tidelog.wire_errors import DETAILS

TOPIC: Final = "orders"
PARTITIONS: Final = 6
EVERY: Final = range(PARTITIONS)
LATEST: Final = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)


class Aborted(Exception):  # noqa: N818 - as gRPC ends a call
    """The call has ended with a status."""


class Context:
    """What gRPC gives a call."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.trailing: list[tuple[str, Any]] = []
        self.sent: list[Any] = []

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.metadata.items())

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float:
        return 10.0

    def cancelled(self) -> bool:
        return False

    def set_trailing_metadata(self, told: Any) -> None:
        self.trailing = list(told)

    async def write(self, message: Any) -> None:
        self.sent.append(message)

    async def abort(self, code: Any, text: str, told: Any) -> None:
        self.trailing = list(told)
        raise Aborted(text)

    @property
    def leaders(self) -> list[str]:
        return [str(value) for name, value in self.trailing if name == LEADER]


async def requests(*said: Any) -> AsyncIterator[Any]:
    for one in said:
        yield one


async def asked(  # noqa: PLR0917 - as a client names them
    nodes: Nodes, life: Life, name: str, request: Any, **more: Any
) -> Any:
    """Make a call; return its answer and what gRPC was told."""
    metadata = {NO_FORWARD: "1"} if more.pop("stays", False) else {}
    context: Any = Context(metadata)
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    handler: Any = handlers_of(life.node.broker, guard)[name]

    def act(call: Any) -> Any:
        if isinstance(handler, Bidirectional):
            return handler.serve(requests(*request), guard.sending(context, call), call)
        return handler.serve(request, call)

    try:
        return await nodes.done(guard.run(name, context, act)), context
    except Aborted:
        return None, context


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in EVERY:
            await made.leader(TOPIC, number)
        yield made
    finally:
        await made.close()


def produce() -> log_service_pb2.ProduceRequest:
    request = log_service_pb2.ProduceRequest()
    for number in EVERY:
        batch = request.batches.add(topic=TOPIC, partition=number)
        batch.records.add(value=b"v")
    return request


def fetch() -> log_service_pb2.FetchRequest:
    request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
    for number in EVERY:
        request.cursors.add(topic=TOPIC, partition=number, offset=0)
    return request


CALLS: Final = {
    "LogService/Produce": produce(),
    "LogService/Fetch": fetch(),
    "LogService/ResolveOffsets": log_service_pb2.ResolveOffsetsRequest(topics=[TOPIC], seek=LATEST),
    "TopicService/GetTopic": topic_service_pb2.GetTopicRequest(name=TOPIC),
    "TopicService/TrimTopic": topic_service_pb2.TrimTopicRequest(name=TOPIC, before=LATEST),
}


def wanted(nodes: Nodes, life: Life) -> list[str]:
    """Return what a client of a node is to be told of the others."""
    leaders = {number: nodes.row(TOPIC, number).leader for number in EVERY}
    return [
        f"{TOPIC}/{number}={leader}@{address_of(life, leader)}"
        for number, leader in leaders.items()
        if leader != life.number
    ]


def address_of(life: Life, node: Any) -> str:
    places = life.image.brokers[node].endpoints
    return next(f"{one.host}:{one.port}" for one in places if one.listener == "grpc")


@pytest.mark.parametrize("name", CALLS)
async def test_an_answer_names_the_leaders_of_what_went_elsewhere(nodes: Nodes, name: str) -> None:
    for life in nodes.lives.values():
        answer, context = await asked(nodes, life, name, CALLS[name])
        assert answer is not None
        assert sorted(context.leaders) == wanted(nodes, life)


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("LogService/")])
async def test_a_client_that_wants_no_detour_is_refused_where_it_is_to_go(
    nodes: Nodes, name: str
) -> None:
    life = nodes.lives[1]
    answer, context = await asked(nodes, life, name, CALLS[name], stays=True)
    rows = list(answer.resolved if "Resolve" in name else answer.results)
    assert len(rows) == PARTITIONS
    assert context.leaders == []
    for number, row in enumerate(rows):
        leader = nodes.row(TOPIC, number).leader
        if leader == life.number:
            assert not row.HasField("error")
        else:
            assert row.error.reason == "NOT_LEADER"
            assert row.error.outcome == common_pb2.OUTCOME_NOT_DONE
            assert row.error.metadata["leader"] == str(leader)
            assert row.error.metadata["endpoint"] == address_of(life, leader)


async def test_a_groups_coordinator_is_named_and_asked_for_itself(nodes: Nodes) -> None:
    name = "ConsumerGroupService/CommitOffsets"
    request = group_service_pb2.CommitOffsetsRequest(group="g")
    request.cursors.add(topic=TOPIC, partition=0, offset=0)
    await ready(nodes, nodes.lives[1], name, request)
    number = partition_of("g")
    leader = nodes.row(CONSUMER_OFFSETS, number).leader
    life = next(one for one in nodes.lives.values() if one.number != leader)
    answer, context = await asked(nodes, life, name, request)
    assert not any(row.HasField("error") for row in answer.results)
    place = address_of(life, leader)
    assert context.leaders == [f"{CONSUMER_OFFSETS}/{number}={leader}@{place}"]
    answer, context = await asked(nodes, life, name, request, stays=True)
    assert answer is None
    assert f"endpoint\x12{chr(len(place))}{place}".encode() in dict(context.trailing)[DETAILS]
    join = Request(join=Request.Join(group="g", topics=[TOPIC]))
    consume = "ConsumerGroupService/Consume"
    _, context = await asked(nodes, life, consume, [join], stays=True)
    assert b"NOT_COORDINATOR" in dict(context.trailing)[DETAILS]
    assert not context.sent
    _, context = await asked(nodes, life, consume, [join])
    assert b"INVALID_REQUEST" in dict(context.trailing)[DETAILS]  # it did not say Leave
    assert context.sent[0].HasField("joined")
    assert context.leaders == [f"{CONSUMER_OFFSETS}/{number}={leader}@{place}"]
