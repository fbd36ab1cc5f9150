"""Subscribe over gRPC: from where to where; exact ranges on both clocks, resumed streams."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from logstore.batch import decode_batch, encode_batch
from model.record import NewRecord
from tests.grpc_node import GrpcNode, encoded, plain, record, refusal
from tests.grpc_reading import (
    END,
    Range,
    Request,
    Seek,
    at,
    events,
    read,
    records_of,
    until,
)
from tidelog.v1 import common_pb2, log_service_pb2


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (Seek(offset=3), 3),
        (Seek(after_earliest=2), 2),
        (Seek(before_latest=4), 6),
        (Seek(time=Timestamp(seconds=1)), 0),
        (Seek(time=Timestamp(seconds=1, nanos=4_000_000)), 4),
        (Seek(time=Timestamp(seconds=1, nanos=4_000_001)), 5),
        (Seek(time=Timestamp(seconds=99)), 10),
        (Seek(edge=common_pb2.EDGE_LATEST), 10),
        (None, 10),
    ],
)
async def test_places_to_begin_at(served: GrpcNode, start: Seek | None, first: int) -> None:
    await served.create("orders")
    await served.produce("orders", plain(*[b"%d" % at for at in range(10)], time=1_000))
    messages = await events(served, Request(topics=["orders"], start=start, stop=END))
    assert messages[0].opened.bounds[0].start.offset == first
    assert [one.offset for one in records_of(messages)] == list(range(first, 10))


async def test_a_stop_within_a_batch(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(*[b"%d" % at for at in range(10)]))
    fields = {"topics": ["orders"], "start": Seek(offset=2), "stop": Seek(offset=5)}
    assert await read(served, **fields) == [b"2", b"3", b"4"]
    messages = await events(served, Request(**fields, encoding=common_pb2.ENCODING_BATCH))
    (part,) = messages[1].records.partitions
    assert part.next.offset == 5
    assert len(decode_batch(memoryview(part.batches[0].encoded))) == 10


async def test_exactly_a_range_of_event_times_in_any_order(served: GrpcNode) -> None:
    await served.create("orders")
    times = [500, 100, 900, 300, 200, 700, 300, 100]
    for time in times:
        await served.produce("orders", plain(b"%d" % time, time=time))
    batch = encode_batch([NewRecord(-1, None, b"none"), NewRecord(299, None, b"299")])
    await served.produce("orders", encoded(batch))
    exact = Range(clock=common_pb2.CLOCK_EVENT, start_time=at(200), end_time=at(700))
    assert await read(served, topics=["orders"], range=exact) == [
        b"500",
        b"300",
        b"200",
        b"300",
        b"299",
    ]
    open_end = Range(start_time=at(700))
    assert await read(served, topics=["orders"], range=open_end) == [b"900", b"700"]
    assert await read(served, topics=["orders"], range=Range(end_time=at(101))) == [b"100", b"100"]
    everything = await read(served, topics=["orders"], range=Range())
    assert everything == [b"%d" % time for time in times] + [b"299"], "none is in no range"
    empty = Range(start_time=at(300), end_time=at(300))
    assert await read(served, topics=["orders"], range=empty) == []


async def test_exactly_a_range_of_append_times(served: GrpcNode) -> None:
    await served.create("orders")
    appended: list[int] = []
    while len(set(appended)) < 4:
        (result,) = await served.produce("orders", plain(b"%d" % len(appended)))
        appended.append(result.append_time.ToMilliseconds())
    first, *_, last = sorted(set(appended))
    bounds = Range(clock=common_pb2.CLOCK_APPEND, start_time=at(first + 1), end_time=at(last))
    wanted = [b"%d" % at for at, time in enumerate(appended) if first < time < last]
    assert wanted
    assert await read(served, topics=["orders"], range=bounds) == wanted


async def test_a_range_that_ends_in_the_future_waits_for_it(served: GrpcNode) -> None:
    await served.create("orders", 2)
    await served.produce("orders", plain(b"before"))
    now = served.node.broker.context.append_time()
    bounds = Range(
        clock=common_pb2.CLOCK_APPEND, start_time=at(now - 60_000), end_time=at(now + 600)
    )
    stream = served.logs.Subscribe(Request(topics=["orders"], range=bounds))
    opened = (await until(stream, "opened")).opened
    assert not any(bound.HasField("stop_offset") for bound in opened.bounds)
    assert opened.range == bounds
    await served.produce("orders", plain(b"during", partition=1))
    seen = [one.value for one in records_of([message async for message in stream])]
    assert sorted(seen) == [b"before", b"during"]
    assert served.node.broker.context.append_time() >= now + 600


async def test_a_broken_stream_goes_on_with_the_very_next_record(served: GrpcNode) -> None:
    await served.create("orders", 2)
    for number in range(40):
        await served.produce("orders", plain(b"%d" % number, partition=number % 2, time=number))
    times = Range(start_time=at(5), end_time=at(33))
    request = Request(topics=["orders"], range=times, max_bytes=200)
    seen: list[bytes] = []
    places: dict[int, log_service_pb2.ReadBounds] = {}
    for _ in range(100):
        stream = served.logs.Subscribe(request)
        opened = (await until(stream, "opened")).opened
        request.range.CopyFrom(opened.range)
        places |= {bound.start.partition: bound for bound in opened.bounds}
        message = await anext(aiter(stream), None)
        if message is None:
            break
        seen += [one.value for one in records_of([message])]
        for part in message.records.partitions:
            places[part.next.partition].start.CopyFrom(part.next)
        stream.cancel()
        del request.bounds[:]
        request.bounds.extend(places.values())
    assert sorted(seen, key=int) == [b"%d" % number for number in range(5, 33)]


async def test_bounds_that_are_wrong(served: GrpcNode) -> None:
    await served.create("orders", 2)
    Bounds = log_service_pb2.ReadBounds  # noqa: N806 - a class
    inside = Bounds(start=common_pb2.Cursor(topic="orders"), stop_offset=0)
    cases = [
        [Bounds(start=common_pb2.Cursor(topic="other"), stop_offset=0)],
        [inside, inside],
        [Bounds(start=common_pb2.Cursor(topic="orders", offset=3), stop_offset=2)],
        [Bounds(start=common_pb2.Cursor(topic="orders", offset=-1))],
        [Bounds(start=common_pb2.Cursor(topic="orders"))],
    ]
    for bounds in cases:
        request = Request(topics=["orders"], range=Range(), bounds=bounds)
        found = await refusal(served.logs.Subscribe(request))
        assert found.reason == "INVALID_REQUEST"
        assert found.info.metadata["field"].startswith("bounds")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"topics": []}, "INVALID_REQUEST", "topics"),
        ({"start": Seek()}, "INVALID_REQUEST", "start"),
        ({"start": Seek(edge=0)}, "INVALID_REQUEST", "start.edge"),
        ({"start": Seek(edge=common_pb2.EDGE_COMMITTED)}, "INVALID_REQUEST", "start.edge"),
        ({"start": Seek(offset=-1)}, "INVALID_REQUEST", "start.offset"),
        ({"start": Seek(after_earliest=-1)}, "INVALID_REQUEST", "start.after_earliest"),
        ({"start": Seek(before_latest=-1)}, "INVALID_REQUEST", "start.before_latest"),
        ({"start": Seek(time={"nanos": -1})}, "INVALID_REQUEST", "start.time"),
        ({"start": Seek(ago={"seconds": -1})}, "INVALID_REQUEST", "start.ago"),
        ({"start": Seek(time={}, clock=7)}, "INVALID_REQUEST", "start.clock"),
        ({"start": Seek(offset=9)}, "OFFSET_OUT_OF_RANGE", ""),
        ({"stop": Seek(offset=9)}, "OFFSET_OUT_OF_RANGE", ""),
        ({"range": Range(), "stop": END}, "INVALID_REQUEST", "range"),
        (
            {"range": Range(start_time={"seconds": 2}, end_time={"seconds": 1})},
            "INVALID_REQUEST",
            "range",
        ),
        ({"max_bytes": -1}, "INVALID_REQUEST", "max_bytes"),
        ({"order": Request.ORDER_APPEND_TIME}, "NOT_IMPLEMENTED", "order"),
        ({"order": 99}, "INVALID_REQUEST", "order"),
        ({"filter": {}}, "NOT_IMPLEMENTED", "filter"),
        ({"topics": ["none"]}, "UNKNOWN_TOPIC", ""),
        (
            {"topics": [], "partitions": [{"topic": "orders", "partition": 4}]},
            "UNKNOWN_PARTITION",
            "",
        ),
    ],
)
async def test_requests_that_are_refused(
    served: GrpcNode, *, fields: dict[str, Any], reason: str, field: str
) -> None:
    await served.create("orders")
    found = await refusal(served.logs.Subscribe(Request(**({"topics": ["orders"]} | fields))))
    assert (found.reason, found.info.metadata["field"]) == (reason, field)


async def test_relative_times_are_taken_once(served: GrpcNode) -> None:
    await served.create("orders", 2)
    now = served.node.broker.context.clock.wall_ms()
    batch = log_service_pb2.ProduceBatch(
        partition=1, records=[record(b"old", time=now - 7_200_000), record(b"new", time=now)]
    )
    await served.produce("orders", batch)
    hour = Range(start_ago={"seconds": 3_600})
    messages = await events(served, Request(topics=["orders"], range=hour))
    assert [one.value for one in records_of(messages)] == [b"new"]
    start = messages[0].opened.range.start_time.ToMilliseconds()
    assert now - 3_600_000 <= start <= served.node.broker.context.clock.wall_ms() - 3_600_000
    assert not messages[0].opened.range.HasField("end_time")
