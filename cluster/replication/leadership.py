"""When a replica begins to lead or to follow, and what those are told who waited on it.

Follows the committed metadata, which only ever name newer epochs. What the shell does with each
effect, in the order in which they come:
    EndEpoch       drop the `PartitionLeader`, throw away every machine that was hosted on it, and
                   answer what is parked with `told`. Records that were appended stay in the log:
                   the next leader says which of them it has.
    Leave          put the frame on the stream to the former leader, before any `BeatAnswer`.
    StopFollowing  drop the `PartitionFollower`: frames are let in no more.
    SyncLog        ask the writer for a round; nothing is appended until `BeginEpoch`. Tell each
                   round's end as `LogStands`.
    BeginEpoch     the log is synced to its end: make the `PartitionLeader` from `ends`, the log's
                   high watermark and the assignment. Produce is accepted from here on; fetches,
                   offsets and times once its mark has reached the epoch's start (P12).
    Open           hand it to the `PartitionLeader`: it came before the epoch began here.
    Refused        put the frame on the stream to that follower.
    Follow         make a `PartitionFollower` from the log as it stands if there is none, and hand
                   it the event; then `StreamReady` if there is a stream to that leader.
    IsrDecided     hand it to the `PartitionLeader`.
While this node does not lead, a follower's `Open` comes here: who learnt of an election first asks
a leader that does not know it is one, and is not made to wait for a second attempt. `StreamLost`
always comes here, and to the `PartitionLeader` if there is one.

Invariants:
    LEADER_IS_IN_ISR    the metadata name no leader that is not in sync.
"""

from enum import Enum
from typing import NamedTuple, TypeAlias

from cluster.peer.replica import NO_EPOCH, Leave, Open, Refused
from cluster.replication.events import Assignment, Follow, IsrDecided, StreamLost
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, Offset


class LogStands(NamedTuple):
    """How far the disk is behind the log's end."""

    log_end: Offset
    flushed_end: Offset
    being_cut: bool
    """A truncation is not durable yet."""


class EndEpoch(NamedTuple):
    """Effect: this node does not lead any more."""

    leader_epoch: LeaderEpoch


class StopFollowing(NamedTuple):
    """Effect: this node takes no more from another leader."""


class SyncLog(NamedTuple):
    """Effect: make the log durable to its end before the epoch begins."""


class BeginEpoch(NamedTuple):
    """Effect: lead from here on; the epoch begins at the log's end and appends nothing itself."""

    assignment: Assignment
    epoch_start: Offset


Effect: TypeAlias = (
    BeginEpoch | EndEpoch | Follow | IsrDecided | Leave | Open | Refused | StopFollowing | SyncLog
)


class Role(Enum):
    """What this replica is to its partition."""

    NONE = "waits for an election"
    FOLLOWER = "follows"
    ELECTED = "elected, its log is being synced"
    LEADER = "leads"


class Leadership:
    """The role of one replica, from the metadata and from its own log."""

    __slots__ = ("_assignment", "_early", "_node", "former", "role")

    def __init__(self, node: NodeId) -> None:
        """Know of no leader yet."""
        self._node = node
        self._assignment = Assignment(None, NO_EPOCH, NO_EPOCH, (), frozenset(), -1)
        self._early: dict[NodeId, Open] = {}
        """Of each follower the newest that asks for an epoch that has not begun here."""
        self.role = Role.NONE
        self.former: NodeId | None = None
        """Whom this replica followed before it left: `Leave` goes there."""

    @property
    def assignment(self) -> Assignment:
        """What the metadata said last."""
        return self._assignment

    def step(self, event: Assignment | LogStands | Open | StreamLost) -> list[Effect]:
        """Take one event in; return what to do, in order."""
        match event:
            case LogStands():
                return self._synced(event)
            case Open():
                return self._asked(event)
            case StreamLost(follower):
                self._early.pop(follower, None)
                return []
            case Assignment():
                return self._assigned(event)

    def _assigned(self, event: Assignment) -> list[Effect]:
        before = self._assignment
        if event.partition_epoch <= before.partition_epoch:
            return []
        self._assignment = event
        if (event.leader, event.leader_epoch) == (before.leader, before.leader_epoch):
            leads = self.role is Role.LEADER
            isr = IsrDecided(event.isr, event.partition_epoch, event.answer_wanted)
            return [isr] if leads else []
        return [*self._leave(before), *self._enter(event)]

    def _leave(self, before: Assignment) -> list[Effect]:
        """End what was; a follower that goes on following only changes its leader."""
        if self.role is Role.LEADER:
            return [EndEpoch(before.leader_epoch)]
        if self.role is not Role.FOLLOWER:
            return []
        self.former = before.leader
        left: list[Effect] = [Leave(self._node, before.leader_epoch)]
        ends = self._assignment.leader in {None, self._node}
        return [*left, StopFollowing()] if ends else left

    def _enter(self, assignment: Assignment) -> list[Effect]:
        leader = assignment.leader
        if leader is None:
            self.role = Role.NONE
            return []
        if leader != self._node:
            self.role = Role.FOLLOWER
            return [Follow(leader, assignment.leader_epoch, assignment.lossy_epoch)]
        assert leader in assignment.isr, "LEADER_IS_IN_ISR"
        self.role = Role.ELECTED
        return [SyncLog()]

    def _synced(self, log: LogStands) -> list[Effect]:
        """Begin the epoch once the log is durable to its end: what a leader holds is never less."""
        if self.role is not Role.ELECTED or log.being_cut or log.flushed_end < log.log_end:
            return []
        self.role = Role.LEADER
        early, self._early = self._early, {}
        epoch = self._assignment.leader_epoch
        asked = [opened for opened in early.values() if opened.leader_epoch == epoch]
        return [BeginEpoch(self._assignment, log.log_end), *asked]

    def _asked(self, opened: Open) -> list[Effect]:
        """Keep what comes too early; refuse who asks for what is over."""
        epoch = self._assignment.leader_epoch
        if opened.leader_epoch > epoch or self.role is Role.ELECTED:
            self._early[opened.follower] = opened
            return []
        return [Refused(opened.follower, epoch, ErrorCode.FENCED_EPOCH)]


class Parked(Enum):
    """Who waits on a leader."""

    APPEND = "an append, for its records to be as durable as was asked for"
    READ = "a reader, for more records"


def told(parked: Parked, *, where: str, leader: NodeId | None) -> RequestError:
    """Return what a parked request is told when the leadership ends.

    An append is in the log here, and the next leader may have it or not: its outcome is unknown. A
    reader has got nothing and asks the next leader. `where`: topic and partition, for people.
    """
    code, what = ErrorCode.NOT_LEADER, f"this node stopped leading {where}"
    if parked is Parked.APPEND:
        code, what = ErrorCode.LEADERSHIP_LOST, f"{what} before the append was committed"
    if leader is None:
        return RequestError(code, what)
    return RequestError(code, f"{what}; node {leader} leads it now", leader=str(leader))
