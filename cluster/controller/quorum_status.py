"""What a node knows of the controller quorum, for people: who votes, who leads, who lacks what."""

from typing import NamedTuple

from model.ids import Index, NodeId, Term


class QuorumMember(NamedTuple):
    """One voter or learner."""

    node: NodeId
    directory: bytes
    """16 bytes: the uuid of its log directory, which is half of its identity."""
    votes: bool
    """Else it learns: it is sent the log and does not count."""
    is_heard: bool
    """Whether the node whose view this is has it at the other end of the line; of itself yes."""
    matched: Index | None = None
    """The newest entry that it is known to have durably; only the leader knows."""
    silent_ms: int | None = None
    """Since the leader heard it last, in steps of a tick; only the leader knows."""
    vote_withheld: bool = False
    """An operator has taken its vote: it gets none by itself."""


class QuorumStatus(NamedTuple):
    """The quorum as one node sees it."""

    term: Term
    leader: NodeId | None
    """None: nobody is known to lead."""
    committed: Index
    """The newest entry that this node knows to be committed."""
    members: tuple[QuorumMember, ...]
    """Voters first, each kind by node id; then who is neither, and has lost its vote by hand."""

    @property
    def voters(self) -> tuple[QuorumMember, ...]:
        """Those that count."""
        return tuple(one for one in self.members if one.votes)

    @property
    def unheard(self) -> tuple[NodeId, ...]:
        """Voters that this node does not hear."""
        return tuple(one.node for one in self.voters if not one.is_heard)
