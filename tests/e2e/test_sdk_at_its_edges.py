"""What a program does to the SDK by mistake, against a whole node."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

import tidelog
from tidelog import testing
from tidelog.testing.fixtures import tidelog_broker

__all__ = ["tidelog_broker"]
ABOVE_EVERY_MESSAGE = 9_000_000
"""Bytes of a record that no gRPC message has room for."""


@pytest.fixture
async def client(tidelog_broker: testing.Broker) -> tidelog.Client:
    await tidelog_broker.client.topics.create("orders", partitions=2)
    return tidelog_broker.client


@pytest.mark.parametrize("kind", ["producer", "replay", "consumer"])
async def test_what_was_closed_does_not_open_again(client: tidelog.Client, kind: str) -> None:
    made: dict[str, Any] = {
        "producer": client.producer,
        "replay": lambda: client.replay("orders", stop="latest"),
        "consumer": lambda: client.consumer("orders", group="g"),
    }
    thing = made[kind]()
    async with thing:
        pass
    with pytest.raises(RuntimeError, match="once; ask the client for another one"):
        async with thing:
            pass


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_record_above_every_limit_takes_no_other_along(
    client: tidelog.Client, compression: tidelog.Compression
) -> None:
    huge = random.Random(1).randbytes(ABOVE_EVERY_MESSAGE)
    async with asyncio.timeout(60), client.producer(compression=compression) as producer:
        before = [await producer.enqueue("orders", b"small", partition=n % 2) for n in range(4)]
        refused = await producer.enqueue("orders", huge, partition=1)
        after = [await producer.enqueue("orders", b"small", partition=n % 2) for n in range(4)]
        with pytest.raises(tidelog.RecordTooLarge, match="no topic takes more than") as failure:
            await refused
        assert failure.value.outcome == "not_done"
        assert [(await each).offset for each in (*before, *after)] == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_a_shift_beyond_all_numbers_ends_where_the_log_does(client: tidelog.Client) -> None:
    async with client.producer() as producer:
        await producer.send("orders", b"1", partition=0)
    await client.groups.seek("g", "earliest", topics=["orders"])
    plan = await client.groups.shift("g", 1 << 80)
    assert [change.after for change in plan.changes] == [1, 0]
    plan = await client.groups.shift("g", -(1 << 80))
    assert [change.after for change in plan.changes] == [0, 0]


async def test_a_group_that_has_committed_nothing_is_told_what_to_name(
    client: tidelog.Client,
) -> None:
    async with client.consumer("orders", group="g"):
        with pytest.raises(tidelog.InvalidRequest, match=r'group "g" has committed .* name topics'):
            await client.groups.seek("g", "latest", force=True)


async def test_a_testing_broker_says_what_it_takes(tidelog_broker: testing.Broker) -> None:
    clumsy: Any = tidelog_broker
    with pytest.raises(TypeError, match="by is 5; pass a timedelta"):
        await clumsy.advance(5)
    with pytest.raises(ValueError, match="has no time zone"):
        testing.ManualClock(tidelog_broker.now.replace(tzinfo=None))
    clumsy = testing
    for options, words in (
        ({"clock": True}, r"clock is True; pass testing.ManualClock\(\)"),
        ({"settings": {"topics.auto_create": True}}, "settings are text: pass 'true'"),
    ):
        with pytest.raises(TypeError, match=words):
            await clumsy.broker(**options).__aenter__()


async def test_a_member_for_whom_nothing_is_left_has_caught_up(client: tidelog.Client) -> None:
    async with client.producer() as producer:
        for partition in (0, 1):
            await producer.send("orders", b"1", partition=partition)
    async with (
        asyncio.timeout(20),
        client.consumer("orders", group="g") as first,
        client.consumer("orders", group="g") as second,
        client.consumer("orders", group="g") as third,
    ):
        drained = [[record async for record in one.until_caught_up()] for one in (third, second)]
        assert [len(records) for records in drained] == [0, 1]
        assert third.caught_up
        assert len([record async for record in first.until_caught_up()]) <= 2


@pytest.mark.parametrize("max_records", [1, 7, 20, 21])
async def test_lists_end_where_the_log_does(client: tidelog.Client, max_records: int) -> None:
    async with client.producer() as producer:
        await producer.send_many("orders", [b"%d" % n for n in range(20)])
    async with asyncio.timeout(20), client.consumer("orders", group="g") as consumer:
        lists = consumer.batches(
            max_records=max_records, max_wait=timedelta(hours=1), until_caught_up=True
        )
        assert sum([len(records) async for records in lists]) == 20
    assert all(row.lag == 0 for row in await client.groups.offsets("g"))


async def test_a_commit_takes_records_and_a_list_a_timedelta(client: tidelog.Client) -> None:
    async with client.consumer("orders", group="g", commit="manual") as consumer:
        clumsy: Any = consumer
        wrong: Any
        for wrong in ([], 5, tidelog.Cursor("orders", 0, 5)):
            with pytest.raises(TypeError, match=r"commit takes records, one after the other"):
                await clumsy.commit(wrong)
        with pytest.raises(TypeError, match=r"a partition is 0; pass TopicPartition"):
            await clumsy.pause(0)
        with pytest.raises(TypeError, match=r"max_wait is 1.0; pass a timedelta"):
            await anext(clumsy.batches(max_wait=1.0))


async def test_another_event_loop_is_refused_and_hangs_nobody(
    client: tidelog.Client, tidelog_broker: testing.Broker
) -> None:
    def elsewhere(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
        with pytest.raises(RuntimeError, match=r"event loop in which .* loop_scope"):
            asyncio.run(asyncio.wait_for(call(), timeout=20))

    for call in (
        lambda: client.topics.get("orders"),
        lambda: client.consumer("orders", group="g").__aenter__(),
        lambda: client.producer().__aenter__(),
        lambda: client.replay("orders").__aenter__(),
        lambda: tidelog_broker.advance(seconds=1),
        tidelog_broker.drop,
        lambda: tidelog_broker.records("orders"),
    ):
        await asyncio.to_thread(elsewhere, call)
    assert (await client.topics.get("orders")).name == "orders"
