"""`client.cluster` against a whole node, and against one whose door is closed on the way."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

import tidelog
from api.door import Address
from api.node.system_rand import SystemRand
from api.rpc.server import GrpcDoor
from tests.grpc_node import GrpcNode
from tidelog.client import Client
from tidelog.types import ClusterInfo


@pytest.fixture
async def client(served: GrpcNode) -> AsyncIterator[Client]:
    async with tidelog.connect(f"tidelog://{served.target}") as client:
        yield client


def watching(client: Client) -> Any:
    return aclosing(cast(Any, client.cluster.watch()))


async def led(changes: AsyncIterator[ClusterInfo], partitions: int) -> ClusterInfo:
    """Return the first map in which the only node leads so many."""
    async for seen in changes:
        if seen.brokers[0].leaders == partitions:
            return seen
    raise AssertionError("it ended")


async def test_the_map_and_its_changes(client: Client) -> None:
    found = await client.cluster.get()
    assert (found.status, found.reasons, found.leaderless) == ("healthy", (), ())
    (broker,) = found.brokers
    assert (broker.state, broker.leaders, broker.replicas) == ("running", 0, 0)
    assert broker.disk_total_bytes and broker.start_time is not None
    async with watching(client) as changes:
        first = await anext(changes)
        assert first.brokers[0].id == broker.id
        await client.topics.create("orders", partitions=3)
        assert (await led(changes, 3)).status == "healthy"


async def test_whoever_watches_goes_on_at_another_door(served: GrpcNode) -> None:
    second = GrpcDoor(
        served.node.broker, Address("127.0.0.1", 0), reflection=False, rand=SystemRand(),
        note=served.log,
    )  # fmt: skip
    other = await second.start()
    try:
        url = f"tidelog://{served.target},{other.host}:{other.port}"
        async with tidelog.connect(url) as client, watching(client) as changes:
            await anext(changes)
            await served.door.drain()
            await served.door.stop()
            await client.topics.create("orders", partitions=2)
            await led(changes, 2)
            await client.topics.create("more")
            await led(changes, 3)
    finally:
        await second.drain()
        await second.stop()


async def test_leaderships_and_votes_that_cannot_move(client: Client) -> None:
    await client.topics.create("orders")
    await client.cluster.transfer_leadership("orders", 0)
    with pytest.raises(tidelog.TidelogError) as refused:
        await client.cluster.transfer_leadership("orders", 0, to=7)
    assert refused.value.reason == "NO_ELIGIBLE_LEADER"
    with pytest.raises(tidelog.InvalidRequest) as led_already:
        await client.cluster.elect_unclean_leader("orders", 0, replica=0, dry_run=True)
    assert led_already.value.reason == "POLICY_VIOLATION"
    quorum = await client.cluster.quorum()
    (member,) = quorum.members
    assert (quorum.leader, member.node, member.voter) == (0, 0, True)
    assert member.log_end_offset == quorum.commit_offset > 0
    with pytest.raises(tidelog.AlreadyExists):
        await client.cluster.add_voter(0)
    with pytest.raises(tidelog.NotFound):
        await client.cluster.remove_voter(3)


def test_what_an_election_lost_is_counted_as_far_as_anybody_knows() -> None:
    assert tidelog.UncleanElection(1, 10, 15).lost == 5
    assert tidelog.UncleanElection(1, 10, 7).lost == 0
    assert tidelog.UncleanElection(1, 10, None).lost is None
