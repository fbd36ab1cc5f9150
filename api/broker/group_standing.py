"""Where a group stands: what it has committed, here or at another node that coordinates it."""

from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from consumer_groups.machine import GroupMachine
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import GroupId, LeaderEpoch, NodeId, Offset, PartitionId, TopicName
from model.principal import Principal

Stand: TypeAlias = tuple[Offset, LeaderEpoch | None]
Standing: TypeAlias = Mapping[PartitionId, Stand]
RETRY_MS: Final = 1_000


class RemoteCommits(Protocol):
    """The way to other coordinators."""

    async def committed(
        self, node: NodeId, principal: Principal, group: GroupId
    ) -> Mapping[tuple[str, int], Stand]:
        """Return a group's commits by topic and number, as the node says that coordinates it.

        Raises:
            RequestError: its refusal, or that of the way to it.
        """
        ...


class GroupStanding:
    """The commits of any group. Loop only."""

    def __init__(self, node: BrokerContext, state: GroupState) -> None:
        """Look here; elsewhere once `remote` is set."""
        self._node, self._state = node, state
        self.remote: RemoteCommits | None = None
        """None: there are no other nodes."""

    async def __call__(self, principal: Principal, group: GroupId) -> Standing:
        """Return a group's commits, but for topics that are gone.

        Raises:
            RequestError: UNKNOWN_GROUP; COORDINATOR_NOT_AVAILABLE and whatever says that nobody
                can tell now.
        """
        try:
            return await self._state.read(group, lambda machine: commits_of(machine, group))
        except RequestError as refusal:
            node = self._state.leader_of(group)
            if refusal.code is not ErrorCode.NOT_COORDINATOR or self.remote is None or node is None:
                raise
        try:
            told = await self.remote.committed(node, principal, group)
        except RequestError as refusal:
            # It was only asked: whatever became of the answer, nothing was done.
            code = refusal.code
            if code is not ErrorCode.NOT_COORDINATOR and code.outcome is not Outcome.UNKNOWN:
                raise
            detail = f"node {node} does not tell where group {group!r} stands; ask again"
            raise RequestError(
                ErrorCode.COORDINATOR_NOT_AVAILABLE, detail, retry_delay_ms=RETRY_MS
            ) from refusal
        topics = self._node.quorum.image.topics
        return {
            PartitionId(topics[TopicName(name)].topic_id, number): stand
            for (name, number), stand in told.items()
            if name in topics
        }


def commits_of(machine: GroupMachine, group: GroupId) -> Standing:
    """Return the commits of a group of this coordinator.

    Raises:
        RequestError: UNKNOWN_GROUP.
    """
    return {
        row.partition: (row.committed.offset, row.committed.leader_epoch)
        for row in machine.offsets(group)
        if row.committed is not None
    }
