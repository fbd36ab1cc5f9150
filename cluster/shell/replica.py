"""One partition's replica on this node: leader, follower or neither, as the metadata say.

Holds the cores of `cluster.replication` and carries out what they decide: on the log at once, on
everything else by telling its host, the partition, and its outlet, the streams. A passive object.

Invariants:
    FOLLOWER_HAS_LEADER    only a replica whose leader the metadata name follows.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from cluster.peer.replica import Batches, Diverging, Leave, Open, Progress, Refused
from cluster.peer.replica_frames import SentBatch
from cluster.replication.events import (
    AnswerFor,
    Append,
    Assignment,
    BeginAnew,
    Committed,
    CutDurable,
    Follow,
    Halted,
    IsrDecided,
    IsrRefused,
    Judged,
    Persisted,
    ProposeIsr,
    Ready,
    Reserve,
    StreamLost,
    StreamReady,
    TickEnded,
    Trim,
    Trimmed,
    Truncate,
)
from cluster.replication.follower import Effect as FollowerEffect
from cluster.replication.follower import PartitionFollower, Phase
from cluster.replication.high_watermark import Ends
from cluster.replication.leader import PartitionLeader
from cluster.replication.leader_events import Effect as LeaderEffect
from cluster.replication.leadership import (
    BeginEpoch,
    EndEpoch,
    Leadership,
    LogStands,
    StopFollowing,
    SyncLog,
)
from cluster.replication.leadership import Effect as LeadershipEffect
from cluster.replication.log_state import LogState
from cluster.shell.replica_outlet import Here, Host
from logstore.leader_epochs import EpochStart
from logstore.replicated import Replicated, append_replicated, check_replicated, whole_from
from logstore.settled import settled_end
from model.ids import LeaderEpoch, MonotonicMs, NodeId, Offset

_TICK_ENDED: Final = TickEnded()
FromFollower: TypeAlias = Open | Progress | Leave
FromLeader: TypeAlias = Batches | Diverging | Refused


class _Epochs:
    """The epoch table of whichever log the host has now."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def latest(self) -> LeaderEpoch | None:
        return self._host.log.leader_epochs.latest

    @property
    def lost_from(self) -> Offset | None:
        return self._host.log.leader_epochs.lost_from

    def believe(self) -> None:
        self._host.log.leader_epochs.believe()

    def end_of(self, epoch: LeaderEpoch, log_end: Offset) -> EpochStart | None:
        return self._host.log.leader_epochs.end_of(epoch, log_end)


