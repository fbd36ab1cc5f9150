"""`tidelog.testing`: a broker inside a test, with time and failures set by hand."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import tidelog
from tidelog import testing
from tidelog.testing.fixtures import tidelog_broker

__all__ = ["tidelog_broker"]
ROOT = Path(__file__).parents[2]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_is_written_is_there_and_time_stands_still(
    tidelog_broker: testing.Broker,
) -> None:
    client = tidelog_broker.client
    await client.topics.create("orders", partitions=2)
    async with client.producer() as producer:
        first = await producer.send("orders", b"a", partition=1)
        await tidelog_broker.advance(timedelta(days=1), minutes=5)
        second = await producer.send("orders", b"b", partition=0)
    assert first.append_time == NEW_YEAR
    assert second.append_time == NEW_YEAR + timedelta(days=1, minutes=5) == tidelog_broker.now
    stored = await tidelog_broker.records("orders")
    assert [(record.value, record.timestamp) for record in stored] == [
        (b"b", tidelog_broker.now),
        (b"a", NEW_YEAR),
    ]
    hour = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
    async with client.replay("orders", during=hour) as history:
        assert [record.value async for record in history] == [b"b"]


async def test_retention_deletes_when_its_time_has_come(tidelog_broker: testing.Broker) -> None:
    client = tidelog_broker.client
    config = {"retention.ms": "86400000", "segment.ms": "3600000"}
    await client.topics.create("orders", config=config)
    async with client.producer() as producer:
        await producer.send("orders", b"old")
        await tidelog_broker.advance(hours=2)
        await producer.send("orders", b"new")
        await tidelog_broker.advance(hours=23)
    left = await tidelog_broker.records("orders")
    assert [record.value for record in left] == [b"new"]


async def test_a_refusal_that_passes_does_not_show(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", "NOT_ENOUGH_REPLICAS", times=2)
    async with tidelog_broker.client.producer() as producer:
        assert (await producer.send("orders", b"v")).offset == 0
    assert len(await tidelog_broker.records("orders")) == 1


async def test_a_refusal_that_stays_is_raised(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", "TIMESTAMP_OUT_OF_RANGE")
    async with tidelog_broker.client.producer() as producer:
        with pytest.raises(tidelog.InvalidRequest, match="the test wants"):
            await producer.send("orders", b"v")
        await producer.send("orders", b"w")
    assert [record.value for record in await tidelog_broker.records("orders")] == [b"w"]
    with pytest.raises(ValueError, match="no reason 'NONSENSE'"):
        tidelog_broker.fail_next("produce", "NONSENSE")


async def test_connections_that_are_dropped_come_back(tidelog_broker: testing.Broker) -> None:
    client = tidelog_broker.client
    await client.topics.create("orders")
    url = tidelog_broker.url
    async with client.producer() as producer:
        await producer.send("orders", b"a")
        async with client.replay("orders") as history:
            assert (await anext(history)).value == b"a"
            await tidelog_broker.drop()
            await producer.send("orders", b"b")
            assert (await anext(history)).value == b"b"
    assert tidelog_broker.url == url
    assert len(await tidelog_broker.records("orders")) == 2


async def test_by_default_time_is_the_machines_and_topics_are_made_by_hand() -> None:
    async with testing.broker() as broker:
        with pytest.raises(ValueError, match="ask for a manual clock"):
            await broker.advance(seconds=1)
        with pytest.raises(tidelog.NotFound):
            await broker.records("orders")
    async with testing.broker(clock=testing.ManualClock(NEW_YEAR)) as broker:
        with pytest.raises(ValueError, match="does not run backwards"):
            await broker.advance(seconds=-1)
        async with tidelog.connect(broker.url) as another:
            await another.topics.create("orders")
        assert await broker.records("orders") == []


def test_it_costs_nothing_until_it_is_used_and_says_what_is_missing() -> None:
    code = (
        "import sys, asyncio, tidelog.testing\nfrom tidelog import _launcher\n"
        "assert not {'api', 'pytest'} & set(sys.modules)\n"
        "_launcher._ONLY_IN_SERVER = 'there_is_no_such_module'\n"
        "async def main():\n    async with tidelog.testing.broker(): pass\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: tidelog.testing runs a node, which cannot run here: "
        "pip install 'tidelog[server]'"
    )
