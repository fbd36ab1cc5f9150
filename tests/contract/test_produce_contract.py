"""Appending: offsets, keys, times, headers, compression, acks."""

from datetime import datetime, timedelta

import pytest

import tidelog
from tests.contract.place import SECOND, T0, Batch, Place, plain
from tidelog.producer_settings import Acks
from tidelog.types import Compression
from tidelog.v1.common_pb2 import Record


async def test_offsets_count_up_in_each_partition(place: Place) -> None:
    topic = await place.topic(2)
    async with place.client.producer() as producer:
        acks = [await producer.send(topic, b"v", partition=number % 2) for number in range(6)]
    assert [(ack.partition, ack.offset) for ack in acks] == [
        (0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2),
    ]  # fmt: skip


async def test_append_time_never_falls(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer() as producer:
        first = await producer.send(topic, b"1")
        moment = await place.later()
        second = await producer.send(topic, b"2")
    assert first.append_time is not None
    assert second.append_time is not None
    assert first.append_time < moment <= second.append_time
    assert [record.append_time for record in await place.read(topic)] == [
        first.append_time, second.append_time,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "partition"), [(b"alice", 1), (b"bob", 5), (b"", 2), (b"\xff" * 9, 0)]
)
async def test_the_key_chooses_as_kafka_does(place: Place, key: bytes, partition: int) -> None:
    topic = await place.topic(7)
    async with place.client.producer() as producer:
        ack = await producer.send(topic, b"v", key=key)
    (answer,) = await place.produce(Batch(topic=topic, records=[Record(key=key, value=b"w")]))
    assert ack.partition == answer.partition == partition


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"v"), (b"k", None), (None, None), (b"", b""), (b"\0\xff", b"\n")]
)
async def test_null_is_not_empty(place: Place, key: bytes | None, value: bytes | None) -> None:
    topic = await place.topic()
    async with place.client.producer() as producer:
        await producer.send(topic, value, key=key)
    (record,) = await place.read(topic)
    assert (record.key, record.value) == (key, value)


async def test_headers_keep_their_order_and_may_repeat(place: Place) -> None:
    topic = await place.topic()
    headers: list[tuple[str, bytes | str | None]] = [
        ("b", b"1"),
        ("a", "2"),
        ("b", None),
        ("", b""),
    ]
    async with place.client.producer() as producer:
        await producer.send(topic, b"v", headers=headers)
    (record,) = await place.read(topic)
    assert record.headers == (("b", b"1"), ("a", b"2"), ("b", None), ("", b""))
    assert record.header("b") is None


async def test_event_times_are_kept_to_the_millisecond(place: Place) -> None:
    topic = await place.topic()
    moment = T0 + timedelta(microseconds=1_999)
    async with place.client.producer() as producer:
        await producer.send(topic, b"v", timestamp=moment)
    (record,) = await place.read(topic)
    assert record.timestamp == T0 + timedelta(milliseconds=1)


async def test_finer_times_can_be_refused(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer(timestamps="strict") as producer:
        with pytest.raises(ValueError, match="millisecond"):
            await producer.send(topic, b"v", timestamp=T0 + timedelta(microseconds=1))


async def test_a_naive_time_is_refused(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer() as producer:
        with pytest.raises(ValueError, match="no time zone"):
            await producer.send(topic, b"v", timestamp=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_a_record_without_time_gets_one(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer() as producer:
        ack = await producer.send(topic, b"v")
    (record,) = await place.read(topic)
    assert record.timestamp is not None
    assert ack.append_time is not None
    assert abs(record.timestamp - ack.append_time) < timedelta(minutes=1)


async def test_a_topic_may_stamp_append_time(place: Place) -> None:
    topic = await place.topic(message__timestamp__type="LogAppendTime")
    await place.write(topic, b"a", b"b")
    for record in await place.read(topic):
        assert record.timestamp == record.append_time


async def test_times_beyond_a_topics_bounds_are_refused(place: Place) -> None:
    topic = await place.topic(tidelog__timestamp__future__max__ms="60000")
    async with place.client.producer() as producer:
        with pytest.raises(tidelog.InvalidRequest) as refused:
            await producer.send(topic, b"v", timestamp=T0 + timedelta(days=36_500))
    assert refused.value.reason == "TIMESTAMP_OUT_OF_RANGE"
    assert await place.values(topic) == []


async def test_many_are_acknowledged_in_their_order(place: Place) -> None:
    topic = await place.topic(3)
    values = [b"%d" % number for number in range(300)]
    async with place.client.producer(batch_bytes=2_000) as producer:
        acks = await producer.send_many(
            topic, values, key=lambda value: value[:1], timestamp=lambda v: T0 + int(v) * SECOND
        )
    found = {(one.partition, one.offset): one for one in await place.read(topic)}
    stored = [found[ack.partition, ack.offset or 0] for ack in acks]
    assert [record.value for record in stored] == values
    assert [record.timestamp for record in stored] == [T0 + n * SECOND for n in range(300)]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_compression_does_not_show(place: Place, compression: Compression) -> None:
    topic = await place.topic()
    values = [b"v" * 100 + b"%d" % number for number in range(100)]
    async with place.client.producer(compression=compression) as producer:
        await producer.send_many(topic, values)
    records = await place.read(topic)
    assert [record.value for record in records] == values
    assert {one.batch.compression for one in records if one.batch is not None} == {compression}


@pytest.mark.parametrize("acks", ["all", "leader", "none"])
async def test_every_kind_of_ack_appends(place: Place, acks: Acks) -> None:
    topic = await place.topic()
    async with place.client.producer(acks=acks) as producer:
        ack = await producer.send(topic, b"v")
    assert ack.offset == (None if acks == "none" else 0)
    async with place.client.replay(topic) as history:  # it comes, if not at once
        assert (await anext(history)).value == b"v"


async def test_codecs_write_and_read_values(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer(key=tidelog.UTF8, value=tidelog.json(list[int])) as producer:
        await producer.send(topic, [1, 2], key="ä")
    json = tidelog.json(list[int])
    async with place.client.replay(
        topic, stop="latest", key=tidelog.UTF8, value=json
    ) as history:  # fmt: skip
        assert [(record.key, record.value) async for record in history] == [("ä", [1, 2])]


async def test_what_was_handed_over_is_there_after_a_flush(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer(linger=timedelta(hours=1)) as producer:
        ticket = await producer.enqueue(topic, b"v")
        await producer.flush()
        assert await place.values(topic) == [b"v"]
        assert (await ticket).offset == 0


async def test_a_batch_is_appended_whole(place: Place) -> None:
    topic = await place.topic()
    (answer,) = await place.produce(plain(topic, b"a", b"b", b"c"))
    assert (answer.base_offset, answer.partition) == (0, 0)
    (after,) = await place.produce(plain(topic, b"d"))
    assert after.base_offset == 3
    assert await place.values(topic) == [b"a", b"b", b"c", b"d"]
