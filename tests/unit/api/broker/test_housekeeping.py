"""Learning event times ahead of queries: in quiet moments, and in no others."""

import asyncio
import dataclasses

import pytest

from api.broker import housekeeping
from api.broker.housekeeping import QUIET_MS, leveled
from api.broker.place import AtTime
from api.node.assemble import HOUSEKEEPING_MS
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.limits import PRODUCER_IDS_PER_NODE_MAX
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, BrokerNode, HeldPool, batch_of, broker_node, cold

BATCHES = 40
TURNS = 2_000
"""Of the loop: enough for a sweep of so few batches to end."""


def known_blocks(partition: HostedPartition) -> int:
    """Return how many blocks of the log have event times that somebody has found out."""
    index = partition.log.segments()[0].index()
    assert index is not None
    return sum(row.bounds.known for row in index.rows())


async def filled(node: BrokerNode, *, records: int = 1) -> HostedPartition:
    """Return a partition with some blocks of which nobody knows anything."""
    orders = await node.create("orders")
    for _ in range(BATCHES):
        await node.produce(orders, batch_of([b"v" * 50] * records))
    assert known_blocks(orders) == 0
    return orders


async def turns(count: int) -> None:
    """Let the loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_quiet_node_learns_the_event_times_of_everything() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        node.clock.advance(QUIET_MS)
        node.clock.advance(QUIET_MS)
        while known_blocks(orders) < BATCHES - 1:
            await turns(1)


async def test_whoever_reads_puts_it_off() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        node.clock.advance(QUIET_MS)
        for _ in range(5):
            assert (await node.fetch(orders, 0)).size_bytes > 0
            node.clock.advance(QUIET_MS)
            await turns(TURNS)
            assert known_blocks(orders) == 0
        node.clock.advance(QUIET_MS)
        while known_blocks(orders) < BATCHES - 1:
            await turns(1)


async def test_a_sweep_under_way_ends_when_somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.broker.search.SLICE_MS", 0)  # it gives way after every step
    async with broker_node() as node:
        orders = await filled(node, records=100)
        node.clock.advance(QUIET_MS)
        node.clock.advance(QUIET_MS)
        while (begun := known_blocks(orders)) == 0:  # the read pool has its own pace
            await turns(1)
        await node.fetch(orders, 0)
        await turns(TURNS)
        assert 0 < begun <= known_blocks(orders) < BATCHES - 1
        node.clock.advance(QUIET_MS)
        while known_blocks(orders) < BATCHES - 1:
            await turns(1)


async def test_a_topic_that_is_deleted_before_its_sweep_is_no_failure_of_the_disk() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", tidelog_flush="async")
        for _ in range(BATCHES):
            await node.produce(orders, batch_of([b"v" * 50]))
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        while node.disk.list("partitions"):  # the checkpointer has its own pace
            await turns(1)
        node.clock.advance(QUIET_MS)
        node.clock.advance(QUIET_MS)
        await turns(TURNS)
        assert node.failures == []
        others = await filled(node)  # and the sweep goes on with those that are there
        node.clock.advance(QUIET_MS)
        node.clock.advance(QUIET_MS)
        while known_blocks(others) < BATCHES - 1:
            await turns(1)


async def test_a_search_in_a_topic_that_is_deleted_meanwhile_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        pool = HeldPool(node.broker.context.read_pool)
        monkeypatch.setattr(node.broker.context, "read_pool", pool)
        orders, place = node.broker.partition("orders", 0), AtTime(NOON, ClockKind.EVENT)
        search = asyncio.ensure_future(node.broker.resolve(ANONYMOUS, orders, place))
        while not pool.held and not search.done():
            await turns(1)
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        pool.let_go()
        with pytest.raises(RequestError, match="deleted") as refusal:
            await search
        assert refusal.value.code is ErrorCode.UNKNOWN_TOPIC
        assert node.failures == []


@pytest.mark.parametrize(
    ("counts", "most", "level"),
    [([], 10, 0), ([3, 4], 10, 4), ([3, 9], 10, 7), ([9, 9, 1], 10, 4), ([5, 5], 0, 0)],
)
def test_the_level_is_as_high_as_the_limit_allows(counts: list[int], most: int, level: int) -> None:
    assert leveled(counts, most) == level


async def test_producers_fill_no_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    """P54: over all partitions a node remembers so many, those who wrote last."""
    limit = dataclasses.replace(PRODUCER_IDS_PER_NODE_MAX, value=5)
    monkeypatch.setattr(housekeeping, "PRODUCER_IDS_PER_NODE_MAX", limit)
    async with broker_node() as node:
        orders, few = await node.create("orders"), await node.create("few")
        await node.produce(few, batch_of([b"v"], producer=(900, 0, 0)))
        for producer in range(10):
            await node.produce(orders, batch_of([b"v"], producer=(producer, 0, 0)))
        node.clock.advance(HOUSEKEEPING_MS)
        known = [producer for producer, _ in orders.log.producers.items()]
        assert known == [6, 7, 8, 9]
        assert [producer for producer, _ in few.log.producers.items()] == [900]
        told = [fields for event, fields in node.events if event == "producers_forgotten"]
        assert told == [{"producers": 6, "most_per_partition": 4}]
        node.clock.advance(HOUSEKEEPING_MS)
        assert len(orders.log.producers) == 4
        assert [event for event, _ in node.events].count("producers_forgotten") == 1
