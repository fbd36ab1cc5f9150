"""One damaged segment: closed, looked at once more, fetched from other replicas, replaced.

The decisions are `cluster.replication.quarantine`'s; here they are carried out. Only a closed
segment below the high watermark can be replaced, for only that is the same everywhere: the active
one is closed first. Nothing is replaced that a second look finds whole.

If this node leads, the first replica in sync that has sent what is damaged here is to lead instead:
its readers are served by who has everything.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cluster.peer.repair import PART_BYTES_MAX, AskBatches
from cluster.peer.replica_frames import SentBatch
from cluster.replication.quarantine import (
    AGAIN_MS,
    Damaged,
    Fetched,
    FetchFailed,
    FetchRange,
    NobodyHasIt,
    Quarantine,
    Replace,
    Replaced,
)
from cluster.shell.controller_doors import pause
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.repair_port import RepairDoors
from cluster.shell.replica_read import FileRead, read_batches
from logstore.replacement import Replacement, refresh
from logstore.scrub import SegmentScrub, may_scrub
from logstore.segment import Segment
from model.errors import ErrorCode, MalformedError, RequestError, StorageFailed
from model.ids import NodeId

CLOSE_MS: Final = 200
"""Between two looks whether a segment is closed, written and committed to its end."""

UNHEARD_MS: Final = 2_000
"""Until replicas are asked again of which one was not heard."""


class SegmentRepair:
    """See the module; one task runs it. Loop only."""

    def __init__(
        self, doors: RepairDoors, hosted: HostedPartition, segment: Segment, *, turn: asyncio.Lock
    ) -> None:
        """`turn`: of this node; it repairs one segment at a time."""
        self._doors = doors
        self._hosted = hosted
        self._log = hosted.log
        self._segment = segment
        self._generation = segment.generation
        self._turn = turn
        self._handed_over = False
        self._unheard = False
        """A replica was not reached, or is not there yet: it may have what the others lack."""
        self._told = False

    async def run(self) -> bool:
        """Return once the segment is whole; false if it is not there any more.

        Raises:
            RequestError: the directory is offline, or the node ends.
        """
        while self._is_there():
            wait_ms = CLOSE_MS
            if self._is_closed():
                async with self._turn:
                    if await self._mend():
                        return True
                wait_ms = UNHEARD_MS if self._unheard else AGAIN_MS
            await pause(self._doors.clock, wait_ms)
        return False

    def _is_there(self) -> bool:
        """The segment is what it was: not cut, not removed, and this node hosts it still."""
        hosted, segment = self._hosted, self._segment
        return (
            not hosted.gone
            and not self._log.deleted
            and hosted.log is self._log
            and segment.generation == self._generation
            and segment in self._log.segment_list
        )

    def _is_closed(self) -> bool:
        """Tell whether the segment can be replaced; if not, do what makes it so."""
        log, segment = self._log, self._segment
        if log.cut is not None:
            return False
        if not segment.sealed:
            log.roll()
        if not may_scrub(segment):
            log.sync()
            self._doors.writer.ask()
            return False
        return segment.end_offset <= self._hosted.high_watermark

    def _may_change(self) -> bool:
        """Tell whether files may be replaced now; on the loop, right before it is done."""
        return self._is_there() and self._log.cut is None and may_scrub(self._segment)

    async def _mend(self) -> bool:
        """Try once; tell whether the segment is whole."""
        if not self._is_there():
            return False
        if await self._is_sound():
            if self._is_there() and may_scrub(self._segment):
                refresh(self._segment)
            return self._is_there()
        try:
            self._doors.accepts(self._segment.size_bytes)
        except RequestError as full:  # readers are refused what is damaged until there is room
            self._say("repair_refused", node=self._doors.node, offset=0, why=str(full))
            self._doors.writer.look_at_space()
            return False
        replacement = Replacement(self._doors.disk, self._segment, self._log.leader_epochs)
        if await self._fetch(replacement):
            return True
        if replacement.at > self._segment.base_offset:
            with suppress(RequestError):  # the next start removes it
                await self._doors.writer.alone(replacement.discard, still=lambda: True)
        return False

    async def _is_sound(self) -> bool:
        """Look at all of the segment on the disk: whoever met damage may have met another file."""
        interval = self._log.index_interval_bytes
        scrub = SegmentScrub(self._doors.disk, self._segment, interval_bytes=interval)
        while True:
            found = await self._doors.read_pool.run(scrub.step)
            if found.findings:
                return False
            if found.ended or not self._is_there():
                return found.ended

    def _replicas(self) -> Sequence[NodeId]:
        """Return who can be asked, best first: the leader, who is in sync, the others.

        This node itself last: what is whole here may be damaged everywhere else.
        """
        said, me = self._hosted.replica.assignment, self._doors.node
        return sorted(
            said.replicas,
            key=lambda node: (node == me, node != said.leader, node not in said.isr, node),
        )

    async def _fetch(self, replacement: Replacement) -> bool:
        """Ask one replica after the other; put what they sent in the segment's place."""
        clock, replicas = self._doors.clock, self._replicas()
        self._unheard = False
        quarantine = Quarantine()
        event = Damaged(self._segment.base_offset, self._segment.end_offset)
        (effect,) = quarantine.step(clock.monotonic_ms(), event, replicas)
        while self._is_there():
            match effect:
                case FetchRange():
                    came = await self._ask(replacement, effect)
                    (effect,) = quarantine.step(clock.monotonic_ms(), came, replicas)
                case Replace(base):
                    if not await self._replace(replacement):
                        return False
                    quarantine.step(clock.monotonic_ms(), Replaced(base), replicas)
                    return True
                case NobodyHasIt():
                    self._nobody(effect)
                    return False
        return False

    async def _ask(self, replacement: Replacement, wanted: FetchRange) -> Fetched | FetchFailed:
        replica, start, end = wanted
        ask = AskBatches(self._log.id, start, end, PART_BYTES_MAX)
        try:
            write = replacement.add(await self._batches(replica, ask))
        except (RequestError, MalformedError) as refused:
            self._say("repair_refused", node=replica, offset=start, why=str(refused))
            damaged = isinstance(refused, RequestError) and refused.code is ErrorCode.CORRUPT_LOG
            self._unheard = self._unheard or not damaged
            return FetchFailed(replica)
        await self._doors.writer.alone(write, still=self._is_there)
        self._hand_over(replica)
        return Fetched(start, replacement.at)

    async def _batches(self, replica: NodeId, ask: AskBatches) -> Sequence[SentBatch]:
        """Return batches of another replica, or those of this one that are whole.

        Raises:
            RequestError: it has not what is asked for, or was not reached.
            MalformedError: its answer is none.
        """
        if replica != self._doors.node:
            return (await self._doors.links.ask_batches(replica, ask)).batches
        found = read_batches(self._log, ask.start, ask.bytes_max, end=ask.end)
        if isinstance(found, FileRead):
            try:
                found = found.sent(await self._doors.read_pool.run(found.job))
            except StorageFailed as failed:
                self._doors.writer.fail(failed)
                raise RequestError(ErrorCode.STORAGE_ERROR, str(failed)) from failed
        return found.batches

    def _hand_over(self, replica: NodeId) -> None:
        """Let a replica lead that has what is damaged here, if this one does."""
        hosted = self._hosted
        others = hosted.replica.assignment.isr - {self._doors.node}
        if hosted.leads and not self._handed_over and replica in others:
            self._handed_over = True
            doing = self._doors.hand_over(hosted, replica)
            self._doors.spawn.start(doing, f"leadership to node {replica}")

    async def _replace(self, replacement: Replacement) -> bool:
        """Put the new files in place; tell whether they are there."""
        writer = self._doors.writer
        if not replacement.fits:
            replacement.resize()
            self._log.sync()
            await writer.checkpointed()
        if not replacement.fits or not await writer.alone(
            replacement.swap, still=lambda: self._may_change() and replacement.fits
        ):
            return False
        replacement.settle()
        return True

    def _nobody(self, effect: NobodyHasIt) -> None:
        """Tell readers CORRUPT_LOG, as a last word, if everybody was heard and is damaged there."""
        self._hosted.mending = self._unheard
        if not self._told and not self._unheard:
            self._told = True
            self._say("repair_impossible", offset=effect.at)

    def _say(self, event: str, **fields: str | int) -> None:
        hosted = self._hosted
        name = self._segment.log_name
        self._doors.note(
            event, topic=hosted.topic.name, partition=hosted.number, file=name, **fields
        )
