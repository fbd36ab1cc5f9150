"""Any bytes as Kafka requests of every key and version, and as what a client sends to a connection.

Nothing but MalformedError may come of a body; a connection never raises, never answers more often
than it was asked, and holds no more than its limits.
"""

import random
from struct import pack
from typing import Final

from api.kafka.apis import served_apis
from api.kafka.k00_produce import KEY as PRODUCE
from api.kafka.k00_produce import SERVED_FROM
from api.kafka.request import Api
from api.kafka_settings import KafkaSettings
from model.errors import MalformedError
from tests.kafka_door import Script
from tests.kafka_messages import entity_class, random_entity, request_of, written

SETTINGS = KafkaSettings(request_bytes_max=1 << 14, read_buffer_bytes=64)
READS: Final = 8
"""Twice parsed, and cut into frames, by arrivals as small as one byte."""
DELIVERIES_MAX: Final = 1_000
_WRITTEN_FROM = {PRODUCE: SERVED_FROM}
"""The first version that kio can write."""
APIS = sorted(served_apis(SETTINGS).values(), key=lambda api: api.key)


def samples() -> list[bytes]:
    """Return requests of every key and of several versions, chosen by a fixed seed."""
    rand = random.Random(4)
    found = []
    for position, api in enumerate(APIS):
        for version in range(
            max(api.version_min, _WRITTEN_FROM.get(api.key, 0)), api.version_max + 1
        ):
            entity = random_entity(entity_class(api.key, version, "Request"), rand)
            chosen = bytes((position, version - api.version_min, rand.randrange(256)))
            found.append(chosen + written(entity)[:2_000])
    return found


def fuzz(data: bytes) -> None:
    """Read the input as a body, and as a request, a frame or a stream; its first bytes choose."""
    if len(data) < 3:
        return
    cut = max(data[2] + 1, len(data) // DELIVERIES_MAX)
    api = APIS[data[0] % len(APIS)]
    version = api.version_min + data[1] % (api.version_max - api.version_min + 1)
    _body(api, version, data[3:])
    match data[2] % 4:
        case 0:
            _stream(data[3:], cut=cut)
        case 1:
            _stream(_framed(data[3:]), cut=cut)
        case _:
            _stream(_framed(pack(">hhih", api.key, version, 1, -1) + data[3:]), cut=cut)


def _framed(frame: bytes) -> bytes:
    return pack(">i", len(frame)) + frame


def _body(api: Api, version: int, body: bytes) -> None:
    try:
        api.parse(request_of(api.key, version, body))
    except MalformedError:
        return


def _stream(data: bytes, *, cut: int) -> None:
    """Feed a connection whose handlers are the test's: every parser is before them."""
    script = Script(SETTINGS)
    script.transport.feed(data, at_once=cut)
    script.tick.end()
    counters = script.parts.counters
    assert len(script.answered) <= counters.requests, "more answers than requests"
    held = script.connection.capacity_bytes
    assert held <= max(SETTINGS.read_buffer_bytes, 4 * len(data)), "more memory than was sent"
    script.transport.lose()
    assert script.parts.room.taken_bytes == 0, "memory was not given back"
