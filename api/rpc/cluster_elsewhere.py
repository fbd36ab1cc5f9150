"""What only another node can say or do about the cluster: asked of it, for as long as it takes."""

import asyncio
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message

from api.broker.broker import Broker
from api.broker.forward import GRACE_MS, Forwarding
from api.rpc.answers import read_answer
from api.rpc.call import Call
from model.errors import RequestError
from model.ids import NodeId
from model.principal import Principal
from tidelog.v1 import cluster_service_pb2, topic_service_pb2

GET_QUORUM: Final = "ClusterService/GetQuorum"
ELECT: Final = "ClusterService/ElectUncleanLeader"
GET_TOPIC: Final = "TopicService/GetTopic"
LOOK_MS: Final = 1_000
"""For what a node says of itself; without it the map tells what is known here."""


async def called(
    broker: Broker,
    node: NodeId,
    name: str,
    *,
    request: Message,
    principal: Principal,
    left_ms: int | None = None,
) -> bytes:
    """Return another node's answer; of a node that is alone nobody asks.

    `left_ms`: None: it is at hand there, and waited for no longer than `LOOK_MS`.
    """
    forwarding = broker.context.forwarding
    assert forwarding is not None, "FORWARD_IS_FORWARDED"
    payload = request.SerializeToString()
    grace_ms = 0 if left_ms is None else GRACE_MS
    left_ms = LOOK_MS if left_ms is None else left_ms
    return await forwarding.call(
        node, name, principal, payload=payload, left_ms=left_ms, grace_ms=grace_ms
    )


async def part_of(
    forwarding: Forwarding,
    node: NodeId,
    name: str,
    *,
    request: Message,
    call: Call,
    part_ms: int,
) -> bytes:
    """Return what one of several leaders answers to a call; it has `part_ms` at most, and no grace.

    Raises:
        RequestError: its refusal, or that it does not answer.
    """
    payload, left_ms = request.SerializeToString(), call.part_ms(part_ms)
    return await forwarding.call(
        node, name, call.principal, payload=payload, left_ms=left_ms, grace_ms=0
    )


async def quorum_of_leader(
    broker: Broker, call: Call
) -> cluster_service_pb2.GetQuorumResponse | None:
    """Return the quorum as its leader sees it; None: this node is to say, or nobody answers."""
    leader = broker.quorum.status(call.principal).leader
    alone = broker.context.forwarding is None or not call.goes_on
    if alone or leader is None or leader == broker.node_id:
        return None
    request = cluster_service_pb2.GetQuorumRequest()
    try:
        answer = await called(broker, leader, GET_QUORUM, request=request, principal=call.principal)
        return read_answer(leader, cluster_service_pb2.GetQuorumResponse, answer)
    except RequestError:
        return None


async def elected_by(
    broker: Broker,
    replica: NodeId,
    request: cluster_service_pb2.ElectUncleanLeaderRequest,
    *,
    call: Call,
) -> cluster_service_pb2.ElectUncleanLeaderResponse:
    """Have the node do it that is to lead: it knows what it has.

    Raises:
        RequestError: its refusal; NODE_UNREACHABLE: *not done*; UPSTREAM_LOST: *unknown*.
    """
    left_ms = call.wait_ms(None)
    answer = await called(
        broker, replica, ELECT, request=request, principal=call.principal, left_ms=left_ms
    )
    return read_answer(replica, cluster_service_pb2.ElectUncleanLeaderResponse, answer)


async def high_watermarks(
    broker: Broker, topic: str, number: int, *, nodes: Iterable[NodeId], principal: Principal
) -> list[int]:
    """Return the high watermarks that other replicas remember; after a restart some do not."""
    if broker.context.forwarding is None:
        return []

    async def one(node: NodeId) -> list[int]:
        request = topic_service_pb2.GetTopicRequest(name=topic)
        try:
            answer = await called(broker, node, GET_TOPIC, request=request, principal=principal)
            told = read_answer(node, topic_service_pb2.GetTopicResponse, answer)
        except RequestError:
            return []
        return [
            row.high_watermark
            for row in told.topic.partitions
            if row.id == number and row.high_watermark > row.log_start_offset
        ]

    asked = [one(node) for node in nodes if node != broker.node_id]
    return [mark for told in await asyncio.gather(*asked) for mark in told]
