"""The judge of the simulated quorum: what is true, which no member sees.

Held against every member after every event:
    ELECTION_SAFETY         a term has one leader at most.
    LEADER_COMPLETENESS     who leads has every entry that was decided in an older term.
    LOG_MATCHING            entries of one index and term are the same, and so is all before them.
    STATE_MACHINE_SAFETY    no two machines are given different entries of one index.
    DECIDED_IS_DURABLE      what a leader commits is on the disks of a majority of its quorum.
    SNAPSHOT_IS_REPLAY      a machine that a snapshot made is the one that replay makes.
    CONFIGURATION_IS_KNOWN  everybody who has applied an entry knows the quorum of then.
    COMMITTED_NEVER_FALLS   within one life, members forget no decision.
    READ_IS_FRESH           a read sees all that was decided when it began.
Held against everything that is said:
    TERM_BEFORE_WORDS       the speaker's term is durable.
    VOTE_IS_DURABLE         so is a vote that is given.
    ONE_VOTE_A_TERM         it is the only one of its term, whatever was forgotten.
    ACK_IS_DURABLE          so are entries that are acknowledged.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from zlib import crc32

from cluster.raft.entry import Entry, EntryKind
from cluster.raft.messages import AppendReply, Message, PreVoteReply, PreVoteRequest, VoteReply
from cluster.raft.node import RaftNode
from cluster.raft.quorum import majority
from cluster.raft.voters import Configuration, Voter, decode_configuration
from model.ids import Index, Term
from tests.sim.raft_disk import ModelDisk


class Seen(NamedTuple):
    """How far a member's log was looked at."""

    generation: int
    last_index: Index
    committed: Index


class Machine:
    """What the entries are for: a number that depends on all of them, in their order."""

    def __init__(self) -> None:
        self.index = 0
        self.number = 0

    def apply(self, entry: Entry) -> None:
        assert entry.index == self.index + 1, "APPLIED_IN_ORDER"
        self.index = entry.index
        self.number = crc32(entry.payload, self.number)


class Books:
    """Everything that was ever true."""

    def __init__(self, disks: Mapping[Voter, ModelDisk], founders: tuple[Voter, ...]) -> None:
        self.disks = disks
        self.counts: Counter[str] = Counter()
        self.decided: list[Entry] = []
        self.decided_in: list[Term] = []
        """The term in which each was: of the leader that decided it, not of who made the entry."""
        self.numbers = [0]
        """Of a machine after so many entries."""
        self.quorums = [Configuration(founders)]
        """The quorum as of so many entries."""
        self._leaders: dict[Term, Voter] = {}
        self._entries: dict[tuple[Index, Term], tuple[Entry, Term]] = {}
        self._votes: dict[tuple[Voter, Term], Voter] = {}

    @property
    def committed(self) -> int:
        return len(self.decided)

    def look(self, node: RaftNode, seen: Seen) -> Seen:
        """Hold a member against what is true; return how far it was looked at."""
        log = node.log
        if node.leadership is not None and self._leaders.get(node.term) != node.me:
            self._new_leader(node)
        if (log.generation, log.last_index) != seen[:2]:
            start = seen.last_index if log.generation == seen.generation else log.committed
            self._match(node, max(start, log.first_index - 1))
            if log.generation != seen.generation:
                self.counts["log cut or replaced"] += 1
        if log.committed != seen.committed:
            assert log.committed > seen.committed, "COMMITTED_NEVER_FALLS"
            self._decide(node)
        return Seen(log.generation, log.last_index, log.committed)

    def check_applied(self, node: RaftNode, machine: Machine) -> None:
        """Hold a machine against what is decided."""
        assert machine.index == node.delivered, "APPLIED_IN_ORDER"
        assert machine.number == self.numbers[machine.index], "STATE_MACHINE_SAFETY"
        quorum = node.log.configurations.at(node.delivered)
        assert quorum == self.quorums[machine.index], "CONFIGURATION_IS_KNOWN"

    def check_restored(self, machine: Machine) -> None:
        """Hold a machine that a snapshot made against replay."""
        assert machine.number == self.numbers[machine.index], "SNAPSHOT_IS_REPLAY"

    def check_said(self, disk: ModelDisk, message: Message) -> None:
        """Hold a message that leaves now against what is durable now."""
        source, to, term = message.source, message.to, message.term
        if isinstance(message, AppendReply):
            last = disk.snapshot.last_index if disk.snapshot is not None else 0
            assert message.matched <= max(last, disk.last_index), "ACK_IS_DURABLE"
        elif isinstance(message, VoteReply) and message.granted:
            assert disk.hard[:2] == (term, to), "VOTE_IS_DURABLE"
            assert self._votes.setdefault((source, term), to) == to, "ONE_VOTE_A_TERM"
            self.counts["votes"] += 1
        if isinstance(message, PreVoteRequest):
            assert disk.hard.term >= term - 1, "TERM_BEFORE_WORDS"
        elif not isinstance(message, PreVoteReply):  # who would vote names a term not its own
            assert disk.hard.term >= term, "TERM_BEFORE_WORDS"

    def _new_leader(self, node: RaftNode) -> None:
        assert node.term not in self._leaders, "ELECTION_SAFETY"
        self._leaders[node.term] = node.me
        self.counts["leaders"] += 1
        log = node.log
        first = log.first_index
        # Its votes may be late: then a newer term has a leader by now, and has decided more.
        before = bisect_left(self.decided_in, node.term)
        assert log.last_index >= before, "LEADER_COMPLETENESS"
        for entry in self.decided[first - 1 : before]:
            assert log.term_at(entry.index) == entry.term, "LEADER_COMPLETENESS"

    def _match(self, node: RaftNode, start: int) -> None:
        """Look at the entries behind one; what is before it was looked at before."""
        log = node.log
        before = log.term_at(Index(start))
        assert before is not None
        for entry in log.read(Index(start + 1), Index(log.last_index + 1)):
            known = self._entries.setdefault((entry.index, entry.term), (entry, before))
            assert known[0] is entry or known == (entry, before), "LOG_MATCHING"
            before = entry.term

    def _decide(self, node: RaftNode) -> None:
        """Take in what a member holds for decided."""
        log, known = node.log, self.committed
        first = log.first_index
        upto = min(known, log.committed)
        if upto >= first:
            assert log.term_at(Index(upto)) == self.decided[upto - 1].term, "STATE_MACHINE_SAFETY"
        if log.committed <= known:
            return
        for entry in log.read(Index(known + 1), Index(log.committed + 1)):
            self.decided.append(entry)
            self.decided_in.append(node.term)  # who decides is the first to know
            self.numbers.append(crc32(entry.payload, self.numbers[-1]))
            quorum = self.quorums[-1]
            if entry.kind == EntryKind.VOTERS:
                quorum = decode_configuration(entry.payload, at=0)
            self.quorums.append(quorum)
        voters = node.configuration.voters
        term = log.term_at(log.committed)
        assert term is not None
        holding = sum(self.disks[voter].holds(log.committed, term) for voter in voters)
        assert holding >= majority(len(voters)), "DECIDED_IS_DURABLE"
