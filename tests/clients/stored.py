"""What a topic holds, read by the judge itself: what every client is measured by."""

from typing import Final, NamedTuple

from grpc import aio

from tests.clients.program import Event
from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

CALL_S: Final = 30.0


class Line(NamedTuple):
    """One record as a client is told to write it."""

    partition: int
    time_ms: int
    key: str
    value: str


class Stored(NamedTuple):
    """One record as the log has it."""

    partition: int
    offset: int
    time_ms: int
    append_time_ms: int
    key: str
    value: str

    @property
    def line(self) -> Line:
        return Line(self.partition, self.time_ms, self.key, self.value)


Log = dict[int, list[Stored]]
"""The records of each partition, in order; a topic that was written by nobody else is dense."""


def told(event: Event) -> Stored:
    """Return the record that a client has printed."""
    return Stored(
        event["partition"],
        event["offset"],
        event["timestamp_ms"],
        event["append_time_ms"],
        event["key"],
        event["value"],
    )


async def read_all(channel: aio.Channel, topic: str, partitions: int) -> Log:
    """Return everything that is committed in a topic."""
    log = log_service_pb2_grpc.LogServiceStub(channel)
    request = log_service_pb2.SubscribeRequest(
        topics=[topic],
        start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
        stop=common_pb2.Seek(edge=common_pb2.EDGE_LATEST),
    )
    found: Log = {partition: [] for partition in range(partitions)}
    async for response in log.Subscribe(request, timeout=CALL_S):
        for step in response.records.partitions:
            for batch in step.batches:
                append_time_ms = batch.append_time.ToMilliseconds()
                found[step.next.partition] += [
                    Stored(
                        step.next.partition,
                        record.offset,
                        record.timestamp_ms,
                        append_time_ms,
                        record.key.decode(),
                        record.value.decode(),
                    )
                    for record in batch.records
                ]
    return found


def unlike(log: Log, lines: list[Line]) -> list[str]:
    """Say where a log differs from what was to be written: each line once, in order, no hole."""
    wrong: list[str] = []
    for partition, records in log.items():
        offsets = [record.offset for record in records]
        if offsets != list(range(len(records))):
            wrong.append(f"partition {partition}: its offsets are not 0 to {len(records) - 1}")
        wanted = [line for line in lines if line.partition == partition]
        written = [record.line for record in records]
        if written != wanted:
            wrong.append(
                f"partition {partition}: {len(written)} records are not the {len(wanted)} lines: "
                f"{len(set(wanted) - set(written))} lost, {len(written) - len(set(written))} twice"
            )
    return wrong


def in_range(log: Log, clock: str, *, start_ms: int, end_ms: int) -> list[Stored]:
    """Return the records of a time range, by looking at every one."""
    return [
        record
        for partition in sorted(log)
        for record in log[partition]
        if start_ms <= (record.time_ms if clock == "event" else record.append_time_ms) < end_ms
    ]


def first_at(records: list[Stored], time_ms: int) -> int:
    """Return the first offset whose record has this event time or a later one."""
    later = (record.offset for record in records if record.time_ms >= time_ms)
    return next(later, len(records))
