"""What whoever asks the controller quorum is told when it does not do it.

All of these are *not done*, but for `leadership_lost`.
"""

from collections.abc import Mapping
from typing import Final

from cluster.raft.entry import ENTRY_BYTES_MAX
from cluster.raft.membership import Refusal
from cluster.raft.node import RaftNode
from model.errors import ErrorCode, RequestError

ENTRY_HEAD_BYTES_MAX: Final = 4 << 10
"""Room for what goes with a decision: the entry's head on disk, the message's on the wire."""
PAYLOAD_BYTES_MAX: Final = ENTRY_BYTES_MAX - ENTRY_HEAD_BYTES_MAX
"""A longer decision fits neither a log entry nor a frame between nodes."""
_CODES: Final[Mapping[Refusal, ErrorCode]] = {
    Refusal.NO_LEADER: ErrorCode.NO_QUORUM,
    Refusal.TRANSFERRING: ErrorCode.NO_QUORUM,
    Refusal.TERM_NOT_COMMITTED: ErrorCode.NO_QUORUM,
    Refusal.CHANGE_PENDING: ErrorCode.QUORUM_CHANGE_IN_PROGRESS,
    Refusal.NOT_CAUGHT_UP: ErrorCode.QUORUM_CHANGE_IN_PROGRESS,
    Refusal.NODE_TAKEN: ErrorCode.DUPLICATE_VOTER,
    Refusal.NOT_A_MEMBER: ErrorCode.UNKNOWN_VOTER,
    Refusal.NOT_A_LEARNER: ErrorCode.DUPLICATE_VOTER,
    Refusal.NOT_A_VOTER: ErrorCode.UNKNOWN_VOTER,
    Refusal.LAST_VOTER: ErrorCode.INVALID_REQUEST,
    Refusal.TOO_MANY: ErrorCode.LIMIT_EXCEEDED,
}


def not_leader(node: RaftNode) -> RequestError:
    """Return where to ask instead: `leader` in the metadata, or that nobody is known to lead."""
    me, leader = node.me.node, node.leader
    if leader is None or leader == node.me:
        return no_quorum(f"node {me} knows no leader of the controller quorum")
    detail = f"node {leader.node} leads the controller quorum, node {me} does not"
    return RequestError(ErrorCode.NOT_LEADER, detail, leader=str(leader.node))


def no_quorum(detail: str) -> RequestError:
    """Return that nobody decides now."""
    return RequestError(ErrorCode.NO_QUORUM, detail)


def leadership_lost(detail: str) -> RequestError:
    """Return that what was appended may be decided or not: *unknown*."""
    return RequestError(ErrorCode.LEADERSHIP_LOST, detail)


def too_long(size_bytes: int) -> RequestError:
    """Return that one decision takes more than an entry holds."""
    detail = (
        f"the change takes {size_bytes} bytes of the metadata log, at most {PAYLOAD_BYTES_MAX}: "
        "ask for less at once"
    )
    return RequestError(
        ErrorCode.INVALID_REQUEST, detail, size=str(size_bytes), max=str(PAYLOAD_BYTES_MAX)
    )


def refused(node: RaftNode, refusal: Refusal) -> RequestError:
    """Return what the core's refusal is for whoever asked."""
    if refusal is Refusal.NOT_LEADER:
        return not_leader(node)
    return RequestError(_CODES[refusal], refusal.value)
