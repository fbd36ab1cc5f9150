"""The fuzz target over requests that were right once, with a few bytes changed; same every time."""

import random
from struct import pack

import pytest

from api.kafka.k00_produce import KEY as PRODUCE
from api.kafka.k00_produce import SERVED_FROM
from api.kafka.request import Api
from tests.fuzz.fuzz_kafka_request import APIS, fuzz
from tests.kafka_messages import entity_class, random_entity, written

ROUNDS = 15


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_damaged_requests(api: Api) -> None:
    position = APIS.index(api)
    rand = random.Random(position)
    seen = 0
    for version in range(max(api.version_min, kio_from(api)), api.version_max + 1):
        for _ in range(ROUNDS):
            entity = random_entity(entity_class(api.key, version, "Request"), rand)
            raw = bytearray(written(entity))
            for _ in range(rand.randrange(4) if raw else 0):
                raw[rand.randrange(len(raw))] = rand.choice((0, 1, 0x7F, 0x80, 0xFF))
            chosen = bytes((position, version - api.version_min, rand.randrange(256)))
            fuzz(chosen + bytes(raw[: rand.randrange(600)]))
            seen += 1
    assert seen >= 5 * ROUNDS


def kio_from(api: Api) -> int:
    """Return the first version that kio can write."""
    return SERVED_FROM if api.key == PRODUCE else 0


def test_streams_of_anything() -> None:
    rand = random.Random(1)
    for size in range(300):
        fuzz(rand.randbytes(3) + pack(">i", rand.randrange(-2, 60)) + rand.randbytes(size))
