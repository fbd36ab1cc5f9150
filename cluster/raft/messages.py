"""What members of the quorum say to each other. Values only; their bytes are the peer wire's.

Each carries the identity of who speaks and of who is meant (node id and directory uuid), and the
speaker's term. What is meant for another directory is not taken, whatever node id it names (P15).
"""

from typing import NamedTuple, TypeAlias

from cluster.raft.entry import Entry
from cluster.raft.voters import Voter
from model.ids import Index, Term


class PreVoteRequest(NamedTuple):
    """Would I get your vote? Changes nobody's term (Raft dissertation, 9.6)."""

    source: Voter
    to: Voter
    term: Term
    """The one that it would campaign in: its own plus 1."""
    last_index: Index
    last_term: Term


class PreVoteReply(NamedTuple):
    """Yes, in the term that was asked for; or no, in the replier's own term."""

    source: Voter
    to: Voter
    term: Term
    granted: bool


class VoteRequest(NamedTuple):
    """Vote for me in this term."""

    source: Voter
    to: Voter
    term: Term
    last_index: Index
    last_term: Term
    transferred: bool
    """The leader itself asked for this election: whoever believes in it votes all the same."""


class VoteReply(NamedTuple):
    """The vote of this term, durable, or no vote."""

    source: Voter
    to: Voter
    term: Term
    granted: bool


class AppendRequest(NamedTuple):
    """Entries behind one that the follower is believed to have."""

    source: Voter
    to: Voter
    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index
    attempt: int
    """Counts how often the leader had to find out where the two logs part."""


class AppendReply(NamedTuple):
    """Up to here the follower's log is the leader's, durably: what one request brought, or less."""

    source: Voter
    to: Voter
    term: Term
    matched: Index


class AppendRefusal(NamedTuple):
    """The follower has another entry at `prev_index`, or none."""

    source: Voter
    to: Voter
    term: Term
    prev_index: Index
    """As in the request that is refused, like `attempt`."""
    attempt: int
    hint_index: Index
    """The two logs part at or below this entry of the follower's."""
    hint_term: Term
    """That entry's term."""


class Heartbeat(NamedTuple):
    """The leader is there."""

    source: Voter
    to: Voter
    term: Term
    commit: Index
    """Never above what this follower is known to have."""
    round: int
    """Counts the leader's questions whether it still leads; reads wait for an answer."""


class HeartbeatReply(NamedTuple):
    """The follower knew no newer term when this round's heartbeat came."""

    source: Voter
    to: Voter
    term: Term
    round: int


class SnapshotChunk(NamedTuple):
    """A range of the snapshot file of one index."""

    source: Voter
    to: Voter
    term: Term
    last_index: Index
    last_term: Term
    offset: int
    chunk: bytes
    size_bytes: int
    """Of the whole file."""


class SnapshotReply(NamedTuple):
    """So many bytes of that file have arrived; they are in memory, not durable."""

    source: Voter
    to: Voter
    term: Term
    last_index: Index
    received: int


class TimeoutNow(NamedTuple):
    """The leader wants this member to campaign at once (Raft dissertation, 3.10)."""

    source: Voter
    to: Voter
    term: Term


class ReadRequest(NamedTuple):
    """Which entry must I have applied before I answer this read?"""

    source: Voter
    to: Voter
    term: Term
    read: int


class ReadReply(NamedTuple):
    """Once this entry is applied: the leader led when the read had come."""

    source: Voter
    to: Voter
    term: Term
    read: int
    needs: Index


class NewerTerm(NamedTuple):
    """Whoever spoke as leader is none any more: see my term."""

    source: Voter
    to: Voter
    term: Term


Message: TypeAlias = (
    PreVoteRequest
    | PreVoteReply
    | VoteRequest
    | VoteReply
    | AppendRequest
    | AppendReply
    | AppendRefusal
    | Heartbeat
    | HeartbeatReply
    | SnapshotChunk
    | SnapshotReply
    | TimeoutNow
    | ReadRequest
    | ReadReply
    | NewerTerm
)
