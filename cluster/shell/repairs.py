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
        self._under_way: set[_Place] = set()
        self._damaged: dict[PartitionId, int] = {}

    def found(self, hosted: HostedPartition, segment: Segment) -> None:
        """Repair a segment that is damaged, if another replica may have it."""
        place = _Place(hosted.log.id, segment.base_offset)
        alone = len(hosted.replica.assignment.replicas) < 2
        if alone or place in self._under_way or len(self._under_way) >= UNDER_WAY_MAX:
            return
        self._under_way.add(place)
        self._damaged[place.partition] = self._damaged.get(place.partition, 0) + 1
        hosted.mending = True
        doing = self._repair(hosted, segment, place)
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
            sent = read.sent(found)
        except RequestError as refused:
            tell(refused)
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
            tell(error)
            return
        tell(RequestError(ErrorCode.STORAGE_ERROR, str(error)))
        self._doors.writer.fail(error)

    async def _repair(self, hosted: HostedPartition, segment: Segment, place: _Place) -> None:
        try:
            whole = await SegmentRepair(self._doors, hosted, segment, turn=self._turn).run()
        except RequestError:  # the directory is offline, or the node ends: the next start looks
            return
        finally:
            self._under_way.discard(place)
            self._damaged[place.partition] -= 1
            if not self._damaged[place.partition]:
                del self._damaged[place.partition]
                hosted.mending = False
        if whole:
            self._doors.mended(hosted, segment)
            name, number = hosted.topic.name, hosted.number
            self._doors.note("segment_mended", topic=name, partition=number, file=segment.log_name)
