"""One member of the controller quorum: Raft as a plain object, without time, disk or network.

    node = RaftNode(start, limits=RaftLimits(), rand=rand)
    node.tick()                  every 100 ms
    node.step(message)           a message has come
    node.peer_gone(peer)         its process has ended: link reset, and nobody listens there
    node.propose(payload)        the leader decides; also change(), transfer(), read()
    node.ready()                 after a batch of these: what to do; again while it says `more`
    node.persisted(durable)      a piece of work is durable: `ready.work.durable` of that piece

**What the owner of a node does with each Ready, in this order:**

1. If there is `work`, hand it to the disk, behind all that was handed over before: one thread, one
   job after the other, each in the order of its fields (hard state, snapshot, cut, entries), each
   durable before the next job begins. `storage.py` does that. An error of the disk ends the
   process; nothing that waits for this work may leave.
2. Send `at_once`.
3. Keep `when_durable` until this work and all before it is durable. If none is outstanding, and
   this Ready has none, send it now. Messages may be lost, come twice, late and in any order.
4. Give `restored`, then `committed` to the machine; then answer `reads` and refuse `lost_reads`
   (outcome: not done). A read that has neither is still under way.
5. When a piece of work is durable: `persisted`, then send what waited for it, then `ready()` again.

Work may be outstanding while further Readies are taken: so the disk syncs while the next entries
gather. A Ready is taken once; what it holds is never handed out again.

After a restart the machine begins with the newest snapshot of the disk and is given everything
behind it again. The machine's owner snapshots it: `snapshot_at` says what the file must hold,
`compact` lets the log go that a durable file stands for.

**What the disk gives back at the start** (`Start`): term and vote as they were saved, the newest
snapshot, all entries behind it. A member whose files are damaged or missing must not be started
with less: it is a new directory, and joins as a learner.

**Identity.** Members are (node id, directory uuid). A message to another directory of this node is
dropped, one from another directory of a voter is not that voter's.

**A quorum of one** leads as soon as it exists: its first Ready holds vote and first entries.

Invariants, beside those of the other modules here:
    RAFT_DURABLE_NEVER_FALLS     the disk's word comes in the order of the work.
    RAFT_SNAPSHOT_IS_APPLIED     a machine is snapshotted as of what it was given.
    RAFT_NOTHING_SAID_TOO_EARLY  only a leader whose term is durable speaks before its disk.
"""

from typing import Final

from cluster.raft.candidate import Candidate
from cluster.raft.entry import Entry
from cluster.raft.follower import Follower
from cluster.raft.leader import Leader
from cluster.raft.limits import RaftLimits
from cluster.raft.log import RaftLog, SnapshotFile
from cluster.raft.member import Become, Member, Role
from cluster.raft.membership import Change, Refusal, RefusedError
from cluster.raft.messages import (
    AppendRequest,
    Heartbeat,
    Message,
    NewerTerm,
    PreVoteReply,
    PreVoteRequest,
    SnapshotChunk,
    VoteReply,
    VoteRequest,
)
from cluster.raft.pre_candidate import PreCandidate
from cluster.raft.reads import Read
from cluster.raft.ready import DiskWork, Durable, HardState, Ready
from cluster.raft.snapshot import Snapshot
from cluster.raft.start import Start
from cluster.raft.voters import Configuration, Voter
from cluster.raft.voting import answer_pre_vote, answer_vote, is_disturbing
from model.ids import Index, Term
from model.ports import Rand

_OF_A_LEADER: Final = (AppendRequest, Heartbeat, SnapshotChunk)


