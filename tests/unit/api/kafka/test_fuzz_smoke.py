"""The fuzz target over requests that were right once, with a few bytes changed; same every time."""

import random
from struct import pack

import pytest

from tests.fuzz.fuzz_kafka_request import APIS, fuzz
from tests.kafka_messages import entity_class, random_entity, written

ROUNDS = 15


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_damaged_requests(api: "object") -> None:
    position = APIS.index(api)  # type: ignore[arg-type]
    rand = random.Random(position)
    seen = 0
    for version in range(APIS[position].version_min, APIS[position].version_max + 1):
        if APIS[position].key == 0 and version < 3:
            continue
        for _ in range(ROUNDS):
            raw = bytearray(
                written(random_entity(entity_class(APIS[position].key, version, "Request"), rand))
            )
            for _ in range(rand.randrange(4)):
                if raw:
                    raw[rand.randrange(len(raw))] = rand.choice((0, 1, 0x7F, 0x80, 0xFF))
            offset = version - APIS[position].version_min
            fuzz(bytes((position, offset, rand.randrange(256))) + bytes(raw[: rand.randrange(600)]))
            seen += 1
    assert seen >= 5 * ROUNDS


def test_streams_of_anything() -> None:
    rand = random.Random(1)
    for size in range(300):
        fuzz(rand.randbytes(3) + pack(">i", rand.randrange(-2, 60)) + rand.randbytes(size))
