"""The cluster as messages: brokers, health, the quorum."""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration

from api.broker.cluster import BrokerRow, ClusterMap, address_of
from api.broker.health import Place, Status, Verdict
from api.rpc.convert import timestamp, uuid_text
from cluster.controller.image import BrokerImage, MetadataImage, Standing
from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from cluster.shell.controller_doors import PEER_LISTENER
from model.ids import NodeId
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
_STATUSES: Final = {
    Status.HEALTHY: _Health.STATUS_HEALTHY,
    Status.DEGRADED: _Health.STATUS_DEGRADED,
    Status.UNHEALTHY: _Health.STATUS_UNHEALTHY,
}
PLACES_MAX: Final = 5_000
"""Partitions that one list of a health tells; the sentences count all."""


def cluster_message(
    seen: ClusterMap, told: Mapping[NodeId, cluster_service_pb2.Broker]
) -> cluster_service_pb2.Cluster:
    """Return the map; `told`: what other nodes have said of themselves."""
    return cluster_service_pb2.Cluster(
        cluster_id=seen.cluster_id,
        controller_id=seen.controller,
        brokers=[_broker(row, told.get(row.broker.node)) for row in seen.brokers],
        health=_health(seen.health),
        feature_level=seen.feature_level,
        max_feature_level=seen.feature_level_max,
        metadata_offset=seen.applied,
    )


def quorum_message(
    status: QuorumStatus, image: MetadataImage
) -> cluster_service_pb2.GetQuorumResponse:
    """Return the quorum."""
    return cluster_service_pb2.GetQuorumResponse(
        leader_id=status.leader,
        term=status.term,
        commit_offset=status.committed,
        members=[_member(one, image.brokers.get(one.node)) for one in status.members],
    )


def _broker(row: BrokerRow, told: cluster_service_pb2.Broker | None) -> cluster_service_pb2.Broker:
    """Return a broker; of its disk and its start it has told itself, if another node is it."""
    broker = row.broker
    message = _Broker(
        id=broker.node,
        directory_ids=[uuid_text(broker.directory)],
        rack=broker.rack or "",
        version=broker.version,
        state=_STATES[broker.standing],
        endpoints=row.endpoints,
        leader_count=row.leaders,
        replica_count=row.replicas,
    )
    if row.disk is not None:
        message.disk_used_bytes, message.disk_total_bytes = row.disk
    if row.started is not None:
        message.start_time.CopyFrom(timestamp(row.started))
    if told is not None and told.directory_ids == message.directory_ids:
        message.disk_used_bytes = told.disk_used_bytes
        message.disk_total_bytes = told.disk_total_bytes
        message.start_time.CopyFrom(told.start_time)
        message.endpoints.update(told.endpoints)
    return message


def _health(health: Verdict) -> cluster_service_pb2.Health:
    faults = health.faults
    return _Health(
        status=_STATUSES[health.status],
        reasons=health.reasons,
        leaderless=_partitions(faults.leaderless),
        under_replicated=_partitions(faults.under_replicated),
        under_min_isr=_partitions(faults.under_min_isr),
    )


def _partitions(places: Iterable[Place]) -> list[common_pb2.TopicPartition]:
    listed = sorted(places)[:PLACES_MAX]
    return [common_pb2.TopicPartition(topic=topic, partition=number) for topic, number in listed]


def _member(one: QuorumMember, broker: BrokerImage | None) -> cluster_service_pb2.QuorumMember:
    endpoints = () if broker is None else broker.endpoints
    where = next((end for end in endpoints if end.listener == PEER_LISTENER), None)
    silent = None if one.silent_ms is None else Duration()
    if silent is not None and one.silent_ms is not None:
        silent.FromMilliseconds(one.silent_ms)
    return cluster_service_pb2.QuorumMember(
        node_id=one.node,
        directory_id=uuid_text(one.directory),
        voter=one.votes,
        endpoint="" if where is None else address_of(where),
        log_end_offset=one.matched,
        since_last_contact=silent,
        vote_withheld=one.vote_withheld,
    )
