"""What a node does when nobody asks: retention, expiry of producers, learning event times.

Retention and expiry run once a minute over all partitions, in one pass that costs microseconds for
each; it also begins new segments where age asks for one and no append does, and collects what was
found to be damaged. Event-time bounds of new blocks are learned when the node has a quiet moment,
so that the first query over them need not; a query that comes earlier learns them itself. That
decodes every record, about a microsecond each, so it stops as soon as anybody writes or reads.

What nobody had a quiet moment for is learned when retention wants to remove it: segments that are
due stay until they were read, a few at a time, but never for long (`PERIODS_MAX`), not while the
disk is at its reserve, and for one period only where more is due than one segment and a tenth of
`retention.bytes`. Then they go unread, and answers by event time say `truncated` from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from api.broker.context import BrokerContext
from api.broker.last_look import LastLook, as_long_as, unread
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.flush import settle_producers
from logstore.partition_log import PartitionLog
from logstore.retention import plan, roll_due
from logstore.settled import settled_end
from logstore.time_search import sweep_events
from model.errors import RequestError
from model.ids import AppendTimeMs, MonotonicMs, Offset
from model.limits import PRODUCER_IDS_PER_NODE_MAX

QUIET_MS: Final = 5_000
"""Nothing was appended or read for so long: a quiet moment. Shorter ones lie between two bursts."""
PERIODS_MAX: Final = 2
"""Of housekeeping, that a segment which is due stays at most until it was read."""


@dataclass(slots=True, eq=False)
class _Due:
    """What stays until somebody has read it."""

    start: Offset
    """Where the log would begin without it."""
    periods: int = 0
    """So many it has stayed."""


def leveled(counts: Sequence[int], most: int) -> int:
    """Return the highest level that no count may exceed for their sum to be at most `most`."""
    left = most
    for place, count in enumerate(sorted(counts)):
        level = left // (len(counts) - place)
        if count > level:
            return level
        left -= count
    return max(counts, default=0)


class Housekeeping:
    """The node's own background work. Loop only."""

    def __init__(
        self,
        context: BrokerContext,
        searches: Searches,
        *,
        period_ms: int,
        groups: Callable[[], None],
    ) -> None:
        """Look after the partitions of this node every `period_ms`; `groups` after its groups."""
        self._groups = groups
        self._node = context
        self._searches = searches
        self._period_ms = period_ms
        self._last_look = LastLook(context, searches)
        self._due: dict[HostedPartition, _Due] = {}
        self._looks = False
        self._unswept: dict[HostedPartition, None] = {}
        self._appends = 0
        self._seen = (0, 0)
        self._timer_runs = False
        self._was_in_doubt = False
        self._stopped = False

    def start(self) -> None:
        """Begin."""
        self._later()

    def stop(self) -> None:
        """Do nothing more; what is being read for its event times ends at its next step."""
        self._stopped = True

    @property
    def is_looking(self) -> bool:
        """Whether something that retention wants to remove is being read."""
        return self._looks

    def appended(self, partition: HostedPartition) -> None:
        """Note that a partition has new blocks, whose event times nobody knows yet."""
        self._appends += 1
        self._unswept[partition] = None
        if not self._timer_runs:
            self._look_later()

    def tend(self) -> None:
        """Roll what has aged, move log starts as retention says, forget producers long gone."""
        now = self._node.append_time()
        in_doubt = self._node.append_clock.in_doubt
        for partition in [one for one in self._due if one.log.deleted]:
            del self._due[partition]
        if in_doubt and not self._was_in_doubt:
            ahead = now - self._node.clock.wall_ms()
            self._node.note("clock_in_doubt", append_time_ahead_ms=ahead)
        self._was_in_doubt = in_doubt
        changed = False
        for partition in self._node.partitions:
            log = partition.log
            log.producers.expire(now)
            settle_producers(log)
            self._node.damage.collect(partition)
            if roll_due(log.segment_list[-1], log.settings, now=now, in_doubt=in_doubt):
                log.roll()
                changed = True
            start = self._planned(partition, now, in_doubt=in_doubt)
            changed = (
                not self._stays(partition, start) and self._move(partition, start)
            ) or changed
        self._node.damage.forget_removed()
        self._crowd_out()
        if changed:
            self._node.writer.ask()

    def _crowd_out(self) -> None:
        """Forget producers beyond the node's limit: partitions with most lose the idle longest."""
        known = [one.log.producers for one in self._node.partitions]
        level = leveled([len(one) for one in known], PRODUCER_IDS_PER_NODE_MAX.value)
        forgotten = 0
        for one in known:
            beyond = max(0, len(one) - level)
            one.forget_oldest(beyond)
            forgotten += beyond
        if forgotten:
            self._node.note("producers_forgotten", producers=forgotten, most_per_partition=level)

    def _planned(self, partition: HostedPartition, now: AppendTimeMs, *, in_doubt: bool) -> Offset:
        """Return the log start that retention wants."""
        log = partition.log
        if not partition.leads:
            return log.log_start  # a follower's log begins where its leader's does
        if log.settings.retention_ms < 0 and log.settings.retention_bytes < 0:
            return log.log_start
        return plan(
            log.segments(),
            log.settings,
            log_start=log.log_start,
            now=now,
            high_watermark=min(partition.high_watermark, settled_end(log)),
            in_doubt=in_doubt,
        )

    def _stays(self, partition: HostedPartition, start: Offset) -> bool:
        """Tell whether what is due stays for now, to be read first; begin with that."""
        log = partition.log
        due = self._due.pop(partition, None)
        known = next(unread(log, start), None) is None
        if start <= log.log_start or known or not self._last_look.affordable:
            return False
        if due is None:
            due = _Due(start)
        else:
            due.periods += 1
            if due.periods >= PERIODS_MAX or _is_much(log, start):
                return False
        self._due[partition] = due
        if not self._looks:
            self._looks = True
            self._node.spawn.start(self._look_and_move(), "last look at event times")
        return True

    async def _look_and_move(self) -> None:
        """Read what is due, one partition after the other, and move their log starts."""
        while self._due and not self._stopped:
            partition, due = next(iter(self._due.items()))
            waits = partial(self._waits, partition, due)
            await self._last_look.take(partition.log, due.start, waits)
            if not waits():
                continue  # retention has done without, or the node stops
            del self._due[partition]
            in_doubt = self._node.append_clock.in_doubt
            start = self._planned(partition, self._node.append_time(), in_doubt=in_doubt)
            if (
                partition.leads
                and not partition.log.deleted
                and self._move(partition, min(start, due.start))
            ):
                self._node.writer.ask()
        self._looks = False

    def _waits(self, partition: HostedPartition, due: _Due) -> bool:
        return not self._stopped and self._due.get(partition) is due

    def _move(self, partition: HostedPartition, start: Offset) -> bool:
        """Move the log start; tell whether it moved."""
        log = partition.log
        before = log.log_start
        if start <= before:
            return False
        unknown_before = log.removed.unread_segments
        log.trim(start)
        partition.begins_later()
        self._node.note(
            "retention_deleted",
            topic=partition.topic.name,
            partition=partition.number,
            log_start_before=before,
            log_start=start,
            unread_segments=log.removed.unread_segments - unknown_before,
        )
        return True

    def _later(self) -> None:
        when = MonotonicMs(self._node.clock.monotonic_ms() + self._period_ms)
        self._node.clock.call_at(when, self._tend_and_go_on)

    def _tend_and_go_on(self) -> None:
        if not self._stopped:
            self.tend()
            self._groups()
            self._later()

    def _look_later(self) -> None:
        self._timer_runs = True
        self._seen = self._activity()
        when = MonotonicMs(self._node.clock.monotonic_ms() + QUIET_MS)
        self._node.clock.call_at(when, self._when_quiet)

    def _activity(self) -> tuple[int, int]:
        """Return what changes whenever somebody writes or reads."""
        return self._appends, self._node.served_bytes

    def _is_quiet(self) -> bool:
        return not self._stopped and self._activity() == self._seen

    def _when_quiet(self) -> None:
        """Sweep if nothing has happened for a while; else look again later."""
        if self._is_quiet():
            self._node.spawn.start(self._sweep(), "sweep event times")
        elif not self._stopped:
            self._look_later()

    async def _sweep(self) -> None:
        while self._unswept and self._is_quiet():
            partition = next(iter(self._unswept))
            sweep = as_long_as(sweep_events(partition.log), self._is_quiet)
            try:
                await self._searches.run(partition.log, sweep)
            except RequestError:
                # Damage: whoever reads these blocks is told; a sweep only wants to be early.
                self._unswept.pop(partition, None)
                continue
            if self._is_quiet():
                self._unswept.pop(partition, None)
        self._timer_runs = False
        if self._unswept and not self._stopped:
            self._look_later()


def _is_much(log: PartitionLog, start: Offset) -> bool:
    """Tell whether more is due than one segment and a tenth of what a limit by size leaves."""
    limit = log.settings.retention_bytes
    due_bytes = sum(one.size_bytes for one in log.segment_list if one.end_offset <= start)
    return limit >= 0 and due_bytes > max(log.settings.segment_bytes, limit // 10)
