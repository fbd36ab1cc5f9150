"""Reads every closed segment again, one after the other, slowly, for as long as the node runs.

A pass goes over all segments that are closed when it begins; the next one begins an interval after
it did. When a segment was read last is written down nowhere: a node begins its first pass an hour
after its start, at a partition drawn by lot, so that one which restarts often reaches them all.
"""

from collections import deque
from typing import Final

from api.broker.context import BrokerContext
from cluster.shell.hosted_partition import HostedPartition
from logstore.scrub import SegmentScrub, may_scrub, pause_ms
from logstore.segment import Segment
from logstore.settings import LogSettings
from model.ids import MonotonicMs
from model.ports import Disk, Rand

FIRST_MS: Final = 3_600_000
"""After the start; clients that come back, and the demo, have the disk for themselves."""


class Scrubber:
    """The scrub of one node; one chunk at a time, in the read pool. Loop only."""

    def __init__(
        self, context: BrokerContext, settings: LogSettings, *, disk: Disk, rand: Rand
    ) -> None:
        """Read what the context's partitions have on `disk`."""
        self._node = context
        self._settings = settings
        self._disk = disk
        self._rand = rand
        self._left: deque[tuple[HostedPartition, Segment]] = deque()
        self._scrub: SegmentScrub | None = None
        self._whose: HostedPartition | None = None
        self._in_pass = False
        self._began = MonotonicMs(0)
        self._all_bytes = 0
        self._seen_appends = self._seen_served = 0
        self._stopped = False
        self.read_bytes = 0
        """Since the start; only grows."""
        self.segments = 0
        """Read to their end since the start."""
        self.passes = 0
        """Ended since the start."""

    def start(self) -> None:
        """Begin the first pass later."""
        if self._settings.scrub_bytes_per_second:
            self._at(min(FIRST_MS, self._settings.scrub_interval_ms))

    def stop(self) -> None:
        """Read nothing more; a chunk that is being read ends in its thread."""
        self._stopped = True

    def _at(self, ms: int) -> None:
        when = MonotonicMs(self._node.clock.monotonic_ms() + ms)
        self._node.clock.call_at(when, self._go_on)

    def _go_on(self) -> None:
        if self._stopped:
            return
        if not self._in_pass:
            self._begin_pass()
        if self._scrub is None:
            self._scrub = self._next()
        if self._scrub is None:
            self._end_pass()
        else:
            self._node.spawn.start(self._read(self._scrub), "scrub")

    def _begin_pass(self) -> None:
        """Line up what is closed now, from a partition on that is drawn by lot."""
        self._in_pass = True
        self._began = self._node.clock.monotonic_ms()
        partitions = list(self._node.partitions)
        first = self._rand.randrange(len(partitions)) if partitions else 0
        self._left.extend(
            (partition, segment)
            for partition in partitions[first:] + partitions[:first]
            for segment in partition.log.segment_list
            if may_scrub(segment)
        )
        self._all_bytes = sum(segment.size_bytes for _, segment in self._left)

    def _next(self) -> SegmentScrub | None:
        """Return the next segment that is still there; None: the pass is over."""
        while self._left:
            partition, segment = self._left.popleft()
            there = not partition.log.deleted and segment in partition.log.segment_list
            if there and may_scrub(segment):
                self._whose = partition
                log = partition.log
                return SegmentScrub(
                    self._disk,
                    segment,
                    interval_bytes=log.index_interval_bytes,
                    epochs=log.leader_epochs,
                )
        return None

    async def _read(self, scrub: SegmentScrub) -> None:
        found = await self._node.in_thread(scrub.step)
        self.read_bytes += found.read_bytes
        scrub.settle(found)
        if found.findings and self._whose is not None:
            self._node.damage.collect(self._whose)
        if found.ended:
            self.segments += 1
            self._scrub = None
        self._at(
            pause_ms(
                found.read_bytes, self._settings, all_bytes=self._all_bytes, busy=self._is_busy()
            )
        )

    def _is_busy(self) -> bool:
        """Tell whether anybody has written or read since the last look."""
        node = self._node
        before = (self._seen_appends, self._seen_served)
        self._seen_appends, self._seen_served = node.accepted_bytes, node.served_bytes
        return before != (self._seen_appends, self._seen_served)

    def _end_pass(self) -> None:
        self._in_pass = False
        self.passes += 1
        self._node.note(
            "scrub_ended",
            bytes=self._all_bytes,
            segments=self.segments,
            damaged_places=len(self._node.damage.places),
        )
        passed = self._node.clock.monotonic_ms() - self._began
        self._at(max(1, self._settings.scrub_interval_ms - passed))
