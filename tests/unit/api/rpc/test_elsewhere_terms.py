"""On what terms calls are taken to other nodes: for how long, and not against the client's will."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.cluster_elsewhere import LOOK_MS, high_watermarks, quorum_of_leader
from api.rpc.cluster_service import ClusterService
from api.rpc.group_service import GroupService
from api.rpc.groups_elsewhere import groups_elsewhere, merged
from api.rpc.guard import Guard
from api.rpc.log_service import LogService
from api.rpc.nodes_of_themselves import NodesOfThemselves
from api.rpc.topic_elsewhere import partitions_elsewhere
from cluster.controller.topics import CreateTopic
from cluster.state_partition.layout import CONFIG, CONSUMER_OFFSETS, PARTITIONS
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, Elsewhere, led_by
from tests.world import Log
from tidelog.v1 import (
    cluster_service_pb2,
    common_pb2,
    group_service_pb2,
    log_service_pb2,
    topic_service_pb2,
)

LATE = RequestError(ErrorCode.REQUEST_TIMED_OUT, "no answer in time")


async def late(*_: Any) -> bytes:
    raise LATE


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node beside another one, which leads `orders` and coordinates half of all groups."""
    async with broker_node() as node:
        await led_by(node, "orders", OTHER)
        me = node.broker.node_id
        topic = CreateTopic(
            name=CONSUMER_OFFSETS, assignments=((me,), (OTHER,)) * (PARTITIONS // 2),
            config=CONFIG, internal=True,
        )  # fmt: skip
        await node.broker.context.quorum.propose(topic)
        yield node


def call(name: str, **more: Any) -> Call:
    return Call(name, ANONYMOUS, more.pop("remaining_ms", None), **more)


def guard_of(node: BrokerNode) -> Guard:
    return Guard(node.broker, rand=SystemRand(), note=Log())


async def test_what_a_node_has_at_hand_is_not_waited_for_longer_than_a_second(
    node: BrokerNode,
) -> None:
    """`local status` gives a node 2 s; for one that is paused all others were taken for gone."""
    elsewhere, broker = Elsewhere(node, late), node.broker
    await NodesOfThemselves(broker).ask()
    topic = broker.image.topics["orders"]  # type: ignore[index]
    request = topic_service_pb2.GetTopicRequest(name="orders")
    await partitions_elsewhere(broker, topic, request, call=call("TopicService/GetTopic"))
    await high_watermarks(broker, "orders", 0, nodes=[OTHER], principal=ANONYMOUS)
    assert len(elsewhere.asked) == 3
    assert set(elsewhere.waits) == {LOOK_MS} == {1_000}


async def test_a_call_whose_time_is_over_does_not_begin_another_half_minute(
    node: BrokerNode,
) -> None:
    elsewhere, broker = Elsewhere(node, late), node.broker
    seek = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    place = common_pb2.TopicPartition(topic="orders", partition=0)
    over = call("LogService/ResolveOffsets", remaining_ms=0)
    resolve = log_service_pb2.ResolveOffsetsRequest(partitions=[place], seek=seek)
    await LogService(broker, guard_of(node)).resolve_offsets(resolve, over)
    with pytest.raises(RequestError):
        groups = group_service_pb2.ListConsumerGroupsRequest()
        await groups_elsewhere(broker, groups, call("Groups", remaining_ms=0))
    assert len(elsewhere.waits) == 2
    assert max(elsewhere.waits) <= 2_000, "what is left, and the way"


async def test_groups_of_others_are_not_left_out_in_silence(node: BrokerNode) -> None:
    elsewhere = Elsewhere(node, late)
    request = group_service_pb2.ListConsumerGroupsRequest()
    service = GroupService(node.broker, guard_of(node))
    with pytest.raises(RequestError) as refusal:
        await service.list_consumer_groups(request, call("Groups", stays=True))
    assert refusal.value.code is ErrorCode.NOT_COORDINATOR
    assert refusal.value.metadata["leader"] == str(OTHER)
    assert elsewhere.asked == []
    brought = call("Groups", brought_by=NodeId(3))
    assert not (await service.list_consumer_groups(request, brought)).groups


def test_a_group_that_just_moves_is_listed_once() -> None:
    pages = [
        group_service_pb2.ListConsumerGroupsResponse(
            groups=[group_service_pb2.ConsumerGroup(name=name) for name in names]
        )
        for names in (["a", "c"], ["b", "c"])
    ]
    answer = merged(pages, 10)
    assert [group.name for group in answer.groups] == ["a", "b", "c"]
    assert answer.next_page_token == ""


async def test_nobody_is_taken_elsewhere_who_wants_this_node_to_answer(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, broker = Elsewhere(node, late), node.broker
    stays = call("ClusterService/GetQuorum", stays=True)
    status = broker.quorum.status(ANONYMOUS)._replace(leader=OTHER)
    monkeypatch.setattr(type(broker.quorum), "status", lambda *_: status)
    assert await quorum_of_leader(broker, stays) is None

    async def check_unclean(*_: Any, **__: Any) -> Any:
        return broker.image.topics["orders"].partitions[0]  # type: ignore[index]

    monkeypatch.setattr(type(broker.leaderships), "check_unclean", check_unclean)
    request = cluster_service_pb2.ElectUncleanLeaderRequest(
        partition=common_pb2.TopicPartition(topic="orders", partition=0), replica_id=OTHER
    )
    service = ClusterService(broker, guard_of(node))
    with pytest.raises(RequestError) as refusal:
        await service.elect_unclean_leader(request, stays)
    assert refusal.value.code is ErrorCode.NOT_LEADER
    assert refusal.value.metadata["leader"] == str(OTHER)
    assert elsewhere.asked == []
