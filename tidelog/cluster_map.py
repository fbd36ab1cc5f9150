"""The cluster's map."""

from typing import Final, Literal, TypeAlias

from tidelog.calls import GET_CLUSTER
from tidelog.connection import Connection
from tidelog.types import Broker, ClusterInfo
from tidelog.v1 import cluster_service_pb2 as wire

State: TypeAlias = Literal[
    "unknown", "starting", "running", "draining", "drained", "fenced", "offline"
]
Status: TypeAlias = Literal["unknown", "healthy", "degraded", "unhealthy"]

STATES: Final[dict[int, State]] = {
    wire.Broker.STATE_STARTING: "starting",
    wire.Broker.STATE_RUNNING: "running",
    wire.Broker.STATE_DRAINING: "draining",
    wire.Broker.STATE_DRAINED: "drained",
    wire.Broker.STATE_FENCED: "fenced",
    wire.Broker.STATE_OFFLINE: "offline",
}
STATUSES: Final[dict[int, Status]] = {
    wire.Health.STATUS_HEALTHY: "healthy",
    wire.Health.STATUS_DEGRADED: "degraded",
    wire.Health.STATUS_UNHEALTHY: "unhealthy",
}


class Cluster:
    """The cluster; `Client.cluster`."""

    def __init__(self, connection: Connection) -> None:
        """Take the way to it."""
        self._connection = connection

    async def get(self) -> ClusterInfo:
        """Return the map: brokers, controller, health, as the node that answers knows them."""
        response = await self._connection.call(GET_CLUSTER, wire.GetClusterRequest())
        cluster = response.cluster
        return ClusterInfo(
            cluster_id=cluster.cluster_id,
            controller=cluster.controller_id if cluster.HasField("controller_id") else None,
            brokers=tuple(
                Broker(
                    id=one.id,
                    rack=one.rack,
                    version=one.version,
                    state=STATES.get(one.state, "unknown"),
                    endpoints=dict(one.endpoints),
                )
                for one in cluster.brokers
            ),
            status=STATUSES.get(cluster.health.status, "unknown"),
            reasons=tuple(cluster.health.reasons),
            feature_level=cluster.feature_level,
        )
