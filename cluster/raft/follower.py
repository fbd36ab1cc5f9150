"""The role of who believes in a leader, or waits for one."""

from cluster.raft.log import SnapshotFile
from cluster.raft.member import Become, Member
from cluster.raft.membership import Refusal, RefusedError
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
from cluster.raft.reads import Confirmed, Read
from model.ids import Index


class Follower:
    """Takes what the leader sends; without a word from it, asks for an election."""

    __slots__ = ("_member",)

    def __init__(self, member: Member) -> None:
        """Wait from here on."""
        self._member = member

    def begin(self) -> Become | None:
        """Wait for a whole timeout."""
        self._member.restart_timer()
        return None

    def tick(self) -> Become | None:
        """Begin an election when the leader was silent for too long, if one may."""
        member = self._member
        member.elapsed += 1
        member.lost_reads += member.forwarded.tick(member.limits.election_ticks)
        if member.elapsed < member.timeout:
            return None
        member.restart_timer()
        member.leader = None
        member.lose_forwarded_reads()
        return Become.PRE_CANDIDATE if member.may_campaign else None

    def leader_is_gone(self) -> Become | None:
        """Begin an election at once: the leader's process has ended."""
        self._member.leader = None
        self._member.lose_forwarded_reads()
        return Become.PRE_CANDIDATE if self._member.may_campaign else None

    def step(self, message: Message) -> Become | None:
        """Take a message of this term; the leader's are noted as its sign of life already."""
        match message:
            case AppendRequest():
                self._append(message)
            case Heartbeat():
                self._member.log.commit(message.commit)
                self._member.send(
                    HeartbeatReply(self._member.me, message.source, message.term, message.round)
                )
            case SnapshotChunk():
                self._take_chunk(message)
            case TimeoutNow() if self._member.may_campaign:
                return Become.TRANSFEREE
            case ReadReply():
                if self._member.forwarded.answered(message.read):
                    read = Read(self._member.me, message.read)
                    self._member.confirmed.append(Confirmed(read, message.needs))
            case _:
                pass  # meant for a role that this member has left
        return None

    def read(self, number: int) -> None:
        """Ask the leader from which index on a read may be answered.

        Raises:
            RefusedError: NO_LEADER.
        """
        member = self._member
        if member.leader is None:
            raise RefusedError(Refusal.NO_LEADER)
        member.forwarded.add(number)
        member.send(ReadRequest(member.me, member.leader, member.term, number))

    def _append(self, message: AppendRequest) -> None:
        """Take entries in, or say where the logs part.

        What is acknowledged is what this request has brought, not where this log ends: behind it
        may be entries that the leader has not.
        """
        me, to, log = self._member.me, message.source, self._member.log
        if log.merge((message.prev_index, message.prev_term), message.entries):
            matched = Index(message.prev_index + len(message.entries))
            log.commit(min(message.commit, matched))
            self._member.send(AppendReply(me, to, message.term, matched))
            return
        hint, term = log.last_with_term(message.prev_index, message.prev_term)
        self._member.send(
            AppendRefusal(me, to, message.term, message.prev_index, message.attempt, hint, term)
        )

    def _take_chunk(self, message: SnapshotChunk) -> None:
        """Take a part of a snapshot in; one that tells nothing new is acknowledged as it is."""
        member, to = self._member, message.source
        if message.last_index <= member.log.committed:
            known = AppendReply(member.me, to, message.term, message.last_index)
            member.send(known)
            return
        whole = member.receipt.take(message, bytes_max=member.limits.snapshot_bytes_max)
        if whole is not None:
            self._restore(whole)
            member.send(AppendReply(member.me, to, message.term, whole.last_index))
            return
        received = member.receipt.received
        member.send(SnapshotReply(member.me, to, message.term, message.last_index, received))

    def _restore(self, snapshot: SnapshotFile) -> None:
        if self._member.log.restore(snapshot):
            self._member.restored = True
