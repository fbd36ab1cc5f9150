"""Calls with many items: one that fails has its own error, and harms no other."""

from collections.abc import Callable

import pytest

import tidelog
from logstore.batch import encode_batch
from model.record import NewRecord
from tests.contract.place import Batch, Place, plain
from tidelog.calls import FETCH, RESOLVE_OFFSETS, TRIM_TOPIC
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2


def torn(topic: str) -> Batch:
    batch = encode_batch([NewRecord(0, b"k", b"v")])
    batch[-1] ^= 1
    return Batch(topic=topic, partition=0, encoded=bytes(batch))


def early(topic: str) -> Batch:
    return Batch(topic=topic, partition=0, records=[common_pb2.Record(value=b"v", timestamp_ms=5)])


BAD: dict[str, Callable[[str], Batch]] = {
    "UNKNOWN_TOPIC": lambda topic: plain(f"{topic}-none", b"v"),
    "INVALID_TOPIC_NAME": lambda _: plain("a b", b"v"),
    "UNKNOWN_PARTITION": lambda topic: plain(topic, b"v", partition=2),
    "RECORD_TOO_LARGE": lambda topic: plain(topic, b"v" * 2_000),
    "CORRUPT_BATCH": torn,
    "TIMESTAMP_OUT_OF_RANGE": early,
    "INVALID_REQUEST": plain,
    "UNKNOWN_PRODUCER_ID": lambda topic: plain(
        topic,
        b"v",
        producer=log_service_pb2.ProducerStamp(
            producer=common_pb2.ProducerId(id=1 << 40), base_sequence=7
        ),
    ),
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_batch_stands_alone(place: Place, reason: str) -> None:
    topic = await place.topic(
        2, max__message__bytes="1000", tidelog__timestamp__past__max__ms="86400000"
    )
    good = [plain(topic, b"first"), plain(topic, b"last", partition=1)]
    answers = await place.produce(good[0], BAD[reason](topic), good[1])
    assert [answer.error.reason for answer in answers] == ["", reason, ""]
    assert answers[1].error.outcome == common_pb2.OUTCOME_NOT_DONE
    assert answers[1].error.message
    assert sorted(one or b"" for one in await place.values(topic)) == [b"first", b"last"]


async def test_a_row_tells_the_numbers_of_its_text(place: Place) -> None:
    topic = await place.topic(max__message__bytes="1000")
    (answer,) = await place.produce(plain(topic, b"v" * 2_000))
    assert answer.error.metadata["limit_bytes"] == "1000"
    assert "1000" in answer.error.message


async def test_the_sdk_raises_for_the_record_that_failed(place: Place) -> None:
    topic = await place.topic(2)
    async with place.client.producer() as producer:
        bad = await producer.enqueue(f"{topic}-none", b"v", partition=0)
        good = await producer.enqueue(topic, b"v", partition=1)
        assert (await good).offset == 0
        with pytest.raises(tidelog.NotFound):
            await bad
    assert await place.values(topic) == [b"v"]


async def test_a_place_is_found_in_those_that_are_there(place: Place) -> None:
    topic = await place.topic(2)
    partitions = [
        common_pb2.TopicPartition(topic=name, partition=number)
        for name, number in ((topic, 0), (topic, 9), (f"{topic}-none", 0), (topic, 1))
    ]
    request = log_service_pb2.ResolveOffsetsRequest(
        partitions=partitions, seek=common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    )
    rows = (await place.client.connection.call(RESOLVE_OFFSETS, request)).resolved
    assert [row.error.reason for row in rows] == ["", "UNKNOWN_PARTITION", "UNKNOWN_TOPIC", ""]


async def test_a_fetch_serves_those_that_are_there(place: Place) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", partition=1)
    cursors = [
        common_pb2.Cursor(topic=topic, partition=number, offset=offset)
        for number, offset in ((0, 99), (1, 0), (9, 0))
    ]
    request = log_service_pb2.FetchRequest(cursors=cursors)
    rows = (await place.client.connection.call(FETCH, request)).results
    assert [row.error.reason for row in rows] == ["OFFSET_OUT_OF_RANGE", "", "UNKNOWN_PARTITION"]
    assert [one.value for batch in rows[1].records.batches for one in batch.records] == [b"a"]


async def test_a_trim_moves_those_that_are_there(place: Place) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", b"b")
    request = topic_service_pb2.TrimTopicRequest(
        name=topic, partitions=[0, 9], before=common_pb2.Seek(offset=1)
    )
    rows = (await place.client.connection.call(TRIM_TOPIC, request)).trimmed
    assert [(row.error.reason, row.after) for row in rows] == [("", 1), ("UNKNOWN_PARTITION", 0)]
    assert await place.values(topic) == [b"b"]
