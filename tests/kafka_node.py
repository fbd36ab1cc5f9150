"""A whole node with its Kafka listener, in this process, and a client that speaks any version."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.kafka.apis import served_apis
from api.kafka.connection import Door
from api.kafka.counters import KafkaCounters
from api.kafka.listener import KafkaListener
from api.kafka.schema import request_codec, response_codec
from api.kafka_settings import KafkaSettings
from api.node.assemble import Node
from api.node.system_spawn import SystemSpawn
from api.settings import NodeSettings, TopicsSection
from logstore.settings import LogSettings
from model.ports import Clock
from tests.kafka_door import Log, request
from tests.world import real_world

LISTENER = "external"
ADVERTISED = ("broker.example", 19_092)
API_VERSIONS = 18
APIS = served_apis(KafkaSettings())


class Client:
    """One connection; messages are dictionaries, and hold the fields of every version at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._correlation_id = 0

    def send(self, key: int, version: int, /, **fields: Any) -> None:
        """Send a request without waiting for the answer."""
        self._correlation_id += 1
        flexible = version >= APIS[key].flexible_from
        body = request_codec(key, version).write(fields)
        more = {"tagged": flexible}
        self._writer.write(request(key, version, self._correlation_id, body, **more))

    async def ask(self, key: int, version: int, /, **fields: Any) -> Any:
        """Send a request and return the answer."""
        self.send(key, version, **fields)
        return await self.answer(key, version)

    async def answer(self, key: int, version: int) -> Any:
        """Return the next answer."""
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        raw = await self._reader.readexactly(size)
        flexible = version >= APIS[key].flexible_from and key != API_VERSIONS
        message, end = response_codec(key, version).read(memoryview(raw), 5 if flexible else 4)
        assert end == size
        return message

    def send_raw(self, key: int, version: int, body: bytes) -> None:
        """Send a request of a version that no codec knows."""
        self._correlation_id += 1
        self._writer.write(request(key, version, self._correlation_id, body))

    async def answer_raw(self) -> bytes:
        """Return the next answer's body, under a header of v0."""
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        return (await self._reader.readexactly(size))[4:]

    async def ended(self) -> bool:
        """Wait until the node hangs up; tell whether it sent nothing before."""
        return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@dataclass
class Serving:
    """A node that serves Kafka clients."""

    node: Node
    listener: KafkaListener
    address: tuple[str, int]
    log: Log
    counters: KafkaCounters
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.address))
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.close()


@asynccontextmanager
async def kafka_node(directory: Path, *, auto_create: bool = True) -> AsyncIterator["Serving"]:
    errors: list[BaseException] = []
    world = real_world(directory, errors)
    settings = NodeSettings(
        topics=TopicsSection(auto_create=auto_create),
        log=LogSettings(journal_file_bytes=1 << 20),
    )
    node = await Node.start(settings, world, failed=errors.append)
    try:
        async with serving_kafka(node, clock=world.clock, errors=errors) as serving:
            yield serving
    finally:
        await node.stop(clean=True)
    assert errors == []


@asynccontextmanager
async def serving_kafka(
    node: Node, *, clock: Clock, errors: list[BaseException]
) -> AsyncIterator["Serving"]:
    """Open a Kafka listener for a node; its connections are watched by `clock`."""
    spawn = SystemSpawn(errors.append)
    door = Door(
        name=LISTENER,
        broker=node.broker,
        apis=APIS,
        settings=KafkaSettings(),
        counters=(counters := KafkaCounters()),
        tick=node.tick,
        memory=node.memory,
        room=node.room,
        answers=node.answers,
        spawn=spawn,
        note=(log := Log()),
    )
    listener = KafkaListener(door, clock=clock, descriptors_max=1 << 20)
    address = listener.listen("127.0.0.1", 0)
    node.broker.advertise(LISTENER, *ADVERTISED)
    serving = Serving(node, listener, address, log, counters)
    try:
        yield serving
    finally:
        await serving.close()
        await listener.stop(grace_ms=2_000)
        await spawn.close()
