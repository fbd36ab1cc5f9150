"""Reading a range of time through each door, as rows that can be compared.

grpc batch      Subscribe, batches as they are stored; the client filters, as the contract says
grpc records    Subscribe, records that the node has decoded and filtered
sdk encoded     Client.replay, batches decoded by the SDK
sdk plain       Client.replay as without the extra `speed`
cli             `tidelog consume -o @t1:t2 -F json`, a process each
"""

import re
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import msgspec

from logstore.batch import decode_batch
from model.record import NO_TIMESTAMP, iter_batches
from tests.blind.node_doors import NodeDoors
from tests.blind.oracle import Row, Span
from tests.blind.workload import TOPIC
from tidelog.types import TimeRange, datetime_of
from tidelog.v1 import common_pb2, log_service_pb2

RANGE_DOORS: Final = ("grpc batch", "sdk encoded", "grpc records", "sdk encoded",
                      "grpc batch", "sdk plain")  # fmt: skip
"""In turn: half and half the stubs and the SDK."""
CLOCKS: Final = {"event": common_pb2.CLOCK_EVENT, "append": common_pb2.CLOCK_APPEND}
_TRUNCATED: Final = re.compile(
    r"records inside the range were removed, by retention or a trim: (.*)"
)


class Answer(NamedTuple):
    """What a door gave for a range."""

    rows: Mapping[int, list[Row]]
    """By partition, in the order in which they came."""
    truncated: Mapping[int, bool]
    """By partition: is history missing? A command names at most five of them."""


class NoAnswerError(Exception):
    """A door did not do what was asked."""


@dataclass(slots=True)
class Readers:
    """Reads through the doors of one running node."""

    doors: NodeDoors
    _decoded: dict[tuple[bytes, int], list[Row]] = field(default_factory=dict)
    """Batches that were decoded before, by their bytes and append time: the same bytes, the same
    records. All of it together is the size of the topic."""

    async def read(self, door: str, span: Span, partitions: Sequence[int]) -> Answer:
        """Read a range from some partitions.

        Raises:
            NoAnswerError: the door did not answer as it must.
        """
        match door:
            case "grpc batch" | "grpc records":
                encoded = door == "grpc batch"
                return await self._subscribed(_subscribe(span, partitions, encoded=encoded), span)
            case "sdk encoded" | "sdk plain":
                return await self._replayed(span, partitions, plain=door == "sdk plain")
            case _:
                return await self._consumed(span, partitions)

    async def everything(self, partitions: Sequence[int]) -> AsyncIterator[tuple[bytes, int, int]]:
        """Yield every stored batch: its bytes, partition, append time; by offset, not by time."""
        request = log_service_pb2.SubscribeRequest(
            partitions=_named(partitions),
            start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
            stop=common_pb2.Seek(edge=common_pb2.EDGE_LATEST),
            encoding=common_pb2.ENCODING_BATCH,
        )
        async for event in self.doors.logs.Subscribe(request):
            for part in event.records.partitions:
                for run in part.batches:
                    append_ms = run.append_time.ToMilliseconds()
                    for batch in iter_batches(memoryview(run.encoded)):
                        yield bytes(batch), part.next.partition, append_ms

    async def _subscribed(self, request: log_service_pb2.SubscribeRequest, span: Span) -> Answer:
        rows: dict[int, list[Row]] = {}
        truncated: dict[int, bool] = {}
        bounds: dict[int, tuple[int, int | None]] = {}
        async for event in self.doors.logs.Subscribe(request):
            match event.WhichOneof("event"):
                case "opened":
                    for one in event.opened.bounds:
                        number = one.start.partition
                        stop = one.stop_offset if one.HasField("stop_offset") else None
                        rows[number] = []
                        truncated[number] = one.truncated
                        bounds[number] = one.start.offset, stop
                case "records":
                    for part in event.records.partitions:
                        number = part.next.partition
                        for run in part.batches:
                            rows[number] += self._rows(
                                run, number, span=span, bounds=bounds[number]
                            )
                case "caught_up" | "fell_behind":
                    pass
                case other:
                    raise NoAnswerError(f"Subscribe sent {other}: {event}")
        return Answer(rows, truncated)

    def _rows(
        self,
        run: common_pb2.RecordBatch,
        number: int,
        *,
        span: Span,
        bounds: tuple[int, int | None],
    ) -> list[Row]:
        """Return the records of a run; from stored batches, those that the range holds."""
        append_ms = run.append_time.ToMilliseconds()
        if not run.HasField("encoded"):
            return [_row_of(one, number, append_ms) for one in run.records]
        start, stop = bounds
        rows: list[Row] = []
        for batch in iter_batches(memoryview(run.encoded)):
            own = self._decode(bytes(batch), number, append_ms)
            if own and (own[0].offset < start or (stop is not None and own[-1].offset >= stop)):
                end = own[-1].offset + 1 if stop is None else stop
                own = [row for row in own if start <= row.offset < end]
            rows += span.within(own) if span.clock == "event" else own
        return rows

    def _decode(self, batch: bytes, number: int, append_ms: int) -> list[Row]:
        rows = self._decoded.get((batch, append_ms))
        if rows is None:
            rows = rows_of(batch, number, append_ms)
            self._decoded[batch, append_ms] = rows
        return rows

    async def _replayed(self, span: Span, partitions: Sequence[int], *, plain: bool) -> Answer:
        during = TimeRange(_moment(span.start_ms), _moment(span.end_ms), span.clock)
        if plain:
            with patch("tidelog.client.can_build", return_value=False):
                replay = self.doors.client.replay(TOPIC, during=during, partitions=partitions)
        else:
            replay = self.doors.client.replay(TOPIC, during=during, partitions=partitions)
        rows: dict[int, list[Row]] = {number: [] for number in partitions}
        async with replay as history:
            truncated = {one.partition.partition: one.truncated for one in history.bounds}
            async for one in history:
                rows[one.partition].append(
                    Row(
                        one.partition, one.offset, one.timestamp_ms, one.append_time_ms,
                        one.key, one.value,
                    )
                )  # fmt: skip
        return Answer(rows, truncated)

    async def _consumed(self, span: Span, partitions: Sequence[int]) -> Answer:
        said = await self.doors.command(
            "-F", "json", "--no-progress", "consume", TOPIC, "-o", place_text(span),
            "--clock", span.clock, "-p", ",".join(map(str, partitions)),
        )  # fmt: skip
        if said.code:
            raise NoAnswerError(
                f"consume -o {place_text(span)} ended with {said.code}: {said.told}"
            )
        rows: dict[int, list[Row]] = {number: [] for number in partitions}
        for line in said.out.splitlines():
            whole: dict[str, Any] = msgspec.json.decode(line)
            number = whole["partition"]
            rows[number].append(
                Row(
                    number, whole["offset"], whole["timestamp_ms"], whole["append_time_ms"],
                    _bytes_of(whole["key"]), _bytes_of(whole["value"]),
                )
            )  # fmt: skip
        warned = _TRUNCATED.search(said.told)
        named = warned.group(1) if warned else ""
        return Answer(rows, {number: _names(named, number) for number in partitions})


