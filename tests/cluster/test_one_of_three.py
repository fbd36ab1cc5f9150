"""One node of three that is left alone: what it answers of every partition, and for whom it waits.

Its own partitions have too few replicas; of the others, and of metadata, nobody decides. None of
that is done, and all of it may be asked again; when a second node is back it is answered.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from cluster.settings import ClusterSettings
from cluster.shell.replica_beats import BEAT_MS
from model.errors import ErrorCode, RequestError
from tests.cluster_members import called
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2

TOPIC: Final = "orders"
PARTITIONS: Final = 3
"""So many that each node leads one."""
KNOWS_MS: Final = ClusterSettings().broker_session_ms + BEAT_MS
"""Until a leader that is alone has noticed, and refuses at once."""


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in range(PARTITIONS):
            await made.leader(TOPIC, number)
            await made.in_sync(TOPIC, number=number)
        yield made
    finally:
        await made.close()


async def produced(nodes: Nodes, life: Life, number: int) -> tuple[str, int]:
    """Send one record to a node; return reason and outcome in its row of the answer."""
    request = log_service_pb2.ProduceRequest()
    request.batches.add(topic=TOPIC, partition=number).records.add(value=b"alone")
    answer: Any = await called(nodes, life, "LogService/Produce", request)
    (row,) = answer.results
    return row.error.reason, row.error.outcome


async def created(nodes: Nodes, life: Life) -> ErrorCode | None:
    """Ask a node for a topic; return how it refuses."""
    topic = topic_service_pb2.Topic(name="too-late", partition_count=1)
    request = topic_service_pb2.CreateTopicRequest(topic=topic)
    try:
        await called(nodes, life, "TopicService/CreateTopic", request)
    except RequestError as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize("survivor", [1, 2, 3])
async def test_the_one_that_is_left_says_what_is_not_done_and_why(
    nodes: Nodes, survivor: int
) -> None:
    leaders = {number: nodes.row(TOPIC, number).leader for number in range(PARTITIONS)}
    assert set(leaders.values()) == {1, 2, 3}
    life = nodes.lives[survivor]
    dead = sorted(set(nodes.lives) - {survivor})
    for number in dead:
        await nodes.kill(number)
    await nodes.pass_by(KNOWS_MS)
    for number, leader in leaders.items():
        reason = "NOT_ENOUGH_REPLICAS" if leader == survivor else "NO_QUORUM"
        told = await produced(nodes, life, number)
        assert told == (reason, common_pb2.OUTCOME_NOT_DONE), number
    assert await created(nodes, life) is ErrorCode.NO_QUORUM
    await nodes.start(dead[0])
    for number in leaders:
        await nodes.leader(TOPIC, number)
        while (await produced(nodes, life, number))[0]:
            await nodes.pass_by(50)
