"""What a group has committed that another node coordinates: asked by the call that clients make."""

from collections.abc import Mapping
from typing import Final

from api.broker.forward import Forwarding
from api.broker.group_standing import Stand
from api.rpc.answers import read_answer
from model.ids import GroupId, LeaderEpoch, NodeId, Offset
from model.principal import Principal
from tidelog.v1 import group_service_pb2

OFFSETS: Final = "ConsumerGroupService/ListGroupOffsets"
ASK_MS: Final = 2_000
"""For what a coordinator has at hand; it asks other leaders how far their logs go."""


class RemoteCommits:
    """`api.broker.group_standing.RemoteCommits` over forwarded calls. Loop only."""

    def __init__(self, forwarding: Forwarding) -> None:
        """Ask by `forwarding`."""
        self._forwarding = forwarding

    async def committed(
        self, node: NodeId, principal: Principal, group: GroupId
    ) -> Mapping[tuple[str, int], Stand]:
        """Return a group's commits by topic and number.

        Raises:
            RequestError: the node's refusal, or that of the way to it.
        """
        request = group_service_pb2.ListGroupOffsetsRequest(group=group)
        answer = await self._forwarding.call(
            node, OFFSETS, principal, payload=request.SerializeToString(), left_ms=ASK_MS
        )
        told = read_answer(node, group_service_pb2.ListGroupOffsetsResponse, answer)
        return {
            (row.partition.topic, row.partition.partition): (
                Offset(row.committed.offset),
                LeaderEpoch(row.committed.leader_epoch)
                if row.committed.HasField("leader_epoch")
                else None,
            )
            for row in told.offsets
            if row.HasField("committed")
        }
