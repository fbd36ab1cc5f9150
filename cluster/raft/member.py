"""What a member of the quorum is in every role: its identity, term, vote and log.

Invariants:
    RAFT_TERM_RISES          a term once known is never left for an older one.
    RAFT_ONE_VOTE_A_TERM     nobody votes for two in one term.
    RAFT_ONE_LEADER_A_TERM   nobody follows two in one term.
"""

from enum import Enum
from typing import Final, Protocol

from cluster.raft.limits import RaftLimits
from cluster.raft.log import RaftLog
from cluster.raft.messages import Message
from cluster.raft.reads import Confirmed, ForwardedReads
from cluster.raft.snapshot_receipt import SnapshotReceipt
from cluster.raft.voters import Configuration, Voter
from model.ids import NodeId, Term
from model.ports import Rand

SOMEBODY: Final = Voter(NodeId(-1), b"")
"""Stands for a vote whose directory was not written down with it: nobody else gets one."""


class Become(Enum):
    """The role that a member takes next."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    TRANSFEREE = "candidate by transfer"
    """A candidate whom the leader itself has asked to be one."""
    LEADER = "leader"


class Role(Protocol):
    """How a member behaves for a while."""

    def begin(self) -> Become | None:
        """Take the role; return the next one if it ends at once."""
        ...

    def tick(self) -> Become | None:
        """Let one tick pass."""
        ...

    def step(self, message: Message) -> Become | None:
        """Take a message of this very term."""
        ...


class Member:
    """What outlives the roles. Roles change it; only `RaftNode` reads what goes out."""

    __slots__ = (
        "confirmed",
        "elapsed",
        "forwarded",
        "leader",
        "limits",
        "log",
        "lost_reads",
        "me",
        "outbox",
        "rand",
        "receipt",
        "restored",
        "term",
        "timeout",
        "voted_for",
    )

    def __init__(self, me: Voter, log: RaftLog, *, limits: RaftLimits, rand: Rand) -> None:
        """Begin in term 0, without a vote."""
        self.me = me
        self.log = log
        self.limits = limits
        self.rand = rand
        self.term = Term(0)
        self.voted_for: Voter | None = None
        self.leader: Voter | None = None
        """Who leads in this term, as far as is known."""
        self.elapsed = 0
        """Ticks since the leader was heard, or a vote given, or this role begun."""
        self.timeout = 0
        """An election begins after so many."""
        self.outbox: list[Message] = []
        self.receipt = SnapshotReceipt()
        self.restored = False
        """The log was replaced by a snapshot that nobody was told of yet."""
        self.forwarded = ForwardedReads()
        self.confirmed: list[Confirmed] = []
        """Own reads that may be answered once their index is delivered."""
        self.lost_reads: list[int] = []
        self.restart_timer()

    @property
    def configuration(self) -> Configuration:
        """The quorum that counts."""
        return self.log.configurations.newest

    @property
    def may_campaign(self) -> bool:
        """Whether this very directory is a voter, or may be one for all that it knows.

        Who is taken out of the quorum campaigns until that is committed: its log may be the one
        that no other voter's comes up to (Raft dissertation, 4.2.2). Its own vote does not count.
        """
        counting = self.log.configurations.since(self.log.committed)
        return any(self.me in configuration.voters for configuration in counting)

    @property
    def believes(self) -> bool:
        """Whether there is a leader that was heard just now: then nobody else gets a vote."""
        return self.leader is not None and self.elapsed < self.limits.election_ticks

    def send(self, message: Message) -> None:
        """Put a message out; when it may leave is decided with all that goes to the disk."""
        self.outbox.append(message)

    def enter(self, term: Term) -> None:
        """Begin a newer term: without a vote, without a leader."""
        assert term > self.term, "RAFT_TERM_RISES"
        self.term = term
        self.voted_for = None
        self.leader = None

    def vote(self, candidate: Voter) -> None:
        """Give this term's vote."""
        assert self.voted_for in {None, candidate}, "RAFT_ONE_VOTE_A_TERM"
        self.voted_for = candidate
        self.restart_timer()

    def follow(self, leader: Voter) -> None:
        """Note who leads in this term, and that it was heard."""
        assert self.leader in {None, leader}, "RAFT_ONE_LEADER_A_TERM"
        self.leader = leader
        self.elapsed = 0

    def restart_timer(self) -> None:
        """Wait for a whole election timeout from here on, by chance a longer one."""
        self.elapsed = 0
        jitter = self.rand.randrange(self.limits.election_jitter_ticks)
        self.timeout = self.limits.election_ticks + jitter

    def lose_forwarded_reads(self) -> None:
        """Give up the reads that a leader was asked for: it is none any more."""
        self.lost_reads += self.forwarded.lose()
