"""What a member of the quorum knows of the others, read off its core."""

from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from cluster.raft.leader import Leader
from cluster.raft.node import RaftNode
from cluster.raft.quorum import majority
from cluster.raft.voters import Voter
from cluster.shell.raft_member import TICK_MS


def status_of(node: RaftNode) -> QuorumStatus:
    """Return the quorum as a member sees it.

    Who does not lead hears the leader alone, and takes the others for being there.
    """
    leading, leader = node.leadership, node.leader
    voters, learners = node.configuration

    def one(member: Voter, *, votes: bool) -> QuorumMember:
        if leading is None:
            return QuorumMember(*member, votes, is_heard=True)
        known = leading.followers.get(member)
        if known is None:  # itself
            return QuorumMember(*member, votes, leading.hears(member), node.log.stable, 0)
        silent_ms = known.silent_ticks * TICK_MS
        return QuorumMember(*member, votes, leading.hears(member), known.matched, silent_ms)

    return QuorumStatus(
        term=node.term,
        leader=None if leader is None else leader.node,
        committed=node.log.committed,
        members=(
            *(one(member, votes=True) for member in sorted(voters)),
            *(one(member, votes=False) for member in sorted(learners)),
        ),
    )


def leaves_a_majority(leading: Leader, voters: tuple[Voter, ...], member: Voter) -> bool:
    """Tell whether those who vote once a member has left can decide: a majority of them is heard.

    The smaller quorum counts from the moment that the change is appended, so without a majority of
    it not even the change itself could be committed.
    """
    rest = [voter for voter in voters if voter != member]
    return sum(map(leading.hears, rest)) >= majority(len(rest))
