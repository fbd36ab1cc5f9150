"""The same without await: `tidelog.sync`, from a thread that has no event loop."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

import tidelog
import tidelog.sync
from tests.contract.place import SECOND, T0, Place


async def without_await(place: Place, act: Callable[[tidelog.sync.Client, str], None]) -> None:
    """Run a function in a thread, with a client of its own and a topic's name."""

    def run() -> None:
        with tidelog.sync.connect(place.url) as client:
            act(client, f"{place.prefix}-sync")

    await asyncio.to_thread(run)


async def test_topics(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        assert client.topics.create(topic, partitions=2).partition_count == 2
        assert [one.name for one in client.topics.list(prefix=topic)] == [topic]
        assert client.topics.add_partitions(topic, 3).partition_count == 3
        client.topics.configure(topic, set={"segment.ms": "7"})
        assert client.topics.config(topic)["segment.ms"].value == "7"
        client.topics.delete(topic)
        with pytest.raises(tidelog.NotFound):
            client.topics.get(topic)

    await without_await(place, act)


async def test_producing(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        client.topics.create(topic)
        with client.producer(value=tidelog.UTF8) as producer:
            assert producer.send(topic, "0").offset == 0
            ticket = producer.enqueue(topic, "1")
            producer.flush()
            assert ticket.result().offset == 1
            assert [ack.offset for ack in producer.send_many(topic, ["2", "3"])] == [2, 3]

    await without_await(place, act)


async def test_a_range_of_time(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        client.topics.create(topic)
        with client.producer(value=tidelog.json(int)) as producer:
            producer.send_many(topic, range(9), timestamp=lambda number: T0 + number * SECOND)
        during = tidelog.TimeRange(T0 + 3 * SECOND, T0 + 5 * SECOND)
        with client.replay(topic, during=during, value=tidelog.json(int)) as history:
            assert [record.value for record in history] == [3, 4]

    await without_await(place, act)


async def test_going_on(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        client.topics.create(topic)
        with client.producer() as producer:
            producer.send_many(topic, [b"0", b"1"])
        with client.replay(topic, stop="latest") as history:
            assert next(history).value == b"0"
            saved = history.checkpoint()
        with client.replay(topic, stop="latest", resume=saved) as history:
            assert [record.value for record in history] == [b"1"]

    await without_await(place, act)


async def test_places_and_trims(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        client.topics.create(topic)
        with client.producer() as producer:
            producer.send_many(topic, [b"0", b"1", b"2"])
        assert [row.offset for row in client.topics.resolve(topic, "latest")] == [3]
        client.topics.trim(topic, 2)
        assert [row.offset for row in client.topics.resolve(topic, "earliest")] == [2]

    await without_await(place, act)


async def test_refusals(place: Place) -> None:
    def act(client: tidelog.sync.Client, topic: str) -> None:
        with pytest.raises(tidelog.InvalidRequest) as refused:
            client.topics.create("a b")
        assert refused.value.reason == "INVALID_TOPIC_NAME"
        with (
            client.producer() as producer,
            pytest.raises(tidelog.NotFound),
        ):
            producer.send(topic, b"v")
        with pytest.raises(tidelog.NotFound):
            client.replay(topic).__enter__()

    await without_await(place, act)


async def test_the_cluster(place: Place) -> None:
    def act(client: tidelog.sync.Client, _: str) -> None:
        client.ready(timedelta(seconds=10))
        assert [broker.state for broker in client.cluster.get().brokers] == ["running"]

    await without_await(place, act)
