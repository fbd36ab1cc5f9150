"""Answers that Kafka clients do not take are bounded together, and cost only readers (P53, P52)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import unpack_from
from typing import Any

import pytest

from api.broker.fetch import Want
from api.broker.memory import MemoryBudget
from api.kafka.connection import Door, KafkaConnection
from api.kafka.counters import KafkaCounters
from api.kafka.schema import request_codec, response_codec
from api.kafka_settings import KafkaSettings
from api.node.system_spawn import SystemSpawn
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from model.ids import Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, HeldPool, batch_of, broker_node, cold
from tests.kafka_door import Log, Nobody, request
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
            answers=node.node.answers, spawn=SystemSpawn(node.failures.append), note=Log(),
        )  # fmt: skip
        self.transport = RecordingTransport(KafkaConnection(door, Nobody()), reads_answers=False)

    async def ask(self, topic: str, *, offset: int = 0, wait_ms: int = 0) -> None:
        """Fetch as much as the node gives, from one partition."""
        part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        fields: dict[str, Any] = {
            "replica_id": -1, "max_wait": wait_ms, "min_bytes": 1, "max_bytes": 1 << 20,
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
        assert batches == [2, 1, *[0] * 8], "as much as there is room for, then nothing"
        assert answers.taken_bytes <= limit_of(answers) + VALUE_BYTES
        await node.produce(orders, batch_of([b"writers have a share of their own"]))
        for reader in readers:
            reader.transport.drained()
        assert answers.taken_bytes == 0
        await readers[-1].ask("orders", offset=0)
        assert round(readers[-1].answers[1] / VALUE_BYTES) == 2


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
        assert [round(size / VALUE_BYTES) for size in patient.answers] == [2]


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