class RaftNode:
    """See the module."""

    def __init__(self, start: Start, *, limits: RaftLimits, rand: Rand) -> None:
        """Begin as a follower; as the leader if nobody else votes."""
        found = start.snapshot
        after = (Index(0), Term(0)) if found is None else (found.last_index, found.last_term)
        base = Configuration(start.voters) if found is None else found.configuration
        log = RaftLog(base, after=after, entries=start.entries)
        log.snapshot = found
        self._member = Member(start.me, log, limits=limits, rand=rand)
        self._member.term = start.term
        self._member.voted_for = start.voted_for
        self._role: Role = Follower(self._member)
        self._delivered = log.committed
        self._handed: tuple[Term, Voter | None] = (start.term, start.voted_for)
        self._given = Durable(0, log.generation, log.stable)
        self._durable = self._given
        if self._member.configuration.voters == (start.me,):
            self._become(Become.CANDIDATE)

    # What others may know.

    @property
    def me(self) -> Voter:
        """This member's identity."""
        return self._member.me

    @property
    def term(self) -> Term:
        """The newest term that is known."""
        return self._member.term

    @property
    def leader(self) -> Voter | None:
        """Who leads in this term, as far as is known."""
        return self._member.leader

    @property
    def leadership(self) -> Leader | None:
        """This member's own, while it leads."""
        return self._role if isinstance(self._role, Leader) else None

    @property
    def configuration(self) -> Configuration:
        """The quorum that counts; it may not be committed yet."""
        return self._member.configuration

    @property
    def log(self) -> RaftLog:
        """Entries and how far they are committed and durable. Read only."""
        return self._member.log

    @property
    def delivered(self) -> Index:
        """The newest entry that a Ready has given to the machine."""
        return self._delivered

    # What happens.

    def tick(self) -> None:
        """Let one tick pass."""
        self._become(self._role.tick())

    def step(self, message: Message) -> None:
        """Take a message. Any may be lost, late, doubled or out of order."""
        member = self._member
        if message.to != member.me or message.source == member.me:
            return
        if message.term < member.term:
            self._answer_the_past(message)
            return
        if message.term > member.term and not self._is_about_the_future(message):
            if isinstance(message, VoteRequest) and is_disturbing(member, message):
                return
            self._leave_for(message.term)
        if isinstance(message, VoteRequest):
            if not is_disturbing(member, message):
                answer_vote(member, message)
        elif isinstance(message, PreVoteRequest):
            self._pre_vote(message)
        else:
            if isinstance(message, _OF_A_LEADER):
                self._follow(message.source)
            self._become(self._role.step(message))

    def peer_gone(self, peer: Voter) -> None:
        """Take the word that a peer's process has ended: no need to wait for its silence."""
        if isinstance(self._role, Follower):
            if peer == self._member.leader:
                self._become(self._role.leader_is_gone())
        elif isinstance(self._role, Leader):
            self._role.link_lost(peer)

    def persisted(self, durable: Durable) -> None:
        """Take the disk's word that a piece of work, and all before it, is durable."""
        hard_states, generation, _ = self._durable
        in_order = hard_states <= durable.hard_states and generation <= durable.generation
        assert in_order, "RAFT_DURABLE_NEVER_FALLS"
        self._durable = durable
        self._member.log.persisted(durable.generation, durable.last_index)
        if isinstance(self._role, Leader):
            self._become(self._role.persisted())

    # What is asked for.

    def propose(self, payload: bytes) -> Index:
        """Have records decided; return the index under which they are delivered, if ever.

        Raises:
            RefusedError: NOT_LEADER, TRANSFERRING.
        """
        return self._lead().propose(payload)

    def change(self, change: Change) -> Index:
        """Change the quorum; return the index of the entry that says so.

        Raises:
            RefusedError: NOT_LEADER, and see `Leader.change`.
        """
        return self._lead().change(change)

    def transfer(self, to: Voter) -> None:
        """Hand the leadership over; `leader` tells when it has worked.

        Raises:
            RefusedError: NOT_LEADER, NOT_A_VOTER, TRANSFERRING.
        """
        self._lead().transfer(to)

    def read(self, number: int) -> None:
        """Ask when a read may be answered; a Ready will name its number, unique on this node.

        Raises:
            RefusedError: NO_LEADER.
        """
        match self._role:
            case Leader() as leading:
                leading.read(Read(self.me, number))
            case Follower() as following:
                following.read(number)
            case _:
                raise RefusedError(Refusal.NO_LEADER)

    # Snapshots of this member's own machine.

    def snapshot_at(self, index: Index, payload: bytes) -> Snapshot:
        """Return what the file must hold that stands for everything up to an index.

        `payload`: the machine as of that index, which it was given.
        """
        log = self._member.log
        term = log.term_at(index)
        assert term is not None and index <= self._delivered, "RAFT_SNAPSHOT_IS_APPLIED"
        configuration = log.configurations.at(index)
        return Snapshot(
            last_index=index,
            last_term=term,
            voters=configuration.voters,
            learners=configuration.learners,
            payload=payload,
        )

    def compact(self, snapshot: SnapshotFile) -> None:
        """Let go of what a durable file of `snapshot_at` stands for; ignore it if it is late."""
        log = self._member.log
        if log.snapshot is None or log.snapshot.last_index < snapshot.last_index:
            log.compact(snapshot, kept_entries=self._member.limits.kept_entries)

    # What there is to do.

    def ready(self) -> Ready | None:
        """Return what to do now, None if nothing. What is returned counts as taken."""
        member = self._member
        if isinstance(self._role, Leader):
            self._role.flush()
        if not self._has_news():
            return None
        work = self._work()
        at_once, when_durable = self._sort_messages()
        restored, committed = self._deliver()
        reads = tuple(read.number for read, needs in member.confirmed if needs <= self._delivered)
        member.confirmed = [one for one in member.confirmed if one.needs > self._delivered]
        lost, member.lost_reads = tuple(member.lost_reads), []
        return Ready(
            work=work,
            at_once=at_once,
            when_durable=when_durable,
            restored=restored,
            committed=committed,
            reads=reads,
            lost_reads=lost,
            more=self._decided > self._delivered,
        )

    @property
    def _decided(self) -> Index:
        """What a machine may be given: committed, and durable here too."""
        return min(self._member.log.committed, self._member.log.stable)

    def _has_news(self) -> bool:
        """Tell whether anything has gathered: most calls find nothing."""
        member, log = self._member, self._member.log
        return (
            bool(member.outbox or member.lost_reads or member.restored)
            or log.has_work
            or any(needs <= self._delivered for _, needs in member.confirmed)
            or self._decided > self._delivered
            or self._handed != (member.term, member.voted_for)
        )

    def _work(self) -> DiskWork | None:
        member, log = self._member, self._member.log
        hard_state = None
        if self._handed != (member.term, member.voted_for):
            self._handed = (member.term, member.voted_for)
            hard_state = HardState(member.term, member.voted_for, member.configuration.voters)
        snapshot = log.snapshot if member.restored else None
        cut, entries = log.hand_over()
        if hard_state is None and snapshot is None and cut is None and not entries:
            return None
        hard_states = self._given.hard_states + (hard_state is not None)
        self._given = Durable(hard_states, log.generation, log.handed)
        return DiskWork(hard_state, snapshot, cut, entries=entries, durable=self._given)

    def _sort_messages(self) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Tell what may leave before the disk has followed from what may not."""
        outbox, self._member.outbox = self._member.outbox, []
        if self._durable.hard_states < self._given.hard_states:
            return (), tuple(outbox)
        at_once = tuple(message for message in outbox if isinstance(message, _OF_A_LEADER))
        if len(at_once) == len(outbox):
            return at_once, ()
        return at_once, tuple(m for m in outbox if not isinstance(m, _OF_A_LEADER))

    def _deliver(self) -> tuple[SnapshotFile | None, tuple[Entry, ...]]:
        """Return what the machine gets: what is decided and durable here."""
        member, log = self._member, self._member.log
        restored = log.snapshot if member.restored else None
        member.restored = False
        if restored is not None:
            self._delivered = restored.last_index
        start = self._delivered + 1
        end = min(self._decided + 1, start + member.limits.delivered_entries_max)
        if end <= start:
            return restored, ()
        self._delivered = Index(end - 1)
        return restored, log.read(Index(start), Index(end))

    # Terms and roles.

    def _lead(self) -> Leader:
        if isinstance(self._role, Leader):
            return self._role
        raise RefusedError(Refusal.NOT_LEADER)

    def _answer_the_past(self, message: Message) -> None:
        """Tell who speaks in an older term which one it is; answers of an older term are none."""
        member, to = self._member, message.source
        if isinstance(message, PreVoteRequest):
            member.send(PreVoteReply(member.me, to, member.term, granted=False))
        elif isinstance(message, VoteRequest):
            member.send(VoteReply(member.me, to, member.term, granted=False))
        elif isinstance(message, _OF_A_LEADER):
            member.send(NewerTerm(member.me, to, member.term))

    @staticmethod
    def _is_about_the_future(message: Message) -> bool:
        """Tell whether a message names a term that has not begun."""
        if isinstance(message, PreVoteReply):
            return message.granted
        return isinstance(message, PreVoteRequest)

    def _pre_vote(self, request: PreVoteRequest) -> None:
        granted = answer_pre_vote(self._member, request)
        if granted and isinstance(self._role, PreCandidate) and self._role.yields_to(request):
            self._become(Become.FOLLOWER)

    def _leave_for(self, term: Term) -> None:
        """Begin a newer term that somebody else has begun."""
        self._resign()
        self._member.enter(term)
        self._role = Follower(self._member)
        self._role.begin()

    def _follow(self, leader: Voter) -> None:
        """Take somebody's leadership of this term as given."""
        self._member.follow(leader)
        if not isinstance(self._role, Follower):
            self._role = Follower(self._member)
            self._role.begin()

    def _become(self, become: Become | None) -> None:
        """Take the next role, and the one after it if it ends at once."""
        while become is not None:
            self._resign()
            self._role = self._role_of(become)
            become = self._role.begin()

    def _role_of(self, become: Become) -> Role:
        match become:
            case Become.FOLLOWER:
                return Follower(self._member)
            case Become.PRE_CANDIDATE:
                return PreCandidate(self._member)
            case Become.CANDIDATE:
                return Candidate(self._member, transferred=False)
            case Become.TRANSFEREE:
                return Candidate(self._member, transferred=True)
            case Become.LEADER:
                return Leader(self._member)

    def _resign(self) -> None:
        """End a leadership, if this is one; its reads have no answer."""
        if isinstance(self._role, Leader):
            self._member.lost_reads += self._role.waiting_reads()
        self._member.lose_forwarded_reads()
        if self._member.leader == self._member.me:
            self._member.leader = None
