"""The SDK's consumer and a whole node: what both must see alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from api.testing.node import TestingNode, Wish, node_for_test
from tidelog import consumer_settings, settlement, testing
from tidelog.consumer import Consumer
from tidelog.v1 import common_pb2

PATIENCE_S = 20
Reader = Consumer[bytes, bytes]


@pytest.fixture
async def broker() -> AsyncIterator[testing.Broker]:
    async with asyncio.timeout(60), testing.broker() as broker:
        yield broker


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)


@pytest.mark.parametrize("encoding", ["batch", "records"])
async def test_both_count_the_same_credit(
    broker: testing.Broker, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """What one of them counts more adds up: nothing comes any more, or ever more at once."""
    monkeypatch.setattr(consumer_settings, "can_build", lambda: encoding == "batch")
    client = broker.client
    await client.topics.create("orders", partitions=2)
    async with (
        client.producer(linger=timedelta(0)) as producer,
        client.consumer("orders", group="g", commit="manual") as consumer,
    ):
        assert consumer._membership._join.encoding == (
            common_pb2.ENCODING_BATCH if encoding == "batch" else common_pb2.ENCODING_RECORDS
        )
        for number in range(60):
            key = None if number % 3 else b"k" * number
            sending = [
                await producer.enqueue(
                    "orders", b"v" * 7 * number, key=key, headers={"h": b"x"}, partition=number % 2
                )
                for _ in range(1 + number % 4)
            ]
            await producer.flush()
            for _ in sending:
                await anext(consumer)
        (session,) = broker._node._node.broker.members._sessions.values()

        def alike() -> bool:
            credit = session._credit  # type: ignore[attr-defined]  # of the session itself
            return [credit.records, credit.size_bytes] == consumer._holdings._granted

        await until(alike)


async def test_a_new_group_begins_at_its_start_whoever_comes_first(broker: testing.Broker) -> None:
    """Members that come at once get partitions one after another; none gets what was before."""
    client = broker.client
    await client.topics.create("orders", partitions=4)
    got: list[bytes | None] = []

    async def read(consumer: Reader) -> None:
        async for record in consumer:
            got.append(record.value)

    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(client.producer())
        for partition in range(4):
            await producer.send("orders", b"old", partition=partition)
        readers: list[Reader] = [
            client.consumer("orders", group="g", start="latest") for _ in range(3)
        ]
        await asyncio.gather(*map(stack.enter_async_context, readers))
        tasks = [asyncio.ensure_future(read(one)) for one in readers]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await until(lambda: sorted(len(one.assignment) for one in readers) == [1, 1, 2])
        for partition in range(4):
            await producer.send("orders", b"new", partition=partition)
        await until(lambda: got.count(b"new") == 4)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert got == [b"new"] * 4


async def test_members_are_watched_over_after_a_restart_too(broker: testing.Broker) -> None:
    client = broker.client
    await client.topics.create("orders", partitions=2)
    async with client.consumer("orders", group="g") as first:
        await until(lambda: len(first.assignment) == 2)
        await broker.drop()
        async with client.consumer("orders", group="g") as second:
            await until(lambda: len(first.assignment) == len(second.assignment) == 1)
            second._membership._runner.cancel()  # type: ignore[union-attr]  # it is silent
        await until(lambda: len(first.assignment) == 2)


class Busy:
    """Clients that always wait for something."""

    def living(self) -> list[tuple[str, str]]:
        return []

    def killed(self) -> list[tuple[str, str]]:
        return []

    async def settle(self) -> bool:
        await asyncio.sleep(0)
        return True


async def test_time_passes_although_somebody_always_asks_for_something() -> None:
    async with node_for_test(Wish(start_ms=0)) as node, asyncio.timeout(PATIENCE_S):
        assert isinstance(node, TestingNode)
        node.beside = Busy()
        await node.advance(60_000)
        assert node.turned_ms() == 60_000


@pytest.mark.parametrize("committed", [True, False])
async def test_a_topic_that_is_deleted_is_no_slow_program(
    broker: testing.Broker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    committed: bool,
) -> None:
    """What went without time is told as that, and only where something finished went with it."""
    monkeypatch.setattr(settlement, "COMMIT_EVERY_S", 3_600.0)
    client = broker.client
    await client.topics.create("goes", partitions=1)
    await client.topics.create("stays", partitions=1)
    async with client.producer() as producer:
        await producer.send("goes", b"v")
    async with client.consumer("goes", "stays", group="g") as consumer:
        assert len([one async for one in consumer.until_caught_up()]) == 1
        if committed:
            await consumer.commit()
        await client.topics.delete("goes")
        await until(lambda: [*consumer._holdings.by_key] == [("stays", 0)])
    said = [one.getMessage() for one in caplog.records if one.name == "tidelog.client"]
    assert [one.split(":")[0] for one in said] == (
        [] if committed else ["goes/0 was taken at once, or its topic is gone"]
    )
