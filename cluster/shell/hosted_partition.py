"""One partition on this node: its log, its replica's role, and who waits for it.

A passive object: it has no task and no timer. The loop appends to it, tells it when the disk has
followed, and takes from it whom to answer. What other nodes say reaches it by the replica streams.

Invariants:
    CLOSED_TIME_NEVER_FALLS    what a leader closes by its own clock and appends stays closed.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from cluster.controller.image import TopicImage
from cluster.replication.events import Appended, Persisted, RuleChanged
from cluster.replication.high_watermark import CommitRule
from cluster.replication.leadership import Parked, told
from cluster.replication.waiting import Waiting
from cluster.shell.assignment import assignment_of
from cluster.shell.log_companion import LogCompanion
from cluster.shell.replica import Replica
from cluster.shell.replica_outlet import Here
from logstore.partition_log import PartitionLog
from logstore.settled import settled_end
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, Offset, PartitionId


class Ack(Protocol):
    """Whoever is told once batches are as durable as their producers asked for."""

    def tell(self, error: RequestError | None) -> None:
        """They are; or, with an error, nobody knows whether they ever will be."""
        ...


Wake: TypeAlias = Callable[[], None]


class _Uncommitted(NamedTuple):
    end: Offset
    append_time: AppendTimeMs


class HostedPartition:
    """A partition of which this node holds a replica. Loop only."""

    __slots__ = (
        "_closed_told", "_due", "_has_followers", "_mark", "_outlet", "_own_closed", "_uncommitted",
        "committed_acks", "companion", "gone", "leader_epoch", "log", "mending", "number",
        "replica", "rule", "serves", "topic", "written_acks",
    )  # fmt: skip

    def __init__(
        self,
        topic: TopicImage,
        number: int,
        *,
        log: PartitionLog,
        here: Here,
        rule: CommitRule,
        now: MonotonicMs,
    ) -> None:
        """Host what recovery found, in the role that the metadata give.

        Where this node holds the only replica it leads at once, and all of it is committed.
        """
        self.topic = topic
        self.number = number
        self.rule = rule
        """When its records count as committed."""
        self.log = log
        self.leader_epoch = LeaderEpoch(topic.partitions[number].leader_epoch)
        """Of the leadership that this node leads, or follows, or waits for."""
        self.serves = False
        """This node leads, and knows all that a former leader may have told to be committed."""
        self.committed_acks = Waiting[Ack, Wake]()
        self.written_acks = Waiting[Ack, Wake]()
        self.companion: LogCompanion | None = None
        """What else this node keeps of the partition; on a lone node and of most partitions,
        nothing."""
        self.mending = False
        """Other replicas are asked for what is damaged here: who meets it may ask again."""
        self.gone = False
        """The partition is not served by this object any more; look again."""
        self._mark = log.high_watermark
        self._has_followers = False
        self._due: list[Ack] = []
        self._uncommitted: deque[_Uncommitted] = deque()
        self._closed_told = self._own_closed = AppendTimeMs(0)
        self._outlet = here.outlet
        self.replica = Replica(here, self)
        """What this node is to the partition."""
        self.replica.assigned(assignment_of(topic.partitions[number]), now)

    @property
    def high_watermark(self) -> Offset:
        """First offset that is not committed, as far as is known: what consumers see ends here."""
        return max(self._mark, self.log.log_start)

    @property
    def last_stable_offset(self) -> Offset:
        """What READ_COMMITTED may show: the high watermark, as there are no transactions."""
        return self.high_watermark

    @property
    def id(self) -> PartitionId:
        """Which partition of which topic."""
        return self.log.id

    @property
    def tail_start(self) -> Offset:
        """From here on it is read from memory; history lies below."""
        return self.log.tail.start

    @property
    def leads(self) -> bool:
        """This node takes records for the partition."""
        return self.replica.leader is not None

    @property
    def only_here(self) -> bool:
        """No other node has a replica: what this one knows of it is all that there is."""
        return len(self.topic.partitions[self.number].replicas) < 2

    @property
    def enough_in_sync(self) -> bool:
        """Whether as many replicas are in sync as `min.insync.replicas` asks for (P2)."""
        leader = self.replica.leader
        return leader is not None and leader.enough_in_sync

    @property
    def alone(self) -> bool:
        """Nobody would confirm what is appended: this node is cut off (P2)."""
        leader = self.replica.leader
        return leader is not None and leader.alone

    @property
    def log_start(self) -> Offset:
        """First offset that is kept."""
        return self.log.log_start

    @property
    def next_deadline(self) -> MonotonicMs | None:
        """A time before which no ack expires; None while nobody waits for one."""
        deadlines = (self.written_acks.next_deadline(), self.committed_acks.next_deadline())
        return min((one for one in deadlines if one is not None), default=None)

    def not_serving(self) -> RequestError:
        """Return what a client is told while this node does not serve the partition."""
        name, number, epoch = self.topic.name, str(self.number), str(self.leader_epoch)
        where, leader = f"{name}/{number}", self.replica.assignment.leader
        if self.replica.leader is not None:
            return RequestError(
                ErrorCode.OFFSET_NOT_AVAILABLE,
                f"{where}: this node leads since a moment, and does not know yet that all below "
                "the start of its epoch is committed",
                topic=name,
                partition=number,
                leader_epoch=epoch,
            )
        if leader is None or self.replica.follower is None:
            return RequestError(
                ErrorCode.LEADER_NOT_AVAILABLE,
                f"{where} has no leader yet; ask again",
                topic=name,
                partition=number,
                leader_epoch=epoch,
            )
        return led_elsewhere(self.topic, self.number)

    def check_leads(self) -> None:
        """Refuse what only a leader may do.

        Raises:
            RequestError: NOT_LEADER (with leader and leader_epoch), LEADER_NOT_AVAILABLE.
        """
        if self.replica.leader is None:
            raise self.not_serving()

    def check_serves(self) -> None:
        """Refuse a reader whom this node cannot tell what is committed.

        Raises:
            RequestError: NOT_LEADER, LEADER_NOT_AVAILABLE, OFFSET_NOT_AVAILABLE.
        """
        if not self.serves:
            raise self.not_serving()

    def changed(self, topic: TopicImage, rule: CommitRule, now: MonotonicMs) -> list[Ack]:
        """Take over the topic's new settings and the partition's new leadership.

        Returns the acks that are due now. Those that a leadership's end leaves in the dark are told
        so at once.
        """
        self.topic = topic
        self.rule = rule
        self.log.configure(topic.settings.partition_settings())
        row = topic.partitions[self.number]
        self.leader_epoch = LeaderEpoch(row.leader_epoch)
        self.replica.assigned(assignment_of(row), now)
        if self.replica.leader is not None:
            self._has_followers = len(row.replicas) > 1
            self.replica.lead(self.replica.leader.step(now, RuleChanged(rule)))
            self._outlet.touched(self.log.id)
        return self._take_due()

    def appended(self, end: Offset, append_time: AppendTimeMs) -> None:
        """Note that a batch of this append time was accepted and the log ends at `end` now."""
        uncommitted = self._uncommitted
        if uncommitted and uncommitted[-1].append_time == append_time:
            uncommitted[-1] = _Uncommitted(end, append_time)
        else:
            uncommitted.append(_Uncommitted(end, append_time))
        if self._has_followers:
            self._outlet.touched(self.log.id)

    def persisted(self, now: MonotonicMs) -> list[Ack]:
        """Take over the log's positions, which a round or a checkpoint has moved; return due acks.

        Of a round whose sync takes long, first the written end, later the rest. Acks are in order.
        Readers that wait for more are woken.
        """
        log, replica = self.log, self.replica
        leader = replica.leader
        if leader is None:
            replica.persisted(now)
            self._tell_companion()
            return self._take_due()
        leader.step(now, Appended(log.log_end))
        due = self.written_acks.release(log.written_end)
        ends = Persisted(log.written_end, log.flushed_end, settled_end(log))
        effects = leader.step(now, ends)
        if effects:
            replica.lead(effects)
            due += self._take_due()
        self._tell_companion()
        return due

    def tick_ended(self, now: MonotonicMs) -> None:
        """Announce to followers what the tick has brought."""
        leader = self.replica.leader
        if leader is not None:
            leader.step(now, Appended(self.log.log_end))
            self.replica.tick_ended(now)
            self.answer()

    def answer(self) -> None:
        """Tell everybody whose records other nodes have made durable enough."""
        for ack in self._take_due():
            ack.tell(None)

    def closed_time(self, clock_closed: AppendTimeMs) -> AppendTimeMs:
        """Return the append time below which no record can appear any more beyond the mark.

        `clock_closed` is what the node's append clock has closed. A batch that is accepted but not
        committed holds it back, for it will appear with its own time; so does an in-sync replica
        that has not promised as much. While this node does not serve, it stands still.
        """
        leader = self.replica.leader
        if leader is None or not self.serves:
            return self._closed_told
        own = clock_closed
        if self._uncommitted:
            own = min(own, self._uncommitted[0].append_time)
        assert own >= self._own_closed, "CLOSED_TIME_NEVER_FALLS"
        self._own_closed = own
        closed = leader.closed_time(own, self._outlet.promised())
        # What was told in a leadership before this one holds, whatever the others promise now.
        self._closed_told = max(self._closed_told, closed)
        return self._closed_told

    def watch(self, offset: Offset, wake: Wake) -> None:
        """Call `wake` once the record at `offset` is committed, unless `unwatch` comes first.

        It is called too when this node does not lead any more: look again. On a follower it is
        called as soon as that knows.
        """
        self.committed_acks.park_read(offset, wake)

    def unwatch(self, wake: Wake) -> None:
        """Forget a `wake`, which may have been called already."""
        self.committed_acks.cancel_read(wake)

    def fail(self) -> list[Ack]:
        """The directory went offline: return everybody who waits, for the bad news."""
        return [*self.written_acks.fail_all()[0], *self.committed_acks.fail_all()[0]]

    def drop(self) -> list[Ack]:
        """The topic was deleted: wake the readers, return who waits for an ack."""
        self.gone = True
        acks, readers = self.committed_acks.fail_all()
        for wake in readers:
            wake()
        return [*self.written_acks.fail_all()[0], *acks]

    def expire(self, now: MonotonicMs) -> list[Ack]:
        """Return the acks whose deadline has passed."""
        return [*self.written_acks.expire(now), *self.committed_acks.expire(now)]

    def advanced(self, mark: Offset) -> None:
        """Wake the readers of what was committed; note the acks that are due."""
        self._mark = self.log.high_watermark = mark
        leader = self.replica.leader
        if leader is None:
            for wake in self.committed_acks.release_reads(mark):
                wake()
            return
        if not self.serves:
            self.serves = leader.high_watermark is not None
        self._due += self.committed_acks.release(mark)
        while self._uncommitted and self._uncommitted[0].end <= mark:
            self._uncommitted.popleft()
        for wake in self.committed_acks.release_reads(mark):
            wake()
        if self._has_followers:
            self._outlet.touched(self.log.id)

    def begins_later(self) -> None:
        """Announce that the log start was moved, by retention or because somebody asked for it."""
        self._outlet.touched(self.log.id)

    def began(self) -> None:
        """Lead: take records from here on."""
        self._has_followers = len(self.topic.partitions[self.number].replicas) > 1
        self._outlet.role_changed(self.log.id)

    def ended(self) -> None:
        """Lead no more: nobody knows what becomes of what is not committed."""
        self.answer()
        self.serves = self._has_followers = False
        self._uncommitted.clear()
        self._own_closed = AppendTimeMs(0)
        leader = self.replica.assignment.leader
        where = f"{self.topic.name}/{self.number}"
        lost = told(Parked.APPEND, where=where, leader=leader)
        acks, readers = self.committed_acks.fail_all()
        for ack in [*self.written_acks.fail_all()[0], *acks]:
            ack.tell(lost)
        for wake in readers:
            wake()
        self._outlet.role_changed(self.log.id)

    def truncated(self) -> None:
        """Know no more to be committed than the log holds."""
        self._mark = min(self._mark, self.log.log_end)
        self.exists()

    @property
    def held(self) -> bool:
        """This replica is not to open its leader's log before `replica.go_on`."""
        return self.companion is not None and self.companion.held

    def exists(self) -> None:
        """The log is another one, or another part of it, than it was."""
        if self.companion is not None:
            self.companion.cut()

    def trim(self, log_start: Offset) -> None:
        """The leader's log begins there: let this one begin there, or where its companion says."""
        if self.companion is None:
            self.log.trim(log_start)
        else:
            self.companion.leader_begins(log_start)

    def _tell_companion(self) -> None:
        if self.companion is not None:
            self.companion.flushed()

    def begin_anew(self, offset: Offset) -> None:
        """Go on with an empty log that begins there."""
        self.log = self._outlet.begin_anew(self.log.id, offset)

    def _take_due(self) -> list[Ack]:
        due, self._due = self._due, []
        return due


def led_elsewhere(topic: TopicImage, number: int) -> RequestError:
    """Return what a client is told that asks for a partition here which another node leads."""
    row = topic.partitions[number]
    where = f"{topic.name}/{number}"
    if row.leader is None:
        return RequestError(
            ErrorCode.LEADER_NOT_AVAILABLE,
            f"{where} has no leader now; ask again",
            topic=topic.name,
            partition=str(number),
            leader_epoch=str(row.leader_epoch),
        )
    return RequestError(
        ErrorCode.NOT_LEADER,
        f"{where} is led by node {row.leader} in epoch {row.leader_epoch}; ask that one",
        topic=topic.name,
        partition=str(number),
        leader=str(row.leader),
        leader_epoch=str(row.leader_epoch),
    )
