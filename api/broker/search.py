"""Carries out what searches by time ask for, without ever stopping the loop.

A search decides, this does: bytes come from the page cache or from the read pool, and the loop has
a turn after 2 ms of decoding.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from api.broker.context import BrokerContext
from logstore.partition_log import PartitionLog
from logstore.searchable import (
    AnswerT,
    NeedBlock,
    NeedIndex,
    NeedPart,
    NeedTimes,
    Reply,
    Search,
    SegmentGone,
    Step,
)
from logstore.segment_view import SegmentView
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import Offset, Position

ResultT = TypeVar("ResultT")

SLICE_MS: Final = 2
"""Decoding on the loop gives way after so long."""


class Searches:
    """Runs searches of one node; any number at once, each a task of its own. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Read through this node's read pool."""
        self._node = context

    async def run(self, log: PartitionLog, search: Search[AnswerT]) -> AnswerT:
        """Return a search's answer.

        Raises:
            RequestError: CORRUPT_LOG; UNKNOWN_TOPIC, it was deleted meanwhile; NOT_LEADER, it is
                being cut; STORAGE_ERROR, the disk refused a read.
        """
        if log.filed_end < log.written_end:
            await self._filed(log, log.written_end)
        clock = self._node.clock
        began = clock.monotonic_ms()
        try:
            step = next(search)
            while True:
                _check_there(log)
                try:
                    reply = await self._carry_out(step)
                except SegmentGone as gone:
                    step = search.throw(gone)
                else:
                    if isinstance(step, NeedTimes):
                        self._tell_damage(log)
                    step = search.send(reply)
                if clock.monotonic_ms() - began >= SLICE_MS:
                    await self.turn()
                    began = clock.monotonic_ms()
        except StopIteration as answer:
            found: AnswerT = answer.value
            return found
        except RequestError as met:
            partition = self._node.partitions.by_log(log)
            raise self._node.refusal_of_read(met, partition) from met

    async def _filed(self, log: PartitionLog, end: Offset) -> None:
        """Return once the files have everything below `end`: searches look nowhere else."""
        await self._node.writer.until(
            lambda: log.deleted or log.filed_end >= min(end, log.written_end)
        )

    def _tell_damage(self, log: PartitionLog) -> None:
        """Report append times that had to be made up, now that answers rest on them (P37)."""
        partition = self._node.partitions.by_log(log)
        if partition is not None:
            self._node.damage.collect(partition)

    async def turn(self) -> None:
        """Let everything else that is ready have its turn."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._node.tick.at_end(partial(_settle, ended))
        await ended

    async def _carry_out(self, step: Step) -> Reply:
        match step:
            case NeedBlock(SegmentView() as segment, position, end, cut):
                if not segment.is_current:
                    raise SegmentGone
                block = segment.block_now(position, end, cut=cut)
                if block is None:
                    read = partial(segment.block, position, end, cut=cut)
                    block = await self._in_thread(segment, read)
                if len(block) != end - position:
                    raise SegmentGone
                return block
            case NeedPart(SegmentView() as segment, position, end, batch):
                return await self._part(segment, (position, end), batch)
            case NeedIndex(SegmentView() as segment):
                return await self._node.in_thread(segment.index_file)
            case NeedTimes(SegmentView() as segment):
                await self._in_thread(segment, segment.load_times)
                times = segment.times()
                if times is None:
                    raise SegmentGone
                return times
            case _:
                return None

    async def _part(
        self,
        segment: SegmentView,
        wanted: tuple[Position, Position],
        batch: tuple[Position, Position],
    ) -> memoryview | None:
        """Return bytes inside a batch, or None if nobody has verified the batch."""
        if not segment.is_current:
            raise SegmentGone
        part = segment.part_now(*wanted)
        if part is None:
            part = await self._in_thread(segment, partial(segment.part, *wanted))
        whole = len(part) == wanted[1] - wanted[0]
        return memoryview(part) if whole and segment.trusts(*batch) else None

    async def _in_thread(self, segment: SegmentView, job: Callable[[], ResultT]) -> ResultT:
        """Read in the pool; a segment that went meanwhile is no failed disk."""
        try:
            read = await self._node.in_thread(job)
        except StorageFailed as failed:
            if segment.is_current:
                raise self._node.refusal_of_read(failed) from failed
            raise SegmentGone from failed
        if not segment.is_current:  # cut or removed while the pool was reading
            raise SegmentGone
        return read


def _check_there(log: PartitionLog) -> None:
    """Look for no file that is gone or being cut: that is no failure of the disk, and no damage."""
    if log.deleted:
        raise RequestError(ErrorCode.UNKNOWN_TOPIC, "the topic was deleted while it was searched")
    if log.cut is not None:
        raise RequestError(ErrorCode.NOT_LEADER, "another node leads what was searched here")


def _settle(ended: "asyncio.Future[None]") -> None:
    if not ended.done():  # the waiting task may have been cancelled
        ended.set_result(None)
