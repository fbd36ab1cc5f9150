"""The SDK's consumer: a commit counts only in the tenure in which its records came (P29, P32)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tidelog
from tests.consumer_world import MOVES, World, consuming, eventually, peers, take, waiting
from tidelog import consumer_places


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


async def test_a_record_from_before_a_forced_seek_is_not_committed(world: World) -> None:
    """Its group was sent back to read it again: a commit behind it would undo that."""
    world.store("0", "1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        records = [await anext(consumer) for _ in range(3)]
        await consumer.commit()
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        with pytest.raises(tidelog.Fenced, match="offset 2 of orders/0 was not handed out since"):
            await consumer.commit(records[2])
        assert world.groups.committed("g", "orders") == 0
        again = await anext(consumer)
        assert again.offset == 0
        with pytest.raises(tidelog.Fenced, match="offset 1 of orders/0"):
            await consumer.commit(again, records[1])
        await consumer.commit(again)
        assert world.groups.committed("g", "orders") == 1


async def test_nor_one_that_the_group_was_sent_past(world: World) -> None:
    world.store("0", "1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        poison = await anext(consumer)
        world.groups.seek("g", "orders", 4)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        with pytest.raises(tidelog.Fenced, match="offset 0 of orders/0"):
            await consumer.commit(poison)
    assert world.groups.committed("g", "orders") == 4


async def test_nor_one_of_a_partition_that_was_taken_and_came_back(world: World) -> None:
    world.store("b1", "b2", "b3", partition=1)
    async with consuming(world, commit="manual") as first:
        record = await anext(first)
        async with consuming(world, commit="manual") as second:
            await eventually(lambda: len(first.assignment) == 1)
            world.clock.advance(61)
            world.groups.overdue("g", world.groups.members("g")[0])
            assert await take(second, 2) == ["b1", "b2"]
            await second.commit()
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            with pytest.raises(tidelog.Fenced, match="offset 0 of orders/1"):
                await first.commit(record)
        assert (await task).offset == 2
        with pytest.raises(tidelog.Fenced, match="offset 0 of orders/1"):
            await first.commit(record)
        assert world.groups.committed("g", *MOVES) == 2


async def test_nor_one_that_it_was_never_handed(world: World) -> None:
    world.store("0", "1", "2", "3")
    async with consuming(world, commit="manual") as other:
        *_, last = [await anext(other) for _ in range(4)]
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 1)
        with pytest.raises(tidelog.Fenced, match="offset 3 of orders/0"):
            await consumer.commit(last)


async def test_a_seek_of_its_own_begins_anew(world: World) -> None:
    world.store("0", "1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        records = [await anext(consumer) for _ in range(3)]
        await consumer.seek(1)
        with pytest.raises(tidelog.Fenced, match="offset 2 of orders/0"):
            await consumer.commit(records[2])
        again = await anext(consumer)
        assert again.offset == 1
        await consumer.commit(again)
    assert world.groups.committed("g", "orders") == 2


async def test_what_was_handed_out_and_lost_is_said_once(world: World) -> None:
    world.store("a1", "a2", "a3", partition=0)
    world.store("b1", partition=1)
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 4)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: not consumer.assignment)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        again = [await anext(consumer) for _ in range(2)]
        lost = "out of orders/0 from offset 0 on, orders/1 from offset 0 on was not committed"
        with pytest.raises(tidelog.Fenced, match=lost):
            await consumer.commit()
        committed = world.groups.committed("g", "orders")
        assert committed == 1 + max(-1, *(one.offset for one in again if not one.partition))
        await consumer.commit()
        await take(consumer, 2)
        await consumer.commit()
    assert world.groups.committed("g", "orders") == 3
    assert world.groups.committed("g", *MOVES) == 1


async def test_so_is_what_was_given_back_uncommitted(world: World) -> None:
    """By hand nothing is committed before a partition goes, if no callback does it."""
    world.store("a1", partition=0)
    world.store("b1", "b2", partition=1)
    async with consuming(world, commit="manual") as first:
        await take(first, 1)
        await first.commit()
        await take(first, 2)
        async with consuming(world, commit="manual") as second:
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert await take(second, 1) == ["b1"]
            with pytest.raises(tidelog.Fenced, match="handed out of orders/1 from offset 0 on was"):
                await first.commit()
            await first.commit()
            task.cancel()
    assert world.groups.committed("g", *MOVES) is None


async def test_of_what_was_committed_or_not_handed_out_nothing_is_said(world: World) -> None:
    world.store("b1", partition=1)
    world.store("b2", partition=1)
    world.log.topics["orders"][1].log_start = 1
    async with consuming(world, commit="manual") as consumer:
        await eventually(lambda: consumer.buffered == 1)
        task = await waiting(consumer)  # the gap is behind it, and what comes is in hand
        await consumer.commit(await task)
        world.groups.seek("g", "orders", 1)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        await consumer.commit()
        await eventually(lambda: consumer.buffered == 1)
        world.groups.seek("g", "orders", 1)
        await eventually(lambda: len(world.groups.joins) == 3 and len(consumer.assignment) == 2)
        await consumer.commit()


async def test_a_refusal_that_says_so_is_enough(world: World) -> None:
    world.store("b1", "b2", partition=1)
    async with consuming(world, commit="manual") as first:
        await take(first, 1)
        async with consuming(world, commit="manual"):
            await eventually(lambda: len(first.assignment) == 1)
            world.clock.advance(61)
            world.groups.overdue("g", world.groups.members("g")[0])
            with pytest.raises(tidelog.Fenced):
                await first.commit()  # the node says so
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            await first.commit()
            task.cancel()


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Places are found once this is set."""
    gate = asyncio.Event()
    find = consumer_places.find_offsets

    async def late(*args: Any, **options: Any) -> Any:
        found = await find(*args, **options)
        await gate.wait()
        return found

    monkeypatch.setattr(consumer_places, "find_offsets", late)
    return gate


async def test_a_seek_is_not_made_in_a_later_tenure_nor_pays_what_the_earlier_one_owes(
    world: World, looked_up: asyncio.Event
) -> None:
    world.store("0", "1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 3)
        seeking = asyncio.ensure_future(consumer.seek(3, tidelog.TopicPartition("orders", 0)))
        world.groups.seek("g", "orders", 1)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        looked_up.set()
        with pytest.raises(tidelog.Fenced, match="orders/0 went while its place was looked up"):
            await seeking
        with pytest.raises(tidelog.Fenced, match="orders/0 from offset 0 on"):
            await consumer.commit()
        assert await take(consumer, 1) == ["1"]


async def test_what_is_left_is_sought(world: World, looked_up: asyncio.Event) -> None:
    world.store("a1", "a2", partition=0)
    async with consuming(world, commit="manual") as first:
        await take(first, 2)
        seeking = asyncio.ensure_future(first.seek(0))
        async with consuming(world, commit="manual"):
            await eventually(lambda: list(first._holdings.by_key) == [("orders", 0)])
            looked_up.set()
            with pytest.raises(tidelog.Fenced, match=": orders/1 went while"):
                await seeking
            assert await take(first, 2) == ["a1", "a2"]
