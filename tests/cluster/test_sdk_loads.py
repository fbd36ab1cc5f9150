"""The SDK's load and its readers, by themselves, beside a node in this process."""

import asyncio

import pytest

from tests.cluster import sdk_loads, waiting
from tests.cluster.judge import faults
from tests.cluster.sdk_loads import SdkLoad
from tests.cluster.sdk_readers import Bookkeeper
from tests.cluster.waiting import NotInTime
from tidelog import testing

TOPIC = "sales"
PARTITIONS = 3
NOBODY = "tidelog://127.0.0.1:1"


async def test_what_is_acknowledged_is_what_a_group_is_handed() -> None:
    async with testing.broker() as node, asyncio.timeout(60):
        await node.client.topics.create(TOPIC, partitions=PARTITIONS)
        load = SdkLoad(node.url, TOPIC, partitions=PARTITIONS)
        reader = Bookkeeper(node.url, TOPIC, "books")
        async with reader.running(), load.running():
            assert await load.more(10, "at first") > 0
            await load.finish()
            await reader.read_up(load.acknowledged)
    told, book = load.acknowledged, reader.book
    assert min(map(len, told.values())) >= 10
    assert faults(told, book.seen, all_told=True) == []
    assert (book.odd, book.again, load.errors) == ([], 0, [])
    assert load.count == sum(map(len, book.seen.values()))


async def test_more_is_asked_of_every_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key goes to one partition: the others stand still, however much that one takes."""
    monkeypatch.setattr(sdk_loads, "KEYS", 1)
    monkeypatch.setattr(waiting, "PATIENCE_S", 1.0)
    async with testing.broker() as node, asyncio.timeout(60):
        await node.client.topics.create(TOPIC, partitions=PARTITIONS)
        load = SdkLoad(node.url, TOPIC, partitions=PARTITIONS)
        with pytest.raises(NotInTime, match=r"by partition: \{.*: 0"):
            async with load.running():
                await load.more(1, "anywhere")
    assert load.count > 1


async def test_a_load_that_does_not_come_to_its_end_is_given_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (sdk_loads, waiting):
        monkeypatch.setattr(module, "PATIENCE_S", 0.5)
    load = SdkLoad(NOBODY, TOPIC, partitions=PARTITIONS)
    with pytest.raises(NotInTime, match="1 answers are missing"):
        async with load.running():
            with pytest.raises(NotInTime, match="acks in each partition"):
                await load.more(1, "of nobody")
    await load.finish()
