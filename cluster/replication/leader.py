"""One partition on its leader, for one leader epoch.

Knows offsets, never bytes: the shell appends batches to the in-memory tail and tells the new end,
a writer thread tells how far the disk has followed, peers tell their progress. What to send, whom
to count in sync and what is committed is decided here.

What goes in and comes out, and what the shell does with it: `leader_events`.

A leader that is its partition's only replica takes a short way: no follower to ask, nobody to send
to, and the high watermark is one of its own ends. Both ways give the same marks.

Invariants: those of `high_watermark`, and
    LEADER_IS_A_REPLICA    a leader holds a replica and is a member of its ISR.
    LOG_END_NEVER_FALLS    in its own epoch a leader only appends.
    HW_NEVER_FALLS         what a client saw stays visible.
    SENT_IS_HELD           what is sent lies between what was sent and the log's end.
"""

from collections.abc import Mapping
from typing import Final

from cluster.peer.replica import Batches, Diverging, Leave, Open, Progress, Refused
from cluster.replication.events import (
    AnswerFor,
    Appended,
    Assignment,
    Committed,
    IsrDecided,
    IsrRefused,
    Judged,
    Persisted,
    ProposeIsr,
    Ready,
    RuleChanged,
    StreamLost,
    Taken,
    TickEnded,
    Trimmed,
)
from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from cluster.replication.known_follower import EMPTY, NEVER, KnownFollower
from cluster.replication.leader_events import Effect, Event
from cluster.replication.log_state import Extent, LogState
from cluster.replication.truncation import parting
from logstore.settings import Flush
from model.errors import ErrorCode
from model.ids import AppendTimeMs, MonotonicMs, NodeId, Offset

_NO_TIME: Final = AppendTimeMs(0)


