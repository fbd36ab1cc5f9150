"""What only another node can say of itself or of the quorum: asked of it, for as long as it takes.

A node that is asked by another one answers for itself alone: its own row, its own troubles.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import Message

from api.broker.broker import Broker
from api.rpc.call import Call
from model.errors import RequestError
from model.ids import MonotonicMs, NodeId
from model.limits import PRODUCE_WAIT_MS_MAX
from model.principal import INTERNAL, Principal
from tidelog.v1 import cluster_service_pb2, topic_service_pb2

GET_CLUSTER: Final = "ClusterService/GetCluster"
GET_QUORUM: Final = "ClusterService/GetQuorum"
ELECT: Final = "ClusterService/ElectUncleanLeader"
GET_TOPIC: Final = "TopicService/GetTopic"
LOOK_MS: Final = 1_000
"""For what a node says of itself; without it the map tells what is known here."""
FRESH_MS: Final = 1_000
"""What was said so lately is not asked for again."""


class NodesOfThemselves:
    """What the other nodes have said of themselves last. Loop only."""

    def __init__(self, broker: Broker) -> None:
        """Nothing has been asked yet."""
        self._broker = broker
        self._told: dict[NodeId, cluster_service_pb2.Cluster] = {}
        self._asked_at: MonotonicMs | None = None
        self._asking = asyncio.Lock()

    @property
    def rows(self) -> Mapping[NodeId, cluster_service_pb2.Broker]:
        """Each node's row, by the node that has told it."""
        return {node: row for node, cluster in self._told.items() for row in cluster.brokers[:1]}

    @property
    def troubles(self) -> list[str]:
        """What is wrong on their disks, in sentences."""
        return [reason for cluster in self._told.values() for reason in cluster.health.reasons]

    async def ask(self) -> None:
        """Ask every node that is up, unless that was done just now."""
        if self._broker.context.forwarding is None:
            return
        async with self._asking:
            if self._is_fresh():
                return
            brokers = self._broker.image.brokers.values()
            me = self._broker.node_id
            nodes = [one.node for one in brokers if one.node != me and one.standing.is_up]
            told = await asyncio.gather(*map(self._one, nodes))
            self._told = {
                node: cluster for node, cluster in zip(nodes, told, strict=True) if cluster
            }
            self._asked_at = self._broker.context.clock.monotonic_ms()

    def ask_soon(self) -> None:
        """Have them asked while the caller goes on."""
        if not self._asking.locked() and not self._is_fresh():
            self._broker.context.spawn.start(self.ask(), "nodes of themselves")

    def _is_fresh(self) -> bool:
        now = self._broker.context.clock.monotonic_ms()
        return self._asked_at is not None and now - self._asked_at < FRESH_MS

    async def _one(self, node: NodeId) -> cluster_service_pb2.Cluster | None:
        request = cluster_service_pb2.GetClusterRequest()
        try:
            answer = await called(
                self._broker, node, GET_CLUSTER, request=request, principal=INTERNAL
            )
        except RequestError:
            return None
        return cluster_service_pb2.GetClusterResponse.FromString(answer).cluster


async def called(
    broker: Broker,
    node: NodeId,
    name: str,
    *,
    request: Message,
    principal: Principal,
    left_ms: int = LOOK_MS,
) -> bytes:
    """Return another node's answer; of a node that is alone nobody asks."""
    forwarding = broker.context.forwarding
    assert forwarding is not None, "FORWARD_IS_FORWARDED"
    payload = request.SerializeToString()
    return await forwarding.call(node, name, principal, payload=payload, left_ms=left_ms)


async def quorum_of_leader(
    broker: Broker, call: Call
) -> cluster_service_pb2.GetQuorumResponse | None:
    """Return the quorum as its leader sees it; None: this node leads, or nobody answers."""
    leader = broker.quorum.status(call.principal).leader
    alone = broker.context.forwarding is None or call.brought_by is not None
    if alone or leader is None or leader == broker.node_id:
        return None
    request = cluster_service_pb2.GetQuorumRequest()
    try:
        answer = await called(broker, leader, GET_QUORUM, request=request, principal=call.principal)
    except RequestError:
        return None
    return cluster_service_pb2.GetQuorumResponse.FromString(answer)


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
    left_ms = call.remaining_ms or PRODUCE_WAIT_MS_MAX.value
    answer = await called(
        broker, replica, ELECT, request=request, principal=call.principal, left_ms=left_ms
    )
    return cluster_service_pb2.ElectUncleanLeaderResponse.FromString(answer)


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
        except RequestError:
            return []
        told = topic_service_pb2.GetTopicResponse.FromString(answer).topic.partitions
        return [
            row.high_watermark
            for row in told
            if row.id == number and row.high_watermark > row.log_start_offset
        ]

    asked = [one(node) for node in nodes if node != broker.node_id]
    return [mark for told in await asyncio.gather(*asked) for mark in told]
