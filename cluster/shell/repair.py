"""One damaged segment: closed, looked at once more, fetched from other replicas, replaced.

The decisions are `cluster.replication.quarantine`'s; here they are carried out. Only a closed
segment below the high watermark can be replaced, for only that is the same everywhere: the active
one is closed first. Nothing is replaced that a second look finds whole. What has come is kept
beside the segment, its room claimed once, until the rest comes or the segment goes.

If this node leads, the first replica in sync that has sent what is damaged here is to lead instead:
its readers are served by who has everything.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from cluster.peer.repair import PART_BYTES_MAX, AskBatches
from cluster.peer.replica_frames import SentBatch
from cluster.replication.quarantine import (
    Fetched,
    FetchFailed,
    FetchRange,
    Looked,
    NobodyHasIt,
    Quarantine,
    Replace,
    Replaced,
)
from cluster.shell.controller_doors import pause
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.repair_port import RepairDoors
from cluster.shell.replica_read import FileRead, read_batches
from logstore.free_space import Claim
from logstore.replacement import Replacement, refresh
from logstore.scrub import SegmentScrub, may_scrub
from logstore.segment import Segment
from model.errors import ErrorCode, MalformedError, RequestError, StorageFailed
from model.ids import NodeId, Offset

CLOSE_MS: Final = 200
"""Between two looks whether a segment is closed, written and committed to its end."""

NO_ROOM_MS: Final = 10_000
"""Until a disk that had no room for a repair is asked again."""

UNHEARD: Final = frozenset(
    {
        ErrorCode.NODE_UNREACHABLE,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.STORAGE_ERROR,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.UPSTREAM_LOST,
    }
)
"""What a replica says, or is said of it, that may have what is asked for and cannot send it now.

