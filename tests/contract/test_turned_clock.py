"""What only a clock that is turned can show; so this part runs in this process alone."""

import asyncio
from datetime import timedelta

import pytest

import tidelog
from tests.contract.place import T0, Batch, Place, plain
from tests.contract.test_idempotence_contract import producer_id, stamped
from tidelog import testing
from tidelog.testing.fixtures import tidelog_broker
from tidelog.v1.common_pb2 import Record

__all__ = ["tidelog_broker"]
DAY = timedelta(days=1)
ROLLING = {"segment.ms": "3600000", "retention.ms": "86400000"}


async def written(broker: testing.Broker, topic: str, *values: bytes) -> list[tidelog.Ack]:
    async with broker.client.producer(compression="none") as producer:
        return [await producer.send(topic, value) for value in values]


async def values(broker: testing.Broker, topic: str) -> list[bytes | None]:
    return [record.value for record in await broker.records(topic)]


@pytest.fixture
def place(tidelog_broker: testing.Broker) -> Place:
    return Place(tidelog_broker.client, tidelog_broker.url, "t", tidelog_broker)


async def test_time_stands_still_until_it_is_turned(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    (first, second) = await written(tidelog_broker, "orders", b"a", b"b")
    assert first.append_time == second.append_time == tidelog_broker.now == T0
    await tidelog_broker.advance(DAY, hours=1, minutes=2, seconds=3, milliseconds=40)
    (third,) = await written(tidelog_broker, "orders", b"c")
    assert third.append_time == T0 + timedelta(days=1, hours=1, minutes=2, seconds=3.04)
    assert [record.timestamp for record in await tidelog_broker.records("orders")] == [
        T0, T0, third.append_time,
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 25])
async def test_retention_by_time(tidelog_broker: testing.Broker, steps: int) -> None:
    """At once, or hour by hour."""
    await tidelog_broker.client.topics.create("orders", config=ROLLING)
    await written(tidelog_broker, "orders", b"old")
    await tidelog_broker.advance(hours=2)
    await written(tidelog_broker, "orders", b"new")
    for _ in range(steps):
        await tidelog_broker.advance(hours=25 / steps)
    assert await values(tidelog_broker, "orders") == []
    (row,) = await tidelog_broker.client.topics.resolve("orders", "earliest")
    assert row.log_start_offset == 2