class Replica:
    """The role of one replica. Loop only."""

    __slots__ = (
        "_anew", "_host", "_incoming", "_leadership", "_node", "_outlet", "_told_start",
        "follower", "leader",
    )  # fmt: skip

    def __init__(self, here: Here, host: Host) -> None:
        """Wait for the metadata."""
        self._node, self._outlet = here
        self._host = host
        self._leadership = Leadership(self._node)
        self._incoming: Sequence[Replicated] = ()
        self._anew = False
        """The log that is being begun anew does not exist yet."""
        self._told_start = Offset(0)
        self.leader: PartitionLeader | None = None
        self.follower: PartitionFollower | None = None

    @property
    def assignment(self) -> Assignment:
        """What the metadata said last."""
        return self._leadership.assignment

    @property
    def follows(self) -> NodeId | None:
        """Whom this replica follows; None: nobody."""
        return None if self.follower is None else self.assignment.leader

    def assigned(self, assignment: Assignment, now: MonotonicMs) -> None:
        """Take over what the committed metadata say."""
        for effect in self._leadership.step(assignment):
            self._enter(effect, now)
        self._look(now)

    def persisted(self, now: MonotonicMs) -> None:
        """Take over how far the disk has come, where this node does not lead."""
        log, follower = self._host.log, self.follower
        if self._anew and log.upkeep.exists:
            self._anew = False
            self._host.exists()
        if follower is not None:
            if follower.phase is not Phase.CUTTING:
                ends = Persisted(log.written_end, log.flushed_end, settled_end(log))
                self._follow(follower.step(ends))
            elif not self._being_cut:
                self._follow(follower.step(CutDurable(log.written_end, log.flushed_end)))
        self._look(now)

    def lead(self, effects: Sequence[LeaderEffect]) -> None:
        """Carry out what the leader's core has decided."""
        outlet, where = self._outlet, self._host.log.id
        for effect in effects:
            match effect:
                case Committed(mark):
                    self._host.advanced(mark)
                case Ready(to):
                    outlet.ready(where, to)
                case Diverging() | Refused():
                    outlet.say(where, effect.to, effect)
                case ProposeIsr():
                    outlet.propose(where, effect)
                case AnswerFor():
                    outlet.answer_for(where, effect)
                case Batches():
                    pass  # the stream has asked for it, and sends it

    def tick_ended(self, now: MonotonicMs) -> None:
        """Announce to followers what has gathered. For leaders."""
        leader = self.leader
        if leader is not None:
            self._trimmed(leader, now)
            self.lead(leader.step(now, _TICK_ENDED))

    def told(self, now: MonotonicMs, event: Judged | IsrRefused) -> None:
        """Hand the leader's core what it is told of the cluster."""
        if self.leader is not None:
            self.lead(self.leader.step(now, event))

    @property
    def at_rest(self) -> bool:
        """Nobody is to look after it before something happens.

        It leads, and all is even; or it does not wait for its leader's answer.
        """
        if self.leader is not None:
            return self.leader.at_rest
        return self.follower is None or self.follower.phase is not Phase.OPENING

    def from_follower(self, now: MonotonicMs, message: FromFollower) -> None:
        """Take what a follower says, or somebody who takes this node for the leader."""
        leader = self.leader
        if leader is not None:
            self._trimmed(leader, now)
            self.lead(leader.step(now, message))
        elif isinstance(message, Open):
            for effect in self._leadership.step(message):
                self._enter(effect, now)

    def from_leader(self, message: FromLeader, batches: Sequence[SentBatch] = ()) -> bool:
        """Take what a leader says; tell whether its batches, if there are any, were appended.

        Raises:
            MalformedError: they are not what a leader can send here.
        """
        follower, log = self.follower, self._host.log
        if follower is None:
            return False
        continues = (
            isinstance(message, Batches)
            and bool(batches)
            and message.leader_epoch == follower.leader_epoch
            and message.start == log.log_end
            and follower.phase in {Phase.OPENING, Phase.FOLLOWING}
        )
        if continues and isinstance(message, Batches):
            self._incoming = check_replicated(
                log, batches, end=message.end, leader_epoch=message.leader_epoch
            )
        answers = follower.phase is Phase.OPENING
        self._follow(follower.step(message), answers=answers)
        self._incoming = ()
        return continues

    def stream_up(self, node: NodeId) -> None:
        """Open, if it is the leader that has become reachable."""
        if self.follower is not None and self.follows == node:
            self._follow(self.follower.step(StreamReady()))

    def open_again(self, *, even_following: bool = False) -> None:
        """Open once more, if the leader has not answered the last time.

        `even_following`: or if it sends what was not taken.
        """
        follower = self.follower
        if follower is None:
            return
        if even_following or follower.phase is Phase.OPENING:
            self._follow(follower.step(StreamReady()))

    def registered(self) -> None:
        """Open again: under this node's former registration nobody counts it in sync."""
        if self.follower is not None:
            self.follower.registered(self._outlet.registration_epoch)
            self.open_again(even_following=True)

    def go_on(self, now: MonotonicMs) -> None:
        """Follow, after the host has held this replica back."""
        self.persisted(now)
        # Who followed all the while may have been registered anew, and not have opened since.
        self.open_again(even_following=True)

    def start_over(self) -> None:
        """Have an empty log begin at offset 0, as the leader's does. For followers."""
        said, leader = self.assignment, self.follows
        assert leader is not None, "FOLLOWER_HAS_LEADER"
        self.follower = None
        self._cut(BeginAnew(Offset(0)))
        self._begin_following(Follow(leader, said.leader_epoch, said.lossy_epoch))

    def stream_lost(self, now: MonotonicMs, node: NodeId) -> None:
        """Send a follower nothing until it opens again."""
        lost = StreamLost(node)
        self._leadership.step(lost)
        if self.leader is not None:
            self.lead(self.leader.step(now, lost))

    @property
    def _being_cut(self) -> bool:
        return self._anew or self._host.log.cut is not None

    def _look(self, now: MonotonicMs) -> None:
        """See whether an elected leader's log is durable to its end."""
        log = self._host.log
        stands = LogStands(log.log_end, log.flushed_end, self._being_cut)
        for effect in self._leadership.step(stands):
            self._enter(effect, now)

    def _enter(self, effect: LeadershipEffect, now: MonotonicMs) -> None:
        """Carry out what a change of the leadership asks for."""
        where = self._host.log.id
        match effect:
            case EndEpoch():
                self.leader = None
                self._host.ended()
            case StopFollowing():
                self.follower = None
                self._outlet.follows(where, None)
            case SyncLog():
                self._outlet.sync(where)
            case BeginEpoch(assignment):
                self._begin(assignment, now)
            case Follow():
                self._begin_following(effect)
            case Refused(to):
                self._outlet.say(where, to, effect)
            case Leave() | Open() | IsrDecided():
                self._hand_on(effect, now)

    def _hand_on(self, effect: Leave | Open | IsrDecided, now: MonotonicMs) -> None:
        """Tell a leader: the former one, or our own core."""
        if isinstance(effect, Leave):
            former = self._leadership.former
            if former is not None:
                self._outlet.say(self._host.log.id, former, effect)
        elif self.leader is not None:
            self.lead(self.leader.step(now, effect))

    def _begin(self, assignment: Assignment, now: MonotonicMs) -> None:
        host, log = self._host, self._host.log
        self._told_start = whole_from(log)
        log.leader_epochs.believe()  # what its leader has is the log, readable or not
        self.leader = PartitionLeader(
            self._node,
            assignment=assignment,
            log=self._state(self._told_start),
            rule=host.rule,
            now=now,
        )
        # A mark that lies below the start of the epoch is not told by the core, and not served.
        known = min(log.high_watermark, log.written_end)
        mark = self.leader.high_watermark
        host.began()
        host.advanced(known if mark is None else mark)

    def _begin_following(self, follow: Follow) -> None:
        self._outlet.follows(self._host.log.id, follow.leader)
        if self.follower is None:
            self.follower = PartitionFollower(
                self._node,
                self._outlet.registration_epoch,
                log=self._state(self._host.log.log_start),
            )
        self._follow(self.follower.step(follow))

    def _state(self, log_start: Offset) -> LogState:
        log = self._host.log
        return LogState(
            Ends(log.log_end, log.written_end, log.flushed_end),
            _Epochs(self._host),
            log_start,
            log.high_watermark,
            settled_end(log),
            self._being_cut,
        )

    def _follow(self, effects: Sequence[FollowerEffect], *, answers: bool = False) -> None:
        """Carry out what the follower's core has decided, in order.

        `answers`: of this stream the leader knows nothing yet, and is told even before a round.
        """
        host, outlet, leader = self._host, self._outlet, self.assignment.leader
        assert leader is not None, "FOLLOWER_HAS_LEADER"
        where, rounds = host.log.id, False
        for effect in effects:
            match effect:
                case Append():
                    rounds = True
                    append_replicated(host.log, self._incoming)
                    outlet.took(where, leader, sum(len(one.batch) for one in self._incoming))
                case Committed(mark):
                    host.advanced(mark)
                case Progress():
                    outlet.progress(where, leader, effect, soon=answers or not rounds)
                case Open():
                    self._open(leader, effect)
                case Reserve(closed_time):
                    outlet.reserve(where, closed_time)
                case Trim(log_start):
                    host.trim(log_start)
                case Truncate() | BeginAnew():
                    self._cut(effect)
                case Halted(why):
                    outlet.halted(where, why)

    def _open(self, leader: NodeId, effect: Open) -> None:
        """Ask where the logs part, unless the host holds this replica back."""
        if not self._host.held:
            self._outlet.say(self._host.log.id, leader, effect)

    def _cut(self, effect: Truncate | BeginAnew) -> None:
        """Take away what the leader does not have; a round makes it durable."""
        host = self._host
        if isinstance(effect, Truncate):
            host.log.truncate(effect.offset)
        else:
            self._anew = True
            host.begin_anew(effect.offset)
        host.truncated()
        self._outlet.cut(host.log.id)

    def _trimmed(self, leader: PartitionLeader, now: MonotonicMs) -> None:
        """Tell the leader's core where whole batches begin, if retention has moved that."""
        start = whole_from(self._host.log)
        if start > self._told_start:
            self._told_start = start
            leader.step(now, Trimmed(start))
