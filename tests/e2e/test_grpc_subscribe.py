"""Subscribe over gRPC: every record once and in order, bounds told, exact ranges, resumed streams."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from api.broker import subscribe
from api.rpc.convert import timestamp
from api.settings import NodeSettings
from logstore.batch import decode_batch, encode_batch
from logstore.settings import LogSettings
from model.record import NewRecord, iter_batches
from tests.e2e.test_grpc_fetch import bomb, garbage, trim
from tests.grpc_node import GrpcNode, encoded, grpc_node, plain, record, refusal
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2

Request = log_service_pb2.SubscribeRequest
Seek = common_pb2.Seek
Range = common_pb2.TimeRange
START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)


async def events(served: GrpcNode, request: Request) -> list[log_service_pb2.SubscribeResponse]:
    """Return every message of a read that ends."""
    return [event async for event in served.logs.Subscribe(request)]


def records_of(messages: list[log_service_pb2.SubscribeResponse]) -> list[common_pb2.Record]:
    return [
        one
        for message in messages
        for part in message.records.partitions
        for batch in part.batches
        for one in batch.records
    ]


async def read(served: GrpcNode, **fields: Any) -> list[bytes]:
    return [one.value for one in records_of(await events(served, Request(**fields)))]


async def until(stream: AsyncIterator[Any], kind: str) -> Any:
    """Return the next message of a kind."""
    async for message in stream:
        if message.WhichOneof("event") == kind:
            return message
    raise AssertionError(f"the stream ended without {kind}")


def at(time_ms: int) -> Timestamp:
    return timestamp(time_ms)


async def test_a_bounded_read_over_all_partitions(served: GrpcNode) -> None:
    await served.create("orders", 3)
    for number in range(60):
        await served.produce("orders", plain(b"%d" % number, partition=number % 3))
    messages = await events(served, Request(topics=["orders"], start=START, stop=END))
    opened = messages[0].opened
    assert [bound.stop_offset for bound in opened.bounds] == [20, 20, 20]
    assert all(message.WhichOneof("event") == "records" for message in messages[1:])
    seen = [(one.offset, one.value) for one in records_of(messages)]
    assert sorted(seen) == sorted((number // 3, b"%d" % number) for number in range(60))
    last = {
        part.next.partition: part for message in messages[1:] for part in message.records.partitions
    }  # noqa: E501
    assert {number: part.next.offset for number, part in last.items()} == {0: 20, 1: 20, 2: 20}


async def test_following_the_log(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"old"))
    stream = served.logs.Subscribe(Request(topics=["orders"], start=START))
    assert not (await until(stream, "opened")).opened.bounds[0].HasField("stop_offset")
    assert [one.value for one in records_of([await until(stream, "records")])] == [b"old"]
    caught = (await until(stream, "caught_up")).caught_up
    assert [cursor.offset for cursor in caught.cursors] == [1]
    await served.produce("orders", plain(b"new", b"newer"))
    assert [one.value for one in records_of([await until(stream, "records")])] == [b"new", b"newer"]
    stream.cancel()


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
    ]  # noqa: E501
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


async def test_new_partitions_are_read_from_their_beginning(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe, "HEARTBEAT_MS", 50)
    await served.create("orders")
    stream = served.logs.Subscribe(Request(topics=["orders"]))
    await until(stream, "caught_up")
    grow = topic_service_pb2.AddPartitionsRequest(name="orders", partition_count=3)
    await served.topics.AddPartitions(grow)
    await served.produce("orders", plain(b"in the new one", partition=2))
    opened = (await until(stream, "opened")).opened
    assert [bound.start.partition for bound in opened.bounds] == [1, 2]
    while not records_of([message := await until(stream, "records")]):
        pass
    assert [one.value for one in records_of([message])] == [b"in the new one"]
    stream.cancel()


async def test_a_topic_that_goes_ends_the_stream(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe, "HEARTBEAT_MS", 50)
    await served.create("orders")
    stream = served.logs.Subscribe(Request(topics=["orders"]))
    await until(stream, "caught_up")
    await served.topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name="orders"))
    assert (await refusal(stream)).reason == "UNKNOWN_TOPIC"


async def test_signs_of_life(served: GrpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert subscribe.HEARTBEAT_MS < 5_000
    monkeypatch.setattr(subscribe, "HEARTBEAT_MS", 20)
    await served.create("orders")
    await served.produce("orders", plain(b"a"))
    now = served.node.broker.context.append_time()
    future = Range(clock=common_pb2.CLOCK_APPEND, end_time=at(now + 3_600_000))
    for request in (
        Request(topics=["orders"], start=START),
        Request(topics=["orders"], range=future),
    ):
        stream = served.logs.Subscribe(request)
        await until(stream, "caught_up")
        closed = 0
        for _ in range(3):
            (part,) = (await until(stream, "records")).records.partitions
            assert not part.batches
            assert part.next.offset == part.high_watermark == 1
            assert part.closed_time.ToMilliseconds() >= closed
            closed = part.closed_time.ToMilliseconds()
        stream.cancel()


async def test_a_gap_is_told_and_what_follows_is_delivered(served: GrpcNode) -> None:
    await served.create("orders")
    for number in range(5):
        await served.produce("orders", plain(b"%d" % number))
    bounds = [log_service_pb2.ReadBounds(start=common_pb2.Cursor(topic="orders", offset=1))]
    await trim(served, "orders", 4)
    stream = served.logs.Subscribe(Request(topics=["orders"], bounds=bounds))
    gap = (await until(stream, "gap")).gap
    assert (gap.expected_offset, gap.next_offset) == (1, 4)
    assert [one.value for one in records_of([await until(stream, "records")])] == [b"4"]
    stream.cancel()
    messages = await events(served, Request(topics=["orders"], start=Seek(offset=1), stop=END))
    assert messages[0].opened.bounds[0].truncated
    assert messages[0].opened.bounds[0].start.offset == 4


async def test_a_reader_that_has_diverged_is_told_and_given_nothing(served: GrpcNode) -> None:
    await served.create("orders", 2)
    await served.produce("orders", plain(b"a"), plain(b"b", partition=1))
    cursor = common_pb2.Cursor(topic="orders", offset=9, leader_epoch=0)
    other = common_pb2.Cursor(topic="orders", partition=1)
    bounds = [log_service_pb2.ReadBounds(start=one) for one in (cursor, other)]
    stream = served.logs.Subscribe(Request(topics=["orders"], bounds=bounds))
    assert (await until(stream, "diverged")).diverged.offset == 1
    assert [one.value for one in records_of([await until(stream, "records")])] == [b"b"]
    stream.cancel()


async def test_falling_behind_and_catching_up(tmp_path: Path) -> None:
    settings = NodeSettings(log=LogSettings(tail_bytes=0))
    async with grpc_node(tmp_path, settings) as served:
        await served.create("orders")
        stream = served.logs.Subscribe(
            Request(topics=["orders"], encoding=common_pb2.ENCODING_BATCH)
        )
        await until(stream, "caught_up")
        kinds: list[str] = []
        for number in range(64):
            await served.produce("orders", plain(b"x" * 500_000 + b"%d" % number))
        reached = 0
        async for message in stream:
            kinds.append(message.WhichOneof("event"))
            for part in message.records.partitions:
                reached = part.next.offset
            if reached == 64 and kinds[-1] == "caught_up":
                break
        switches = [kind for kind in kinds if kind != "records"]
        assert switches[:2] == ["fell_behind", "caught_up"]
        assert switches == ["fell_behind", "caught_up"] * (len(switches) // 2)
        stream.cancel()


async def test_a_slow_reader_is_waited_for(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.create("orders")
    for _ in range(48):
        await served.produce("orders", plain(b"x" * 1_000_000))
    reads = 0
    read_on = served.node.broker.read_on
    original = type(read_on).__call__

    async def counted(*args: Any, **fields: Any) -> Any:
        nonlocal reads
        reads += 1
        return await original(*args, **fields)

    monkeypatch.setattr(type(read_on), "__call__", counted)
    stream = served.logs.Subscribe(Request(topics=["orders"], start=START, stop=END))
    await until(stream, "records")
    for _ in range(300):  # the node has had its turns
        await served.turn()
    assert reads < 24
    left = [message async for message in stream]
    assert len(records_of(left)) == 47


async def test_what_does_not_decode_ends_the_stream_where_it_is(served: GrpcNode) -> None:
    await served.create("orders")
    good = encode_batch([NewRecord(0, None, b"good")])
    for sick, reason in ((bomb(), "RECORD_TOO_LARGE"), (garbage(), "CORRUPT_LOG")):
        first, bad, _ = await served.produce("orders", encoded(good), encoded(sick), encoded(good))
        request = Request(topics=["orders"], start=Seek(offset=first.base_offset), stop=END)
        stream = served.logs.Subscribe(request)
        await until(stream, "opened")
        assert [one.value for one in records_of([await until(stream, "records")])] == [b"good"]
        found = await refusal(stream)
        assert found.reason == reason
        assert found.info.metadata["offset"] == str(bad.base_offset)
        request.encoding = common_pb2.ENCODING_BATCH
        whole = b"".join(
            batch.encoded
            for message in await events(served, request)
            for part in message.records.partitions
            for batch in part.batches
        )
        assert len(list(iter_batches(memoryview(whole)))) == 3


async def test_messages_stay_small_and_runs_share_append_times(served: GrpcNode) -> None:
    await served.create("orders", 4)
    results = []
    for number in range(20):
        batch = plain(b"x" * 700_000, partition=number % 4)
        results += await served.produce("orders", batch)
    request = Request(topics=["orders"], start=START, stop=END, encoding=common_pb2.ENCODING_BATCH)
    request.max_bytes = 3 << 20
    messages = await events(served, request)
    assert max(message.ByteSize() for message in messages) < 4 << 20
    times = {(result.partition, result.base_offset): result.append_time for result in results}
    seen = 0
    for message in messages:
        for part in message.records.partitions:
            for run in part.batches:
                for batch in iter_batches(memoryview(run.encoded)):
                    (one,) = decode_batch(batch)
                    assert times[part.next.partition, one.offset] == run.append_time
                    seen += 1
    assert seen == 20


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
        ({"start": Seek(time={}, clock=7)}, "INVALID_REQUEST", "start.clock"),  # type: ignore[arg-type]
        ({"start": Seek(offset=9)}, "OFFSET_OUT_OF_RANGE", ""),
        ({"stop": Seek(offset=9)}, "OFFSET_OUT_OF_RANGE", ""),
        ({"range": Range(), "stop": END}, "INVALID_REQUEST", "range"),
        ({"range": Range(start_time={"seconds": 2}, end_time={"seconds": 1})}, "INVALID_REQUEST", "range"),
        ({"max_bytes": -1}, "INVALID_REQUEST", "max_bytes"),
        ({"order": Request.ORDER_APPEND_TIME}, "NOT_IMPLEMENTED", "order"),
        ({"order": 99}, "INVALID_REQUEST", "order"),
        ({"filter": {}}, "NOT_IMPLEMENTED", "filter"),
        ({"topics": ["none"]}, "UNKNOWN_TOPIC", ""),
        ({"topics": [], "partitions": [{"topic": "orders", "partition": 4}]}, "UNKNOWN_PARTITION", ""),
    ],
)  # fmt: skip
async def test_requests_that_are_refused(
    served: GrpcNode, fields: dict[str, Any], reason: str, field: str
) -> None:
    await served.create("orders")
    found = await refusal(served.logs.Subscribe(Request(**({"topics": ["orders"]} | fields))))
    assert (found.reason, found.info.metadata["field"]) == (reason, field)


async def test_an_abandoned_stream_leaves_nothing_behind(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"x" * 900_000))
    waiting = served.node.broker.partition("orders", 0).committed_acks
    before = len(asyncio.all_tasks())
    for _ in range(3):
        stream = served.logs.Subscribe(Request(topics=["orders"], start=START))
        await until(stream, "caught_up")
        stream.cancel()
    while served.door.counters.running or len(waiting):
        await served.turn()
    assert len(asyncio.all_tasks()) <= before + 1
    assert served.log.lines == []


async def test_relative_times_are_taken_once(served: GrpcNode) -> None:
    await served.create("orders", 2)
    now = served.node.broker.context.clock.wall_ms()
    batch = log_service_pb2.ProduceBatch(
        partition=1, records=[record(b"old", time=now - 7_200_000), record(b"new", time=now)]
    )  # noqa: E501
    await served.produce("orders", batch)
    hour = Range(start_ago={"seconds": 3_600})
    messages = await events(served, Request(topics=["orders"], range=hour))
    assert [one.value for one in records_of(messages)] == [b"new"]
    start = messages[0].opened.range.start_time.ToMilliseconds()
    assert now - 3_600_000 <= start <= served.node.broker.context.clock.wall_ms() - 3_600_000
    assert not messages[0].opened.range.HasField("end_time")
