"""Two nodes that answer for each other with little room: neither waits for what the other holds.

Clients of each read what the other one leads. Once the room of each was full of what its own
clients were to have, and what each had to read for the other waited for it: both stood still, and
all was refused after a while.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.broker import answer_room
from api.rpc.call import Call
from model.principal import ANONYMOUS
from tests import cluster_nodes
from tests.cluster.test_any_node import TOPIC, called
from tests.cluster_members import handler_of
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, log_service_pb2

MEMORY_BYTES = 1 << 20
ANSWER_BYTES = MEMORY_BYTES // 4
VALUE_BYTES = ANSWER_BYTES * 3 // 8
"""Two of them, as they are read and as they are sent, are more than all room for answers."""
BATCHES = 4
"""In each partition; a reader has one at a time."""
CLIENTS = 4
"""At each node."""


@pytest.fixture
async def nodes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes that lead one partition each; who waits for room does so without end."""
    monkeypatch.setattr(cluster_nodes, "MEMORY_BYTES", MEMORY_BYTES)
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 3_600)
    made = Nodes(2)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=2)
        for number in (0, 1):
            leader = await made.leader(TOPIC, number)
            for _ in range(BATCHES):
                request = log_service_pb2.ProduceRequest()
                batch = request.batches.add(topic=TOPIC, partition=number)
                batch.records.add(value=b"%d" % number * VALUE_BYTES)
                (row,) = (await called(made, leader, "LogService/Produce", request)).results
                assert not row.HasField("error")
        assert {made.row(TOPIC, number).leader for number in (0, 1)} == {1, 2}
        yield made
        for life in made.lives.values():
            assert life.context.shares.taken_bytes == 0
    finally:
        await made.close()


def fetch() -> log_service_pb2.FetchRequest:
    last = BATCHES - 1
    cursors = [common_pb2.Cursor(topic=TOPIC, partition=number, offset=last) for number in (0, 1)]
    return log_service_pb2.FetchRequest(cursors=cursors, encoding=common_pb2.ENCODING_BATCH)


async def test_reads_across_do_not_stand_still(nodes: Nodes) -> None:
    began = nodes.net.clock.monotonic_ms()
    reading = [
        handler_of(life, "LogService/Fetch").serve(
            fetch(), Call("LogService/Fetch", ANONYMOUS, 10_000)
        )
        for life in nodes.lives.values()
        for _ in range(CLIENTS)
    ]
    answers = await nodes.done(asyncio.gather(*reading))
    for answer in answers:
        assert [row.error.reason for row in answer.results] == ["", ""]
        assert any(row.records.batches for row in answer.results), "each comes further"
    assert nodes.net.clock.monotonic_ms() - began < 1_000, "nobody waited for a time to be over"


@pytest.mark.parametrize("which", ["all", "the other's"])
async def test_subscriptions_across_do_not_stand_still(nodes: Nodes, which: str) -> None:
    """Each holds a step until its client takes it, and another one until its node does."""
    told: dict[tuple[int, int], list[int]] = {}

    def wanted(life: Life) -> list[int]:
        mine = [nodes.row(TOPIC, number).leader == life.number for number in (0, 1)]
        return [number for number in (0, 1) if which == "all" or not mine[number]]

    async def read(life: Life, client: int) -> None:
        numbers = told[life.number, client] = list[int]()
        request = log_service_pb2.SubscribeRequest(
            start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
            stop=common_pb2.Seek(edge=common_pb2.EDGE_LATEST),
            max_bytes=VALUE_BYTES,
        )
        for number in wanted(life):
            request.partitions.add(topic=TOPIC, partition=number)

        async def send(message: log_service_pb2.SubscribeResponse) -> None:
            await asyncio.sleep(0)
            numbers.extend(one.next.partition for one in message.records.partitions if one.batches)

        call = Call("LogService/Subscribe", ANONYMOUS, None)
        await handler_of(life, "LogService/Subscribe").serve(request, send, call)

    began = nodes.net.clock.monotonic_ms()
    lives = list(nodes.lives.values())
    reading = [read(life, client) for life in lives for client in range(CLIENTS)]
    await nodes.done(asyncio.gather(*reading))
    for life in lives:
        for client in range(CLIENTS):
            assert sorted(told[life.number, client]) == sorted(wanted(life) * BATCHES)
    assert nodes.net.clock.monotonic_ms() - began < 3_000
