"""Whose vote an operator has taken: what the controller gives by itself it does not give back.

A quorum of fewer than three gives votes to nodes that run. A node whose vote was taken by hand is
passed, until an operator gives it one, it comes back under a new directory, or it is removed from
the cluster: then it is another member. Nothing here takes a vote: that is the quorum's own entry.
"""

from dataclasses import dataclass

from cluster.controller.image import BrokerImage, MetadataImage
from cluster.controller.records import MetadataRecord, VoteWithheld
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.ids import NodeId
from model.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class WithholdVotes(Request[None]):
    """Remember what an operator has decided on votes, before it is done."""

    withheld: tuple[tuple[NodeId, bytes], ...] = ()
    """Nodes that get none by themselves, and the directories under which they vote."""
    allowed: tuple[NodeId, ...] = ()
    """Nodes of which nothing is remembered any more."""


def withhold_votes(
    state: MetadataState, request: WithholdVotes, _: Circumstances
) -> Result[MetadataRecord, None]:
    """Decide; what is so already is not written again.

    A node that is registered by now under another directory than it votes under is the one meant.
    """
    records = [
        VoteWithheld(node=node, directory=state.votes_withheld[node], withheld=False)
        for node in request.allowed
        if node in state.votes_withheld
    ]
    for node, directory in request.withheld:
        broker = state.brokers.get(node)
        meant = directory if broker is None else broker.directory
        if state.votes_withheld.get(node) != meant:
            records.append(VoteWithheld(node=node, directory=meant, withheld=True))
    return Result(tuple(records), None)


def gets_no_vote(image: MetadataImage, broker: BrokerImage) -> bool:
    """Tell whether an operator has taken this node's vote."""
    return image.votes_withheld.get(broker.node) == broker.directory


def replay_withheld(state: MetadataState, record: VoteWithheld) -> None:
    """Take the decision."""
    state.withhold_vote(record.node, record.directory if record.withheld else None)
