"""Fetch, by hand: every version against kio and kafka-python."""

import random
from typing import Any

import pytest

from api.broker.fetch import Fetched
from api.kafka.k01_fetch import (
    KEY,
    TOPIC_ID_FROM,
    VERSION_MAX,
    VERSION_MIN,
    FetchRequest,
    Part,
    Topic,
    parse,
    write_head,
    write_response,
)
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import Offset
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

SERVED = range(VERSION_MIN, VERSION_MAX + 1)


def batch(codec: int, size: int) -> bytes:
    """Return bytes with the length and attributes of a batch; the rest is of no matter here."""
    return bytes(8) + size.to_bytes(4, "big") + bytes(10) + bytes([codec]) + bytes(size - 11)


def fetched(*, error: RequestError | None, buffers: tuple[bytes, ...] = ()) -> Fetched:
    return Fetched(
        error=error,
        buffers=buffers,
        size_bytes=sum(map(len, buffers)),
        next_offset=Offset(9),
        high_watermark=Offset(1 << 33),
        last_stable_offset=Offset(5),
        log_start=Offset(2),
    )


def request_body(version: int, *, committed: bool) -> FetchRequest:
    topics: list[Topic] = [
        (b"i" * 16, [Part(0, -1, 4, 100), Part(1, -1, 4, 100)]),
        (b"j" * 16, [Part(7, -1, 4, 100)]),
    ]
    if version < TOPIC_ID_FROM:
        topics = [(name[:3], parts) for name, parts in topics]
    return FetchRequest(-1, 100, 1, 1 << 20, committed, 0, -1, topics)


@pytest.mark.parametrize("version", SERVED)
def test_requests_are_read_as_kio_wrote_them(version: int) -> None:
    rand = random.Random(version)
    for _ in range(50):
        entity = random_entity(entity_class(KEY, version, "Request"), rand)
        message = plain(entity)
        raw = written(entity)
        assert parse(request_of(KEY, version, raw)) == expected_body(version, message)
        assert rewritten(foreign_class(KEY, "Request"), raw, version) == raw


def expected_body(version: int, message: dict[str, Any]) -> FetchRequest:
    topics = [
        (
            topic["topic_id"] if version >= TOPIC_ID_FROM else topic["topic"].encode(),
            [
                Part(
                    part["partition"],
                    part.get("current_leader_epoch", -1),
                    part["fetch_offset"],
                    part["partition_max_bytes"],
                )
                for part in topic["partitions"]
            ],
        )
        for topic in message["topics"]
    ]
    return FetchRequest(
        replica=message["replica_id"] if version < 15 else message["replica_state"]["replica_id"],
        max_wait_ms=max(message["max_wait"], 0),
        min_bytes=message["min_bytes"],
        max_bytes=max(message["max_bytes"], 0),
        read_committed=message["isolation_level"] == 1,
        session_id=message.get("session_id", 0),
        session_epoch=message.get("session_epoch", -1),
        topics=topics,
    )


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("version", SERVED)
def test_answers_are_read_by_kio_and_kafka_python(version: int, committed: bool) -> None:
    body = request_body(version, committed=committed)
    refusal = RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "offset 4 is outside [9, 12]")
    buffers = (batch(0, 49) + batch(1, 200), batch(2, 90))
    rows = [fetched(error=None, buffers=buffers), fetched(error=refusal), fetched(error=None)]
    raw = b"".join(write_response(version, body, rows))
    assert rewritten(foreign_class(KEY, "Response"), raw, version) == raw
    read = read_entity(KEY, version, raw)
    parts = [part for topic in read["responses"] for part in topic["partitions"]]
    assert [part["partition_index"] for part in parts] == [0, 1, 7]
    assert [part["error_code"] for part in parts] == [0, 1, 0]
    assert [part["records"] for part in parts] == [b"".join(buffers), b"", b""]
    assert {part["high_watermark"] for part in parts} == {1 << 33}
    assert {part["last_stable_offset"] for part in parts} == {5}
    assert [part["aborted_transactions"] for part in parts] == [[] if committed else None] * 3
    if version >= 5:
        assert {part["log_start_offset"] for part in parts} == {2}
    if version >= TOPIC_ID_FROM:
        assert [topic["topic_id"] for topic in read["responses"]] == [b"i" * 16, b"j" * 16]
    else:
        assert [topic["topic"] for topic in read["responses"]] == ["iii", "jjj"]


@pytest.mark.parametrize("version", range(7, VERSION_MAX + 1))
def test_a_session_that_does_not_exist_is_named_at_the_top(version: int) -> None:
    raw = b"".join(write_head(version, 70, 0))
    read = read_entity(KEY, version, raw)
    assert (read["error_code"], read["session_id"], read["responses"]) == (70, 0, [])


@pytest.mark.parametrize("version", SERVED)
def test_a_request_cut_anywhere_is_malformed(version: int) -> None:
    entity = random_entity(entity_class(KEY, version, "Request"), random.Random(3))
    raw = written(entity)
    # Before v15 the session's forgotten partitions and the rack are not looked at.
    needed = len(raw) if version >= 15 else minimal_size(version, raw)
    for size in range(needed):
        with pytest.raises(MalformedError):
            parse(request_of(KEY, version, raw[:size]))


def minimal_size(version: int, raw: bytes) -> int:
    """Return where the last topic ends: from there on every prefix parses."""
    whole = parse(request_of(KEY, version, raw))
    for size in range(len(raw) + 1):
        try:
            if parse(request_of(KEY, version, raw[:size])) == whole:
                return size
        except MalformedError:
            continue
    raise AssertionError("no prefix parses")


def test_an_unknown_topic_has_a_number_of_its_own_where_topics_have_ids() -> None:
    rows = [fetched(error=RequestError(ErrorCode.UNKNOWN_TOPIC, "gone"))] * 3
    for version, number in ((12, 3), (13, 100)):
        body = request_body(version, committed=False)
        read = read_entity(KEY, version, b"".join(write_response(version, body, rows)))
        assert read["responses"][0]["partitions"][0]["error_code"] == number
