"""What is read and written by the schemas, against kio's writer and kafka-python, every version."""

import random
from dataclasses import replace

import pytest
from kio.schema.errors import ErrorCode

from api.kafka.apis import BY_HAND, served_apis
from api.kafka.schema import (
    ITEMS_MAX,
    Message,
    read_request,
    request_codec,
    response_codec,
    write_response,
)
from api.kafka_settings import KafkaSettings
from model.errors import MalformedError
from tests.kafka_messages import (
    entity_class,
    foreign_class,
    plain,
    random_entity,
    rewritten,
    written,
)

SCHEMED = [
    (api.key, version)
    for api in served_apis(KafkaSettings()).values()
    if api.key not in BY_HAND
    for version in range(api.version_min, api.version_max + 1)
]
SAMPLES = 20


def test_every_served_version_is_compared() -> None:
    assert len(SCHEMED) == 11 + 14 + 7 + 5 + 6 + 6 + 7


@pytest.mark.parametrize(("key", "version"), SCHEMED)
def test_requests_are_read_as_kio_wrote_them(key: int, version: int) -> None:
    rand = random.Random(key * 100 + version)
    for _ in range(SAMPLES):
        entity = random_entity(entity_class(key, version, "Request"), rand)
        raw = written(entity)
        assert read_request(key, version, memoryview(raw)) == plain(entity)
        assert request_codec(key, version).write(plain(entity)) == raw


@pytest.mark.parametrize(("key", "version"), SCHEMED)
def test_responses_are_written_as_kio_writes_them(key: int, version: int) -> None:
    rand = random.Random(key * 100 + version)
    for _ in range(SAMPLES):
        entity = random_entity(entity_class(key, version, "Response"), rand)
        message = plain(entity)
        raw = written(entity)
        assert write_response(key, version, message) == raw
        assert write_response(key, version, {**message, "of_a_later_version": 1}) == raw
        assert response_codec(key, version).read(memoryview(raw), 0) == (message, len(raw))


@pytest.mark.parametrize(("key", "version"), SCHEMED)
@pytest.mark.parametrize("side", ["Request", "Response"])
def test_kafka_python_reads_and_writes_the_same_bytes(key: int, version: int, side: str) -> None:
    rand = random.Random(key * 100 + version)
    foreign = foreign_class(key, side)
    for _ in range(SAMPLES):
        entity = random_entity(entity_class(key, version, side), rand)
        if (key, side) == (18, "Response"):  # with an error it reads v0, whatever it asked for
            entity = replace(entity, error_code=ErrorCode.none)
        raw = written(entity)
        assert rewritten(foreign, raw, version) == raw


@pytest.mark.parametrize(("key", "version"), SCHEMED)
def test_a_request_cut_anywhere_is_malformed(key: int, version: int) -> None:
    rand = random.Random(7)
    raw = written(random_entity(entity_class(key, version, "Request"), rand))
    for size in range(len(raw)):
        with pytest.raises(MalformedError):
            read_request(key, version, memoryview(raw[:size]))


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (0, b"\x7f\xff\xff\xff"),
        (12, b"\xff\xff\xff\xff\x0f"),  # 4 G topics in five bytes
        (12, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        (12, b"\xff\xff\xff\xff\x7f"),
        (1, b"\x00\x00\x00\x01\xff\xff"),
        (1, b"\x00\x00\x00\x01\x00\x01\xff"),
        (0, (ITEMS_MAX + 1).to_bytes(4, "big") + bytes(4 * ITEMS_MAX)),
    ],
)
def test_no_length_is_believed(version: int, body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(3, version, memoryview(body))


def test_unknown_tagged_fields_are_passed_over() -> None:
    raw = bytearray(request_codec(22, 4).write(INIT_PRODUCER_ID))
    raw[-1:] = b"\x01\x2a\x03abc"  # one field, tag 42, three bytes
    assert read_request(22, 4, memoryview(raw)) == INIT_PRODUCER_ID


INIT_PRODUCER_ID = {
    "transactional_id": None,
    "transaction_timeout": 60_000,
    "producer_id": -1,
    "producer_epoch": -1,
}


def test_a_response_without_a_required_field_is_a_bug() -> None:
    with pytest.raises(KeyError, match="error_code"):
        write_response(22, 4, {"throttle_time": 0})


def test_a_null_that_the_version_does_not_have_is_a_bug() -> None:
    topic: Message = {"error_code": 3, "name": None, "is_internal": False, "partitions": []}
    body = {"brokers": [], "controller_id": 0, "topics": [topic], "throttle_time": 0}
    with pytest.raises(ValueError, match="null"):
        write_response(3, 4, body)
