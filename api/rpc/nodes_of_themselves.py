"""What each node of the cluster says of itself: asked of all together, and remembered for a moment.

A node that is asked by another one answers for itself alone: its own row, its own troubles.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from api.broker.broker import Broker
from api.rpc.answers import read_answer
from api.rpc.cluster_elsewhere import called
from model.errors import RequestError
from model.ids import MonotonicMs, NodeId
from model.principal import INTERNAL
from tidelog.v1 import cluster_service_pb2

GET_CLUSTER: Final = "ClusterService/GetCluster"
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
            return read_answer(node, cluster_service_pb2.GetClusterResponse, answer).cluster
        except RequestError:
            return None
