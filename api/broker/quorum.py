"""The controller quorum, for operators: who votes, and giving and taking votes, one at a time."""

from collections.abc import Iterable

from api.broker.context import BrokerContext
from cluster.controller.image import BrokerImage
from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.principal import Principal


class Quorum:
    """The use case; one for each node. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Ask the leader of the quorum, wherever it is."""
        self._node = context

    def status(self, principal: Principal) -> QuorumStatus:
        """Return the quorum as this node sees it; how far others are, only the leader knows."""
        del principal
        return self._node.quorum.status

    async def add_voter(self, principal: Principal, node: NodeId, directory: bytes | None) -> None:
        """Give a registered node a vote; it learns the log first. Answered when it is committed.

        `directory`: the uuid that the caller takes it for; None: the registered one.

        Raises:
            RequestError: UNKNOWN_BROKER; DUPLICATE_VOTER, it votes already; INVALID_REQUEST, its
                directory is another; NODE_UNREACHABLE, it does not run;
                QUORUM_CHANGE_IN_PROGRESS, NO_QUORUM: *not done*. REQUEST_TIMED_OUT: it still
                learns, and has no vote.
        """
        del principal
        image, quorum = self._node.quorum.image, self._node.quorum
        broker = image.brokers.get(node)
        if broker is None:
            known = ", ".join(map(str, sorted(image.brokers)))
            raise RequestError(
                ErrorCode.UNKNOWN_BROKER,
                f"node {node} is not registered; there are: {known}",
                node=str(node),
            )
        _check_directory(node, directory, [broker.directory])
        if any(
            (one.node, one.directory) == (node, broker.directory) for one in quorum.status.voters
        ):
            raise RequestError(
                ErrorCode.DUPLICATE_VOTER, f"node {node} has a vote already", node=str(node)
            )
        _check_runs(broker)
        await quorum.change_voters((node,), ())

    async def remove_voter(
        self, principal: Principal, node: NodeId, directory: bytes | None
    ) -> None:
        """Take a node's vote; one that leads the quorum hands that over first.

        Answered when it is committed.

        Raises:
            RequestError: UNKNOWN_VOTER; INVALID_REQUEST, it is the last voter, or its directory is
                another; POLICY_VIOLATION, the others could decide nothing;
                QUORUM_CHANGE_IN_PROGRESS, NO_QUORUM: *not done*.
        """
        del principal
        voters = self._node.quorum.status.voters
        mine = [one for one in voters if one.node == node]
        if not mine:
            raise RequestError(
                ErrorCode.UNKNOWN_VOTER,
                f"node {node} has no vote; these have one: {_nodes(voters)}",
                node=str(node),
            )
        _check_directory(node, directory, [one.directory for one in mine])
        if len(voters) == 1:
            raise RequestError(
                ErrorCode.INVALID_REQUEST,
                f"node {node} has the only vote: give another node one first",
                field="node_id",
            )
        await self._hand_over(node)
        await self._node.quorum.change_voters((), (node,))

    async def _hand_over(self, node: NodeId) -> None:
        """Let another voter lead if this one does: who leaves while it leads learns no outcome.

        Where no majority of the others is heard nothing is done: the change itself is refused then.
        """
        status = self._node.quorum.status
        others = [one for one in status.voters if one.node != node]
        heirs = [one.node for one in others if one.is_heard]
        if status.leader == node and 2 * len(heirs) > len(others):
            await self._node.quorum.transfer_leadership(heirs[0])


def _check_directory(node: NodeId, asked: bytes | None, known: Iterable[bytes]) -> None:
    """Refuse a node whose directory is not the one that is meant: it was wiped, or is another."""
    there = list(known)
    if asked is not None and asked not in there:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"directory_id: node {node} has the directory {there[0].hex()}, not {asked.hex()}",
            field="directory_id",
        )


def _check_runs(broker: BrokerImage) -> None:
    if not broker.standing.is_up:
        raise RequestError(
            ErrorCode.NODE_UNREACHABLE,
            f"node {broker.node} is {broker.standing.name.lower()}: it has to run, and learn the "
            "metadata log, before it gets a vote",
            node=str(broker.node),
        )


def _nodes(members: Iterable[QuorumMember]) -> str:
    return ", ".join(str(one.node) for one in members)
