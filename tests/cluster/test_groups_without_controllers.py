"""What a member is given places for asks no controller, however many topics there are."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from model.errors import ErrorCode, RequestError
from tests.cluster_members import Member, hang_up, ready
from tests.cluster_nodes import Nodes
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2

TOPICS: Final = tuple(f"t{number}" for number in range(6))
GROUP: Final = "billing"
SERVICE: Final = "ConsumerGroupService"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        for topic in TOPICS:
            await made.create(1, topic)
            await made.leader(topic)
        request = group_service_pb2.CommitOffsetsRequest(group="first")
        request.cursors.add(topic=TOPICS[0], partition=0, offset=0)
        await ready(made, made.lives[1], f"{SERVICE}/CommitOffsets", request)
        for number in range(8):
            await made.leader(CONSUMER_OFFSETS, number)
        yield made
        await hang_up(made)
    finally:
        await made.close()


async def produce(nodes: Nodes, mark: str) -> list[bytes]:
    """Append one record to each topic."""
    request = log_service_pb2.ProduceRequest()
    values = [f"{mark}{topic}".encode() for topic in TOPICS]
    for topic, value in zip(TOPICS, values, strict=True):
        request.batches.add(topic=topic, partition=0).records.add(value=value)
    await ready(nodes, nodes.lives[1], "LogService/Produce", request)
    return values


@pytest.mark.parametrize("edge", [common_pb2.EDGE_EARLIEST, common_pb2.EDGE_LATEST])
async def test_a_member_of_many_topics_begins_while_no_controller_answers(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, edge: Any
) -> None:
    """Its partitions, and where it begins, are its coordinator's to know."""
    await produce(nodes, "a")
    leader = nodes.row(CONSUMER_OFFSETS, partition_of(GROUP)).leader
    assert leader is not None
    coordinator = nodes.lives[leader]
    asked = 0

    async def nobody_answers() -> None:
        nonlocal asked
        asked += 1
        raise RequestError(ErrorCode.NO_QUORUM, "no leader of the quorum")

    monkeypatch.setattr(coordinator.context.quorum, "read_barrier", nobody_answers)
    start = common_pb2.Seek(edge=edge)
    member = Member(nodes, coordinator, GROUP, *TOPICS, start=start)
    await nodes.until(lambda: "caught_up" in member.on_stream or member.task.done())
    assert not member.task.done()
    before = [f"a{topic}".encode() for topic in TOPICS]
    after = await produce(nodes, "b")
    expected = after if edge == common_pb2.EDGE_LATEST else before + after
    await member.has(len(expected))
    assert sorted(member.values) == expected
    assert asked == 0
