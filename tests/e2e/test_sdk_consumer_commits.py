"""The SDK's consumer: a commit is done in the tenure in which it was said, or not at all (P29)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

import tidelog
from model.errors import ErrorCode
from tests.consumer_world import (
    MOVES,
    World,
    answered,
    consuming,
    eventually,
    keys_of,
    peers,
    seconds_until,
    take,
    waiting,
)
from tests.group_peer import busy
from tidelog.commits import Rows
from tidelog.consumer import Consumer
from tidelog.v1 import common_pb2 as common


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


async def refused_for_now(
    world: World, consumer: Consumer[bytes, bytes], *records: tidelog.Record[bytes, bytes]
) -> "asyncio.Task[None]":
    """Begin a commit that will be tried again when time passes."""
    world.groups.faults.refuse_commits.append(busy())
    world.clock.short_s = 0
    pending = asyncio.ensure_future(consumer.commit(*records))
    await eventually(lambda: not world.groups.faults.refuse_commits)
    await answered(consumer)
    world.clock.short_s = 1.0
    assert not pending.done()
    return pending


async def test_it_is_not_tried_again_in_a_later_tenure(world: World) -> None:
    world.store("b1", "b2", "b3", partition=1)
    async with consuming(world, commit="manual") as first:
        record, *_ = [await anext(first) for _ in range(3)]
        pending = await refused_for_now(world, first, record)
        task = await waiting(first)
        async with consuming(world, commit="manual") as second:
            await take(second, 2)
            await second.commit()
        await eventually(lambda: keys_of(first.assignment) == {("orders", 0), MOVES})
        await seconds_until(world, pending.done)
        with pytest.raises(tidelog.Fenced, match="orders/1 went, or was sent elsewhere"):
            await pending
        assert world.groups.committed("g", *MOVES) == 2
        await task
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(world.groups.joins) == 3)
        with pytest.raises(tidelog.Fenced, match="orders/1 from offset 2 on"):
            await first.commit()  # not of the former tenure, of which it was told


async def test_the_rest_of_it_is(world: World) -> None:
    world.store("b1", partition=1)
    async with consuming(world, commit="manual") as first:
        await take(first, 1)
        world.store("a1", partition=0)
        await take(first, 1)  # so that nobody works on the other
        pending = await refused_for_now(world, first)
        async with consuming(world, commit="manual"):
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            await seconds_until(world, pending.done)
            with pytest.raises(tidelog.Fenced, match="orders/1 went"):
                await pending
        await first.commit()
    assert world.groups.committed("g", *MOVES) is None
    assert world.groups.committed("g", "orders") == 1


async def test_nor_behind_a_seek_of_its_own(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        *_, last = [await anext(consumer) for _ in range(3)]
        pending = await refused_for_now(world, consumer, last)
        await consumer.seek(0)
        await seconds_until(world, pending.done)
        with pytest.raises(tidelog.Fenced, match="orders/0 went, or was sent elsewhere"):
            await pending
        assert await take(consumer, 2) == ["1", "2"]
    assert world.groups.committed("g", "orders") == 1  # what was read again, and no more


async def test_it_takes_nothing_back_that_was_committed_meanwhile(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        pending = await refused_for_now(world, consumer, await anext(consumer))
        await take(consumer, 2)
        await consumer.commit()
        await seconds_until(world, pending.done)
        await pending
    assert world.groups.committed("g", "orders") == 3


async def test_nor_what_was_said_meanwhile_and_has_no_answer_yet(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        pending = await refused_for_now(world, consumer, await anext(consumer))
        await take(consumer, 2)
        gate = world.groups.faults.hold_commits = asyncio.Event()
        second = asyncio.ensure_future(consumer.commit())
        commits = consumer._membership.commits
        await eventually(lambda: len(list(commits.again())) == 1)
        await seconds_until(world, lambda: len(list(commits.again())) == 2)
        gate.set()
        await second
        await pending
    assert world.groups.committed("g", "orders") == 3


async def two_of_them(
    world: World, consumer: Consumer[bytes, bytes], *answers: tuple[str, str]
) -> "asyncio.Task[None]":
    """Commit in two partitions, each of which is refused so; the last answer is given for ever."""
    left = list(answers)

    async def commit(cursors: Sequence[common.Cursor]) -> Rows:
        reasons = left.pop(0) if len(left) > 1 else left[0]
        return [
            common.PartitionResult(
                partition=common.TopicPartition(topic=one.topic, partition=one.partition),
                error=common.RecordError(
                    reason=reasons[one.partition],
                    message="no",
                    outcome=common.OUTCOME_NOT_DONE,
                    retryable=reasons[one.partition] == "DISK_FULL",
                ),
            )
            for one in cursors
        ]

    world.store("a1", partition=0)
    world.store("b1", partition=1)
    await take(consumer, 2)
    consumer._membership.commit = commit  # type: ignore[method-assign]
    pending = asyncio.ensure_future(consumer.commit())
    await answered(consumer)
    return pending


async def test_a_refusal_for_good_names_what_was_refused_for_now(world: World) -> None:
    async with consuming(world, commit="manual") as consumer:
        pending = await two_of_them(world, consumer, ("DISK_FULL", "ACCESS_DENIED"))
        with pytest.raises(tidelog.AccessDenied) as refused:
            await pending
        assert refused.value.__notes__ == ["nor were committed: orders/0"]


async def test_so_does_one_that_was_tried_for_too_long(world: World) -> None:
    async with consuming(world, commit="manual") as consumer:
        pending = await two_of_them(world, consumer, ("DISK_FULL", "DISK_FULL"))
        await seconds_until(world, pending.done)
        with pytest.raises(tidelog.Unavailable, match="gave up") as refused:
            await pending
        (note,) = refused.value.__notes__
        assert note in {"nor were committed: orders/0", "nor were committed: orders/1"}


async def test_nor_is_what_was_sought_elsewhere_left_out_of_it(world: World) -> None:
    world.clock.short_s = 0
    async with consuming(world, commit="manual") as consumer:
        answers = [("DISK_FULL", "DISK_FULL"), ("ACCESS_DENIED", "")]
        pending = await two_of_them(world, consumer, *answers)
        await consumer.seek(0, tidelog.TopicPartition(*MOVES))
        await seconds_until(world, pending.done)
        with pytest.raises(tidelog.AccessDenied) as refused:
            await pending
        assert refused.value.__notes__ == ["nor were committed: orders/1"]


async def test_of_what_was_done_on_its_way_out_nothing_is_said(world: World) -> None:
    """Its partition went while the answer was on its way."""
    world.store("b1", "b2", partition=1)
    world.groups.faults.hold_commits = asyncio.Event()
    async with consuming(world, commit="manual") as first:
        await take(first, 2)
        world.store("a1", partition=0)
        await take(first, 1)  # so that nobody works on the other
        pending = asyncio.ensure_future(first.commit())
        async with consuming(world):
            await eventually(lambda: list(first._holdings.by_key) == [("orders", 0)])
            world.groups.faults.hold_commits.set()
            await pending
            assert world.groups.committed("g", *MOVES) == 2


async def test_what_a_seek_left_uncommitted_comes_again_from_where_the_group_stands(
    world: World,
) -> None:
    world.store("1", "2", "3", "4", "5", "6")
    async with consuming(world, commit="manual") as consumer:
        await consumer.commit(await anext(consumer))
        await consumer.seek(4)
        await take(consumer, 1)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(world.groups.joins) == 3)
        with pytest.raises(tidelog.Fenced, match="orders/0 from offset 1 on"):
            await consumer.commit()


async def test_a_refusal_of_several_is_said_once_and_names_them(world: World) -> None:
    world.store("a1", partition=0)
    world.store("b1", partition=1)
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 2)
        world.groups.faults.refuse_commits.append(busy(ErrorCode.STALE_MEMBER_EPOCH))
        with pytest.raises(tidelog.Fenced) as refused:
            await consumer.commit()
        (note,) = refused.value.__notes__
        assert note in {"nor were committed: orders/0", "nor were committed: orders/1"}
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(world.groups.joins) == 2 and len(consumer.assignment) == 2)
        await consumer.commit()
