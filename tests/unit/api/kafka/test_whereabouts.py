"""A client that came in by a listener is told the addresses of that listener, of every node."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.kafka.k03_metadata import KEY as METADATA
from api.kafka.whereabouts import address_of
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import Endpoint, Standing
from cluster.controller.standing import SetStanding
from cluster.controller.topics import CreateTopic
from model.ids import NodeId
from tests.kafka_node import ADVERTISED, APIS, LISTENER, Client, Serving, kafka_node
from tests.unit.api.kafka.test_handlers import metadata

OTHER, SILENT = NodeId(7), NodeId(9)
ENDPOINTS = (
    Endpoint("kafka", "log-7", 9_092),
    Endpoint(LISTENER, "outside", 29_092),
    Endpoint("grpc", "log-7", 9_095),
)


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """A node whose metadata know two others, of which one has no listener of this name."""
    async with kafka_node(tmp_path) as serving:
        for node, ends in ((OTHER, ENDPOINTS), (SILENT, ENDPOINTS[:1])):
            await serving.node.broker.context.quorum.propose(
                RegisterBroker(node=node, directory=bytes([node]) * 16, clean=True, endpoints=ends)
            )
        yield serving


def brokers(answer: Any) -> dict[int, tuple[str, int]]:
    return {row["node_id"]: (row["host"], row["port"]) for row in answer["brokers"]}


@pytest.mark.parametrize("version", range(APIS[METADATA].version_max + 1))
async def test_metadata_tell_the_addresses_of_the_listener(serving: Serving, version: int) -> None:
    client: Client = await serving.client()
    answer = await metadata(client, version, None if version else [])
    assert brokers(answer) == {0: ADVERTISED, OTHER: ("outside", 29_092)}


@pytest.mark.parametrize("standing", [Standing.FENCED, Standing.STOPPED])
async def test_a_node_that_is_not_up_is_no_broker(serving: Serving, standing: Standing) -> None:
    """Clients would go on asking it, some for as long as they live."""
    quorum = serving.node.broker.context.quorum
    client: Client = await serving.client()
    assert OTHER in brokers(await metadata(client, 12, None))
    epoch = quorum.image.brokers[OTHER].registration_epoch
    await quorum.propose(SetStanding(nodes=((OTHER, epoch),), standing=standing))
    assert brokers(await metadata(client, 12, None)) == {0: ADVERTISED}
    await quorum.propose(SetStanding(nodes=((OTHER, epoch),), standing=Standing.RUNNING))
    assert (OTHER in brokers(await metadata(client, 12, None))) is (standing is Standing.FENCED)


async def test_a_leader_that_these_clients_cannot_reach_is_not_named(serving: Serving) -> None:
    """Else they would wait for a node of which they are told nothing."""
    quorum = serving.node.broker.context.quorum
    there = ((OTHER,), (SILENT,))
    topic = await quorum.propose(CreateTopic(name="orders", assignments=there))
    assert [row.leader for row in topic.partitions] == [OTHER, SILENT]
    client = await serving.client()
    answer = await metadata(client, 12, ["orders"])
    rows = answer["topics"][0]["partitions"]
    assert [(row["leader_id"], row["error_code"]) for row in rows] == [(OTHER, 0), (-1, 5)]


async def test_each_listener_has_its_own_addresses(serving: Serving) -> None:
    broker = serving.node.broker
    broker.advertise("kafka", "log-0", 9_092)
    assert address_of(broker, broker.node_id, "kafka") == ("log-0", 9_092)
    assert address_of(broker, broker.node_id, LISTENER) == ADVERTISED
    assert address_of(broker, OTHER, "kafka") == ("log-7", 9_092)
    assert address_of(broker, OTHER, LISTENER) == ("outside", 29_092)
    assert address_of(broker, SILENT, LISTENER) is None
    assert address_of(broker, NodeId(99), LISTENER) is None


@pytest.mark.parametrize("version", [1, 9, 12])
async def test_a_node_without_a_cluster_tells_of_nothing(
    serving: Serving, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients take an answer without brokers for none, and keep what they know of topics."""
    await serving.node.broker.context.quorum.propose(CreateTopic(name="orders", partitions=1))
    monkeypatch.setattr(type(serving.node.broker), "cluster_id", "")
    client = await serving.client()
    for names in (None, ["orders"], ["absent"]):
        answer = await metadata(client, version, names)
        assert (answer["brokers"], answer["topics"]) == ([], [])
