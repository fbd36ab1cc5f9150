"""An operator's word on who votes: remembered in the metadata first, then done by the quorum.

In this order the controller, this one or the next, never gives back by itself what was just taken.
Where the quorum then refuses, a node keeps its vote, and what is remembered of it says nothing: it
is looked at only for who has none.
"""

from cluster.controller.image import MetadataImage
from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from cluster.controller.votes import WithholdVotes
from cluster.shell.raft_quorum import RaftQuorum
from model.ids import NodeId


async def change_votes(
    quorum: RaftQuorum, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]
) -> None:
    """Change the quorum's voters by hand, on its leader; see `RaftQuorum.change_voters`.

    Raises:
        RequestError: what `RaftQuorum.propose` and `RaftQuorum.change_voters` raise.
    """
    taken = tuple(one for one in quorum.configuration.voters if one.node in remove)
    await quorum.propose(WithholdVotes(withheld=taken, allowed=add))
    await quorum.change_voters(add, remove)


def with_withheld(status: QuorumStatus, image: MetadataImage) -> QuorumStatus:
    """Return a quorum that also shows whose vote was taken by hand, learners or gone."""
    withheld = dict(image.votes_withheld)
    members = []
    for one in status.members:
        taken = withheld.get(one.node) == one.directory
        if taken:
            del withheld[one.node]
        members.append(one._replace(vote_withheld=taken and not one.votes))
    members += [
        QuorumMember(node, directory, votes=False, is_heard=False, vote_withheld=True)
        for node, directory in sorted(withheld.items())
    ]
    return status._replace(members=tuple(members))
