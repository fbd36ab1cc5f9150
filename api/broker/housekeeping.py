"""What a node does when nobody asks: retention, expiry of producers, learning event times.

Retention and expiry run once a minute over all partitions, in one pass that costs microseconds for
each. Event-time bounds of new blocks are learned when the node has a quiet moment, so that the
first query over them need not; a query that comes earlier learns them itself. That decodes every
record, about a microsecond each, so it stops as soon as anybody writes or reads.
"""

from collections.abc import Callable
from typing import Final

from api.broker.context import BrokerContext
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.retention import plan
from logstore.searchable import Search, SegmentGone
from logstore.time_search import sweep_events
from model.errors import RequestError
from model.ids import MonotonicMs

QUIET_MS: Final = 500
"""Nothing was appended or read for so long: a quiet moment."""


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
        self._unswept: dict[HostedPartition, None] = {}
        self._appends = 0
        self._seen = (0, 0)
        self._timer_runs = False
        self._stopped = False

    def start(self) -> None:
        """Begin."""
        self._later()

    def stop(self) -> None:
        """Do nothing more; a sweep under way ends at its next step."""
        self._stopped = True

    def appended(self, partition: HostedPartition) -> None:
        """Note that a partition has new blocks, whose event times nobody knows yet."""
        self._appends += 1
        self._unswept[partition] = None
        if not self._timer_runs:
            self._look_later()

    def tend(self) -> None:
        """Move log starts as retention says, and forget producers that are long gone."""
        now = self._node.append_time()
        moved = False
        for partition in self._node.partitions:
            log = partition.log
            log.producers.expire(now)
            if log.settings.retention_ms < 0 and log.settings.retention_bytes < 0:
                continue
            start = plan(
                log.segments(),
                log.settings,
                log_start=log.log_start,
                now=now,
                high_watermark=partition.high_watermark,
                in_doubt=self._node.append_clock.in_doubt,
            )
            if start > log.log_start:
                log.trim(start)
                moved = True
        if moved:
            self._node.writer.ask()

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
            sweep = self._while_quiet(sweep_events(partition.log))
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

    def _while_quiet(self, sweep: Search[int]) -> Search[None]:
        """Go through the steps of a sweep until it ends or the node has better things to do.

        What was learned until then stays known.
        """
        try:
            step = next(sweep)
            while self._is_quiet():
                try:
                    reply = yield step
                except SegmentGone as gone:
                    step = sweep.throw(gone)
                else:
                    step = sweep.send(reply)
        except StopIteration:
            return
