"""One partition on this node: its log, its leadership, and who waits for it.

A passive object: it has no task and no timer. The loop appends to it, tells it when the disk has
followed, and takes from it whom to answer.

Invariants:
    CLOSED_TIME_NEVER_FALLS    what was told to be closed stays closed.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from cluster.controller.image import TopicImage
from cluster.peer.replica import NO_EPOCH
from cluster.replication.events import Appended, Assignment, Committed, Persisted, RuleChanged
from cluster.replication.high_watermark import CommitRule, Ends
from cluster.replication.leader import Effect, PartitionLeader
from cluster.replication.log_state import LogState
from cluster.replication.waiting import Waiting
from logstore.partition_log import PartitionLog
from model.errors import RequestError
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, NodeId, Offset


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
    """A partition that this node leads. Loop only."""

    __slots__ = (
        "_closed_told",
        "_leader",
        "_uncommitted",
        "committed_acks",
        "gone",
        "leader_epoch",
        "log",
        "number",
        "rule",
        "topic",
        "written_acks",
    )

    def __init__(
        self,
        topic: TopicImage,
        number: int,
        *,
        log: PartitionLog,
        node: NodeId,
        rule: CommitRule,
        now: MonotonicMs,
    ) -> None:
        """Lead the partition from what recovery found; all of that is committed on a lone node."""
        self.topic = topic
        self.number = number
        self.rule = rule
        """When its records count as committed."""
        self.log = log
        image = topic.partitions[number]
        self.leader_epoch = LeaderEpoch(image.leader_epoch)
        ends = Ends(log.log_end, log.written_end, log.flushed_end)
        self._leader = PartitionLeader(
            node,
            assignment=Assignment(
                node,
                self.leader_epoch,
                NO_EPOCH,
                image.replicas,
                frozenset(image.isr),
                image.partition_epoch,
            ),
            log=LogState(ends, log.leader_epochs, log.log_start, log.high_watermark),
            rule=rule,
            now=now,
        )
        self._leader.step(now, Persisted(log.written_end, log.flushed_end))
        self.committed_acks = Waiting[Ack, Wake]()
        self.written_acks = Waiting[Ack, Wake]()
        self.gone = False
        """The partition is not served by this object any more; look again."""
        self._uncommitted: deque[_Uncommitted] = deque()
        self._closed_told = AppendTimeMs(0)

    @property
    def high_watermark(self) -> Offset:
        """First offset that is not committed: what consumers see ends here."""
        mark = self._leader.high_watermark
        return self.log.log_start if mark is None else max(mark, self.log.log_start)

    @property
    def last_stable_offset(self) -> Offset:
        """What READ_COMMITTED may show: the high watermark, as there are no transactions."""
        return self.high_watermark

    @property
    def enough_in_sync(self) -> bool:
        """Whether as many replicas are in sync as `min.insync.replicas` asks for (P2)."""
        return self._leader.enough_in_sync

    @property
    def log_start(self) -> Offset:
        """First offset that is kept."""
        return self.log.log_start

    @property
    def next_deadline(self) -> MonotonicMs | None:
        """A time before which no ack expires; None while nobody waits for one."""
        deadlines = (self.written_acks.next_deadline(), self.committed_acks.next_deadline())
        return min((one for one in deadlines if one is not None), default=None)

    def changed(self, topic: TopicImage, rule: CommitRule, now: MonotonicMs) -> list[Ack]:
        """Take over the topic's new settings; return the acks that another rule sets free."""
        self.topic = topic
        self.rule = rule
        self.log.configure(topic.settings.partition_settings())
        return self._settle(self._leader.step(now, RuleChanged(rule)))

    def appended(self, end: Offset, append_time: AppendTimeMs) -> None:
        """Note that a batch of this append time was accepted and the log ends at `end` now."""
        uncommitted = self._uncommitted
        if uncommitted and uncommitted[-1].append_time == append_time:
            uncommitted[-1] = _Uncommitted(end, append_time)
        else:
            uncommitted.append(_Uncommitted(end, append_time))

    def persisted(self, now: MonotonicMs) -> list[Ack]:
        """Take over the positions of a finished round; return the acks that are due, in order.

        Readers that wait for more are woken.
        """
        log = self.log
        self._leader.step(now, Appended(log.log_end))
        due = self.written_acks.release(log.written_end)
        effects = self._leader.step(now, Persisted(log.written_end, log.flushed_end))
        return due + self._settle(effects)

    def closed_time(self, clock_closed: AppendTimeMs) -> AppendTimeMs:
        """Return the append time below which no record can appear any more beyond the mark.

        `clock_closed` is what the node's append clock has closed. A batch that is accepted but not
        committed holds it back, for it will appear with its own time.
        """
        closed = clock_closed
        if self._uncommitted:
            closed = min(closed, self._uncommitted[0].append_time)
        assert closed >= self._closed_told, "CLOSED_TIME_NEVER_FALLS"
        self._closed_told = closed
        return closed

    def watch(self, offset: Offset, wake: Wake) -> None:
        """Call `wake` once the record at `offset` is committed, unless `unwatch` comes first."""
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

    def _settle(self, effects: list[Effect]) -> list[Ack]:
        """Wake the readers of what was committed; return the acks that are due."""
        due: list[Ack] = []
        for effect in effects:
            if isinstance(effect, Committed):
                mark = effect.high_watermark
                due += self.committed_acks.release(mark)
                while self._uncommitted and self._uncommitted[0].end <= mark:
                    self._uncommitted.popleft()
                for wake in self.committed_acks.release_reads(mark):
                    wake()
        return due
