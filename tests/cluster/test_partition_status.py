"""Before a leadership moves: what would happen, and how far each replica is, from any node."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.rpc.call import Call
from api.rpc.handlers import Unary
from model.errors import ErrorCode
from model.principal import ANONYMOUS
from tests.cluster_nodes import Nodes, three
from tests.operator_calls import TOPIC, called, handlers, place
from tidelog.v1 import cluster_service_pb2 as wire
from tidelog.v1 import topic_service_pb2 as topics


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with three(TOPIC) as made:
        yield made


async def validated(nodes: Nodes, at: int, to: int) -> Any:
    """Return the error of a transfer that is only to be decided; None: it could be done."""
    request = wire.TransferLeadershipRequest(partitions=[place()], target_id=to, validate_only=True)
    (row,) = (await called(nodes, nodes.lives[at], "TransferLeadership", request)).results
    return row.error if row.HasField("error") else None


async def log_ends(nodes: Nodes, at: int) -> dict[int, int]:
    """Return where the logs of replicas end, as a node tells."""
    life = nodes.lives[at]
    handler = handlers(life)["TopicService/GetTopic"]
    assert isinstance(handler, Unary)
    request = topics.GetTopicRequest(name=TOPIC)
    answer: Any = await nodes.done(handler.serve(request, Call("GetTopic", ANONYMOUS, 10_000)))
    (partition,) = answer.topic.partitions
    return {one.node_id: one.log_end_offset for one in partition.replica_logs}


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_transfer_that_is_only_to_be_decided_moves_nothing(nodes: Nodes, at: int) -> None:
    leader = await nodes.leader(TOPIC)
    before = nodes.row(TOPIC, at=at)
    for target in (1, 2, 3):
        assert await validated(nodes, at, target) is None
    await nodes.pass_by(1_000)
    assert nodes.row(TOPIC, at=at) == before
    assert nodes.leading(TOPIC) is leader


async def test_it_is_refused_where_the_transfer_would_be(nodes: Nodes) -> None:
    leader = await nodes.leader(TOPIC)
    dead = next(node for node in (1, 2, 3) if node != leader.number)
    await nodes.kill(dead)
    await nodes.until(lambda: dead not in nodes.row(TOPIC, at=leader.number).isr)
    error = await validated(nodes, leader.number, dead)
    assert error.reason == ErrorCode.NO_ELIGIBLE_LEADER.name


async def test_where_each_log_ends_is_told_by_any_node(nodes: Nodes) -> None:
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"a", b"b", b"c")
    for at in nodes.lives:
        assert await log_ends(nodes, at) == {1: 3, 2: 3, 3: 3}


async def test_of_a_replica_that_is_not_heard_nothing_is_claimed(nodes: Nodes) -> None:
    leader = await nodes.leader(TOPIC)
    dead = next(node for node in (1, 2, 3) if node != leader.number)
    await nodes.produce(leader, TOPIC, b"a")
    await nodes.kill(dead)
    await nodes.until(lambda: dead not in nodes.row(TOPIC, at=leader.number).isr)
    await nodes.produce(leader, TOPIC, b"b")
    assert await log_ends(nodes, leader.number) == {node: 2 for node in (1, 2, 3) if node != dead}
    await nodes.start(dead)
    await nodes.in_sync(TOPIC)
    assert await log_ends(nodes, dead) == {1: 2, 2: 2, 3: 2}
