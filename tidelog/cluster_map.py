"""The cluster: its map and health, leaderships by command, the controller quorum."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Final, Literal, TypeAlias

import grpc.aio

from tidelog.calls import (
    ADD_VOTER,
    ELECT_UNCLEAN_LEADER,
    GET_CLUSTER,
    GET_QUORUM,
    REMOVE_VOTER,
    TRANSFER_LEADERSHIP,
    WATCH_CLUSTER,
)
from tidelog.cluster_types import QuorumInfo, QuorumMember, UncleanElection
from tidelog.connection import Connection
from tidelog.errors import CONNECTION_LOST, ConnectError
from tidelog.places import datetime_of_timestamp
from tidelog.types import Broker, ClusterInfo, TopicPartition
from tidelog.v1 import cluster_service_pb2 as wire
from tidelog.v1 import common_pb2 as common
from tidelog.wire_errors import Failure, failure_of_row, failure_of_status, harmless

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
SILENCE_S: Final = 20.0
"""A node sends something every 5 s; one that is silent for so long is left."""
VOTER_TIMEOUT_S: Final = 60.0
"""A node learns the metadata log before it gets its vote."""


class Cluster:
    """The cluster; `Client.cluster`."""

    def __init__(self, connection: Connection) -> None:
        """Take the way to it."""
        self._connection = connection

    async def get(self) -> ClusterInfo:
        """Return the map: brokers, controller, health, as the node that answers knows them."""
        response = await self._connection.call(GET_CLUSTER, wire.GetClusterRequest())
        return _cluster(response.cluster)

    async def watch(self) -> AsyncIterator[ClusterInfo]:
        """Yield the map, and again whenever it has changed, without an end.

        It goes on at another node when one goes; changes in between are told as one.

        Raises:
            TidelogError: no node tells, within the retry budget.
        """
        budget = None
        while True:
            budget = budget or self._connection.budget()
            node = await self._connection.ready(budget)
            call = self._connection.subscribe(node, WATCH_CLUSTER, wire.WatchClusterRequest())
            failure = _lost(node.address, "ended the stream")
            try:
                while True:
                    async with asyncio.timeout(SILENCE_S):
                        message = await call.read()
                    if not isinstance(message, wire.WatchClusterResponse):
                        break
                    budget = None
                    if message.HasField("cluster"):
                        yield _cluster(message.cluster)
            except TimeoutError:
                failure = _lost(node.address, "is silent")
            except grpc.aio.AioRpcError as status:
                failure = failure_of_status(status, node.address)
            finally:
                call.cancel()
            error = harmless(failure.error)
            if not error.retryable:
                raise error
            if failure.other_node:
                self._connection.leave(node)
            budget = budget or self._connection.budget()
            await self._connection.clock.sleep(budget.failed(error, failure.retry_after_s))

    async def transfer_leadership(
        self, topic: str, partition: int, *, to: int | None = None, dry_run: bool = False
    ) -> None:
        """Let another in-sync replica lead a partition; nothing is lost by it.

        `to`: a node; None: the preferred replica, which is the first in the list of replicas.
        `dry_run`: only see whether that could be done now.

        Raises:
            NotFound: no such topic or partition.
            TidelogError: NO_ELIGIBLE_LEADER: the node is not in sync or does not run.
        """
        request = wire.TransferLeadershipRequest(
            partitions=[common.TopicPartition(topic=topic, partition=partition)],
            target_id=to,
            validate_only=dry_run,
        )
        response = await self._connection.call(TRANSFER_LEADERSHIP, request)
        for row in response.results:
            if row.HasField("error"):
                raise failure_of_row(row.error).error

    async def elect_unclean_leader(
        self, topic: str, partition: int, *, replica: int, dry_run: bool = False
    ) -> UncleanElection:
        """Let any replica lead a partition that has no leader: what it does not have is lost.

        For when those will not come back that have everything. Readers who were further are told
        (`LogDiverged`). `dry_run`: only tell what would be lost.

        Raises:
            InvalidRequest: POLICY_VIOLATION: it has a leader.
            TidelogError: NO_ELIGIBLE_LEADER: the node has no replica of it, or does not run.
        """
        request = wire.ElectUncleanLeaderRequest(
            partition=common.TopicPartition(topic=topic, partition=partition),
            replica_id=replica,
            validate_only=dry_run,
        )
        response = await self._connection.call(ELECT_UNCLEAN_LEADER, request)
        mark = response.last_high_watermark if response.HasField("last_high_watermark") else None
        return UncleanElection(response.leader_epoch, response.log_end_offset, mark)

    async def quorum(self) -> QuorumInfo:
        """Return who votes on metadata, who learns, who leads, and how far each is."""
        response = await self._connection.call(GET_QUORUM, wire.GetQuorumRequest())
        return QuorumInfo(
            leader=response.leader_id if response.HasField("leader_id") else None,
            term=response.term,
            commit_offset=response.commit_offset,
            members=tuple(map(_member, response.members)),
        )

    async def add_voter(self, node: int, *, directory_id: str = "") -> None:
        """Give a registered node a vote in the controller quorum, once it has learned the log.

        `directory_id`: the UUID that it must have; empty: whichever it has registered with.

        Raises:
            NotFound: no such node.
            AlreadyExists: it votes already.
            TidelogError: QUORUM_CHANGE_IN_PROGRESS, or another reason why not now.
        """
        request = wire.AddVoterRequest(node_id=node, directory_id=directory_id)
        await self._connection.call(ADD_VOTER, request, timeout_s=VOTER_TIMEOUT_S)

    async def remove_voter(self, node: int, *, directory_id: str = "") -> None:
        """Take a node's vote in the controller quorum; refused if the others could decide nothing.

        Raises:
            NotFound: it has no vote.
            TidelogError: POLICY_VIOLATION, QUORUM_CHANGE_IN_PROGRESS, or why not now.
        """
        request = wire.RemoveVoterRequest(node_id=node, directory_id=directory_id)
        await self._connection.call(REMOVE_VOTER, request)


def _cluster(cluster: wire.Cluster) -> ClusterInfo:
    health = cluster.health
    return ClusterInfo(
        cluster_id=cluster.cluster_id,
        controller=cluster.controller_id if cluster.HasField("controller_id") else None,
        brokers=tuple(map(_broker, cluster.brokers)),
        status=STATUSES.get(health.status, "unknown"),
        reasons=tuple(health.reasons),
        feature_level=cluster.feature_level,
        leaderless=_partitions(health.leaderless),
        under_replicated=_partitions(health.under_replicated),
        under_min_isr=_partitions(health.under_min_isr),
    )


def _broker(one: wire.Broker) -> Broker:
    told = one.disk_total_bytes > 0
    return Broker(
        id=one.id,
        rack=one.rack,
        version=one.version,
        state=STATES.get(one.state, "unknown"),
        endpoints=dict(one.endpoints),
        directory_ids=tuple(one.directory_ids),
        leaders=one.leader_count,
        replicas=one.replica_count,
        disk_used_bytes=one.disk_used_bytes if told else None,
        disk_total_bytes=one.disk_total_bytes if told else None,
        start_time=datetime_of_timestamp(one.start_time) if one.HasField("start_time") else None,
    )


def _member(one: wire.QuorumMember) -> QuorumMember:
    contact = one.since_last_contact
    return QuorumMember(
        node=one.node_id,
        directory_id=one.directory_id,
        voter=one.voter,
        endpoint=one.endpoint,
        log_end_offset=one.log_end_offset if one.HasField("log_end_offset") else None,
        since_last_contact=timedelta(seconds=contact.seconds, microseconds=contact.nanos // 1000)
        if one.HasField("since_last_contact")
        else None,
        vote_withheld=one.vote_withheld,
    )


def _partitions(listed: Iterable[common.TopicPartition]) -> tuple[TopicPartition, ...]:
    return tuple(TopicPartition(one.topic, one.partition) for one in listed)


def _lost(address: str, how: str) -> Failure:
    text = f"{address} {how}"
    return Failure(ConnectError(text, reason=CONNECTION_LOST, retryable=True), other_node=True)
