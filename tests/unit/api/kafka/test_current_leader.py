"""A refusal names who leads, in the versions that can, and nobody whom the client cannot reach."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.kafka.connection import KafkaConnection
from api.kafka.current_leader import (
    FETCH_FROM,
    PRODUCE_FROM,
    CurrentLeader,
    current_leader,
    endpoint_tags,
)
from api.kafka.k00_answer import (
    FLEXIBLE_FROM,
    TOPIC_ID_FROM,
    Topic,
    write_refusal,
    write_response,
)
from api.kafka.request import Shared
from api.kafka.whereabouts import Reached
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import MetadataImage, Standing, TopicImage
from cluster.controller.standing import SetStanding
from cluster.controller.topics import CreateTopic
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, TopicId, TopicName
from tests.kafka_messages import foreign_class, rewritten
from tests.kafka_node import LISTENER, Client, Serving, kafka_node
from tests.unit.api.kafka.test_handlers import batch, versions
from tests.unit.api.kafka.test_whereabouts import ENDPOINTS, OTHER, SILENT

PRODUCE, FETCH = 0, 1
NOT_LEADER, FENCED = 6, 74
NOBODY = {"leader_id": -1, "leader_epoch": -1}
LEADER = CurrentLeader(Reached(OTHER, "outside", 29_092, None), LeaderEpoch(300))
REFUSAL = RequestError(ErrorCode.NOT_LEADER, "orders/0 is led by node 7")
AT = Reached(OTHER, "outside", 29_092, "b")
THERE = AT._asdict()


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """A node and two others, of which one has no listener of this name: each leads a partition."""
    async with kafka_node(tmp_path) as serving:
        quorum = serving.node.broker.context.quorum
        for node, ends, rack in ((OTHER, ENDPOINTS, "b"), (SILENT, ENDPOINTS[:1], None)):
            await quorum.propose(
                RegisterBroker(
                    node=node, directory=bytes([node]) * 16, clean=True, endpoints=ends, rack=rack
                )
            )
        there = ((serving.node.broker.node_id,), (OTHER,), (SILENT,), (OTHER,))
        await quorum.propose(CreateTopic(name="orders", assignments=there))
        yield serving


def topic_of(serving: Serving) -> TopicImage:
    return serving.node.broker.image.topics[TopicName("orders")]


async def produce(client: Client, version: int, place: tuple[TopicImage, list[int]]) -> Any:
    topic, numbers = place
    parts = [{"index": number, "records": batch(b"one")} for number in numbers]
    named = {"name": topic.name, "topic_id": topic.topic_id, "partition_data": parts}
    return await client.ask(
        PRODUCE, version, transactional_id=None, acks=-1, timeout=1_000, topic_data=[named]
    )


async def fetch(client: Client, version: int, place: tuple[TopicImage, dict[int, int]]) -> Any:
    topic, epochs = place
    parts = [
        {
            "partition": number,
            "current_leader_epoch": epoch,
            "fetch_offset": 0,
            "partition_max_bytes": 1 << 20,
        }
        for number, epoch in epochs.items()
    ]
    return await client.ask(
        FETCH,
        version,
        replica_id=-1,
        max_wait=0,
        min_bytes=1,
        max_bytes=1 << 20,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=[{"topic": topic.name, "topic_id": topic.topic_id, "partitions": parts}],
        forgotten_topics_data=[],
    )


@pytest.mark.parametrize("version", versions(PRODUCE, first=PRODUCE_FROM))
def test_kafka_python_writes_the_same_refusal_of_a_batch(version: int) -> None:
    called = b"i" * 16 if version >= TOPIC_ID_FROM else b"orders"
    named: list[Topic] = [(called, [(0, None), (1, None)])]
    rows = [write_refusal(version, 0, REFUSAL, leader=LEADER), write_refusal(version, 1, REFUSAL)]
    raw = write_response(version, named, rows, leaders=[LEADER, LEADER])
    assert rewritten(foreign_class(PRODUCE, "Response"), raw, version) == raw
    assert raw.count(b"outside") == 1


@pytest.mark.parametrize("version", versions(PRODUCE, first=FLEXIBLE_FROM))
async def test_produce_names_who_leads(serving: Serving, version: int) -> None:
    client, topic = await serving.client(), topic_of(serving)
    answer = await produce(client, version, (topic, [0, 1, 2, 3]))
    rows = answer["responses"][0]["partition_responses"]
    assert [row["error_code"] for row in rows] == [0, NOT_LEADER, NOT_LEADER, NOT_LEADER]
    if version < PRODUCE_FROM:
        assert "current_leader" not in rows[1] and "node_endpoints" not in answer
        return
    known = {"leader_id": OTHER, "leader_epoch": topic.partitions[1].leader_epoch}
    assert [row["current_leader"] for row in rows] == [NOBODY, known, NOBODY, known]
    assert answer["node_endpoints"] == [THERE]


@pytest.mark.parametrize("version", versions(PRODUCE, first=PRODUCE_FROM))
async def test_a_repeated_request_is_told_the_same(
    serving: Serving, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[object] = []
    recognised = KafkaConnection._produce_again

    def watched(self: KafkaConnection, *given: Any) -> Any:
        again.append(given)
        return recognised(self, *given)

    monkeypatch.setattr(KafkaConnection, "_produce_again", watched)
    client, topic = await serving.client(), topic_of(serving)
    first = await produce(client, version, (topic, [1]))
    assert not again
    second = await produce(client, version, (topic, [1]))
    assert again
    assert first == second
    assert second["node_endpoints"] == [THERE]


@pytest.mark.parametrize("version", versions(FETCH, first=12))
async def test_fetch_names_who_leads(serving: Serving, version: int) -> None:
    client, topic = await serving.client(), topic_of(serving)
    answer = await fetch(client, version, (topic, {0: -1, 1: -1, 2: -1, 3: -1}))
    rows = answer["responses"][0]["partitions"]
    assert [row["error_code"] for row in rows] == [0, NOT_LEADER, NOT_LEADER, NOT_LEADER]
    known = {"leader_id": OTHER, "leader_epoch": topic.partitions[1].leader_epoch}
    if version < FETCH_FROM:
        assert [row["current_leader"] for row in rows] == [NOBODY] * 4
        assert "node_endpoints" not in answer
        return
    assert [row["current_leader"] for row in rows] == [NOBODY, known, NOBODY, known]
    assert answer["node_endpoints"] == [THERE]


async def test_who_comes_with_an_older_epoch_is_told_the_newer_one(serving: Serving) -> None:
    quorum, client = serving.node.broker.context.quorum, await serving.client()
    older = topic_of(serving).partitions[0].leader_epoch
    me = serving.node.broker.node_id
    for standing in (Standing.FENCED, Standing.RUNNING):
        epoch = quorum.image.brokers[me].registration_epoch
        await quorum.propose(SetStanding(nodes=((me, epoch),), standing=standing))
    topic = topic_of(serving)
    newer = topic.partitions[0].leader_epoch
    assert newer > older
    answer = await fetch(client, 16, (topic, {0: older}))
    (row,) = answer["responses"][0]["partitions"]
    assert row["error_code"] == FENCED
    assert row["current_leader"] == {"leader_id": me, "leader_epoch": newer}
    assert [node["node_id"] for node in answer["node_endpoints"]] == [me]


def door(serving: Serving, image: MetadataImage | None = None) -> Shared:
    """Return the listener of a node, with metadata as they may be by the time of an answer."""
    known = serving.node.broker
    broker = SimpleNamespace(
        image=image or known.image, node_id=known.node_id, kafka_endpoint=known.kafka_endpoint
    )
    return cast(Shared, SimpleNamespace(name=LISTENER, broker=broker))


async def test_who_leads_is_named_by_name_and_by_id(serving: Serving) -> None:
    topic = topic_of(serving)
    told = CurrentLeader(AT, LeaderEpoch(topic.partitions[1].leader_epoch))
    for called in (topic.name, topic.topic_id):
        assert current_leader(door(serving), (called, 1), REFUSAL) == told
        assert current_leader(door(serving), (called, 2), REFUSAL) is None
    for other in (None, RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "ask again")):
        assert current_leader(door(serving), (topic.name, 1), other) is None


@pytest.mark.parametrize("standing", [Standing.FENCED, Standing.STOPPED])
async def test_a_leader_that_is_not_up_is_not_named(serving: Serving, standing: Standing) -> None:
    """As in Metadata: the client would go on asking it."""
    image = serving.node.broker.image
    down = replace(image.brokers[OTHER], standing=standing)
    image = replace(image, brokers={**image.brokers, OTHER: down})
    assert current_leader(door(serving, image), ("orders", 1), REFUSAL) is None


async def test_of_what_has_gone_nobody_is_named(serving: Serving) -> None:
    """A refusal may be older than the metadata from which its answer is written."""
    image = serving.node.broker.image
    for place in (("orders", 4), ("orders", -1), ("gone", 1), (TopicId(bytes(16)), 1)):
        assert current_leader(door(serving), place, REFUSAL) is None
    topic = topic_of(serving)
    rows = tuple(row._replace(leader=None) for row in topic.partitions)
    leaderless = replace(topic, partitions=rows)
    image = replace(image, topics={topic.name: leaderless})
    assert current_leader(door(serving, image), ("orders", 1), REFUSAL) is None


def test_a_node_stands_once_among_the_endpoints() -> None:
    """As it was told last: it may have registered anew while batches waited."""
    moved = LEADER._replace(at=LEADER.at._replace(port=29_093))
    assert endpoint_tags([LEADER, moved]) == endpoint_tags([moved])
