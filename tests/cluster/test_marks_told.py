"""Where a topic's partitions end, as any node tells it: by their leaders' word or not at all."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster_members import called
from tests.cluster_nodes import Nodes
from tidelog.v1 import log_service_pb2, topic_service_pb2

TOPIC = "orders"
PARTITIONS = 3


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in range(PARTITIONS):
            await made.leader(TOPIC, number)
        yield made
    finally:
        await made.close()


async def described(nodes: Nodes, at: int) -> list[topic_service_pb2.Partition]:
    request = topic_service_pb2.GetTopicRequest(name=TOPIC)
    answer = await called(nodes, nodes.lives[at], "TopicService/GetTopic", request)
    return list(answer.topic.partitions)


async def test_a_follower_does_not_tell_its_own_mark_where_the_leader_does_not_answer(
    nodes: Nodes,
) -> None:
    """P12: it may be behind what a client was shown before."""
    produce = log_service_pb2.ProduceRequest()
    for number in range(PARTITIONS):
        produce.batches.add(topic=TOPIC, partition=number).records.add(value=b"v")
    await called(nodes, nodes.lives[1], "LogService/Produce", produce)
    for row in await described(nodes, 1):
        assert (row.log_start_offset, row.high_watermark, row.last_stable_offset) == (0, 1, 1)
    await nodes.kill(2)
    for row in await described(nodes, 1):
        if row.leader_id == 2:
            told = [row.HasField(name) for name in ("log_start_offset", "high_watermark")]
            assert told == [False, False]
            break
    else:
        pytest.fail("node 2 leads nothing")
