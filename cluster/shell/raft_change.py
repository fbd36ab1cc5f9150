"""Changing who belongs to the controller quorum: one committed step after the other.

A node is sent the log first (a learner), and gets its vote when it lacks next to nothing. Each step
is an entry of the log that is committed before the next; a leader that stops leading in between
leaves the quorum as the last committed step has made it, and asking again goes on from there.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from cluster.controller.image import MetadataImage
from cluster.raft.limits import RaftLimits
from cluster.raft.membership import (
    AddLearner,
    Change,
    Promote,
    Refusal,
    RefusedError,
    Remove,
)
from cluster.raft.node import RaftNode
from cluster.raft.voters import Voter
from cluster.shell.raft_refusals import not_leader, refused
from cluster.shell.raft_status import leaves_a_majority
from model.errors import ErrorCode, RequestError
from model.ids import NodeId

LIMITS: Final = RaftLimits()
CATCH_UP_TICKS: Final = 300
"""A learner that lacks too much for so long (30 s) gets no vote now; it goes on learning."""


class QuorumChange:
    """One change of the quorum at a time, on the leader. Loop only."""

    def __init__(
        self,
        node: RaftNode,
        *,
        decide: Callable[[Change], Awaitable[None]],
        news: Callable[[], Awaitable[None]],
        lag_max: int = LIMITS.promotion_lag_max,
    ) -> None:
        """`decide` returns once a step is committed, `news` at the next tick or leadership."""
        self._node = node
        self._decide = decide
        self._news = news
        self._lag_max = lag_max
        self._is_under_way = False

    async def change_voters(
        self, image: MetadataImage, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]
    ) -> None:
        """Give votes to registered nodes, then take votes away.

        Who loses its vote and is up goes on as a learner: without the log a node knows nothing of
        its own partitions any more.

        Whom a node id means is decided by its registration, for the one that gets a vote, and by
        the quorum itself, for the one that loses it. Who votes already is passed.

        Raises:
            RequestError: UNKNOWN_BROKER, UNKNOWN_VOTER, DUPLICATE_VOTER, INVALID_REQUEST (the last
                voter), POLICY_VIOLATION (the others could decide nothing), LIMIT_EXCEEDED,
                QUORUM_CHANGE_IN_PROGRESS, NOT_LEADER, NO_QUORUM: *not done*, but for the steps
                before; LEADERSHIP_LOST: *unknown*; REQUEST_TIMED_OUT: a learner lacks too much.
        """
        joining = [_registered(image, node) for node in add]
        leaving = [self._voter(node) for node in remove]
        self._begin()
        try:
            for member in joining:
                if member not in self._node.configuration.voters:
                    await self._add(member)
                    await self._promote(member)
            for member in leaving:
                self._check_majority_stays(member)
                await self._decide(Remove(member))
                if _is_up(image, member):
                    await self._add(member)
        finally:
            self._is_under_way = False

    async def admit(self, member: Voter, *, replaces: bool) -> None:
        """Send a node the log from here on, as a learner, unless it is a member already.

        `replaces`: whoever has its node id under another directory leaves the quorum first; that
        directory is lost. Without it such a node is refused.

        Raises:
            RequestError: DUPLICATE_VOTER, its node id is taken by another directory; and what
                `change_voters` raises for a single step.
        """
        self._begin()
        try:
            for other in self._node.configuration.members:
                if other.node == member.node and other != member and replaces:
                    await self._decide(Remove(other))
            await self._add(member)
        finally:
            self._is_under_way = False

    def begin_transfer(self, to: NodeId) -> None:
        """Let the core hand its leadership over.

        Raises:
            RequestError: NOT_LEADER, NO_QUORUM, UNKNOWN_VOTER.
        """
        try:
            self._node.transfer(self._member(to))
        except RefusedError as error:
            raise refused(self._node, error.refusal) from error

    def _begin(self) -> None:
        if self._is_under_way:
            detail = "another change of the controller quorum is under way"
            raise RequestError(ErrorCode.QUORUM_CHANGE_IN_PROGRESS, detail)
        self._is_under_way = True

    def _check_majority_stays(self, member: Voter) -> None:
        """Refuse to take the vote without which the others, as they are heard now, decide nothing.

        Raises:
            RequestError: POLICY_VIOLATION; NOT_LEADER, NO_QUORUM.
        """
        leading, voters = self._node.leadership, self._node.configuration.voters
        if leading is None:
            raise not_leader(self._node)
        if voters == (member,):
            return  # the core refuses that
        if not leaves_a_majority(leading, voters, member):
            rest = ", ".join(str(one.node) for one in voters if one != member)
            raise RequestError(
                ErrorCode.POLICY_VIOLATION,
                f"without node {member.node} nodes {rest} would be the controller quorum, and no "
                "majority of them is heard now: nothing could be decided any more; bring them "
                "back, or give another node a vote, first",
                node=str(member.node),
                rest=rest,
            )

    async def _add(self, member: Voter) -> None:
        if member not in self._node.configuration.members:
            await self._decide(AddLearner(member))

    async def _promote(self, member: Voter) -> None:
        """Give a learner its vote as soon as it lacks next to nothing."""
        for _ in range(CATCH_UP_TICKS):
            if not self._lacks_much(member):
                await self._decide(Promote(member))
                return
            await self._news()
        detail = (
            f"node {member.node} is a learner and lacks too much of the metadata log for a vote; "
            "see that it runs and is reachable, then ask again"
        )
        raise RequestError(ErrorCode.REQUEST_TIMED_OUT, detail, node=str(member.node))

    def _lacks_much(self, member: Voter) -> bool:
        """Tell whether a learner would slow the quorum down.

        Raises:
            RequestError: NOT_LEADER, NO_QUORUM: it is another's to say.
        """
        leading = self._node.leadership
        if leading is None:
            raise not_leader(self._node)
        known = leading.followers.get(member)
        lag = self._node.log.last_index - (0 if known is None else known.matched)
        return lag > self._lag_max

    def _member(self, node: NodeId) -> Voter:
        return self._one_of(self._node.configuration.members, node)

    def _voter(self, node: NodeId) -> Voter:
        return self._one_of(self._node.configuration.voters, node)

    def _one_of(self, members: tuple[Voter, ...], node: NodeId) -> Voter:
        for member in members:
            if member.node == node:
                return member
        raise refused(self._node, Refusal.NOT_A_MEMBER)


def _is_up(image: MetadataImage, member: Voter) -> bool:
    broker = image.brokers.get(member.node)
    return broker is not None and broker.directory == member.directory and broker.standing.is_up


def _registered(image: MetadataImage, node: NodeId) -> Voter:
    broker = image.brokers.get(node)
    if broker is None:
        detail = f"node {node} is not registered, so its directory is not known"
        raise RequestError(ErrorCode.UNKNOWN_BROKER, detail, node=str(node))
    return Voter(broker.node, broker.directory)