It is one by the metadata; if it knows of none, it has just been started, and has not read them."""


class _Fetching(NamedTuple):
    """What has come of the segment, who is asked for the rest, and the room for it."""

    replacement: Replacement
    quarantine: Quarantine
    room: Claim


class SegmentRepair:
    """See the module; one task runs it. Loop only."""

    def __init__(
        self,
        doors: RepairDoors,
        hosted: HostedPartition,
        segment: Segment,
        *,
        turn: asyncio.Lock,
        judged: Callable[[], None],
    ) -> None:
        """`turn`: of this node; it repairs one segment at a time.

        `judged` is called when `given_up` may be another.
        """
        self._doors = doors
        self._hosted = hosted
        self._log = hosted.log
        self._segment = segment
        self._generation = segment.generation
        self._turn = turn
        self._judged = judged
        self.given_up = False
        """Everybody was heard, and nobody has what is missing: readers are told a last word."""
        self._fetching: _Fetching | None = None
        self._rot: int | None = None
        """Where in the `.log` what the second look has found begins; None before it."""
        self._guessed: tuple[Offset, Offset] | None = None
        """What that look has found of the rows: `SegmentScrub.guessed`."""
        self._handed_over = False
        self._unheard = False
        """A replica was not reached, or is not there yet: it may have what the others lack."""
        self._told = False
        self._refused: set[tuple[NodeId, Offset]] = set()
        """Who has refused what begins there, and it was said."""

    async def run(self) -> bool:
        """Return once the segment is whole; false if it is not there any more.

        Raises:
            RequestError: the directory is offline, or the node ends.
        """
        clock = self._doors.clock
        while self._is_there():
            wait_ms = CLOSE_MS
            if self._is_closed():
                async with self._turn:
                    if await self._mend():
                        return True
                fetching = self._fetching
                due = NO_ROOM_MS
                if fetching is not None:
                    due = fetching.quarantine.again_at - clock.monotonic_ms()
                wait_ms = max(CLOSE_MS, due)
            await pause(clock, wait_ms)
        await self._discard()
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
        """Begin, or go on where the last try has ended; tell whether the segment is whole."""
        if not self._is_there():
            return False
        if self._rot is None and await self._is_sound():
            if self._is_there() and may_scrub(self._segment):
                refresh(self._segment)
            return self._is_there()
        if self._fetching is None:
            self._fetching = self._begin()
        return self._fetching is not None and await self._fetch(self._fetching)

    def _begin(self) -> _Fetching | None:
        """Claim the room; None if there is none."""
        segment, epochs = self._segment, self._log.leader_epochs
        try:
            room = self._doors.claim(segment.size_bytes)
        except RequestError as full:  # readers are refused what is damaged until there is room
            self._say("repair_refused", node=self._doors.node, offset=0, why=str(full))
            self._doors.writer.look_at_space()
            return None
        return _Fetching(
            Replacement(self._doors.disk, segment, epochs, guessed=self._guessed),
            Quarantine(segment.base_offset, segment.end_offset),
            room,
        )

    async def _discard(self) -> None:
        """Remove what has gathered: the segment it was for is gone, or another one by now."""
        if self._fetching is not None:
            discard = self._fetching.replacement.discard
            await self._doors.writer.alone(discard, still=lambda: not self._log.deleted)
            self._fetching.room.give_back()
            self._doors.writer.look_at_space()

    async def _is_sound(self) -> bool:
        """Look at all of the segment on the disk: whoever met damage may have met another file."""
        scrub = SegmentScrub(
            self._doors.disk,
            self._segment,
            interval_bytes=self._log.index_interval_bytes,
            epochs=self._log.leader_epochs,
        )
        while True:
            found = await self._doors.read_pool.run(scrub.step)
            if found.findings:
                name = self._segment.log_name
                places = (one.position for one in found.findings if one.file == name)
                self._rot, self._guessed = max(places, default=0), scrub.guessed
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

    async def _fetch(self, fetching: _Fetching) -> bool:
        """Ask one replica after the other; put what they sent in the segment's place."""
        replacement, quarantine, _ = fetching
        clock, replicas = self._doors.clock, self._replicas()
        self._unheard = False
        effect = quarantine.step(clock.monotonic_ms(), Looked(), replicas)
        while self._is_there():
            match effect:
                case None:
                    return False
                case FetchRange():
                    came = await self._ask(fetching, effect)
                    effect = quarantine.step(clock.monotonic_ms(), came, replicas)
                case Replace(base):
                    if not await self._replace(replacement):
                        return False
                    fetching.room.give_back()
                    quarantine.step(clock.monotonic_ms(), Replaced(base), replicas)
                    return True
                case NobodyHasIt():
                    self._nobody(effect)
                    return False
        return False

    async def _ask(self, fetching: _Fetching, wanted: FetchRange) -> Fetched | FetchFailed:
        replacement = fetching.replacement
        replica, start, end = wanted
        ask = AskBatches(self._log.id, start, end, PART_BYTES_MAX)
        try:
            write = replacement.add(await self._batches(replica, ask))
        except (RequestError, MalformedError) as refused:
            if (replica, start) not in self._refused:
                self._refused.add((replica, start))
                self._say("repair_refused", node=replica, offset=start, why=str(refused))
            unheard = isinstance(refused, RequestError) and refused.code in UNHEARD
            self._unheard = self._unheard or unheard
            return FetchFailed(replica)
        await self._doors.writer.alone(write, still=self._is_there)
        fetching.room.written(replacement.sizes.log)
        self._refused.clear()
        self._hand_over(replica, replacement)
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
                found = found.sent(await self._doors.read_pool.run(found.job), guesses=False)
            except StorageFailed as failed:
                self._doors.writer.fail(failed)
                raise RequestError(ErrorCode.STORAGE_ERROR, str(failed)) from failed
        return found.batches

    def _hand_over(self, replica: NodeId, replacement: Replacement) -> None:
        """Let a replica lead that has sent what is damaged here, if this one does."""
        hosted = self._hosted
        if self._rot is None or replacement.sizes.log <= self._rot:
            return
        others = hosted.replica.assignment.isr - {self._doors.node}
        if hosted.leads and not self._handed_over and replica in others:
            self._handed_over = True
            doing = self._doors.hand_over(hosted, replica)
            self._doors.spawn.start(doing, f"leadership to node {replica}")

    async def _replace(self, replacement: Replacement) -> bool:
        """Put the new files in place; tell whether they are there."""
        writer = self._doors.writer
        if not self._may_change():
            return False
        if not replacement.fits:
            replacement.resize()
            self._log.sync()
            await writer.checkpointed()

        def still() -> bool:
            return self._may_change() and replacement.fits

        content = await self._doors.read_pool.run(replacement.encoded_times)
        write = partial(replacement.write_times, content)
        if not await writer.alone(write, still=still):
            return False
        if not await writer.alone(replacement.swap, still=still):
            return False
        if not self._is_there():  # it was cut meanwhile: what is left is looked at again
            return False
        replacement.settle(self._log.log_end)
        return True

    def _nobody(self, effect: NobodyHasIt) -> None:
        """Tell readers CORRUPT_LOG, as a last word, if everybody was heard and is damaged there."""
        self.given_up = not self._unheard
        self._judged()
        if not self._told and not self._unheard:
            self._told = True
            self._say("repair_impossible", offset=effect.at)

    def _say(self, event: str, **fields: str | int) -> None:
        hosted = self._hosted
        name = self._segment.log_name
        self._doors.note(
            event, topic=hosted.topic.name, partition=hosted.number, file=name, **fields
        )
