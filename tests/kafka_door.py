"""A Kafka listener's door with a handler table of the test's own, and clients for it.

`Handlers` answers produce requests only when told to: what overlaps and in which order is decided
by the test. `Script` speaks to one connection without a socket; `listening` opens a real one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import Any, cast

from api.broker.memory import MemoryBudget
from api.broker.read_room import ReadRoom
from api.crowd import Crowd
from api.kafka.broker_port import BrokerPort
from api.kafka.connection import Door, KafkaConnection
from api.kafka.counters import KafkaCounters
from api.kafka.k18_api_versions import ApiVersions
from api.kafka.listener import KafkaListener
from api.kafka.request import Api, Request
from api.kafka_settings import KafkaSettings
from api.node.system_clock import SystemClock
from api.node.system_spawn import SystemSpawn
from cluster.shell.tick import Tick
from model.errors import MalformedError
from tests.wire_transport import ManualTick, RecordingTransport

LATER = 0
"""Key of the API whose requests wait until the test answers them."""
POLL = 1
"""Key of the API that waits as Fetch does."""
NOW = 3
"""Key of the API that answers at once with what it was sent."""


@dataclass
class Handlers:
    """The table: what arrived, and what waits for its answer."""

    waiting: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    cancelled: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request waits for its answer."""

    def table(self) -> dict[int, Api]:
        listed = [self._api(LATER, self._later), self._api(POLL, self._poll)]
        listed.append(self._api(NOW, self._now))
        return {api.key: api for api in (*listed, ApiVersions(listed).api)}

    def _api(self, key: int, handle: Any) -> Api:
        return Api(
            key=key,
            name=f"test-{key}",
            version_min=2,
            version_max=9,
            flexible_from=9,
            request_bytes_max=1 << 16,
            parse=parse,
            handle=handle,
        )

    def _later(self, _: BrokerPort, request: Request, body: bytes) -> None:
        self.bodies.append(body)
        self.waiting.append(request)
        self.arrived.set()

    def _poll(self, _: BrokerPort, request: Request, body: bytes) -> None:
        self._later(_, request, body)
        request.cancel = self._cancel
        request.connection.wait_for_fetch(request)

    def _cancel(self) -> None:
        self.cancelled += 1

    def _now(self, _: BrokerPort, request: Request, body: bytes) -> None:
        self.bodies.append(body)
        request.respond(body)


def parse(request: Request) -> bytes:
    body = bytes(request.frame[request.at :])
    if body == b"garbage":
        raise MalformedError("body", 0, "garbage")
    return body


@dataclass
class Log:
    """Every line that the door wrote."""

    lines: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def __call__(self, event: str, /, **fields: str | int) -> None:
        self.lines.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


@dataclass
class DoorParts:
    """A door and what can be looked at behind it."""

    door: Door
    handlers: Handlers
    counters: KafkaCounters
    memory: MemoryBudget
    room: ReadRoom
    answers: MemoryBudget
    log: Log


def make_door(
    tick: Tick,
    settings: KafkaSettings,
    spawn: SystemSpawn,
    *,
    apis: Mapping[int, Api] | None = None,
    broker: BrokerPort | None = None,
    room_bytes: int = 1 << 24,
) -> DoorParts:
    handlers, log = Handlers(), Log()
    counters, memory, answers = KafkaCounters(), MemoryBudget(1 << 24), MemoryBudget(1 << 24)
    room = ReadRoom(room_bytes)
    door = Door(
        name="external",
        broker=cast(BrokerPort, broker),  # the table above needs none
        apis=apis or handlers.table(),
        settings=settings,
        counters=counters,
        tick=tick,
        memory=memory,
        room=room,
        answers=answers,
        spawn=spawn,
        note=log,
    )
    return DoorParts(door, handlers, counters, memory, room, answers, log)


def request(  # noqa: PLR0917 - as they stand on the wire
    key: int, version: int, correlation_id: int, body: bytes = b"", **more: Any
) -> bytes:
    """Return a framed request; `client_id` may be given, `tagged` makes the header flexible."""
    client_id: bytes = more.get("client_id", b"test")
    head = pack(">hhih", key, version, correlation_id, len(client_id)) + client_id
    frame = head + (b"\0" if more.get("tagged") else b"") + body
    return pack(">i", len(frame)) + frame


def answers(raw: bytes) -> list[tuple[int, bytes]]:
    """Return correlation ids and what follows them."""
    found, at = [], 0
    while at < len(raw):
        size, correlation_id = unpack_from(">ii", raw, at)
        found.append((correlation_id, raw[at + 8 : at + 4 + size]))
        at += 4 + size
    assert at == len(raw)
    return found


class Nobody:
    """Watches no connection."""

    def closed(self, connection: KafkaConnection) -> None:
        pass


class Script:
    """One connection without a socket; its ticks end when told to."""

    def __init__(
        self,
        settings: KafkaSettings | None = None,
        *,
        reads_answers: bool = True,
        apis: Mapping[int, Api] | None = None,
        broker: BrokerPort | None = None,
    ) -> None:
        self.tick = ManualTick()
        spawn = SystemSpawn(self._failed)
        tick = Tick(self.tick.call_soon)
        self.parts = make_door(tick, settings or KafkaSettings(), spawn, apis=apis, broker=broker)
        self.connection = KafkaConnection(self.parts.door, Nobody())
        self.transport = RecordingTransport(self.connection, reads_answers=reads_answers)
        self.handlers = self.parts.handlers

    def send(self, *requests: bytes) -> None:
        self.transport.feed(b"".join(requests))
        self.tick.end()

    def answer(self, position: int, body: bytes = b"done") -> None:
        """Answer one of the waiting requests."""
        self.handlers.waiting[position].respond(body)
        self.tick.end()

    @property
    def answered(self) -> list[tuple[int, bytes]]:
        return answers(b"".join(self.transport.writes))

    @staticmethod
    def _failed(error: BaseException) -> None:
        raise error


@dataclass
class Listening:
    """A listener on a real port."""

    listener: KafkaListener
    parts: DoorParts
    address: tuple[str, int]


@asynccontextmanager
async def listening(
    settings: KafkaSettings | None = None,
    *,
    descriptors_max: int = 1 << 20,
    crowd: Crowd | None = None,
) -> AsyncIterator[Listening]:
    loop = asyncio.get_running_loop()
    errors: list[BaseException] = []
    spawn = SystemSpawn(errors.append)
    parts = make_door(Tick(loop.call_soon), settings or KafkaSettings(), spawn)
    listener = KafkaListener(
        parts.door, clock=SystemClock(loop), descriptors_max=descriptors_max, crowd=crowd
    )
    address = listener.listen("127.0.0.1", 0)
    try:
        yield Listening(listener, parts, address)
    finally:
        await listener.stop(grace_ms=2_000)
        await spawn.close()
    assert errors == []
