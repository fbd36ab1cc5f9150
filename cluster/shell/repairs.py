"""The repairs of one node: each damaged segment once, and what others ask for theirs.

Of a partition of which this node has the only replica nothing can be fetched: readers are told
CORRUPT_LOG, and everything else of it is served.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from cluster.peer.repair import AskBatches, BatchesPart
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from cluster.shell.repair import SegmentRepair
from cluster.shell.repair_port import RepairDoors
from cluster.shell.replica_read import FileRead, Sent, read_batches
from logstore.segment import Segment
from logstore.tail import ReadResult
from model.errors import ErrorCode, RequestError
from model.ids import Offset, PartitionId

Tell: TypeAlias = Callable[[BatchesPart | RequestError], None]
Serve: TypeAlias = Callable[[AskBatches, Tell], None]
"""`Repairs.serve`."""
UNDER_WAY_MAX: Final = 1_000
"""Segments that are known to be damaged; of more than that the scrub tells again."""


class _Place(NamedTuple):
    partition: PartitionId
    base: Offset


class Repairs:
    """See the module. Loop only."""

    def __init__(self, doors: RepairDoors, partitions: Partitions) -> None:
        """Repair nothing yet."""
        self._doors = doors
        self._partitions = partitions
        self._turn = asyncio.Lock()
        self._under_way: dict[_Place, SegmentRepair] = {}

    def found(self, hosted: HostedPartition, segment: Segment) -> None:
        """Repair a segment that is damaged, if another replica may have it."""
        place = _Place(hosted.log.id, segment.base_offset)
        alone = len(hosted.replica.assignment.replicas) < 2
        if alone or place in self._under_way or len(self._under_way) >= UNDER_WAY_MAX:
            return
        judged = partial(self._judge, hosted)
        repair = SegmentRepair(self._doors, hosted, segment, turn=self._turn, judged=judged)
        self._under_way[place] = repair
        judged()
        doing = self._repair(hosted, segment, repair)
        self._doors.spawn.start(doing, f"repair of {segment.log_name}")

    def serve(self, ask: AskBatches, tell: Tell) -> None:
        """Answer another replica with batches that are committed, and verified here."""
        hosted = self._partitions.by_id(ask.partition)
        if hosted is None:
            tell(RequestError(ErrorCode.UNKNOWN_PARTITION, "this node holds no replica of it"))
            return
        end = min(ask.end, hosted.high_watermark)
        try:
            if ask.start >= end:
                raise RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, f"here it is known up to {end}")
            found = read_batches(hosted.log, ask.start, ask.bytes_max, end=end)
        except RequestError as refused:
            tell(refused)
            return
        if isinstance(found, Sent):
            self._answer(ask, found, tell)
            return
        self._doors.read_pool.submit(
            found.job, partial(self._read, (ask, tell), found), partial(self._failed, tell)
        )

    def _read(self, asked: tuple[AskBatches, Tell], read: FileRead, found: ReadResult) -> None:
        ask, tell = asked
        try:
            sent = read.sent(found, guesses=False)
        except RequestError as refused:
            self._failed(tell, refused)
        else:
            self._answer(ask, sent, tell)

    def _answer(self, ask: AskBatches, sent: Sent, tell: Tell) -> None:
        if not sent.batches or sent.batches[0].base_offset != ask.start:
            where = f"no batch begins at {ask.start}"
            tell(RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, where, offset=str(ask.start)))
            return
        tell(BatchesPart(ask.partition, ask.start, sent.end, tuple(sent.batches)))

    def _failed(self, tell: Tell, error: Exception) -> None:
        if isinstance(error, RequestError):
            if error.code is ErrorCode.OFFSET_OUT_OF_RANGE:  # the next try tells what is there
                error = RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, str(error))
            tell(error)
            return
        tell(RequestError(ErrorCode.STORAGE_ERROR, str(error)))
        self._doors.writer.fail(error)

    def _judge(self, hosted: HostedPartition) -> None:
        """Let readers of a partition ask again as long as any of its segments may be fetched."""
        hosted.mending = any(
            place.partition == hosted.log.id and not repair.given_up
            for place, repair in self._under_way.items()
        )

    async def _repair(
        self, hosted: HostedPartition, segment: Segment, repair: SegmentRepair
    ) -> None:
        try:
            whole = await repair.run()
        except RequestError:  # the directory is offline, or the node ends: the next start looks
            return
        finally:
            del self._under_way[_Place(hosted.log.id, segment.base_offset)]
            self._judge(hosted)
        if whole:
            self._doors.mended(hosted, segment)
            name, number = hosted.topic.name, hosted.number
            self._doors.note("segment_mended", topic=name, partition=number, file=segment.log_name)
        else:
            self._look_again(hosted, segment)

    def _look_again(self, hosted: HostedPartition, cut: Segment) -> None:
        """See what is left of a segment that was cut, or has been begun anew under its name.

        One that is empty has nothing of what was damaged, and none could close it.
        """
        there = () if hosted.gone else hosted.log.segment_list
        left = next((one for one in there if one.log_name == cut.log_name), None)
        if left is None or left.base_offset == left.end_offset:
            self._doors.gone(hosted, cut)
        else:
            self.found(hosted, left)
