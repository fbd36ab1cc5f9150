"""Produce, by hand: every version against kio and kafka-python."""

import random
from typing import Any

import pytest

from api.broker.acks import Produced
from api.errors import KafkaOnly
from api.kafka.k00_answer import (
    TOPIC_ID_FROM,
    Topic,
    write_refusal,
    write_response,
    write_success,
)
from api.kafka.k00_produce import KEY, SERVED_FROM, VERSION_MAX, ProduceRequest, is_zstd, parse
from api.kafka.schema import ITEMS_MAX
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, Offset
from tests.kafka_messages import (
    entity_class,
    foreign_class,
    plain,
    random_entity,
    read_entity,
    request_of,
    rewritten,
    written,
)

SERVED = range(SERVED_FROM, VERSION_MAX + 1)
ANSWERED = range(VERSION_MAX + 1)
TIME = 1_700_000_000_000
BY_NAME: list[Topic] = [(b"orders", [(0, None), (3, None)]), (b"t", [(1, None)])]
BY_ID: list[Topic] = [(b"i" * 16, [(0, None), (3, None)]), (b"j" * 16, [(1, None)])]


def said(body: ProduceRequest) -> tuple[Any, ...]:
    topics = [
        (topic, [(number, records and bytes(records)) for number, records in parts])
        for topic, parts in body.topics
    ]
    return body.acks, body.timeout_ms, body.transactional, topics


@pytest.mark.parametrize("version", SERVED)
def test_requests_are_read_as_kio_wrote_them(version: int) -> None:
    rand = random.Random(version)
    for _ in range(50):
        entity = random_entity(entity_class(KEY, version, "Request"), rand)
        message = plain(entity)
        topics = [
            (
                topic["topic_id"] if version >= TOPIC_ID_FROM else topic["name"].encode(),
                [(part["index"], part["records"]) for part in topic["partition_data"]],
            )
            for topic in message["topic_data"]
        ]
        expected = (
            message["acks"], message["timeout"], message["transactional_id"] is not None, topics
        )  # fmt: skip
        raw = written(entity)
        assert said(parse(request_of(KEY, version, raw))) == expected
        assert rewritten(foreign_class(KEY, "Request"), raw, version) == raw


@pytest.mark.parametrize("version", range(SERVED_FROM))
def test_requests_before_v3_are_read_so_that_they_can_be_answered(version: int) -> None:
    cls = foreign_class(KEY, "Request")
    topic = cls.TopicProduceData
    part = topic.PartitionProduceData
    message = cls(
        acks=1,
        timeout_ms=500,
        topic_data=[topic(name="t", partition_data=[part(index=3, records=b"old message set")])],
    )
    body = parse(request_of(KEY, version, bytes(message.encode(version=version))))
    assert said(body) == (1, 500, False, [(b"t", [(3, b"old message set")])])


@pytest.mark.parametrize("version", ANSWERED)
def test_answers_are_read_by_kio_and_kafka_python(version: int) -> None:
    by_id = version >= TOPIC_ID_FROM
    topics = BY_ID if by_id else BY_NAME
    stamped = Produced(
        Offset(41), AppendTimeMs(TIME), Offset(7), duplicate=False, log_append_time=True
    )
    created = Produced(
        Offset(1 << 40), AppendTimeMs(5), Offset(0), duplicate=True, log_append_time=False
    )
    refusal = RequestError(ErrorCode.RECORD_TOO_LARGE, "too large: naïve")
    rows = [
        write_success(version, 0, stamped),
        write_success(version, 3, created),
        write_refusal(version, 1, refusal),
    ]
    raw = write_response(version, topics, rows)
    text = "too large: naïve" if version >= 8 else None
    expected = [
        (0, 0, 41, TIME if version >= 2 else -1, 7 if version >= 5 else -1, None),
        (3, 0, 1 << 40, -1, 0 if version >= 5 else -1, None),
        (1, 10, -1, -1, -1, text),
    ]
    assert foreign_rows(version, raw) == expected
    if version >= SERVED_FROM:
        read = read_entity(KEY, version, raw)
        parts = [part for topic in read["responses"] for part in topic["partition_responses"]]
        assert [(part["index"], part["error_code"], part["base_offset"]) for part in parts] == [
            row[:3] for row in expected
        ]
        assert [part.get("error_message") for part in parts] == [None, None, text]
        if by_id:
            assert [topic["topic_id"] for topic in read["responses"]] == [b"i" * 16, b"j" * 16]


def foreign_rows(version: int, raw: bytes) -> list[tuple[Any, ...]]:
    read = foreign_class(KEY, "Response").decode(raw, version=version)
    return [
        (
            part.index,
            part.error_code,
            part.base_offset,
            part.log_append_time_ms,
            part.log_start_offset,
            part.error_message,
        )
        for topic in read.responses
        for part in topic.partition_responses
    ]


@pytest.mark.parametrize("version", ANSWERED)
def test_kafka_python_writes_the_same_answer(version: int) -> None:
    topics = BY_ID if version >= TOPIC_ID_FROM else BY_NAME
    rows = [write_refusal(version, n, KafkaOnly.INVALID_REQUIRED_ACKS) for n in (0, 3, 1)]
    raw = write_response(version, topics, rows)
    assert rewritten(foreign_class(KEY, "Response"), raw, version) == raw


def test_an_unknown_topic_has_a_number_of_its_own_where_topics_have_ids() -> None:
    refusal = RequestError(ErrorCode.UNKNOWN_TOPIC, "gone")
    assert write_refusal(12, 0, refusal)[4:6] == (3).to_bytes(2, "big")
    assert write_refusal(13, 0, refusal)[4:6] == (100).to_bytes(2, "big")


@pytest.mark.parametrize("version", SERVED)
def test_a_request_cut_anywhere_is_malformed(version: int) -> None:
    raw = written(random_entity(entity_class(KEY, version, "Request"), random.Random(3)))
    for size in range(len(raw)):
        with pytest.raises(MalformedError):
            parse(request_of(KEY, version, raw[:size]))


def test_a_flood_of_empty_partitions_is_malformed() -> None:
    head = b"\xff\xff" + b"\x00\x01" + bytes(4) + b"\x00\x00\x00\x01" + b"\x00\x01t"
    body = head + (ITEMS_MAX + 1).to_bytes(4, "big") + bytes(8) * (ITEMS_MAX + 1)
    with pytest.raises(MalformedError, match="more than"):
        parse(request_of(KEY, 3, body))


@pytest.mark.parametrize(
    ("attributes", "expected"), [(4, True), (0x14, True), (2, False), (0, False)]
)
def test_zstd_is_seen_in_a_batch_header(attributes: int, expected: bool) -> None:
    assert is_zstd(memoryview(bytes(22) + bytes([attributes]) + bytes(40))) is expected
    assert not is_zstd(memoryview(b"short"))
