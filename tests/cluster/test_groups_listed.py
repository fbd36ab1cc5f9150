"""All groups of a cluster are seen through any node, and their coordinators are named."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from model.errors import ErrorCode, RequestError
from tests.cluster_members import called, ready
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import group_service_pb2

TOPIC: Final = "orders"
SERVICE: Final = "ConsumerGroupService"
GROUPS: Final = [f"g{number:02}" for number in range(20)]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC)
        await made.leader(TOPIC)
        for group in GROUPS:
            request = group_service_pb2.CommitOffsetsRequest(group=group)
            request.cursors.add(topic=TOPIC, partition=0, offset=0)
            await ready(made, made.lives[1], f"{SERVICE}/CommitOffsets", request)
        yield made
    finally:
        await made.close()


async def listed(nodes: Nodes, life: Life, **fields: Any) -> Any:
    request = group_service_pb2.ListConsumerGroupsRequest(**fields)
    return await called(nodes, life, f"{SERVICE}/ListConsumerGroups", request)


def coordinator(nodes: Nodes, group: str) -> int | None:
    return nodes.row(CONSUMER_OFFSETS, partition_of(group)).leader


async def test_every_node_lists_all_groups_page_by_page(nodes: Nodes) -> None:
    assert len({coordinator(nodes, group) for group in GROUPS}) > 1
    for life in nodes.lives.values():
        answer = await listed(nodes, life)
        assert [one.name for one in answer.groups] == GROUPS
        assert not answer.next_page_token
        for one in answer.groups:
            assert one.coordinator_id == coordinator(nodes, one.name)
        found, token = [], ""
        for _ in range(7):
            page = await listed(nodes, life, page_size=3, page_token=token)
            assert len(page.groups) <= 3
            found += [one.name for one in page.groups]
            token = page.next_page_token
            assert bool(token) == (len(found) < len(GROUPS))
        assert found == GROUPS
        some = await listed(nodes, life, name_prefix="g1")
        assert [one.name for one in some.groups] == GROUPS[10:]


async def test_any_node_describes_any_group(nodes: Nodes) -> None:
    for life in nodes.lives.values():
        for group in GROUPS[:6]:
            request = group_service_pb2.GetConsumerGroupRequest(name=group)
            answer = await called(nodes, life, f"{SERVICE}/GetConsumerGroup", request)
            assert answer.group.coordinator_id == coordinator(nodes, group)


async def test_a_list_that_would_not_be_whole_is_refused(nodes: Nodes) -> None:
    """A group that is left out is taken for one that does not exist."""
    await nodes.kill(2)
    refused, answer = 0, None
    while answer is None:
        try:
            answer = await listed(nodes, nodes.lives[1])
        except RequestError as refusal:
            assert refusal.code in {
                ErrorCode.COORDINATOR_NOT_AVAILABLE,
                ErrorCode.COORDINATOR_LOADING,
            }
            refused += 1
            await nodes.pass_by(100)
    assert refused
    assert [one.name for one in answer.groups] == GROUPS


async def test_a_client_that_wants_no_detour_is_told_the_coordinator(nodes: Nodes) -> None:
    group = next(one for one in GROUPS if coordinator(nodes, one) == 2)
    request = group_service_pb2.GetConsumerGroupRequest(name=group)
    name = f"{SERVICE}/GetConsumerGroup"
    with pytest.raises(RequestError) as refused:
        await called(nodes, nodes.lives[1], name, request, stays=True)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    assert refused.value.metadata["leader"] == "2"
