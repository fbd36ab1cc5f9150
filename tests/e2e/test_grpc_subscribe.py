"""Subscribe over gRPC: every record once and in order; switches, gaps and damage are told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.broker import subscribe
from api.settings import NodeSettings
from logstore.batch import decode_batch, encode_batch
from logstore.settings import LogSettings
from model.record import NewRecord, iter_batches
from tests.grpc_node import GrpcNode, encoded, grpc_node, plain, refusal
from tests.grpc_reading import (
    END,
    START,
    Range,
    Request,
    Seek,
    at,
    bomb,
    events,
    garbage,
    records_of,
    trim,
    until,
)
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2


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
    }
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


@pytest.mark.parametrize("again", [False, True])
async def test_a_topic_that_goes_ends_the_stream(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    monkeypatch.setattr(subscribe, "HEARTBEAT_MS", 50)
    await served.create("orders")
    place = common_pb2.TopicPartition(topic="orders")
    streams = [
        served.logs.Subscribe(Request(topics=["orders"])),
        served.logs.Subscribe(Request(partitions=[place])),
    ]
    for stream in streams:
        await until(stream, "caught_up")
    await served.topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name="orders"))
    if again:  # another topic: offsets of the first mean nothing in it
        await served.create("orders")
    for stream in streams:
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
    settings = NodeSettings(log=LogSettings(tail_bytes=0, journal_file_bytes=4 << 20))
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
                for view in iter_batches(memoryview(run.encoded)):
                    (one,) = decode_batch(view)
                    assert times[part.next.partition, one.offset] == run.append_time
                    seen += 1
    assert seen == 20


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
    while len(asyncio.all_tasks()) > before + 1:  # gRPC's own end some turns after the calls
        await served.turn()
    assert served.log.lines == []