class PartitionLeader:
    """What the leader knows of its replicas, and what follows from it."""

    __slots__ = (
        "_began",
        "_closed",
        "_ends",
        "_epoch_start",
        "_epochs",
        "_flushed",
        "_followers",
        "_high_watermark",
        "_isr",
        "_leader_epoch",
        "_log",
        "_log_start",
        "_lone",
        "_node",
        "_partition_epoch",
        "_refused",
        "_rule",
        "_unanswered",
        "_written",
        "alone",
        "enough_in_sync",
    )

    def __init__(
        self,
        node: NodeId,
        *,
        assignment: Assignment,
        log: LogState,
        rule: CommitRule,
        now: MonotonicMs,
    ) -> None:
        """Lead on from where the log ends. Followers are empty until they have opened and reported.

        Where nobody else is in sync, what the disk holds is committed at once: see
        `high_watermark` after construction.
        """
        _, leader_epoch, _, replicas, isr, partition_epoch, answer_wanted = assignment
        ends = log.ends
        assert node in replicas, "LEADER_IS_A_REPLICA"
        assert node in isr, "LEADER_IS_A_REPLICA"
        self._node = node
        self._rule = rule
        self._leader_epoch = leader_epoch
        self._epochs = log.epochs
        self._log, self._written, self._flushed = ends
        self._log_start = log.log_start
        self._epoch_start = ends.log
        self._isr = Isr(isr, isr)
        self._partition_epoch = partition_epoch
        self._unanswered = answer_wanted
        self._refused = False
        self._began = now
        self._followers = {
            peer: KnownFollower(log_end=ends.log, caught_up_at=now if peer in isr else NEVER)
            for peer in sorted(replicas)
            if peer != node
        }
        self._ends = {peer: known.ends for peer, known in self._followers.items()} | {node: ends}
        self._lone = not self._followers
        self._high_watermark = min(log.high_watermark, ends.written)
        self._closed = _NO_TIME
        self.alone = False
        """Cut off: `acks=all` is refused before it is appended, for nobody would confirm it."""
        self.enough_in_sync = len(isr) >= rule.min_insync_replicas
        """The committed ISR has min.insync.replicas members, so `acks=all` may append (P2)."""
        self._advance()

    @property
    def high_watermark(self) -> Offset | None:
        """The first offset that is not committed, or None if a former leader may have told more.

        That is so until the mark reaches the start of the epoch (KIP-207).
        """
        return self._high_watermark if self._high_watermark >= self._epoch_start else None

    def began_above(self, offset: int, now: MonotonicMs, *, within_ms: int) -> bool:
        """Tell whether this leadership is so young, and what is at an offset older than it.

        The first one of a partition is not: it followed none.
        """
        followed = self._leader_epoch > 0 and offset < self._epoch_start
        return followed and now - self._began < within_ms

    @property
    def ends(self) -> Ends:
        """How far the leader's own log has come."""
        return Ends(self._log, self._written, self._flushed)

    @property
    def isr(self) -> Isr:
        """Who is in sync: as committed, and as asked for."""
        return self._isr

    @property
    def replica_log_ends(self) -> Mapping[NodeId, Offset]:
        """How far the logs of those replicas go that follow now, as they told last, and its own."""
        known = {
            peer: one.ends.log
            for peer, one in self._followers.items()
            if one.matched and one.ends is not EMPTY
        }
        return dict(sorted((known | {self._node: self._log}).items()))

    @property
    def at_rest(self) -> bool:
        """Nothing is to be judged, or told, while nothing happens and everybody is heard.

        Every replica is in sync, as asked for and as committed, and holds and knows all.
        """
        committed, pending = self._isr
        if committed != pending or len(committed) < len(self._ends):
            return False
        news = self._log, self._high_watermark, self._log_start
        rests = all(known.is_even(*news) for known in self._followers.values())
        return rests and not (self.alone or self._unanswered)

    def next_to_send(self, to: NodeId) -> Offset:
        """Return the offset from which a follower is to be sent on."""
        return self._followers[to].sent_end

    def closed_time(
        self, own: AppendTimeMs, answered: Mapping[NodeId, AppendTimeMs]
    ) -> AppendTimeMs:
        """Return the append time below which nothing can appear any more, whoever leads next.

        `own`: what this node may tell of its own clock and appends. `answered`: what each peer has
        promised on the stream that is there now (`BeatAnswer`); it counts while the peer follows.
        Every member of either view has; while too few are in sync it stands still, for a replica
        that has left may be elected then. It never falls.
        """
        if not self._lone:
            if len(self._isr.minimal) < self._rule.min_insync_replicas:
                return self._closed
            for member in self._isr.maximal:
                if member != self._node:
                    follows = self._followers[member].matched
                    own = min(own, answered.get(member, _NO_TIME) if follows else _NO_TIME)
        self._closed = max(self._closed, own)
        return self._closed

    def step(self, now: MonotonicMs, event: Event) -> list[Effect]:
        """Take one event in; return what to do, in order."""
        if self._lone and type(event) is Persisted:  # once for each partition of each round
            self._written, self._flushed, _ = event
            return self._advance_lone()
        match event:
            case Appended(log_end):
                assert log_end >= self._log, "LOG_END_NEVER_FALLS"
                if log_end > self._log:
                    for known in self._followers.values():
                        known.abreast_until(now, self._log)
                    self._log = log_end
                return []  # no term of the mark is a log end
            case Persisted(written_end, flushed_end, _):
                self._written, self._flushed = written_end, flushed_end
                self._ends[self._node] = self.ends
                return self._advance()
            case IsrDecided() | IsrRefused() | RuleChanged():
                return self._change(event)
            case Judged():
                return self._judge(now, event)
            case _:
                return self._stream(now, event)

    def _stream(
        self,
        now: MonotonicMs,
        event: Leave | Open | Progress | StreamLost | Taken | TickEnded | Trimmed,
    ) -> list[Effect]:
        """Go on with what the followers are sent, and with what they say."""
        match event:
            case Progress():
                return self._hear(now, event)
            case Taken():
                return self._send(event)
            case TickEnded():
                return self._announce()
            case Open():
                return self._open(now, event)
            case Leave(follower, leader_epoch) if leader_epoch != self._leader_epoch:
                pass  # of a leadership before this one
            case StreamLost(follower) | Leave(follower):
                if follower in self._followers:
                    self._followers[follower].abreast_until(now, self._log)
                    self._followers[follower].lost()
            case Trimmed(log_start):
                self._log_start = log_start
        return []

    def _change(self, event: IsrDecided | IsrRefused | RuleChanged) -> list[Effect]:
        """Take over what somebody else decided."""
        match event:
            case IsrDecided(members, partition_epoch, answer_wanted) if (
                partition_epoch > self._partition_epoch
            ):
                assert self._node in members, "LEADER_IS_A_REPLICA"
                self._isr = Isr(members, members)
                self._partition_epoch = partition_epoch
                self._unanswered = answer_wanted
                self._refused = False
            case IsrRefused(based_on) if based_on == self._partition_epoch:
                self._isr = self._isr._replace(pending=self._isr.committed)
                self._refused = True
            case RuleChanged(rule):
                self._rule = rule
            case _:
                return []  # late
        self.enough_in_sync = len(self._isr.committed) >= self._rule.min_insync_replicas
        return self._advance()

    def _open(self, now: MonotonicMs, opened: Open) -> list[Effect]:
        """Let a follower begin, tell it where our logs part, or refuse it."""
        known, to = self._followers.get(opened.follower), opened.follower
        if opened.leader_epoch < self._leader_epoch or known is None:
            return [Refused(to, self._leader_epoch, ErrorCode.FENCED_EPOCH)]
        if opened.leader_epoch > self._leader_epoch or opened.last_epoch > self._leader_epoch:
            return [Refused(to, self._leader_epoch, ErrorCode.UNKNOWN_EPOCH)]
        known.abreast_until(now, self._log)
        if not known.opened(opened):
            return []
        self._ends[to] = known.ends
        parts = parting(
            self._epochs,
            Extent(self._log_start, self._log),
            last_epoch=opened.last_epoch,
            log_end=opened.log_end,
        )
        if parts is not None:
            return [Diverging(to, self._leader_epoch, *parts)]
        known.match(opened.log_end)
        return self._announce()

    def _hear(self, now: MonotonicMs, progress: Progress) -> list[Effect]:
        """Note a follower's ends; ask for it to be counted in sync once it holds what it must."""
        known = self._followers.get(progress.follower)
        if known is None or progress.leader_epoch != self._leader_epoch:
            return []
        if not known.reported(progress, log_end=self._log, now=now):
            return []
        self._ends[progress.follower] = known.ends
        effects = self._advance()
        joins = progress.follower not in self._isr.committed and self._may_join(known)
        if joins and not self._refused:  # else with the next `Judged`, lest it asks all the time
            effects += self._propose(self._isr.committed | {progress.follower})
        return effects

    def _may_join(self, known: KnownFollower) -> bool:
        """Tell whether a follower holds all that a former leader, or we, may have committed (P13).

        What it wrote counts, as reported in this epoch and under its present registration; with
        flush=quorum what it flushed: no ack waits for a joiner, so a power cut is to cost it none.
        """
        least = max(self._high_watermark, self._epoch_start)
        ends, synced = known.ends, self._rule.flush is Flush.QUORUM
        return known.matched and (ends.flushed if synced else ends.written) >= least

    def _judge(self, now: MonotonicMs, judged: Judged) -> list[Effect]:
        """See who keeps up, and whether anybody would confirm what we append.

        Where everything is sent and held, no report comes: then it is enough that the link is
        alive. Members are judged by whether they keep up, joiners by what they hold.
        """
        since, began = now - self._rule.replica_lag_ms_max, self._began
        heard = {
            node
            for node in self._followers
            if max(judged.heard_at.get(node, began), began) >= since
        }
        in_touch = len(self._isr.committed & heard) + 1
        self.alone = not judged.session_held or in_touch < self._rule.min_insync_replicas
        members = {self._node}
        for node, known in self._followers.items():
            if node in heard and known.matched and known.ends.log == self._log:
                known.caught_up_at = now
            if known.caught_up_at >= since and (
                node in self._isr.committed or self._may_join(known)
            ):
                members.add(node)
        effects = [*self._propose(frozenset(members)), *self._announce(marks=True)]
        if self._unanswered and self._flushed >= max(self._high_watermark, self._epoch_start):
            effects.append(AnswerFor(self._partition_epoch))
        return effects

    def _propose(self, members: frozenset[NodeId]) -> list[Effect]:
        """Ask the controller for another ISR. One at a time."""
        if self._isr.pending != self._isr.committed or members == self._isr.committed:
            return []
        self._isr = self._isr._replace(pending=members)
        followers = sorted(members - {self._node})
        registered = {node: self._followers[node].registered for node in followers}
        return [ProposeIsr(registered, self._partition_epoch)]

    def _announce(self, *, marks: bool = False) -> list[Effect]:
        """Say for whom there is something that was not announced yet.

        `marks`: also a high watermark alone. No ack waits for a follower to know it, and to tell it
        costs each of them a frame, so it goes with the next batches, or when followers are judged.
        """
        effects: list[Effect] = []
        news = self._log, self._high_watermark, self._log_start
        for node, known in self._followers.items():
            waits = known.has_news(*news) if marks else known.is_behind(self._log, self._log_start)
            if waits and not known.announced:
                known.announced = True
                effects.append(Ready(node))
        return effects

    def _send(self, taken: Taken) -> list[Effect]:
        """Return the header of what was read; say so if there is more already."""
        to, end, closed_time = taken
        known = self._followers[to]
        if not known.matched:
            return []  # lost while it was being read
        start = known.sent_end
        assert start <= end <= self._log, "SENT_IS_HELD"
        known.sent_end = end
        known.announced = end < self._log
        known.told_mark, known.told_start = self._high_watermark, self._log_start
        marks = self._high_watermark, self._log_start, closed_time
        frame = Batches(to, self._leader_epoch, start, end, *marks)
        return [frame, Ready(to)] if known.announced else [frame]

    def _advance(self) -> list[Effect]:
        if self._lone:
            return self._advance_lone()
        mark = high_watermark(self._high_watermark, self._ends, isr=self._isr, rule=self._rule)
        assert mark >= self._high_watermark, "HW_NEVER_FALLS"
        if mark == self._high_watermark:
            return []
        self._high_watermark = mark
        return [Committed(mark)]

    def _advance_lone(self) -> list[Effect]:
        """Do what `_advance` would, for the only member of every view."""
        written, flushed, rule = self._written, self._flushed, self._rule
        assert flushed <= written <= self._log, "FLUSHED_IS_WRITTEN"
        mark = flushed if rule.flush is Flush.QUORUM else written
        if mark <= self._high_watermark or rule.min_insync_replicas > 1:
            return []
        self._high_watermark = mark
        return [Committed(mark)]
