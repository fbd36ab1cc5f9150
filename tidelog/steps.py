"""A message of records, taken apart: what a reader gets, record by record and sign by sign.

Whole batches may begin before the place that was asked for and reach beyond the end or the range;
what does not belong is left out here, so that a reader sees exactly what it asked for.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from tidelog.batch import HEADER_BYTES, CorruptBatchError, decode, info_of, split
from tidelog.checkpoint import Key, Place
from tidelog.errors import DataCorrupt, TidelogError
from tidelog.headers import name_of
from tidelog.places import time_ms_of, timestamp_to_ns
from tidelog.types import BatchInfo
from tidelog.v1 import common_pb2 as common

NS_PER_MS: Final = 1_000_000


class Raw(NamedTuple):
    """A record, before the codecs."""

    at: Key
    offset: int
    timestamp_ms: int | None
    append_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    leader_epoch: int
    batch: BatchInfo | None


class Advance(NamedTuple):
    """Everything below this place was handed out, or is not part of what is read."""

    at: Key
    offset: int
    leader_epoch: int | None


class Live(NamedTuple):
    """The reader has caught up with the log, or has fallen behind again."""

    caught_up: bool


class Trouble(NamedTuple):
    """What the reader must be told at this point."""

    error: TidelogError


Step: TypeAlias = Raw | Advance | Live | Trouble


class Within:
    """The range of times that is read."""

    def __init__(self, times: common.TimeRange | None) -> None:
        """Take an absolute range; None: every time is inside."""
        self.append = times is not None and times.clock == common.CLOCK_APPEND
        self.event = times is not None and not self.append
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        if times is not None and times.HasField("start_time"):
            self._start_ns = timestamp_to_ns(times.start_time)
        if times is not None and times.HasField("end_time"):
            self._end_ns = timestamp_to_ns(times.end_time)

    def has_batch(self, append_time_ms: int) -> bool:
        """Tell whether records that came in then can be inside."""
        return not self.append or self._has(append_time_ms)

    def has_record(self, timestamp_ms: int | None) -> bool:
        """Tell whether a record of this event time is inside; one without is in no event range."""
        return not self.event or (timestamp_ms is not None and self._has(timestamp_ms))

    def _has(self, time_ms: int) -> bool:
        time_ns = time_ms * NS_PER_MS
        return (self._start_ns is None or self._start_ns <= time_ns) and (
            self._end_ns is None or time_ns < self._end_ns
        )


def take_steps(
    message: common.PartitionRecords, place: Place, *, within: Within, steps: list[Step]
) -> None:
    """Put the records of one partition's message behind `steps`, and the place behind them.

    Raises:
        CodecMissing: a batch that only a node can expand; the steps before it are there.
    """
    at = (message.next.topic, message.next.partition)
    for number, batch in enumerate(message.batches):
        append_time_ms = time_ms_of(batch.append_time)
        if not within.has_batch(append_time_ms):
            continue
        if not batch.HasField("encoded"):
            steps += _inside(_plain(at, batch, append_time_ms), place, within)
            continue
        try:
            for whole in split(batch.encoded):
                steps += _batch_steps(
                    at, whole, batch, place=place, within=within, end=message.next.offset
                )
        except CorruptBatchError as broken:
            goes_on = _next_batch(message, number, place)
            steps.append(Trouble(_corrupt(at, None, broken, end=goes_on)))
    epoch = message.next.leader_epoch if message.next.HasField("leader_epoch") else None
    steps.append(Advance(at, message.next.offset, epoch))


def _next_batch(message: common.PartitionRecords, number: int, place: Place) -> int:
    """Return where a message goes on behind one of its batches that cannot be taken apart."""
    for batch in message.batches[number + 1 :]:
        if batch.records:
            first = batch.records[0].offset
        elif len(batch.encoded) >= HEADER_BYTES:
            first = info_of(memoryview(batch.encoded)).base_offset
        else:
            continue
        if place.offset < first < message.next.offset:
            return first
    return message.next.offset


def _batch_steps(
    at: Key, whole: memoryview, batch: common.RecordBatch, *, place: Place, within: Within, end: int
) -> Sequence[Step]:
    """Return the records of a stored batch, all below `end`; one that cannot be read is told."""
    try:
        info, rows = decode(whole)
    except CorruptBatchError as broken:
        said = info_of(whole)
        behind = min(said.base_offset + max(said.record_count, 1), end)
        return [Trouble(_corrupt(at, said.base_offset, broken, end=behind))]
    append_time_ms, epoch = time_ms_of(batch.append_time), batch.leader_epoch
    records = [
        Raw(
            at, offset, time_ms, append_time_ms, key, value,
            tuple([(name_of(name), item) for name, item in headers]) if headers else (),
            epoch, info,
        )
        for offset, time_ms, key, value, headers in rows
    ]  # fmt: skip
    return _inside(records, place, within)


def _inside(records: Sequence[Raw], place: Place, within: Within) -> Sequence[Raw]:
    """Return the records that were asked for; all of them, most of the time."""
    if not records:
        return records
    stop = place.stop
    whole = records[0].offset >= place.offset and (stop is None or records[-1].offset < stop)
    if whole and not within.event:
        return records
    return [
        record
        for record in records
        if record.offset >= place.offset
        and (stop is None or record.offset < stop)
        and within.has_record(record.timestamp_ms)
    ]


def _plain(at: Key, batch: common.RecordBatch, append_time_ms: int) -> Sequence[Raw]:
    """Return records that the node has decoded."""
    epoch = batch.leader_epoch
    return [
        Raw(
            at,
            record.offset,
            record.timestamp_ms if record.HasField("timestamp_ms") else None,
            append_time_ms,
            record.key if record.HasField("key") else None,
            record.value if record.HasField("value") else None,
            tuple(
                [
                    (header.key, header.value if header.HasField("value") else None)
                    for header in record.headers
                ]
            ),
            epoch,
            None,
        )
        for record in batch.records
    ]


def behind_corrupt(error: TidelogError) -> tuple[Key, int] | None:
    """Return whose batches a node has refused as damaged, and where it can read on; else None."""
    if not isinstance(error, DataCorrupt) or error.next_offset is None:
        return None
    try:
        key = error.metadata["topic"], int(error.metadata["partition"])
    except (KeyError, ValueError):
        return None
    return key, error.next_offset


def ended_by(error: TidelogError) -> TidelogError:
    """Return what a read has ended with: damage says no more that reading goes on behind it."""
    if not isinstance(error, DataCorrupt) or "next_offset" not in error.metadata:
        return error
    kept = {name: said for name, said in error.metadata.items() if name != "next_offset"}
    return DataCorrupt(
        error.text, reason=error.reason, outcome=error.outcome, retryable=error.retryable,
        metadata=kept,
    )  # fmt: skip


def _corrupt(at: Key, offset: int | None, why: CorruptBatchError, *, end: int) -> TidelogError:
    topic, partition = at
    metadata = {"topic": topic, "partition": str(partition), "next_offset": str(end)}
    if offset is not None:
        metadata["offset"] = str(offset)
    return DataCorrupt(
        f"{topic}/{partition}: a batch cannot be read: {why}", reason="CORRUPT_LOG",
        metadata=metadata,
    )  # fmt: skip
