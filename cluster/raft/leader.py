"""The role of who decides: appends, commits what a majority has durably, and proves that it leads.

Invariants:
    RAFT_COMMITS_ITS_OWN_TERM      a majority commits by counting only in the leader's own term.
    RAFT_MATCHED_IS_IN_THE_LOG     no follower has more of the leader's log than there is.
    RAFT_SNAPSHOT_COVERS_THE_GONE  what is not in memory any more is in a snapshot.
    RAFT_ONE_CHANGE_AT_A_TIME      the quorum does not change while a change is not committed.
"""

from collections.abc import Iterator, Mapping

from cluster.raft.entry import Entry, EntryKind
from cluster.raft.member import Become, Member
from cluster.raft.membership import Change, Promote, Refusal, RefusedError, changed, check_step
from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
)
from cluster.raft.progress import Feeding, Progress
from cluster.raft.quorum import majority, majority_commit
from cluster.raft.reads import LeaderReads, Read
from cluster.raft.transfer import Transfer
from cluster.raft.voters import Configuration, Voter, encode_configuration
from model.ids import Index


class Leader:
    """One leadership: it ends with a newer term, without a quorum, or outside of the quorum."""

    __slots__ = ("_followers", "_member", "_own_index", "_reads", "_ticks", "_transfer")

    def __init__(self, member: Member) -> None:
        """Know nothing of the followers yet."""
        self._member = member
        self._followers: dict[Voter, Progress] = {}
        self._reads = LeaderReads()
        self._transfer: Transfer | None = None
        self._ticks = 0
        self._own_index = Index(member.log.last_index + 1)
        """The first entry of this term: with it, all that stand before it are committed."""

    @property
    def followers(self) -> Mapping[Voter, Progress]:
        """How far everybody else is."""
        return self._followers

    @property
    def leads_surely(self) -> bool:
        """Whether an entry of this term is committed."""
        return self._member.log.committed >= self._own_index

    def hears(self, member: Voter) -> bool:
        """Tell whether a member was heard within an election timeout; oneself always is."""
        known = self._followers.get(member)
        return known is None or known.silent_ticks <= self._member.limits.election_ticks

    def begin(self) -> Become | None:
        """Append the entry that begins the term; before it the quorum, in an empty log."""
        member = self._member
        member.follow(member.me)
        if member.log.last_index == 0:
            self._append(EntryKind.VOTERS, encode_configuration(member.configuration))
        self._append(EntryKind.LEADER, b"")
        self._know_the_members(self._own_index)
        self._beat()
        return None

    def tick(self) -> Become | None:
        """Show that one is there; resign if no majority was heard for an election timeout."""
        limits = self._member.limits
        self._ticks += 1
        for follower in self._followers.values():
            follower.silent_ticks += 1
        if self._ticks % limits.election_ticks == 0 and not self._is_heard():
            return Become.FOLLOWER
        if self._transfer is not None and self._transfer.tick():
            self._transfer = None
        self._hand_over()
        if self._ticks % limits.heartbeat_ticks == 0:
            self._beat()
        return None

    def step(self, message: Message) -> Become | None:
        """Take what a follower says in this term."""
        if isinstance(message, ReadRequest):
            self.read(Read(message.source, message.read))
            return None
        follower = self._followers.get(message.source)
        if follower is None:
            return None  # not of this quorum, or not any more, or its directory is another one
        follower.active = True
        follower.silent_ticks = 0
        match message:
            case AppendReply():
                assert message.matched <= self._member.log.last_index, "RAFT_MATCHED_IS_IN_THE_LOG"
                if follower.acknowledged(message.matched):
                    self._hand_over()
                    return self._advance()
            case AppendRefusal():
                log = self._member.log
                parted, _ = log.last_with_term(message.hint_index, message.hint_term)
                retry = Index(parted + 1)
                follower.refused(message.prev_index, attempt=message.attempt, retry=retry)
            case HeartbeatReply():
                self._heard(message.source, follower, round_=message.round)
            case SnapshotReply():
                follower.quiet = False
                follower.received(message.last_index, message.received)
            case _:
                pass  # meant for a role that this member had before
        return None

    def propose(self, payload: bytes) -> Index:
        """Append a decision; return its index. It is committed when it is delivered.

        Raises:
            RefusedError: TRANSFERRING.
        """
        if self._transfer is not None:
            raise RefusedError(Refusal.TRANSFERRING)
        return self._append(EntryKind.RECORDS, payload)

    def change(self, change: Change) -> Index:
        """Append another configuration, which counts from now on; return its index.

        Raises:
            RefusedError: TRANSFERRING, TERM_NOT_COMMITTED, CHANGE_PENDING, NOT_CAUGHT_UP, and
                what `membership.changed` refuses.
        """
        member, log = self._member, self._member.log
        if self._transfer is not None:
            raise RefusedError(Refusal.TRANSFERRING)
        if not self.leads_surely:
            raise RefusedError(Refusal.TERM_NOT_COMMITTED)
        if log.configurations.newest_index > log.committed:
            raise RefusedError(Refusal.CHANGE_PENDING)
        configuration = changed(member.configuration, change)
        if isinstance(change, Promote):
            lag = log.last_index - self._followers[change.member].matched
            if lag > member.limits.promotion_lag_max:
                raise RefusedError(Refusal.NOT_CAUGHT_UP)
        return self._change_to(configuration)

    def transfer(self, to: Voter) -> None:
        """Hand the leadership over to a voter; nothing is proposed until it worked or failed.

        Raises:
            RefusedError: NOT_A_VOTER, TRANSFERRING.
        """
        member = self._member
        if self._transfer is not None:
            raise RefusedError(Refusal.TRANSFERRING)
        if to not in member.configuration.voters:
            raise RefusedError(Refusal.NOT_A_VOTER)
        if to != member.me:
            self._transfer = Transfer(to, patience_ticks=member.limits.election_ticks)
            self._hand_over()

    def read(self, read: Read) -> None:
        """Find out from which index on a read may be answered."""
        self._reads.add(read, committed=self._member.log.committed)

    def waiting_reads(self) -> list[int]:
        """Return the numbers of this member's own reads that have no answer."""
        me = self._member.me
        return [read.number for read in self._reads.waiting if read.origin == me]

    def link_lost(self, peer: Voter) -> None:
        """Find out anew how far a follower is: what was under way to it is gone."""
        follower = self._followers.get(peer)
        if follower is not None and follower.feeding is Feeding.REPLICATE:
            follower.probe(Index(follower.matched + 1))

    def persisted(self) -> Become | None:
        """Count oneself, now that the disk has more."""
        return self._advance()

    def flush(self) -> None:
        """Send everybody what has gathered; ask the quorum if a read waits for that."""
        if self._reads.begin_round():
            self._beat()
            self._confirm_reads()
        for to, follower in self._followers.items():
            self._feed(to, follower)

    def _append(self, kind: EntryKind, payload: bytes) -> Index:
        member = self._member
        index = Index(member.log.last_index + 1)
        member.log.append([Entry(member.term, index, kind, payload)])
        return index

    def _change_to(self, configuration: Configuration) -> Index:
        log = self._member.log
        assert log.configurations.newest_index <= log.committed, "RAFT_ONE_CHANGE_AT_A_TIME"
        check_step(self._member.configuration, configuration)
        index = self._append(EntryKind.VOTERS, encode_configuration(configuration))
        self._know_the_members(index)
        return index

    def _know_the_members(self, next_index: Index) -> None:
        """Keep what is known of members that stay; hope that new ones lack only `next_index` on."""
        member = self._member
        self._followers = {
            other: self._followers.get(other) or Progress(member.limits, next_index=next_index)
            for other in member.configuration.members
            if other != member.me
        }

    # What is committed.

    def _advance(self) -> Become | None:
        """Commit what a majority has durably, oneself included as far as the disk has followed.

        An entry of an older term may be on a majority and still be overwritten: only one of this
        term commits, and what stands before it with it (Raft 5.4.2, figure 8).
        """
        log = self._member.log
        surely = self.leads_surely
        index = Index(majority_commit(self._acknowledged()))
        if index <= log.committed or not self._is_of_this_term(index):
            return None
        assert index >= self._own_index, "RAFT_COMMITS_ITS_OWN_TERM"
        log.commit(index)
        if not surely:
            self._reads.own_term_committed(log.committed)
        return self._leave_if_removed()

    def _is_of_this_term(self, index: Index) -> bool:
        return self._member.log.term_at(index) == self._member.term

    def _acknowledged(self) -> Iterator[Index]:
        for voter in self._member.configuration.voters:
            follower = self._followers.get(voter)
            yield self._member.log.stable if follower is None else follower.matched

    def _leave_if_removed(self) -> Become | None:
        """Resign once the configuration without oneself is committed; name a successor."""
        member, configurations = self._member, self._member.log.configurations
        if member.may_campaign or configurations.newest_index > member.log.committed:
            return None
        self._beat()
        voters = [voter for voter in member.configuration.voters if voter in self._followers]
        to = max(voters, key=lambda voter: (self._followers[voter].matched, -voter.node))
        member.send(TimeoutNow(member.me, to, member.term))
        return Become.FOLLOWER

    # What followers are sent.

    def _feed(self, to: Voter, follower: Progress) -> None:
        """Send entries as far as the window reaches, or the next chunk, or news of the commit."""
        log, limits = self._member.log, self._member.limits
        while follower.has_room:
            if log.term_at(Index(follower.next - 1)) is None:
                assert log.snapshot is not None, "RAFT_SNAPSHOT_COVERS_THE_GONE"
                follower.begin_snapshot(log.snapshot)
                break
            entries: tuple[Entry, ...] = ()
            if not follower.repeats_probe:
                entries = log.read_some(follower.next, bytes_max=limits.append_bytes_max)
            if not entries and follower.feeding is Feeding.REPLICATE:
                break
            self._send_append(to, follower, entries)
        if follower.feeding is Feeding.SNAPSHOT:
            self._send_chunk(to, follower)
        elif follower.told_commit < min(log.committed, follower.matched):
            self._send_heartbeat(to, follower)

    def _send_append(self, to: Voter, follower: Progress, entries: tuple[Entry, ...]) -> None:
        """Send entries, or none, behind what the follower is believed to have."""
        member, log = self._member, self._member.log
        prev_index = Index(follower.next - 1)
        prev_term = log.term_at(prev_index)
        assert prev_term is not None, "RAFT_SNAPSHOT_COVERS_THE_GONE"
        append = AppendRequest(
            member.me,
            to,
            member.term,
            prev_index=prev_index,
            prev_term=prev_term,
            entries=entries,
            commit=log.committed,
            attempt=follower.attempt,
        )
        member.send(append)
        last_index = Index(prev_index + len(entries))
        follower.told_commit = max(follower.told_commit, min(log.committed, last_index))
        follower.sent(last_index, sum(len(entry.payload) + 1 for entry in entries))

    def _send_chunk(self, to: Voter, follower: Progress) -> None:
        member, snapshot = self._member, follower.snapshot
        if snapshot is None or follower.chunk_sent:
            return
        follower.chunk_sent = True
        end = follower.offset + member.limits.snapshot_chunk_bytes
        member.send(
            SnapshotChunk(
                member.me,
                to,
                member.term,
                last_index=snapshot.last_index,
                last_term=snapshot.last_term,
                offset=follower.offset,
                chunk=snapshot.content[follower.offset : end],
                size_bytes=len(snapshot.content),
            )
        )

    def _beat(self) -> None:
        for to, follower in self._followers.items():
            self._send_heartbeat(to, follower)

    def _send_heartbeat(self, to: Voter, follower: Progress) -> None:
        member = self._member
        follower.told_commit = min(member.log.committed, follower.matched)
        member.send(Heartbeat(member.me, to, member.term, follower.told_commit, self._reads.round))

    # What followers say.

    def _heard(self, source: Voter, follower: Progress, *, round_: int) -> None:
        """Take a sign of life; send again what seems to be lost.

        A follower that has said nothing of appends since its last sign of life is asked with an
        empty one whether it has what was sent: a refusal tells that it has not.
        """
        follower.heard_round = max(follower.heard_round, round_)
        self._confirm_reads()
        log = self._member.log
        if follower.feeding is Feeding.PROBE:
            follower.probe_sent = False
        elif follower.feeding is Feeding.SNAPSHOT:
            follower.chunk_sent = follower.chunk_sent and not follower.quiet
        elif follower.quiet and follower.matched < follower.next - 1:
            if log.term_at(Index(follower.next - 1)) is None:
                follower.probe(Index(follower.matched + 1))
            else:
                self._send_append(source, follower, ())
        follower.quiet = True

    def _confirm_reads(self) -> None:
        """Let reads go whose round a majority has answered: it knew no other leader then."""
        member = self._member
        rounds = [
            self._reads.round if voter == member.me else self._followers[voter].heard_round
            for voter in member.configuration.voters
        ]
        for confirmed in self._reads.confirm(majority_commit(rounds)):
            (origin, number), needs = confirmed
            if origin == member.me:
                member.confirmed.append(confirmed)
            else:
                member.send(ReadReply(member.me, origin, member.term, number, needs))

    def _is_heard(self) -> bool:
        """Count who was heard since the last count; begin the next."""
        voters = self._member.configuration.voters
        heard = sum(voter == self._member.me or self._followers[voter].active for voter in voters)
        for follower in self._followers.values():
            follower.active = False
        return heard >= majority(len(voters))

    def _hand_over(self) -> None:
        """Let the transferee campaign once it has the whole log."""
        if self._transfer is None:
            return
        to, member = self._transfer.to, self._member
        follower = self._followers.get(to)
        if follower is not None and follower.matched == member.log.last_index:
            member.send(TimeoutNow(member.me, to, member.term))
