"""What the tests of the SDK's consumer share: a log, its groups, a clock, and a consumer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio

import tidelog
from model.record import NewRecord
from tests.group_peer import GroupPeer
from tests.log_peer import LogPeer
from tests.log_peer_service import add_services
from tests.sdk_clock import SteppedClock, client_of
from tidelog.client import Client
from tidelog.consumer import Consumer
from tidelog.v1 import group_service_pb2_grpc as rpc

MOVES = ("orders", 1)
"""What the first of two members gives back when the second one comes."""
Item = tidelog.Record[bytes, bytes]


@dataclass
class World:
    log: LogPeer
    groups: GroupPeer
    address: str
    clock: SteppedClock

    def client(self) -> Client:
        return client_of(self.address, clock=self.clock)

    def store(self, *values: str, partition: int = 0, topic: str = "orders") -> None:
        rows = [NewRecord(1_000, None, value.encode(), ()) for value in values]
        self.log.store(topic, partition, rows)


@asynccontextmanager
async def peers() -> AsyncIterator[World]:
    """Serve a log and its groups on loopback."""
    log = LogPeer()
    groups = GroupPeer(log)  # type: ignore[abstract]  # what is not called is not there
    server = grpc.aio.server()
    add_services(server, log)
    rpc.add_ConsumerGroupServiceServicer_to_server(groups, server)
    log.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    log.create("orders", 2)
    yield World(log, groups, f"127.0.0.1:{log.port}", SteppedClock())
    await server.stop(None)


@asynccontextmanager
async def consuming(world: World, **options: Any) -> AsyncIterator[Consumer[bytes, bytes]]:
    async with (
        asyncio.timeout(20),  # nothing here waits for ever
        world.client() as client,
        client.consumer("orders", group="g", **options) as consumer,
    ):
        yield consumer


async def take(consumer: Consumer[bytes, bytes], count: int) -> list[str]:
    """Return the next values; the last one stays in hand."""
    async with asyncio.timeout(10):
        return [value_of(await anext(consumer)) for _ in range(count)]


def value_of(record: Item) -> str:
    assert record.value is not None
    return record.value.decode()


async def waiting(consumer: Consumer[bytes, bytes]) -> "asyncio.Task[Item]":
    """Ask for a record that is not there yet: what is in hand is finished."""
    task = asyncio.ensure_future(anext(consumer))
    await asyncio.sleep(0)
    return task


async def eventually(true: Callable[[], bool]) -> None:
    """Let everybody work until a callable says yes."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - a turn of the loop takes no time
            await asyncio.sleep(0)


async def seconds_until(world: World, true: Callable[[], bool]) -> None:
    """Let second after second pass until a callable says yes."""

    def passed() -> bool:
        world.clock.advance(1)
        return true()

    await eventually(passed)


def keys_of(partitions: Sequence[tidelog.TopicPartition]) -> set[tuple[str, int]]:
    return {(one.topic, one.partition) for one in partitions}


async def answered(consumer: Consumer[bytes, bytes]) -> None:
    """Let whatever is on its way to the node come back."""
    for _ in range(20):
        await consumer.lag()
