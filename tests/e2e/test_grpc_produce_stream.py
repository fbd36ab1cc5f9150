"""ProduceStream: pipelined, answered in order within a partition, bounded, ended in order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.broker import answer_room
from api.rpc import produce_stream
from api.rpc.produce import Producing
from tests.grpc_node import GrpcNode, plain, refusal
from tests.grpc_reading import END, START
from tests.grpc_reading import read as read_values
from tidelog.v1 import log_service_pb2

Produce = log_service_pb2.ProduceRequest
Stamp = log_service_pb2.ProducerStamp


def request(
    correlation_id: int, topic: str, *batches: log_service_pb2.ProduceBatch, **fields: Any
) -> log_service_pb2.ProduceStreamRequest:
    for batch in batches:
        batch.topic = topic
    return log_service_pb2.ProduceStreamRequest(
        correlation_id=correlation_id, produce=Produce(batches=batches, **fields)
    )


async def values(served: GrpcNode, topic: str) -> list[bytes]:
    return await read_values(served, topics=[topic], start=START, stop=END)


async def test_answers_come_in_order_and_every_offset_is_true(served: GrpcNode) -> None:
    await served.create("orders")

    async def requests() -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        for number in range(500):
            big = b"x" * 2_000 if number % 50 == 0 else b""
            yield request(1_000 + number, "orders", plain(b"%d" % number, big))

    answers = [answer async for answer in served.logs.ProduceStream(requests())]
    assert [answer.correlation_id for answer in answers] == list(range(1_000, 1_500))
    offsets = [answer.produce.results[0].base_offset for answer in answers]
    assert offsets == list(range(0, 1_000, 2))
    found = await values(served, "orders")
    assert found[::2] == [b"%d" % number for number in range(500)]


async def test_large_plain_batches_do_not_overtake_each_other(served: GrpcNode) -> None:
    await served.create("orders")

    async def requests() -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        for number in range(10):
            count = 5_000 if number % 2 == 0 else 1
            yield request(number, "orders", plain(*[b"%d" % number] * count))

    answers = [answer async for answer in served.logs.ProduceStream(requests())]
    assert [answer.correlation_id for answer in answers] == list(range(10))
    found = await values(served, "orders")
    assert found == sorted(found)


async def test_a_refused_request_does_not_end_the_stream(served: GrpcNode) -> None:
    await served.create("orders")

    async def requests() -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        yield request(1, "orders", plain(b"a"))
        yield request(2, "orders", plain(b"b"), plain(b"c"), acks=99)
        yield request(3, "orders", plain(b"d", partition=9), plain(b"e"))
        yield request(4, "orders")
        yield request(5, "orders", plain(b"f"))

    answers = {
        answer.correlation_id: answer.produce.results
        async for answer in served.logs.ProduceStream(requests())
    }
    assert [one.error.reason for one in answers[2]] == ["INVALID_REQUEST"] * 2
    assert [one.error.reason for one in answers[3]] == ["UNKNOWN_PARTITION", ""]
    assert (list(answers[4]), len(answers)) == ([], 5)
    assert await values(served, "orders") == [b"a", b"e", b"f"]


async def test_repeated_stamped_batches_keep_their_first_offset(served: GrpcNode) -> None:
    await served.create("orders")
    producer = (await served.logs.InitProducer(log_service_pb2.InitProducerRequest())).producer

    async def requests() -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        for number in (0, 1, 2, 1, 2, 3):
            batch = plain(b"%d" % number)
            batch.producer.CopyFrom(Stamp(producer=producer, base_sequence=number))
            yield request(number, "orders", batch)

    answers = [answer async for answer in served.logs.ProduceStream(requests())]
    results = [
        (one.produce.results[0].base_offset, one.produce.results[0].duplicate) for one in answers
    ]
    assert results == [(0, False), (1, False), (2, False), (1, True), (2, True), (3, False)]


async def test_no_more_than_so_many_are_under_way(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert produce_stream.IN_FLIGHT_MAX == 100
    name, many = "o" * 249, 800
    await served.create(name)
    offered = 0
    original = Producing.offer

    async def counted(*args: Any) -> Any:
        nonlocal offered
        offered += 1
        return await original(*args)

    monkeypatch.setattr(Producing, "offer", counted)
    stream = served.logs.ProduceStream()
    sent = 0

    async def send() -> None:
        nonlocal sent
        for number in range(many):
            # Refusals are long, 40 KiB together: more than any window of flow control holds.
            await stream.write(request(number, name, *[plain(b"x", partition=9)] * 50))
            sent += 1
        await stream.done_writing()

    sending = asyncio.get_running_loop().create_task(send())
    before, still = -1, 0
    while still < 40:  # nobody reads the answers: it comes to a stop
        await served.turn()
        still = still + 1 if offered == before else 0
        before = offered
    assert sent < many
    answers = [answer.correlation_id async for answer in stream]
    await sending
    assert answers == list(range(many))


async def test_what_does_not_fit_after_a_while_is_told_so_and_the_stream_goes_on(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Produce is told: whoever sends waits for nobody's disk without end."""
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0.05)
    await served.create("orders")
    stream, memory = served.logs.ProduceStream(), served.node.memory
    answers = aiter(stream)
    memory.take(1 << 40)
    await stream.write(request(1, "orders", plain(b"a"), plain(b"b")))
    refused = await anext(answers)
    assert refused.correlation_id == 1
    assert {row.error.reason for row in refused.produce.results} == {"OVERLOADED"}
    assert all(row.error.retryable for row in refused.produce.results)
    memory.give_back(1 << 40)
    await stream.write(request(2, "orders", plain(b"a")))
    assert (await anext(answers)).produce.results[0].base_offset == 0
    await stream.done_writing()
    assert [answer async for answer in answers] == []


async def test_a_node_that_stops_answers_what_it_took(served: GrpcNode) -> None:
    await served.create("orders")
    stream = served.logs.ProduceStream()
    answers = aiter(stream)
    await stream.write(request(1, "orders", plain(b"a")))
    assert (await anext(answers)).correlation_id == 1
    await stream.write(request(2, "orders", plain(b"b")))
    while served.node.broker.partition("orders", 0).log.log_end < 2:
        await served.turn()
    await served.door.drain()
    assert (await anext(answers)).produce.results[0].base_offset == 1
    assert (await refusal(stream)).reason == "SHUTTING_DOWN"


async def test_a_client_that_breaks_off_leaves_nothing_behind(served: GrpcNode) -> None:
    await served.create("orders")
    stream = served.logs.ProduceStream()
    await stream.write(request(1, "orders", plain(b"a")))
    await stream.read()
    stream.cancel()
    while served.door.counters.running:
        await served.turn()
    assert served.node.memory.taken_bytes == 0
    assert served.log.lines == []