async def test_retention_leaves_what_is_young_enough(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders", config=ROLLING)
    await written(tidelog_broker, "orders", b"old")
    await tidelog_broker.advance(hours=2)
    await written(tidelog_broker, "orders", b"new")
    await tidelog_broker.advance(hours=21)
    assert await values(tidelog_broker, "orders") == [b"old", b"new"]
    await tidelog_broker.advance(hours=2)
    assert await values(tidelog_broker, "orders") == [b"new"]


async def test_retention_by_size(tidelog_broker: testing.Broker) -> None:
    config = {"segment.bytes": "1024", "retention.bytes": "3000"}
    await tidelog_broker.client.topics.create("orders", config=config)
    await written(tidelog_broker, "orders", *(b"v" * 800 for _ in range(8)))
    assert len(await values(tidelog_broker, "orders")) == 8
    await tidelog_broker.advance(minutes=5)
    assert 2 <= len(await values(tidelog_broker, "orders")) <= 4


async def test_what_never_expires_is_there_after_years(tidelog_broker: testing.Broker) -> None:
    config = {"retention.ms": "-1", "segment.ms": "86400000"}
    await tidelog_broker.client.topics.create("orders", config=config)
    await written(tidelog_broker, "orders", b"old")
    await tidelog_broker.advance(days=60)
    assert await values(tidelog_broker, "orders") == [b"old"]


async def test_a_reader_is_told_what_retention_took(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders", config=ROLLING)
    await written(tidelog_broker, "orders", b"0", b"1")
    async with tidelog_broker.client.replay("orders", stop="latest") as history:
        await anext(history)
        saved = history.checkpoint()
    await tidelog_broker.advance(hours=2)
    await written(tidelog_broker, "orders", b"2")
    await tidelog_broker.advance(hours=25)
    async with tidelog_broker.client.replay("orders", resume=saved, gaps="raise") as history:
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(history)
    assert (gap.value.expected_offset, gap.value.next_offset) == (1, 3)


async def test_a_producer_is_forgotten_when_its_time_has_come(place: Place) -> None:
    assert place.broker is not None
    topic, producer = await place.topic(), await producer_id(place)
    await place.produce(stamped(topic, producer, 0, b"a"))
    await place.broker.advance(hours=23)
    (again,) = await place.produce(stamped(topic, producer, 0, b"a"))
    assert again.duplicate
    await place.broker.advance(hours=2)
    (unknown,) = await place.produce(stamped(topic, producer, 1, b"b"))
    assert unknown.error.reason == "UNKNOWN_PRODUCER_ID"
    assert await place.values(topic) == [b"a"]


async def test_bounds_of_event_time_follow_the_clock(place: Place) -> None:
    assert place.broker is not None
    topic = await place.topic(tidelog__timestamp__future__max__ms="60000")
    tomorrow = int((T0 + DAY).timestamp() * 1000)
    record = Batch(topic=topic, partition=0, records=[Record(value=b"v", timestamp_ms=tomorrow)])
    (early,) = await place.produce(record)
    assert early.error.reason == "TIMESTAMP_OUT_OF_RANGE"
    await place.broker.advance(DAY)
    (now,) = await place.produce(record)
    assert now.base_offset == 0


async def test_a_range_of_the_future_ends_when_it_is_over(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    during = tidelog.TimeRange(T0, T0 + timedelta(hours=1), clock="append")

    async def read() -> list[bytes | None]:
        async with tidelog_broker.client.replay("orders", during=during) as history:
            return [record.value async for record in history]

    reading = asyncio.ensure_future(read())
    await written(tidelog_broker, "orders", b"0")
    await tidelog_broker.advance(minutes=59)
    await written(tidelog_broker, "orders", b"1")
    assert not reading.done()
    await tidelog_broker.advance(minutes=1)
    await written(tidelog_broker, "orders", b"2")
    assert await reading == [b"0", b"1"]


async def test_a_range_that_ends_now_is_over(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    for start in (None, T0):
        during = tidelog.TimeRange(start, T0, clock="append")
        async with tidelog_broker.client.replay("orders", during=during) as history:
            assert [record async for record in history] == []


async def test_history_at_its_own_pace_follows_the_clock(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    async with tidelog_broker.client.producer() as producer:
        for hour in range(3):
            await producer.send("orders", b"%d" % hour, timestamp=T0 + timedelta(hours=hour))
    async with tidelog_broker.client.replay("orders", stop="latest", rate=1.0) as history:
        assert (await anext(history)).value == b"0"
        for hour in (1, 2):
            waiting = asyncio.ensure_future(anext(history))
            await asyncio.sleep(0)  # it begins to wait
            await tidelog_broker.advance(hours=1)
            assert (await waiting).value == b"%d" % hour


async def test_a_wait_that_nobody_turns_for_ends_by_itself(place: Place) -> None:
    """A client's own time runs while the node's stands still."""
    topic = await place.topic()
    assert place.broker is not None
    place.broker.fail_next("get_topic", "NO_QUORUM", times=2)
    assert (await place.client.topics.get(topic)).name == topic
    assert place.broker.now == T0


async def test_the_machines_clock_cannot_be_turned() -> None:
    async with testing.broker() as broker:
        with pytest.raises(ValueError, match="ask for a manual clock"):
            await broker.advance(seconds=1)


async def test_time_does_not_run_backwards(tidelog_broker: testing.Broker) -> None:
    with pytest.raises(ValueError, match="does not run backwards: -1000 ms"):
        await tidelog_broker.advance(seconds=-1)


async def test_batches_of_one_turn_are_in_one_range(place: Place) -> None:
    assert place.broker is not None
    topic = await place.topic()
    for number in range(24):
        await place.produce(plain(topic, b"%d" % number))
        await place.broker.advance(hours=1)
    during = tidelog.TimeRange(T0 + timedelta(hours=5), T0 + timedelta(hours=8), clock="append")
    assert await place.values(topic, during=during) == [b"5", b"6", b"7"]
    back = tidelog.TimeRange(start=timedelta(hours=2), clock="append")
    assert await place.values(topic, during=back) == [b"22", b"23"]
