"""Steps forward to messages: batches as they are stored, or their records, decoded in slices.

A message stays below gRPC's 4 MiB, however far a small batch expands: what does not fit goes into
the next one, and every part says where it goes on.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from api.broker.append_runs import StoredBatch
from api.broker.decode_records import decoded
from api.broker.read_on import Step
from api.broker.turns import Turns
from api.rpc.convert import timestamp
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch
from model.limits import GRPC_ANSWER_BYTES_MAX
from model.record import CONTROL, NO_TIMESTAMP, BatchHeader, Record, TimeRange
from tidelog.v1 import common_pb2

MESSAGE_BYTES_MAX: Final = GRPC_ANSWER_BYTES_MAX.value
RECORD_OVERHEAD_BYTES: Final = 40
"""Tags, lengths, offset and time of a record on the wire, at most; and of a header."""
RUN_OVERHEAD_BYTES: Final = 40
"""The same of a run of batches: lengths, append time, leader epoch."""
_ATTRIBUTES_AT: Final = 22


class Part(NamedTuple):
    """Part of a step that fits one message."""

    message: common_pb2.PartitionRecords
    size_bytes: int
    error: RequestError | None = None
    """What follows cannot be read; `next` of the message stands before it."""


def cursor(partition: HostedPartition, offset: int, epoch: LeaderEpoch | None) -> common_pb2.Cursor:
    """Return where a reader stands."""
    return common_pb2.Cursor(
        topic=partition.topic.name,
        partition=partition.number,
        offset=offset,
        leader_epoch=epoch,
    )


def stored_parts(step: Step, last_epoch: LeaderEpoch | None, *, max_bytes: int) -> Iterator[Part]:
    """Yield a step in parts of batches as they are stored; control batches are left out.

    A part is at most `max_bytes`, or one run of batches that share append time and leader epoch.
    """
    message = _message(step, step.start_offset, last_epoch)
    size = 0
    for (append_time, epoch), run in _runs(step.batches):
        views = [batch.view for batch in run]
        run_size = RUN_OVERHEAD_BYTES + sum(map(len, views))
        if size and size + run_size > max_bytes:
            yield Part(message, size)
            message, size = _message(step, message.next.offset, LeaderEpoch(epoch)), 0
        message.batches.add(
            encoded=b"".join(views), append_time=timestamp(append_time), leader_epoch=epoch
        )
        message.next.offset = BatchHeader.of_checked(views[-1]).end_offset
        message.next.leader_epoch = epoch
        size += run_size
    message.next.offset = step.next_offset
    yield Part(message, size)


async def record_parts(
    step: Step,
    last_epoch: LeaderEpoch | None,
    times: TimeRange | None,
    *,
    turns: Turns,
    max_bytes: int,
) -> AsyncGenerator[Part, None]:
    """Yield a step in parts of decoded records: those from its start on, within a range of times.

    A part is at most `max_bytes`, or one record. The last ends where the step does; what cannot be
    decoded ends the parts before it.
    """
    building = _Building(step, last_epoch, times, max_bytes=max_bytes)
    for batch in step.batches:
        if batch.view[_ATTRIBUTES_AT] & CONTROL:
            building.passed(batch)
            continue
        try:
            async for records in decoded(step.partition, batch, turns):
                for record in building.visible(records):
                    if building.is_full_with(record):
                        yield building.part()
                    building.add(batch, record)
        except RequestError as unreadable:
            yield building.part()._replace(error=unreadable)
            return
        building.passed(batch)
    building.reach(step.next_offset)
    yield building.part()


class _Building:
    """The part that is being filled."""

    __slots__ = (
        "_epoch", "_max_bytes", "_message", "_next", "_run", "_run_of", "_size", "_step", "_times",
    )  # fmt: skip

    def __init__(
        self,
        step: Step,
        last_epoch: LeaderEpoch | None,
        times: TimeRange | None,
        *,
        max_bytes: int,
    ) -> None:
        self._step = step
        self._max_bytes = max_bytes
        self._times = times
        self._epoch = last_epoch
        self._next: int = step.start_offset
        self._begin()

    def _begin(self) -> None:
        self._message = _message(self._step, self._next, self._epoch)
        self._size = 0
        self._run: common_pb2.RecordBatch | None = None
        self._run_of: tuple[AppendTimeMs, LeaderEpoch] | None = None

    def visible(self, records: Sequence[Record]) -> Iterator[Record]:
        """Yield what the reader asked for."""
        start, end, times = self._step.start_offset, self._step.next_offset, self._times
        for record in records:
            if start <= record.offset < end and (
                times is None or times.contains(record.timestamp_ms)
            ):
                yield record

    def is_full_with(self, record: Record) -> bool:
        """Tell whether a record belongs into the next part.

        Raises:
            RequestError: RECORD_TOO_LARGE, it fits into none.
        """
        size = _size(record)
        if size > MESSAGE_BYTES_MAX:
            raise _never_fits(self._step.partition, record)
        return self._size > 0 and self._size + size > self._max_bytes

    def add(self, batch: StoredBatch, record: Record) -> None:
        """Take a record in."""
        run_of = (batch.append_time, batch.leader_epoch)
        if self._run is None or run_of != self._run_of:
            self._run_of = run_of
            self._run = self._message.batches.add(
                append_time=timestamp(batch.append_time), leader_epoch=batch.leader_epoch
            )
        time_ms = record.timestamp_ms
        row = self._run.records.add(
            offset=record.offset,
            timestamp_ms=None if time_ms == NO_TIMESTAMP else time_ms,
            key=record.key,
            value=record.value,
        )
        for key, value in record.headers:
            row.headers.add(key=key.decode(errors="replace"), value=value)
        self._size += _size(record)
        self._next, self._epoch = record.offset + 1, batch.leader_epoch

    def passed(self, batch: StoredBatch) -> None:
        """Note that nothing of a batch is left to send."""
        self._next = max(self._next, min(batch.end_offset, self._step.next_offset))
        self._epoch = batch.leader_epoch

    def reach(self, offset: int) -> None:
        """Note that nothing is left below an offset."""
        self._next = max(self._next, offset)

    def part(self) -> Part:
        """Return what was gathered, and begin anew behind it."""
        message = self._message
        message.next.offset = self._next
        if self._epoch is not None:
            message.next.leader_epoch = self._epoch
        done = Part(message, self._size)
        self._begin()
        return done


def _message(step: Step, offset: int, epoch: LeaderEpoch | None) -> common_pb2.PartitionRecords:
    return common_pb2.PartitionRecords(
        next=cursor(step.partition, offset, epoch),
        log_start_offset=step.log_start,
        high_watermark=step.high_watermark,
        last_stable_offset=step.last_stable_offset,
        closed_time=timestamp(step.closed_time),
    )


def _runs(
    batches: Sequence[StoredBatch],
) -> Iterator[tuple[tuple[AppendTimeMs, LeaderEpoch], Iterator[StoredBatch]]]:
    """Group batches that share append time and leader epoch."""
    plain = (batch for batch in batches if not batch.view[_ATTRIBUTES_AT] & CONTROL)
    return groupby(plain, key=lambda batch: (batch.append_time, batch.leader_epoch))


def _size(record: Record) -> int:
    size = RECORD_OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"")
    for key, value in record.headers:
        # Three bytes for one at worst: U+FFFD stands for each that is no UTF-8.
        size += RECORD_OVERHEAD_BYTES + 3 * len(key) + len(value or b"")
    return size


def _never_fits(partition: HostedPartition, record: Record) -> RequestError:
    place = f"{partition.topic.name}/{partition.number}"
    return RequestError(
        ErrorCode.RECORD_TOO_LARGE,
        f"{place}: the record at offset {record.offset} is larger than a message, "
        f"{MESSAGE_BYTES_MAX} bytes; read it as it is stored (ENCODING_BATCH), or go on behind it",
        topic=partition.topic.name,
        partition=str(partition.number),
        offset=str(record.offset),
        next_offset=str(record.offset + 1),
    )