def _names(told: str, partition: int) -> bool:
    """Tell whether a list of partitions, perhaps with where they begin, names one."""
    return re.search(rf"\b{re.escape(TOPIC)}/{partition}\b", told) is not None


def place_text(span: Span) -> str:
    """Return a range as `-o` takes it: in digits, or as dates, by turns."""
    if span.start_ms is None:
        return "start:end" if span.end_ms is None else f"@:{_time_text(span.end_ms)}"
    stop = "end" if span.end_ms is None else _time_text(span.end_ms)
    return f"@{_time_text(span.start_ms)}:{stop}"


def _bytes_of(text: Any) -> bytes | None:
    """Return what a key or value of a printed record stands for."""
    if text is None:
        return None
    return text.encode() if isinstance(text, str) else b64decode(text["base64"], validate=True)


def _time_text(time: int) -> str:
    if time % 3 == 0:
        return f"{time}ms"
    return f"{datetime_of(time):%Y-%m-%dT%H:%M:%S}.{time % 1000:03d}Z"


def rows_of(batch: bytes, partition: int, append_ms: int) -> list[Row]:
    """Return the records of a stored batch."""
    return [
        Row(
            partition, one.offset, None if one.timestamp_ms == NO_TIMESTAMP else one.timestamp_ms,
            append_ms, one.key, one.value,
        )
        for one in decode_batch(memoryview(batch))
    ]  # fmt: skip


def _row_of(one: common_pb2.Record, partition: int, append_ms: int) -> Row:
    return Row(
        partition,
        one.offset,
        one.timestamp_ms if one.HasField("timestamp_ms") else None,
        append_ms,
        one.key if one.HasField("key") else None,
        one.value if one.HasField("value") else None,
    )


def _subscribe(
    span: Span, partitions: Sequence[int], *, encoded: bool
) -> log_service_pb2.SubscribeRequest:
    request = log_service_pb2.SubscribeRequest(
        partitions=_named(partitions),
        encoding=common_pb2.ENCODING_BATCH if encoded else common_pb2.ENCODING_RECORDS,
    )
    request.range.clock = CLOCKS[span.clock]
    if span.start_ms is not None:
        request.range.start_time.FromMilliseconds(span.start_ms)
    if span.end_ms is not None:
        request.range.end_time.FromMilliseconds(span.end_ms)
    return request


def _named(partitions: Sequence[int]) -> list[common_pb2.TopicPartition]:
    return [common_pb2.TopicPartition(topic=TOPIC, partition=number) for number in partitions]


def _moment(time: int | None) -> datetime | None:
    return None if time is None else datetime_of(time)
