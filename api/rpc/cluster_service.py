"""ClusterService: the map. Changes of it, the quorum and operations come with later steps."""

from collections.abc import Iterable
from typing import Final

from api.broker.broker import Broker
from api.broker.cluster import FEATURE_LEVEL, BrokerRow, ClusterMap, Place
from api.rpc.call import Call
from api.rpc.convert import timestamp, uuid_text
from api.rpc.handlers import Handler, Unary
from cluster.controller.image import Standing
from tidelog.v1 import cluster_service_pb2, common_pb2

_Health = cluster_service_pb2.Health
_Broker = cluster_service_pb2.Broker

_STATES: Final = {
    Standing.RUNNING: _Broker.STATE_RUNNING,
    Standing.BARRED: _Broker.STATE_RUNNING,
    Standing.STOPPING: _Broker.STATE_DRAINING,
    Standing.FENCED: _Broker.STATE_FENCED,
    Standing.STOPPED: _Broker.STATE_OFFLINE,
}


class ClusterService:
    """The service. Loop only."""

    def __init__(self, broker: Broker) -> None:
        """Serve a node's use cases."""
        self._broker = broker

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {"ClusterService/GetCluster": Unary(self.get_cluster)}

    async def get_cluster(
        self, request: cluster_service_pb2.GetClusterRequest, call: Call
    ) -> cluster_service_pb2.GetClusterResponse:
        """Return the map as this node knows it."""
        del request  # it is empty
        seen = self._broker.cluster(call.principal, self._broker.endpoints)
        return cluster_service_pb2.GetClusterResponse(
            cluster=cluster_service_pb2.Cluster(
                cluster_id=seen.cluster_id,
                controller_id=seen.controller,
                brokers=[_broker(row) for row in seen.brokers],
                health=_health(seen),
                feature_level=FEATURE_LEVEL,
                max_feature_level=FEATURE_LEVEL,
                metadata_offset=seen.applied,
            )
        )


def _broker(row: BrokerRow) -> cluster_service_pb2.Broker:
    broker = row.broker
    used, total = row.disk or (0, 0)
    return cluster_service_pb2.Broker(
        id=broker.node,
        directory_ids=[uuid_text(broker.directory)],
        rack=broker.rack or "",
        version=broker.version,
        state=_STATES[broker.standing],
        endpoints=row.endpoints,
        leader_count=row.leaders,
        replica_count=row.replicas,
        disk_used_bytes=used,
        disk_total_bytes=total,
        start_time=None if row.started is None else timestamp(row.started),
    )


def _health(seen: ClusterMap) -> cluster_service_pb2.Health:
    reasons = []
    if seen.offline is not None:
        reasons.append(f"the log directory of node {seen.answers} is offline: {seen.offline}")
    reasons += [f"damaged on disk: {place}" for place in seen.damage]
    if seen.leaderless:
        reasons.append(f"{len(seen.leaderless)} partitions have no leader")
    if seen.under_min_isr:
        reasons.append(f"{len(seen.under_min_isr)} partitions refuse acks=all")
    status = _Health.STATUS_HEALTHY
    if reasons:
        status = _Health.STATUS_UNHEALTHY
    elif seen.under_replicated:
        status = _Health.STATUS_DEGRADED
        reasons.append(f"{len(seen.under_replicated)} partitions lack a replica")
    return _Health(
        status=status,
        reasons=reasons,
        leaderless=_partitions(seen.leaderless),
        under_replicated=_partitions(seen.under_replicated),
        under_min_isr=_partitions(seen.under_min_isr),
    )


def _partitions(places: Iterable[Place]) -> list[common_pb2.TopicPartition]:
    return [common_pb2.TopicPartition(topic=topic, partition=number) for topic, number in places]
