"""What operators ask of any of three nodes: the map, its health, and leaderships."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from model.errors import ErrorCode
from tests.cluster_nodes import Nodes
from tests.operator_calls import TOPIC, becomes, called, cluster, place
from tidelog.v1 import cluster_service_pb2 as wire
from tidelog.v1 import common_pb2

Health = wire.Health
Broker = wire.Broker


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


# The map.


async def test_every_node_shows_the_same_map(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC, partitions=6)
    await nodes.in_sync(TOPIC)
    for at in nodes.lives:
        found = await becomes(nodes, at, Health.STATUS_HEALTHY)
        assert list(found.health.reasons) == []
        assert [one.id for one in found.brokers] == [1, 2, 3]
        assert {one.state for one in found.brokers} == {Broker.STATE_RUNNING}
        assert [one.replica_count for one in found.brokers] == [6] * 3
        assert sum(one.leader_count for one in found.brokers) == 6
        assert found.HasField("controller_id")
        assert found.metadata_offset > 0


async def test_what_only_a_node_itself_knows_is_asked_of_it(nodes: Nodes) -> None:
    found = await cluster(nodes, 1)
    assert all(one.disk_total_bytes > 0 and one.HasField("start_time") for one in found.brokers)
    await nodes.kill(3)
    found = await becomes(nodes, 1, Health.STATUS_DEGRADED)
    assert [one.disk_total_bytes > 0 for one in found.brokers] == [True, True, False]


async def test_a_node_that_dies_is_named_until_it_is_back_in_sync(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC, partitions=3)
    await nodes.in_sync(TOPIC)
    await becomes(nodes, 1, Health.STATUS_HEALTHY)
    await nodes.kill(3)
    await nodes.until(lambda: sorted(nodes.row(TOPIC, 0, at=1).isr) == [1, 2])
    found = await becomes(nodes, 1, Health.STATUS_DEGRADED)
    reasons = " ".join(found.health.reasons)
    assert "node 3 is fenced" in reasons
    assert "the controller quorum lacks node 3 of its 3 voters" in reasons
    assert "an in-sync replica on node 3" in reasons
    states = {one.id: one.state for one in found.brokers}
    assert states == {1: Broker.STATE_RUNNING, 2: Broker.STATE_RUNNING, 3: Broker.STATE_FENCED}
    assert {one.topic for one in found.health.under_replicated} >= {TOPIC}
    await nodes.start(3)
    await becomes(nodes, 1, Health.STATUS_HEALTHY)


async def test_one_that_is_left_alone_says_so(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC)
    await nodes.in_sync(TOPIC)
    await nodes.kill(2)
    await nodes.kill(3)
    await nodes.until(lambda: nodes.lives[1].context.quorum.status.leader is None)
    found = await cluster(nodes, 1)
    assert found.health.status == Health.STATUS_UNHEALTHY
    assert not found.HasField("controller_id")
    assert any(
        "metadata cannot change until 1 of nodes 2 and 3 can be reached" in one
        for one in found.health.reasons
    ), found.health.reasons


# Leaderships.


async def transferred(nodes: Nodes, at: int, to: int | None, *numbers: int) -> list[Any]:
    request = wire.TransferLeadershipRequest(
        partitions=[place(number) for number in numbers], target_id=to
    )
    answer = await called(nodes, nodes.lives[at], "TransferLeadership", request)
    return [row.error if row.HasField("error") else None for row in answer.results]


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_leadership_is_handed_over_through_any_node(nodes: Nodes, at: int) -> None:
    await nodes.create(1, TOPIC)
    await nodes.in_sync(TOPIC)
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"a")
    target = next(node for node in (1, 2, 3) if node != leader.number)
    assert await transferred(nodes, at, target, 0) == [None]
    assert nodes.row(TOPIC, at=at).leader == target, "who asked sees what it has done"
    await nodes.until(lambda: nodes.leading(TOPIC) is nodes.lives[target])
    produced = await nodes.produce(nodes.lives[target], TOPIC, b"b")
    assert produced.base_offset == 1, "nothing is lost by it"
    assert await transferred(nodes, at, None, 0) == [None]
    assert nodes.row(TOPIC, at=at).leader == nodes.row(TOPIC, at=at).replicas[0]


async def test_only_an_in_sync_replica_is_taken_and_each_row_stands_for_itself(
    nodes: Nodes,
) -> None:
    await nodes.create(1, TOPIC, partitions=2)
    await nodes.in_sync(TOPIC)
    await nodes.in_sync(TOPIC, number=1)
    await nodes.kill(3)
    await nodes.until(lambda: all(3 not in nodes.row(TOPIC, number, at=1).isr for number in (0, 1)))
    dead, unknown = await transferred(nodes, 1, 3, 0, 7)
    assert dead.reason == ErrorCode.NO_ELIGIBLE_LEADER.name
    assert "these could: " in dead.message
    assert unknown.reason == ErrorCode.UNKNOWN_PARTITION.name
    assert dead.outcome == unknown.outcome == common_pb2.OUTCOME_NOT_DONE
