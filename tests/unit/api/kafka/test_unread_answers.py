"""Answers that Kafka clients do not take are bounded together, and cost only readers (P53, P52)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from struct import unpack_from
from typing import Any

import pytest

from api.broker.fetch import Want
from api.broker.memory import MemoryBudget
from api.kafka.connection import Door, KafkaConnection
from api.kafka.counters import KafkaCounters
from api.kafka.listener import KafkaListener
from api.kafka.schema import request_codec, response_codec
from api.kafka_settings import SWEEP_MS, KafkaSettings
from api.node.system_spawn import SystemSpawn
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.tick import Tick
from model.ids import MonotonicMs, Offset, WallMs
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, HeldPool, batch_of, broker_node, cold
from tests.kafka_door import NOW, Log, Nobody, make_door, request
from tests.kafka_node import APIS
from tests.wire_transport import RecordingTransport

FETCH, VERSION = 1, 4
VALUE_BYTES = 90_000
"""Two of them are less than three quarters of what may be left unread, three are more."""
BATCHES = 4
SMALL = KafkaSettings(connection_buffer_bytes_max=1000)


class Reader:
    """A client that asks, and takes its answers when told to."""

    def __init__(self, node: BrokerNode) -> None:
        self._node = node
        door = Door(
            name="external", broker=node.broker, apis=APIS, settings=SMALL,
            counters=KafkaCounters(), tick=node.node.tick, memory=node.node.memory,
            room=node.node.room,
            answers=node.node.answers, spawn=SystemSpawn(node.failures.append), note=Log(),
        )  # fmt: skip
        self.transport = RecordingTransport(KafkaConnection(door, Nobody()), reads_answers=False)

    async def ask(
        self,
        topic: str,
        *,
        offset: int = 0,
        wait_ms: int = 0,
        min_bytes: int = 1,
        max_bytes: int = 1 << 20,
    ) -> None:
        """Fetch as much as the node gives, from one partition."""
        part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        fields: dict[str, Any] = {
            "replica_id": -1, "max_wait": wait_ms, "min_bytes": min_bytes, "max_bytes": max_bytes,
            "isolation_level": 0, "topics": [{"topic": topic, "partitions": [part]}],
        }  # fmt: skip
        body = request_codec(FETCH, VERSION).write(fields)
        self.transport.feed(request(FETCH, VERSION, 1, body))
        await self.turn()

    async def turn(self) -> None:
        await self._node.broker.searches.turn()

    @property
    def answers(self) -> list[int]:
        """How many bytes of records each answer had."""
        raw, at, sizes = b"".join(self.transport.writes), 0, []
        while at < len(raw):
            (size,) = unpack_from(">i", raw, at)
            message, _ = response_codec(FETCH, VERSION).read(memoryview(raw)[at + 4 :], 4)
            (row,) = message["responses"][0]["partitions"]
            assert row["error_code"] == 0
            sizes.append(len(row["records"] or b""))
            at += 4 + size
        return sizes


@asynccontextmanager
async def stored() -> AsyncIterator[tuple[BrokerNode, HostedPartition]]:
    async with broker_node() as node:
        orders = await node.create("orders")
        for number in range(BATCHES):
            await node.produce(orders, batch_of([bytes([number]) * VALUE_BYTES]))
        yield node, orders


def limit_of(answers: MemoryBudget) -> int:
    return answers.taken_bytes + answers.free_bytes


async def test_readers_that_take_nothing_share_one_bound() -> None:
    async with stored() as (node, orders):
        answers = node.node.answers
        readers = [Reader(node) for _ in range(10)]
        for reader in readers:
            await reader.ask("orders")
        batches = [round(reader.answers[0] / VALUE_BYTES) for reader in readers]
        assert batches == [1, 1, 1, *[0] * 7], "one each while there is room, then nothing"
        assert answers.taken_bytes <= limit_of(answers) + VALUE_BYTES
        await node.produce(orders, batch_of([b"writers have a share of their own"]))
        for reader in readers:
            reader.transport.drained()
        assert answers.taken_bytes == 0
        await readers[-1].ask("orders", offset=0)
        assert round(readers[-1].answers[1] / VALUE_BYTES) == 1


async def test_one_answer_takes_a_share_of_the_room_and_not_all_of_it() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        for _ in range(100):
            await node.produce(orders, batch_of([b"x" * 1_000]))
        reader = Reader(node)
        await reader.ask("orders")
        assert reader.answers[0] <= limit_of(node.node.answers) // 16 < 100_000


async def test_a_long_poll_waits_for_room_and_ends_in_time_without() -> None:
    async with stored() as (node, _):
        patient, hasty = Reader(node), Reader(node)
        node.node.answers.take(limit_of(node.node.answers))
        await patient.ask("orders", wait_ms=60_000)
        await hasty.ask("orders", wait_ms=500)
        node.clock.advance(500)
        await hasty.turn()
        assert (patient.answers, hasty.answers) == ([], [0])
        node.node.answers.give_back(node.node.answers.taken_bytes)
        await patient.turn()
        assert [round(size / VALUE_BYTES) for size in patient.answers] == [1]


async def test_what_is_too_little_to_be_sent_is_not_kept_until_it_is_more() -> None:
    async with stored() as (node, _):
        reader, answers = Reader(node), node.node.answers
        for is_full in (True, False):
            await reader.ask("orders", offset=BATCHES - 1, wait_ms=500, min_bytes=VALUE_BYTES * 2)
            answers.take(taken := limit_of(answers) * is_full)
            node.clock.advance(500)
            await reader.turn()
            answers.give_back(taken)
        batches = [round(size / VALUE_BYTES) for size in reader.answers]
        assert batches == [0, 1], "while others fill the room, none is kept beside it"


async def test_nobody_waits_for_more_than_he_takes() -> None:
    async with stored() as (node, _):
        reader = Reader(node)
        await reader.ask("orders", wait_ms=60_000, min_bytes=1 << 20, max_bytes=100_000)
        assert [round(size / VALUE_BYTES) for size in reader.answers] == [1]


async def test_a_client_that_goes_while_it_waits_for_room_is_forgotten() -> None:
    async with stored() as (node, _):
        reader = Reader(node)
        node.node.answers.take(limit_of(node.node.answers))
        await reader.ask("orders", wait_ms=60_000)
        reader.transport.lose()
        node.node.answers.give_back(node.node.answers.taken_bytes)
        await reader.turn()
        assert reader.answers == []
        assert node.node.answers.taken_bytes == 0


async def test_what_a_client_has_not_taken_goes_with_it() -> None:
    async with stored() as (node, _):
        reader = Reader(node)
        await reader.ask("orders")
        assert node.node.answers.taken_bytes > VALUE_BYTES
        reader.transport.lose()
        assert node.node.answers.taken_bytes == 0


@pytest.mark.parametrize("leaves", [False, True])
async def test_what_the_read_pool_brings_is_counted_while_it_works(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        pool = HeldPool(node.broker.context.read_pool)
        monkeypatch.setattr(node.broker.context, "read_pool", pool)
        told: list[object] = []
        cancel = node.broker.fetch(
            ANONYMOUS, [Want(node.broker.partition("orders", 0), Offset(0), 1_000)],
            min_bytes=1, max_bytes=1 << 20, max_wait_ms=0, done=told.append,
        )  # fmt: skip
        answers = node.node.answers
        assert answers.taken_bytes == 1_000
        if leaves:
            cancel()
        pool.let_go()
        while answers.taken_bytes:
            await node.broker.searches.turn()
        assert len(told) == (not leaves)


async def test_a_sweep_counts_what_a_slow_reader_has_left_and_ends_one_that_only_sends() -> None:
    clock, errors = SimClock(wall=WallMs(0), monotonic=MonotonicMs(0)), list[BaseException]()
    spawn = SystemSpawn(errors.append)
    tick = Tick(asyncio.get_running_loop().call_soon)
    parts = make_door(tick, replace(SMALL, stalled_ms_max=2 * SWEEP_MS), spawn)
    listener = KafkaListener(parts.door, clock=clock, descriptors_max=1 << 20)
    listener.listen("127.0.0.1", 0)
    client = listener.admit("192.0.2.7", 5)
    assert client is not None
    transport = RecordingTransport(client, reads_answers=False)
    transport.feed(request(NOW, 2, 1, b"x" * 3000))
    await asyncio.sleep(0)
    left = parts.answers.taken_bytes
    assert left > 3000
    transport.takes(500)
    for _ in range(3):
        assert not transport.aborted
        clock.advance(SWEEP_MS)
        assert parts.answers.taken_bytes == left - 500
        transport.feed(b"\0")
    assert transport.aborted
    transport.lose()
    assert parts.answers.taken_bytes == 0
    await listener.stop(grace_ms=0)
    await spawn.close()
    assert errors == []
