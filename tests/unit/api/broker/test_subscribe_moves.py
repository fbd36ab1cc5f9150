"""A subscription's places: they only rise, and belong to the partitions that were asked for."""

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from api.broker.answer_room import AnswerRoom
from api.broker.read_on import Gap, Step
from api.broker.subscribe import HEARTBEAT_MS, Bounds, CaughtUp, Opened, Subscribe, Subscription
from cluster.controller.partitions import AddPartitions
from logstore.time_search import sweep_events
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.principal import ANONYMOUS
from model.record import ClockKind, TimeRange
from tests.broker_node import NOON, batch_of, broker_node

NOBODY = cast(Any, None)


def step(next_offset: int) -> Step:
    zero = Offset(0)
    return Step(NOBODY, zero, (), Offset(next_offset), zero, zero, zero, AppendTimeMs(0))


def test_it_never_goes_back() -> None:
    place = Bounds(NOBODY, Offset(5), last_epoch=LeaderEpoch(2))
    Subscribe._move(NOBODY, NOBODY, place, step(7))
    assert (place.start, place.last_epoch) == (7, 2)
    with pytest.raises(AssertionError, match="SUBSCRIPTION_MOVES_FORWARD"):
        Subscribe._move(NOBODY, NOBODY, place, step(6))


def test_behind_a_gap_the_epoch_is_unknown() -> None:
    place = Bounds(NOBODY, Offset(5), last_epoch=LeaderEpoch(2))
    Subscribe._move(NOBODY, NOBODY, place, Gap(NOBODY, Offset(5), Offset(9)))
    assert (place.start, place.last_epoch) == (9, None)


async def test_a_namesake_is_not_followed_in_a_deleted_topics_place() -> None:
    """Its offsets would be taken for the old ones, by a reader that was busy meanwhile."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"old"]))
        wanted = Subscription(bounds=[Bounds(orders, Offset(0))], follow=["orders"])
        room = AnswerRoom(node.node.answers)
        async with aclosing(node.broker.subscribe(ANONYMOUS, wanted, room)) as events:
            assert isinstance(await anext(events), Opened)
            await anext(events)
            await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
            await node.produce(await node.create("orders"), batch_of([b"new"]))
            with pytest.raises(RequestError, match="another") as ended:
                await anext(events)
            assert ended.value.code is ErrorCode.UNKNOWN_TOPIC


async def test_partitions_that_a_followed_topic_gets_are_read_from_their_beginning() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        wanted = Subscription(bounds=[Bounds(orders, Offset(0))], follow=["orders"])
        room = AnswerRoom(node.node.answers)
        async with aclosing(node.broker.subscribe(ANONYMOUS, wanted, room)) as events:
            assert isinstance(await anext(events), Opened)
            assert isinstance(await anext(events), CaughtUp)
            await node.broker.topics.add_partitions(
                ANONYMOUS, AddPartitions(name="orders", partitions=2)
            )
            await node.produce(node.broker.partition("orders", 1), batch_of([b"v"]))
            grown: object = None
            while not isinstance(grown, Opened):  # signs of life come before
                coming = asyncio.ensure_future(anext(events))
                while not coming.done():  # it looks again once it has waited for a while
                    await node.broker.searches.turn()
                    node.clock.advance(HEARTBEAT_MS)
                grown = coming.result()
            assert [(one.partition.number, one.start) for one in grown.bounds] == [(1, 0)]


async def test_a_range_of_event_time_reads_no_block_that_cannot_hold_a_record() -> None:
    """One record came early and one late; what lies between them stays on the disk."""
    async with broker_node() as node:
        orders = await node.create("orders")
        between = [NOON + 1_000 + number for number in range(200)]
        for time in [NOON, *between, NOON]:
            await node.produce(orders, batch_of([b"v" * 50], times=[time]))
        times = TimeRange(ClockKind.EVENT, NOON, NOON + 1)
        await node.broker.searches.run(orders.log, sweep_events(orders.log))
        bounds = await node.broker.subscribe.resolve_range(orders, times)
        assert (bounds.start, bounds.stop) == (0, 202)
        wanted = Subscription(bounds=[bounds], times=times, max_bytes=300)
        offsets = []
        room = AnswerRoom(node.node.answers)
        async with aclosing(node.broker.subscribe(ANONYMOUS, wanted, room)) as events:
            async for event in events:
                if isinstance(event, list):
                    offsets += [batch.base_offset for step in event for batch in step.batches]
        assert {0, 201} <= set(offsets)
        assert len(offsets) < 10  # a step of 300 bytes goes a little further than the block
