"""ClusterService: the map and its changes, leaderships by command, the controller quorum."""

import asyncio

from api.broker.broker import Broker
from api.rpc.call import Call
from api.rpc.cluster_elsewhere import elected_by, high_watermarks, quorum_of_leader
from api.rpc.cluster_messages import cluster_message, quorum_message
from api.rpc.convert import refuse, uuid_bytes
from api.rpc.details import ErrorRows
from api.rpc.guard import Guard
from api.rpc.handlers import Handler, ServerStream, Unary
from api.rpc.nodes_of_themselves import NodesOfThemselves
from api.rpc.selection import check_items
from api.rpc.watch_cluster import WatchCluster
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.names import check_topic_name
from tidelog.v1 import cluster_service_pb2, common_pb2


class ClusterService:
    """The service. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Serve a node's use cases."""
        self._broker = broker
        self._nodes = NodesOfThemselves(broker)
        self._watch = WatchCluster(broker, guard, self._nodes)

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {
            "ClusterService/GetCluster": Unary(self.get_cluster),
            "ClusterService/WatchCluster": ServerStream(self._watch),
            "ClusterService/TransferLeadership": Unary(self.transfer_leadership),
            "ClusterService/ElectUncleanLeader": Unary(self.elect_unclean_leader),
            "ClusterService/GetQuorum": Unary(self.get_quorum, can_wait=True),
            "ClusterService/AddVoter": Unary(self.add_voter),
            "ClusterService/RemoveVoter": Unary(self.remove_voter),
        }

    async def get_cluster(
        self, request: cluster_service_pb2.GetClusterRequest, call: Call
    ) -> cluster_service_pb2.GetClusterResponse:
        """Return the map as this node knows it; the others say what only they know."""
        del request  # it is empty
        if call.brought_by is not None:
            return cluster_service_pb2.GetClusterResponse(cluster=self._of_itself(call))
        await self._nodes.ask()
        seen = self._broker.cluster(call.principal, self._broker.endpoints, self._nodes.troubles)
        return cluster_service_pb2.GetClusterResponse(
            cluster=cluster_message(seen, self._nodes.rows)
        )

    async def transfer_leadership(
        self, request: cluster_service_pb2.TransferLeadershipRequest, call: Call
    ) -> cluster_service_pb2.TransferLeadershipResponse:
        """Hand leaderships over, each for itself; or only tell whether that could be done."""
        check_items("partitions", len(request.partitions))
        to = _node("target_id", request.target_id) if request.HasField("target_id") else None

        async def one(named: common_pb2.TopicPartition) -> RequestError | None:
            try:
                await self._broker.leaderships.transfer(
                    call.principal,
                    check_topic_name(named.topic),
                    named.partition,
                    to=to,
                    validate_only=request.validate_only,
                )
            except RequestError as refusal:
                return refusal
            return None

        refusals = await asyncio.gather(*map(one, request.partitions))
        errors = ErrorRows()
        return cluster_service_pb2.TransferLeadershipResponse(
            results=[
                common_pb2.PartitionResult(
                    partition=named, error=None if refusal is None else errors.row(refusal)
                )
                for named, refusal in zip(request.partitions, refusals, strict=True)
            ]
        )

    async def elect_unclean_leader(
        self, request: cluster_service_pb2.ElectUncleanLeaderRequest, call: Call
    ) -> cluster_service_pb2.ElectUncleanLeaderResponse:
        """Let a replica lead that may lack records, and tell what it has.

        The node does it that is to lead: it knows its log.
        """
        if not request.HasField("partition"):
            refuse("partition", "it is missing: there is no election of everything")
        if not request.HasField("replica_id"):
            refuse("replica_id", "it is missing: say which replica is to lead")
        replica = _node("replica_id", request.replica_id)
        topic, number = check_topic_name(request.partition.topic), request.partition.partition
        leaderships = self._broker.leaderships
        row = await leaderships.check_unclean(call.principal, topic, number, replica=replica)
        if replica != self._broker.node_id:
            if not call.goes_on:
                raise _for_itself(replica, topic, number)
            return await elected_by(self._broker, replica, request, call=call)
        held = leaderships.held(topic, number)
        marks = await high_watermarks(
            self._broker, topic, number, nodes=row.replicas, principal=call.principal
        )
        if not request.validate_only:
            row = await leaderships.elect_unclean(call.principal, topic, number, replica=replica)
        if held.high_watermark is not None:
            marks.append(held.high_watermark)
        return cluster_service_pb2.ElectUncleanLeaderResponse(
            leader_epoch=row.leader_epoch,
            log_end_offset=held.log_end,
            last_high_watermark=max(marks, default=None),
        )

    async def get_quorum(
        self, request: cluster_service_pb2.GetQuorumRequest, call: Call
    ) -> cluster_service_pb2.GetQuorumResponse:
        """Describe the quorum: as its leader sees it, else as this node does."""
        del request  # it is empty
        told = await quorum_of_leader(self._broker, call)
        status = self._broker.quorum.status(call.principal)
        return told or quorum_message(status, self._broker.image)

    async def add_voter(
        self, request: cluster_service_pb2.AddVoterRequest, call: Call
    ) -> cluster_service_pb2.AddVoterResponse:
        """Give a node a vote, once it has learned the log."""
        node, directory = _voter(request)
        await self._broker.quorum.add_voter(call.principal, node, directory)
        return cluster_service_pb2.AddVoterResponse()

    async def remove_voter(
        self, request: cluster_service_pb2.RemoveVoterRequest, call: Call
    ) -> cluster_service_pb2.RemoveVoterResponse:
        """Take a node's vote."""
        node, directory = _voter(request)
        await self._broker.quorum.remove_voter(call.principal, node, directory)
        return cluster_service_pb2.RemoveVoterResponse()

    def _of_itself(self, call: Call) -> cluster_service_pb2.Cluster:
        """Return this node's own row, and what is wrong with its own disk."""
        whole = cluster_message(self._broker.cluster(call.principal, self._broker.endpoints), {})
        mine = [row for row in whole.brokers if row.id == self._broker.node_id]
        health = cluster_service_pb2.Health(reasons=self._broker.cluster.own_troubles())
        return cluster_service_pb2.Cluster(cluster_id=whole.cluster_id, brokers=mine, health=health)


def _voter(
    request: cluster_service_pb2.AddVoterRequest | cluster_service_pb2.RemoveVoterRequest,
) -> tuple[NodeId, bytes | None]:
    """Return which node a request means, and which directory if it says."""
    if not request.HasField("node_id"):
        refuse("node_id", "it is missing: say which node")
    directory = uuid_bytes("directory_id", request.directory_id) if request.directory_id else None
    return _node("node_id", request.node_id), directory


def _for_itself(replica: NodeId, topic: str, number: int) -> RequestError:
    """Return what is told who asks one node alone to have another one lead."""
    return RequestError(
        ErrorCode.NOT_LEADER,
        f"node {replica} is to lead {topic}/{number}, and knows what it has of it: ask that one",
        topic=topic,
        partition=str(number),
        leader=str(replica),
    )


def _node(field: str, number: int) -> NodeId:
    if number < 0:
        refuse(field, f"{number} is no node's number")
    return NodeId(number)
