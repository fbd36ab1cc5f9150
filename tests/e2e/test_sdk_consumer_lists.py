"""The SDK's consumer and its lists: nothing of one counts before the program has it (P32)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

import tidelog
from tests.consumer_world import (
    MOVES,
    Item,
    World,
    consuming,
    eventually,
    peers,
    seconds_until,
    take,
    value_of,
)
from tidelog import testing
from tidelog.consumer import Consumer

LONG = timedelta(hours=1)
"""Nothing waits for so long here: what comes earlier comes for another reason."""
SOME = timedelta(seconds=5)
FIRST = tidelog.TopicPartition("orders", 0)
Reader = Consumer[bytes, bytes]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


async def gathering(consumer: Reader, max_wait: timedelta = LONG) -> "asyncio.Task[Sequence[Item]]":
    """Ask for a list that cannot be full, and wait until all that is here is in it."""
    task = asyncio.ensure_future(anext(consumer.batches(max_records=100, max_wait=max_wait)))
    await eventually(lambda: consumer.caught_up)
    assert not task.done()
    return task


async def given_up(task: "asyncio.Task[Sequence[Item]]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def values_of(records: Sequence[Item]) -> list[str]:
    return [value_of(one) for one in records]


@pytest.mark.parametrize("commit", ["after", "auto", "manual"])
async def test_a_list_that_is_given_up_comes_again(world: World, commit: str) -> None:
    world.store("1", "2", "3")
    async with consuming(world, commit=commit) as consumer:
        await given_up(await gathering(consumer))
        if commit == "manual":
            await consumer.commit()
        assert consumer.buffered == 3
        assert await take(consumer, 1) == ["1"]  # whatever reads next has finished nothing
        world.clock.advance(1)  # the time of a regular commit, if anything is finished
        world.clock.advance(1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert world.groups.committed("g", "orders") is None
        await given_up(await gathering(consumer))  # "1" is finished by it, the others are not
        assert values_of(await anext(consumer.batches(max_records=2))) == ["2", "3"]
    expected = {"after": 1, "auto": 3, "manual": None}
    assert world.groups.committed("g", "orders") == expected[commit]


async def test_so_it_does_when_the_block_ends_in_order(world: World) -> None:
    world.store("1", "2")
    async with consuming(world, commit="auto") as consumer:
        await given_up(await gathering(consumer))
    assert world.groups.committed("g", "orders") is None


async def test_who_commits_beside_it_commits_nothing_of_it(world: World) -> None:
    world.store("1", "2")
    async with consuming(world, commit="manual") as consumer:
        task = await gathering(consumer)
        assert sum((await consumer.lag()).values()) == 2
        await consumer.commit()
        assert world.groups.committed("g", "orders") is None
        await given_up(task)


async def test_what_is_given_up_takes_its_credit_again(world: World) -> None:
    for number in range(4):
        world.store(f"{number}a", f"{number}b", f"{number}c", partition=number % 2)
    async with consuming(world, commit="manual") as consumer:
        await eventually(lambda: consumer.buffered == 12)
        here = list(consumer._holdings._here)
        assert here[0] == 12
        await take(consumer, 1)  # of a message that is begun, the rest is in the list
        task = await gathering(consumer)
        assert consumer._holdings._here == [0, 0]
        await given_up(task)
        assert (consumer.buffered, consumer._holdings._here) == (11, here)
        await consumer.pause(FIRST)
        assert len(await take(consumer, 6)) == 6
        await consumer.resume()
        assert len({*await take(consumer, 5)}) == 5
        assert not consumer.buffered
        await given_up(await gathering(consumer))  # and looks at what lies behind the last record
        assert consumer._holdings._here == [0, 0]


async def test_what_was_paused_meanwhile_comes_again_later(world: World) -> None:
    world.store("a1", "a2", partition=0)
    world.store("b1", partition=1)
    async with consuming(world) as consumer:
        task = await gathering(consumer)
        await consumer.pause(FIRST)
        await given_up(task)
        assert consumer.buffered == 1
        assert await take(consumer, 1) == ["b1"]
        await consumer.resume(FIRST)
        assert await take(consumer, 2) == ["a1", "a2"]


async def test_a_seek_meanwhile_counts(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        task = await gathering(consumer)
        await consumer.seek(1)
        await given_up(task)
        assert await take(consumer, 2) == ["2", "3"]
        await consumer.seek(0, FIRST)
        await eventually(lambda: consumer.buffered == 3)
        task = await gathering(consumer, SOME)
        await consumer.seek(2, FIRST)
        await eventually(lambda: consumer.caught_up)  # what came since is in the list that waits
        await seconds_until(world, task.done)
        assert values_of(await task) == ["3"]


@pytest.mark.parametrize("told", [False, True])
async def test_a_list_that_waits_holds_no_rebalance_up(world: World, told: bool) -> None:
    """The program works on nothing of it: what is asked back goes at once, and comes elsewhere."""
    world.store("a", partition=0)
    world.store("b", partition=1)
    gone: list[tidelog.TopicPartition] = []

    async def revoked(consumer: Reader, partitions: Sequence[tidelog.TopicPartition]) -> None:
        await consumer.commit()
        gone.extend(partitions)

    options: dict[str, Any] = {"on_revoked": revoked} if told else {}
    async with consuming(world, **options) as first:
        task = await gathering(first)
        async with consuming(world) as second:
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert await take(second, 1) == ["b"]
            assert [(one.topic, one.partition) for one in gone] == [MOVES] * told
            world.clock.advance(LONG.total_seconds())
            assert values_of(await task) == ["a"]


async def test_a_list_of_which_all_went_is_not_handed_out(world: World) -> None:
    world.store("b", partition=1)
    async with consuming(world) as first:
        task = await gathering(first, SOME)
        async with consuming(world) as second:
            assert await take(second, 1) == ["b"]
            for _ in range(2 * int(SOME.total_seconds())):
                world.clock.advance(1)
                await asyncio.sleep(0)
            assert not task.done()
            world.store("a", partition=0)
            await seconds_until(world, task.done)
            assert values_of(await task) == ["a"]


async def test_a_list_waits_by_the_clock_of_its_connection(world: World) -> None:
    world.store("1", "2")
    async with consuming(world) as consumer:
        task = await gathering(consumer, SOME)
        world.clock.advance(SOME.total_seconds() - 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        world.clock.advance(2)
        assert values_of(await task) == ["1", "2"]


async def test_a_list_comes_when_the_clock_of_a_test_is_turned() -> None:
    async with (
        asyncio.timeout(20),
        testing.broker(clock=testing.ManualClock()) as broker,
        broker.client.producer() as producer,
    ):
        await broker.client.topics.create("orders", partitions=1)
        await producer.send("orders", b"1")
        async with broker.client.consumer("orders", group="g") as consumer:
            task = await gathering(consumer, timedelta(minutes=10))
            await broker.advance(minutes=11)
            assert values_of(await task) == ["1"]


async def test_a_list_without_a_wait_is_what_is_here(world: World) -> None:
    world.store("1", "2")
    async with consuming(world) as consumer:
        await eventually(lambda: consumer.buffered == 2)
        lists = consumer.batches(max_records=100, max_wait=timedelta(0))
        assert values_of(await anext(lists)) == ["1", "2"]


async def test_a_callback_that_raises_loses_no_list_and_is_asked_again(world: World) -> None:
    world.store("a", partition=0)
    told: list[int] = []

    async def revoked(consumer: Reader, partitions: Sequence[tidelog.TopicPartition]) -> None:
        told.append(len(partitions))
        if len(told) == 1:
            raise ZeroDivisionError

    async with consuming(world, on_revoked=revoked) as first:
        task = await gathering(first)
        async with consuming(world):
            with pytest.raises(ZeroDivisionError):
                await task
            assert await take(first, 1) == ["a"]
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert told == [1, 1]
