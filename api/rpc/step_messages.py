"""Steps forward to messages: batches as they are stored, or their records, decoded in slices.

A message stays below gRPC's 4 MiB, however far a small batch expands: what does not fit goes into
the next one, and every part says where it goes on.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from api.broker.append_runs import StoredBatch
from api.broker.decode_records import decoded
from api.broker.read_on import Step
from api.broker.readable import Readable
from api.broker.turns import Turns
from api.rpc.convert import timestamp
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
PART_OVERHEAD_BYTES: Final = 100
"""The same of a part: offsets, closed time, and a cursor without its topic."""
_ATTRIBUTES_AT: Final = 22


class Filling:
    """The message that steps are written into: in place, for copies of messages are dear."""

    __slots__ = ("_begin", "_own_bytes", "size_bytes")

    def __init__(self, begin: Callable[[], common_pb2.PartitionRecords]) -> None:
        """`begin` gives the place for the next part."""
        self._begin = begin
        self.size_bytes = 0
        """Of all in the message but the newest part's own fields."""
        self._own_bytes = 0

    def begin(self, topic: str) -> common_pb2.PartitionRecords:
        """Return the place for the next part, which is of a topic."""
        self.size_bytes += self._own_bytes
        self._own_bytes = PART_OVERHEAD_BYTES + len(topic)
        return self._begin()

    def sent(self) -> None:
        """Begin again with an empty message."""
        self.size_bytes = self._own_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count a record or a run of batches."""
        self.size_bytes += size_bytes


class Part(NamedTuple):
    """A part of a step that is in the message now."""

    message: common_pb2.PartitionRecords
    is_last: bool
    """Else the message is full: it is to be sent before the next part is asked for."""
    error: RequestError | None = None
    """What follows cannot be read; `next` of the message stands before it."""


def cursor(partition: Readable, offset: int, epoch: LeaderEpoch | None) -> common_pb2.Cursor:
    """Return where a reader stands."""
    return common_pb2.Cursor(
        topic=partition.topic.name,
        partition=partition.number,
        offset=offset,
        leader_epoch=epoch,
    )


def stored_parts(
    step: Step, last_epoch: LeaderEpoch | None, filling: Filling, *, max_bytes: int
) -> Iterator[Part]:
    """Write a step in parts, of batches as they are stored; control batches are left out.

    A message is at most `max_bytes`, or one run of batches that share append time and leader epoch.
    """
    message = _begin(step, step.start_offset, last_epoch, filling=filling)
    for (append_time, epoch), run in _runs(step.batches):
        views = [batch.view for batch in run]
        size = RUN_OVERHEAD_BYTES + sum(map(len, views))
        if filling.size_bytes and filling.size_bytes + size > max_bytes:
            yield Part(message, is_last=False)
            message = _begin(step, message.next.offset, epoch, filling=filling)
        row = message.batches.add()
        row.encoded = bytes(views[0]) if len(views) == 1 else b"".join(views)
        row.append_time.CopyFrom(timestamp(append_time))
        row.leader_epoch = epoch
        message.next.offset = BatchHeader.of_checked(views[-1]).end_offset
        message.next.leader_epoch = epoch
        filling.add(size)
    message.next.offset = step.next_offset
    yield Part(message, is_last=True)


async def record_parts(
    step: Step,
    last_epoch: LeaderEpoch | None,
    filling: Filling,
    *,
    times: TimeRange | None,
    turns: Turns,
    max_bytes: int,
) -> AsyncGenerator[Part, None]:
    """Write a step in parts of decoded records: from its start on, within a range of times.

    A message is at most `max_bytes`, or one record. The last part ends where the step does; what
    cannot be decoded ends the parts before it.
    """
    building = _Building(step, last_epoch, filling, times=times, max_bytes=max_bytes)
    for batch in step.batches:
        if batch.view[_ATTRIBUTES_AT] & CONTROL:
            building.passed(batch)
            continue
        try:
            async for records in decoded(step.partition, batch, turns):
                for record in building.visible(records):
                    if building.is_full_with(record):
                        yield Part(building.part(), is_last=False)
                        building.begin()
                    building.add(batch, record)
        except RequestError as unreadable:
            yield Part(building.part(), is_last=True, error=unreadable)
            return
        building.passed(batch)
    building.reach(step.next_offset)
    yield Part(building.part(), is_last=True)


class _Building:
    """The part that is being filled."""

    __slots__ = (
        "_epoch", "_filling", "_max_bytes", "_message", "_next", "_run", "_run_of", "_step",
        "_times",
    )  # fmt: skip

    def __init__(
        self,
        step: Step,
        last_epoch: LeaderEpoch | None,
        filling: Filling,
        *,
        times: TimeRange | None,
        max_bytes: int,
    ) -> None:
        self._step = step
        self._filling = filling
        self._max_bytes = max_bytes
        self._times = times
        self._epoch = last_epoch
        self._next: int = step.start_offset
        self.begin()

    def begin(self) -> None:
        """Begin a part behind the one before."""
        self._message = _begin(self._step, self._next, self._epoch, filling=self._filling)
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
        size, held = _size(record), self._filling.size_bytes
        if size > MESSAGE_BYTES_MAX:
            raise _never_fits(self._step.partition, record)
        return held > 0 and held + size > self._max_bytes

    def add(self, batch: StoredBatch, record: Record) -> None:
        """Take a record in."""
        run_of = (batch.append_time, batch.leader_epoch)
        run = self._run
        if run is None or run_of != self._run_of:
            self._run_of = run_of
            run = self._run = self._message.batches.add()
            run.append_time.CopyFrom(timestamp(batch.append_time))
            run.leader_epoch = batch.leader_epoch
        offset, time_ms, key, value, headers = record
        row = run.records.add()  # filled field by field: a third of what arguments cost
        row.offset = offset
        if time_ms != NO_TIMESTAMP:
            row.timestamp_ms = time_ms
        if key is not None:
            row.key = key
        if value is not None:
            row.value = value
        for name, text in headers:
            row.headers.add(key=name.decode(errors="replace"), value=text)
        self._filling.add(_size(record))
        self._next, self._epoch = offset + 1, batch.leader_epoch

    def passed(self, batch: StoredBatch) -> None:
        """Note that nothing of a batch is left to send."""
        self._next = max(self._next, min(batch.end_offset, self._step.next_offset))
        self._epoch = batch.leader_epoch

    def reach(self, offset: int) -> None:
        """Note that nothing is left below an offset."""
        self._next = max(self._next, offset)

    def part(self) -> common_pb2.PartitionRecords:
        """Return what was filled, with where to go on."""
        message = self._message
        message.next.offset = self._next
        if self._epoch is not None:
            message.next.leader_epoch = self._epoch
        return message


def _begin(
    step: Step, offset: int, epoch: LeaderEpoch | None, *, filling: Filling
) -> common_pb2.PartitionRecords:
    message = filling.begin(step.partition.topic.name)
    message.next.CopyFrom(cursor(step.partition, offset, epoch))
    message.log_start_offset = step.log_start
    message.high_watermark = step.high_watermark
    message.last_stable_offset = step.last_stable_offset
    message.closed_time.CopyFrom(timestamp(step.closed_time))
    return message


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


def _never_fits(partition: Readable, record: Record) -> RequestError:
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
