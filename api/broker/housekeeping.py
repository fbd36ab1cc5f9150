"""What a node does when nobody asks: retention, expiry of producers, learning event times.

Retention and expiry run once a minute over all partitions, in one pass that costs microseconds for
each. Event-time bounds of new blocks are learned when the node has a quiet moment, so that the
first query over them need not; a query that comes earlier learns them itself.
"""

from typing import Final

from api.broker.context import BrokerContext
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.retention import plan
from logstore.time_search import sweep_events
from model.errors import RequestError
from model.ids import MonotonicMs

QUIET_MS: Final = 500
"""Nothing was appended for so long: a quiet moment."""


class Housekeeping:
    """The node's own background work. Loop only."""

    def __init__(self, context: BrokerContext, searches: Searches, *, period_ms: int) -> None:
        """Look after the partitions of this node every `period_ms`."""
        self._node = context
        self._searches = searches
        self._period_ms = period_ms
        self._unswept: dict[HostedPartition, None] = {}
        self._last_append = MonotonicMs(0)
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
        self._last_append = self._node.clock.monotonic_ms()
        self._unswept[partition] = None
        if not self._timer_runs:
            self._timer_runs = True
            self._node.clock.call_at(MonotonicMs(self._last_append + QUIET_MS), self._when_quiet)

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
            self._later()

    def _when_quiet(self) -> None:
        """Sweep once nothing has arrived for a while; look again later if something has."""
        if self._stopped:
            return
        quiet_from = MonotonicMs(self._last_append + QUIET_MS)
        if self._node.clock.monotonic_ms() < quiet_from:
            self._node.clock.call_at(quiet_from, self._when_quiet)
        else:
            self._node.spawn.start(self._sweep(), "sweep event times")

    async def _sweep(self) -> None:
        since = self._last_append
        while self._unswept and since == self._last_append and not self._stopped:
            partition = next(iter(self._unswept))
            del self._unswept[partition]
            try:
                await self._searches.run(partition.log, sweep_events(partition.log))
            except RequestError:
                # Damage: whoever reads these blocks is told; a sweep only wants to be early.
                continue
        self._timer_runs = False
        if self._unswept and not self._stopped:
            self._timer_runs = True
            self._node.clock.call_at(MonotonicMs(self._last_append + QUIET_MS), self._when_quiet)
