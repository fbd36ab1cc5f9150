"""One member of a quorum under a test's hand: messages in, messages out, a disk that waits."""

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Final

from cluster.raft.entry import Entry, EntryKind
from cluster.raft.limits import RaftLimits
from cluster.raft.log import SnapshotFile
from cluster.raft.messages import (
    AppendReply,
    AppendRequest,
    HeartbeatReply,
    Message,
    PreVoteReply,
    VoteReply,
)
from cluster.raft.node import RaftNode
from cluster.raft.ready import DiskWork, Ready
from cluster.raft.snapshot import Snapshot
from cluster.raft.start import Start
from cluster.raft.storage import file_of
from cluster.raft.voters import Voter, encode_voters
from model.ids import Index, NodeId, Term

SURE: Final = RaftLimits(election_jitter_ticks=1, kept_entries=0)
"""Without chance: an election begins after 8 ticks."""


def voter(node: int, *, directory: int | None = None) -> Voter:
    """Return the identity of a node; one that came again has another directory."""
    return Voter(NodeId(node), bytes([directory if directory is not None else node]) * 16)


ONE, TWO, THREE, FOUR, FIVE = (voter(node) for node in range(1, 6))
TRIO: Final = (ONE, TWO, THREE)


def entry(index: int, term: int, payload: bytes = b"") -> Entry:
    """Return an entry with records."""
    return Entry(Term(term), Index(index), EntryKind.RECORDS, payload or b"%d@%d" % (index, term))


def terms(*runs: int) -> tuple[Entry, ...]:
    """Return entries from index 1 on, by their terms."""
    return tuple(entry(index, term) for index, term in enumerate(runs, 1))


def voters_entry(index: int, term: int, voters: tuple[Voter, ...]) -> Entry:
    """Return an entry that names the quorum."""
    return Entry(Term(term), Index(index), EntryKind.VOTERS, encode_voters(voters))


def snapshot(index: int, term: int, voters: tuple[Voter, ...] = TRIO) -> SnapshotFile:
    """Return a snapshot's file."""
    return file_of(
        Snapshot(last_index=Index(index), last_term=Term(term), voters=voters, payload=b"state")
    )


def append(
    to: Voter,
    *,
    source: Voter = TWO,
    term: int,
    prev: tuple[int, int] = (0, 0),
    entries: Sequence[Entry] = (),
    commit: int = 0,
) -> AppendRequest:
    """Return a leader's request."""
    index, prev_term = Index(prev[0]), Term(prev[1])
    head = (source, to, Term(term), index, prev_term)
    return AppendRequest(*head, tuple(entries), Index(commit), attempt=0)


class Solo:
    """A member, what it has said, and what its disk has to do."""

    def __init__(
        self,
        *,
        me: Voter = ONE,
        term: int = 0,
        voted_for: Voter | None = None,
        entries: Sequence[Entry] = (),
        limits: RaftLimits = SURE,
    ) -> None:
        start = Start(
            me=me,
            term=Term(term or max((one.term for one in entries), default=0)),
            voted_for=voted_for,
            voters=TRIO,
            snapshot=None,
            entries=tuple(entries),
        )
        self.begin(start, limits)

    @classmethod
    def of(cls, start: Start, *, limits: RaftLimits = SURE) -> "Solo":
        """Return a member that begins with something else."""
        solo = cls.__new__(cls)
        solo.begin(start, limits)
        return solo

    def begin(self, start: Start, limits: RaftLimits) -> None:
        """Start."""
        self.me = start.me
        self.node = RaftNode(start, limits=limits, rand=Random(0))
        self.said: list[Message] = []
        self.applied: list[Entry] = []
        self.restored: list[SnapshotFile] = []
        self.reads: list[int] = []
        self.lost_reads: list[int] = []
        self.jobs: deque[tuple[DiskWork | None, tuple[Message, ...]]] = deque()
        self.collect()

    def collect(self) -> list[Message]:
        """Take what is ready; return what could be said at once, without the disk."""
        at_once: list[Message] = []
        while (ready := self.node.ready()) is not None:
            at_once += self._take(ready)
        return at_once

    def _take(self, ready: Ready) -> tuple[Message, ...]:
        said = ready.at_once
        if ready.work is not None or self.jobs:
            self.jobs.append((ready.work, ready.when_durable))
        else:
            said += ready.when_durable
        self.said += said
        self.applied += ready.committed
        self.restored += [ready.restored] if ready.restored is not None else []
        self.reads += ready.reads
        self.lost_reads += ready.lost_reads
        return said

    def sync_one(self) -> list[Message]:
        """Let the disk do one job; return what is said then."""
        work, waiting = self.jobs.popleft()
        if work is not None:
            self.node.persisted(work.durable)
        self.said += waiting
        return [*waiting, *self.collect()]

    def sync(self) -> list[Message]:
        """Let the disk do everything; return what is said then."""
        said: list[Message] = []
        while self.jobs:
            said += self.sync_one()
        return said

    def hear(self, *messages: Message) -> list[Message]:
        """Take messages, have the disk follow; return the answers."""
        said: list[Message] = []
        for message in messages:
            self.node.step(message)
            said += self.collect()
            said += self.sync()
        return said

    def tick(self, count: int = 1) -> list[Message]:
        """Let time pass; return what is said."""
        said: list[Message] = []
        for _ in range(count):
            self.node.tick()
            said += self.collect()
            said += self.sync()
        return said

    def lead(self, *, surely: bool = True) -> None:
        """Be elected by node 2; with `surely` commit the first entry of the term too."""
        self.tick(8)
        term = Term(self.node.term + 1)
        self.hear(PreVoteReply(TWO, self.me, term, granted=True))
        self.hear(VoteReply(TWO, self.me, term, granted=True))
        assert self.node.leadership is not None
        if surely:
            self.acknowledge(TWO)

    def acknowledge(self, source: Voter, index: int | None = None) -> list[Message]:
        """Have a follower say that it has the log up to an index, or all of it."""
        matched = self.node.log.last_index if index is None else Index(index)
        return self.hear(AppendReply(source, self.me, self.node.term, matched))

    def beat(self, *sources: Voter, round_: int) -> list[Message]:
        """Have followers answer a round of heartbeats."""
        return self.hear(
            *(HeartbeatReply(source, self.me, self.node.term, round_) for source in sources)
        )

    def propose(self, payload: bytes = b"x") -> Index:
        """Have something decided; the disk follows."""
        index = self.node.propose(payload)
        self.collect()
        self.sync()
        return index

    @property
    def log(self) -> list[tuple[int, int]]:
        """Index and term of every entry in memory."""
        log = self.node.log
        entries = log.read(log.first_index, Index(log.last_index + 1))
        return [(one.index, one.term) for one in entries]
