"""FindCoordinator names the node that leads the internal partition a group belongs to."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.kafka.k10_find_coordinator import BATCHED_FROM, GROUP, KEY, TRANSACTION
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import Endpoint
from cluster.controller.topics import CreateTopic
from cluster.state_partition.layout import CONFIG, CONSUMER_OFFSETS, PARTITIONS, partition_of
from model.ids import NodeId
from tests.kafka_node import ADVERTISED, APIS, LISTENER, Client, Serving, kafka_node

ME, OTHER, SILENT = NodeId(0), NodeId(7), NodeId(9)
NOT_AVAILABLE = 15
VERSIONS = range(APIS[KEY].version_max + 1)


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """A node whose metadata know two others, of which one has no listener of this name."""
    async with kafka_node(tmp_path) as serving:
        listeners = {OTHER: LISTENER, SILENT: "kafka"}
        for node, listener in listeners.items():
            ends = (Endpoint(listener, "outside", 29_092),)
            await serving.node.broker.context.quorum.propose(
                RegisterBroker(node=node, directory=bytes([node]) * 16, clean=True, endpoints=ends)
            )
        yield serving


async def coordinators(serving: Serving) -> None:
    """Let this node, the other one and the silent one coordinate in turn."""
    turn = (ME, OTHER, SILENT)
    await serving.node.broker.context.quorum.propose(
        CreateTopic(
            name=CONSUMER_OFFSETS,
            assignments=tuple((turn[number % 3],) for number in range(PARTITIONS)),
            config=CONFIG,
            internal=True,
        )
    )


def group_in(number: int) -> str:
    """Return a group that belongs to a partition."""
    return next(name for name in (f"g{at}" for at in range(1_000)) if partition_of(name) == number)


async def asked(client: Client, version: int, key: str, *, kind: int = GROUP) -> Any:
    keys = {"coordinator_keys": [key]} if version >= BATCHED_FROM else {"key": key}
    answer = await client.ask(KEY, version, key_type=kind, **keys)
    return answer["coordinators"][0] if version >= BATCHED_FROM else answer


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_leader_of_the_groups_partition_is_named(serving: Serving, version: int) -> None:
    await coordinators(serving)
    client = await serving.client()
    wanted = {0: (ME, *ADVERTISED), 1: (OTHER, "outside", 29_092)}
    for number, place in wanted.items():
        row = await asked(client, version, group_in(number))
        assert (row["error_code"], row["node_id"], row["host"], row["port"]) == (0, *place)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_coordinator_that_these_clients_cannot_reach_is_none(
    serving: Serving, version: int
) -> None:
    """Else they would be sent to a listener that is for others, or ask this node in vain."""
    await coordinators(serving)
    row = await asked(await serving.client(), version, group_in(2))
    assert (row["error_code"], row["node_id"]) == (NOT_AVAILABLE, -1)


async def test_before_the_first_group_it_is_the_node_that_is_asked(serving: Serving) -> None:
    client = await serving.client()
    for kind in (GROUP, TRANSACTION):
        row = await asked(client, VERSIONS[-1], group_in(1), kind=kind)
        assert (row["error_code"], row["node_id"]) == (0, ME)


async def test_a_transaction_is_coordinated_nowhere_else(serving: Serving) -> None:
    await coordinators(serving)
    row = await asked(await serving.client(), VERSIONS[-1], group_in(1), kind=TRANSACTION)
    assert (row["error_code"], row["node_id"]) == (0, ME)
