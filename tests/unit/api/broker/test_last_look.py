"""What goes from the front is read before, however busy a node is, and never stays for long."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from api.broker.housekeeping import PERIODS_MAX, Housekeeping
from api.broker.last_look import TRIES, LastLook
from api.broker.place import AtOffset, AtTime, Latest
from api.broker.search import Searches
from api.broker.topics import Topics
from api.node.assemble import HOUSEKEEPING_MS
from cluster.shell.hosted_partition import HostedPartition
from logstore.event_bounds import UNKNOWN
from logstore.partition_log import PartitionLog
from logstore.searchable import Search
from model.errors import ErrorCode
from model.ids import Position
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, SETTINGS, BrokerNode, batch_of, broker_node

SEGMENT_BYTES = 1_024
AnswerT = TypeVar("AnswerT")


class HeldSearches(Searches):
    """Searches that wait until they are let go."""

    def __init__(self, node: BrokerNode) -> None:
        super().__init__(node.broker.context)
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()

    async def run(self, log: PartitionLog, search: Search[AnswerT]) -> AnswerT:
        self.begun.set()
        await self.let_go.wait()
        return await super().run(log, search)


class ForgetfulSearches(Searches):
    """Searches of which the first so many learn nothing that lasts."""

    def __init__(self, node: BrokerNode, *, forgotten: int) -> None:
        super().__init__(node.broker.context)
        self.runs = 0
        self._forgotten = forgotten

    async def run(self, log: PartitionLog, search: Search[AnswerT]) -> AnswerT:
        self.runs += 1
        answer = await super().run(log, search)
        if self.runs <= self._forgotten:
            segment = log.segment_list[0]
            segment.forget_rows()
            segment.bounds_before = UNKNOWN
            assert segment.index is None
        return answer


def keeper(node: BrokerNode, searches: Searches | None = None) -> Housekeeping:
    """Return housekeeping that nobody starts: the clock stands, and no moment is quiet."""
    searches = searches or node.broker.searches
    return Housekeeping(
        node.broker.context,
        searches,
        period_ms=HOUSEKEEPING_MS,
        groups=node.broker.group_upkeep.tend,
    )


def topics(node: BrokerNode, searches: Searches) -> Topics:
    """Return the use cases of topics with other searches."""
    context = node.broker.context
    return Topics(context, node.broker.resolve, SETTINGS.topics, LastLook(context, searches))


async def filled(node: BrokerNode, *, segments: int = 4, **config: str) -> HostedPartition:
    """Return a partition of segments with one batch each, a second of event time apart."""
    kept = {"retention_ms": "-1", "retention_bytes": "1"} | config
    orders = await node.create("orders", 1, segment_bytes=str(SEGMENT_BYTES), **kept)
    for number in range(segments):
        await node.produce(orders, batch_of([b"v" * 700], times=[NOON + 1_000 * number]))
    log = orders.log
    await node.node.writer.until(lambda: log.filed_end == log.log_end)
    assert len(log.segment_list) == segments
    assert not any(segment.event_bounds.known for segment in log.segment_list)
    return orders


async def turn() -> None:
    """Let the loop run; the threads have their own pace."""
    await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    while not holds():
        await turn()


async def truncated(node: BrokerNode, orders: HostedPartition, time: int) -> bool:
    found = await node.broker.resolve(ANONYMOUS, orders, AtTime(time, ClockKind.EVENT))
    return found.truncated


async def is_exact(node: BrokerNode, orders: HostedPartition) -> bool:
    """Tell whether answers know that the last record which went had the time NOON + 2 s."""
    assert orders.log_start == 3
    assert await truncated(node, orders, NOON + 2_000)
    return not await truncated(node, orders, NOON + 2_001)


async def test_retention_on_a_busy_node_reads_what_it_removes() -> None:
    """P36: an answer tells exactly whether a record that it should have is gone."""
    async with broker_node() as node:
        orders = await filled(node)
        keeper(node).tend()
        await until(lambda: orders.log_start > 0)
        assert orders.log.removed.unread_segments == 0
        assert await is_exact(node, orders)
        (told,) = [fields for name, fields in node.events if name == "retention_deleted"]
        assert (told["log_start"], told["unread_segments"]) == (3, 0)


async def test_a_trim_on_a_busy_node_reads_what_it_removes() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(3))
        assert (row.before, row.after) == (0, 3)
        assert orders.log.removed.unread_segments == 0
        assert await is_exact(node, orders)


async def test_what_lay_below_the_log_start_is_read_with_the_rest_of_its_segment() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", segment_bytes=str(SEGMENT_BYTES))
        for time in (9_000, 0, 10, 20):
            await node.produce(orders, batch_of([b"v" * 350], times=[NOON + time]))
        assert orders.log.segment_list[1].base_offset == 2
        for start in (1, 2):
            await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(start))
        assert len(orders.log.segment_list) == 1
        assert await truncated(node, orders, NOON + 8_000)
        assert not await truncated(node, orders, NOON + 9_001)


async def test_a_damaged_segment_goes_unread_and_answers_are_in_doubt_from_then_on() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        log = orders.log
        await node.node.writer.checkpointed()
        node.disk.flip_bit(log.segment_list[1].log_name, Position(100), 1)
        keeper(node).tend()
        await until(lambda: orders.log_start > 0)
        assert log.removed.unread_segments == 1
        assert log.removed.event_times, "the others were read nevertheless"
        assert not await is_exact(node, orders)
        assert await truncated(node, orders, NOON + 10**9)
        assert node.failures == []


@pytest.mark.parametrize(
    ("segments", "config", "periods"),
    [
        pytest.param(2, {}, PERIODS_MAX, id="one segment too much"),
        pytest.param(4, {}, 1, id="far too much"),
        pytest.param(4, {"retention_ms": "1", "retention_bytes": "-1"}, PERIODS_MAX, id="by age"),
    ],
)
async def test_what_is_due_goes_unread_if_reading_it_takes_too_long(
    segments: int, config: dict[str, str], periods: int
) -> None:
    async with broker_node() as node:
        orders = await filled(node, segments=segments, **config)
        node.clock.advance(100)
        searches = HeldSearches(node)
        housekeeping = keeper(node, searches)
        for _ in range(periods):
            housekeeping.tend()
            await searches.begun.wait()
            assert orders.log_start == 0
        housekeeping.tend()
        gone = orders.log.removed.unread_segments
        assert (orders.log_start, gone > 0) == (gone, True)
        searches.let_go.set()
        await node.produce(orders, batch_of([b"w" * 700]))
        node.clock.advance(100)
        await node.node.writer.until(lambda: orders.log.filed_end == orders.log.log_end)
        housekeeping.tend()
        await until(lambda: orders.log_start > gone)
        assert orders.log.removed.unread_segments == gone, "what is due later is read again"


async def test_nothing_waits_while_the_disk_is_at_its_reserve() -> None:
    low = replace(SETTINGS, log=replace(SETTINGS.log, reserve_percent=50))
    async with broker_node(settings=low) as node:
        orders = await filled(node)
        look = LastLook(node.broker.context, node.broker.searches)
        assert look.affordable
        used_bytes = node.disk.total_bytes() - node.disk.free_bytes()
        node.disk.capacity_bytes = used_bytes * 5 // 4  # a fifth is free, half is the reserve
        node.node.writer.look_at_space()
        await until(lambda: not look.affordable)
        keeper(node).tend()
        assert (orders.log_start, orders.log.removed.unread_segments) == (3, 3)


async def test_a_trim_reads_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.broker.topics.TRIM_LOOK_MS_MAX", 0)
    async with broker_node() as node:
        orders = await filled(node)
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(3))
        assert (row.after, orders.log_start) == (3, 3)
        assert orders.log.removed.unread_segments == 3


async def test_a_segment_that_closes_while_a_trim_reads_is_read_too() -> None:
    async with broker_node() as node:
        orders = await filled(node, segments=3)
        searches = HeldSearches(node)
        trim = asyncio.ensure_future(topics(node, searches).trim(ANONYMOUS, [orders], Latest()))
        await searches.begun.wait()
        await node.produce(orders, batch_of([b"w" * 700], times=[NOON]))
        searches.let_go.set()
        (row,) = await trim
        assert (row.after, orders.log_start, len(orders.log.segment_list)) == (3, 3, 1)
        assert await is_exact(node, orders)


async def test_a_topic_may_be_deleted_while_it_is_read() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        searches = HeldSearches(node)
        trim = asyncio.ensure_future(topics(node, searches).trim(ANONYMOUS, [orders], AtOffset(3)))
        housekeeping = keeper(node, searches)
        housekeeping.tend()
        await searches.begun.wait()
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        searches.let_go.set()
        (row,) = await trim
        assert row.error is not None
        assert row.error.code is ErrorCode.UNKNOWN_TOPIC
        housekeeping.tend()
        await node.node.settle()
        assert (orders.log_start, node.failures) == (0, [])


async def test_a_node_that_stops_removes_nothing_any_more() -> None:
    async with broker_node() as node:
        orders = await filled(node)
        searches = HeldSearches(node)
        housekeeping = keeper(node, searches)
        housekeeping.tend()
        await searches.begun.wait()
        housekeeping.stop()
        searches.let_go.set()
        await until(lambda: not housekeeping.is_looking)
        assert (orders.log_start, node.failures) == (0, [])


@pytest.mark.parametrize("forgotten", [1, TRIES])
async def test_a_look_whose_rows_leave_memory_is_taken_again_a_few_times(forgotten: int) -> None:
    async with broker_node() as node:
        orders = await filled(node, segments=2)
        searches = ForgetfulSearches(node, forgotten=forgotten)
        await node.node.writer.checkpointed()
        await topics(node, searches).trim(ANONYMOUS, [orders], AtOffset(1))
        assert searches.runs == min(forgotten + 1, TRIES)
        assert orders.log.removed.unread_segments == (forgotten == TRIES)
