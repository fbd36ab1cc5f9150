"""Kafka requests of which only a part has come: they wait for turns, and hold up nobody (P53, P57).

The budget of the node is 64 MiB. Its Kafka listener has a clock that the tests turn: so nothing is
cut off but where a test says that time has passed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.kafka.schema import request_codec, response_codec
from api.kafka_settings import SWEEP_MS, KafkaSettings
from api.node.log_events import EVENTS
from api.sim.clock import SimClock
from cluster.shell.read_buffer import PREFIX_BYTES
from model.ids import MonotonicMs, WallMs
from tests.broker_node import batch_of
from tests.grpc_node import GrpcNode, grpc_node, plain
from tests.kafka_door import request
from tests.kafka_node import Serving, serving_kafka

PRODUCE, VERSION = 0, 8
LARGE, HALF = 900_000, 700_000
SETTLED_TURNS = 3


@dataclass
class Doors:
    """A node behind both doors, with a topic."""

    grpc: GrpcNode
    kafka: Serving
    clock: SimClock
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def client(self) -> "Client":
        reader, writer = await asyncio.open_connection(*self.kafka.address)
        self.writers.append(writer)
        return Client(reader, writer)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the node go on until something is so."""
        while not holds():
            await self.grpc.turn()

    async def settled(self) -> None:
        """Let the node read whatever clients have sent and it has room for."""
        still, before = 0, -1
        while still < SETTLED_TURNS:
            await self.grpc.turn()
            received = sum(one.received_bytes for one in self.kafka.listener._connections)
            still = still + 1 if received == before else 0
            before = received

    async def pass_time(self, ms: int) -> None:
        """Let sweeps of the listener come and go."""
        for _ in range(0, ms, SWEEP_MS):
            await self.settled()
            self.clock.advance(SWEEP_MS)


@dataclass
class Client:
    """One connection for one produce request, which is sent in parts."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answered(self) -> int:
        """Return the offset that the batch got."""
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        raw = await self.reader.readexactly(size)
        message, _ = response_codec(PRODUCE, VERSION).read(memoryview(raw), 4)
        row = message["responses"][0]["partition_responses"][0]
        assert row["error_code"] == 0
        return int(row["base_offset"])


def produce(value: bytes) -> bytes:
    part = {"index": 0, "records": bytes(batch_of([value]))}
    topic = {"name": "orders", "partition_data": [part]}
    fields = {"transactional_id": None, "acks": -1, "timeout": 60_000, "topic_data": [topic]}
    return request(PRODUCE, VERSION, 1, request_codec(PRODUCE, VERSION).write(fields))


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with opened(tmp_path) as found:
        yield found


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Doors]:
    clock = SimClock(wall=WallMs(0), monotonic=MonotonicMs(0))
    async with (
        grpc_node(directory) as grpc,
        serving_kafka(grpc.node, clock=clock, errors=grpc.failures) as kafka,
    ):
        await grpc.create("orders")
        doors = Doors(grpc, kafka, clock)
        try:
            yield doors
        finally:
            for writer in doors.writers:
                writer.close()


async def test_large_requests_of_many_clients_take_turns(doors: Doors) -> None:
    """Halves of all of them would be 84 MB: there is room for so many at a time."""
    data, many = produce(b"x" * LARGE), 120
    room = doors.grpc.node.room
    clients = [await doors.client() for _ in range(many)]
    for client in clients:
        client.writer.write(data[:HALF])
    at_a_time = room.limit_bytes // (len(data) - PREFIX_BYTES)
    await doors.until(lambda: room.waiting == many - at_a_time)
    assert room.taken_bytes <= room.limit_bytes
    for client in clients:
        client.writer.write(data[HALF:])
    offsets = [await client.answered() for client in clients]
    assert sorted(offsets) == list(range(many))
    assert not room.contended
    assert room.taken_bytes <= room.limit_bytes
    assert doors.kafka.log.lines == []


async def test_half_requests_that_stand_still_hold_up_nobody_else(doors: Doors) -> None:
    data, many = produce(b"x" * LARGE), 100
    node = doors.grpc.node
    stalled = [await doors.client() for _ in range(many)]
    for client in stalled:
        client.writer.write(data[:HALF])
    await doors.until(lambda: doors.kafka.listener.connections == many)
    await doors.settled()
    assert node.room.waiting > many // 2 and not node.memory.congested
    (row,) = await doors.grpc.produce("orders", plain(b"a"))
    assert row.base_offset == 0
    small, large = await doors.client(), await doors.client()
    small.writer.write(produce(b"b"))
    assert await small.answered() == 1
    large.writer.write(data)
    while node.room.contended:  # some are cut off, the next have their turn and stand still as well
        await doors.pass_time(SWEEP_MS)
    assert doors.clock.monotonic_ms() <= 20_000, "a stalled one alone has 60 s"
    assert await large.answered() == 2
    lines = doors.kafka.log.lines
    assert {event for event, _ in lines} == {"kafka_connection_slow"} <= EVENTS.keys()
    assert doors.kafka.counters.closed_slow == len(lines) <= many


async def test_who_waits_for_room_is_not_taken_for_one_that_stands_still(doors: Doors) -> None:
    data, room = produce(b"x" * LARGE), doors.grpc.node.room
    room.reserve(holder := Sending(), room.limit_bytes)
    client = await doors.client()
    client.writer.write(data)
    await doors.until(lambda: room.waiting == 1)
    await doors.pass_time(KafkaSettings().stalled_ms_max * 2)
    assert room.waiting == 1 and doors.kafka.log.lines == []
    room.vacate(holder, room.limit_bytes)
    assert await client.answered() == 0


class Sending:
    """Somebody who has room, and whose request is here."""

    moved_bytes = 0
    is_whole = True

    def granted(self, size_bytes: int) -> None:
        raise AssertionError(size_bytes)

    def give_way(self) -> None:
        """It is needed."""

    def too_slow(self) -> None:
        raise AssertionError
