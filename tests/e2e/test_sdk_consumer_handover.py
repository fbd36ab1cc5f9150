"""The SDK's consumer when partitions go to other members, and when its own place is lost (P29)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

import tidelog
from model.errors import ErrorCode
from tests.consumer_world import (
    MOVES,
    World,
    consuming,
    eventually,
    keys_of,
    peers,
    take,
    waiting,
)
from tests.group_peer import busy
from tidelog.consumer import Consumer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


async def test_a_partition_nobody_works_on_is_handed_over_at_once(world: World) -> None:
    world.store("a", partition=0)
    async with consuming(world) as first:
        assert await take(first, 1) == ["a"]  # in hand; of the partition that stays
        async with consuming(world) as second:
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            world.store("x", partition=1)
            assert await take(second, 1) == ["x"]
            assert keys_of(first.assignment) == {("orders", 0)}
            assert keys_of(second.assignment) == {MOVES}


async def test_the_record_in_hand_is_finished_before_its_partition_goes(world: World) -> None:
    world.store("b1", "b2", "b3", partition=1)
    async with consuming(world) as first:
        assert await take(first, 2) == ["b1", "b2"]
        async with consuming(world) as second:
            await eventually(lambda: len(first.assignment) == 1)
            assert not world.groups.handed_over  # the body still works on the second record
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert world.groups.committed("g", *MOVES) == 2
            assert await take(second, 1) == ["b3"]
            task.cancel()


async def test_what_took_too_long_is_taken_and_comes_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store("b1", "b2", "b3", partition=1)
    async with consuming(world) as first:
        assert await take(first, 2) == ["b1", "b2"]
        async with consuming(world) as second:
            await eventually(lambda: len(first.assignment) == 1)
            world.clock.advance(61)
            world.groups.overdue("g", world.groups.members("g")[0])
            assert await take(second, 2) == ["b1", "b2"]
            task = await waiting(first)
            await eventually(lambda: "took too long" in caplog.text)
            # The answer that ends the former tenure for its node; nothing is given by it.
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            task.cancel()
    assert world.groups.committed("g", *MOVES) == 1  # by the second


async def test_a_partition_given_back_on_a_broken_stream_is_given_back_again(world: World) -> None:
    world.store("b1", "b2", partition=1)
    async with consuming(world) as first:
        assert await take(first, 2) == ["b1", "b2"]
        async with consuming(world) as second:
            await eventually(lambda: len(first.assignment) == 1)
            world.groups.faults.lose_commits = 1
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert world.groups.committed("g", *MOVES) == 2
            assert [join.HasField("member") for join in world.groups.joins] == [False, False, True]
            world.store("b3", partition=1)
            assert await take(second, 1) == ["b3"]
            task.cancel()


async def test_a_group_that_is_sent_elsewhere_goes_on_there(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        assert await take(consumer, 3) == ["1", "2", "3"]
        world.groups.seek("g", "orders", 0)
        assert await take(consumer, 2) == ["1", "2"]
        assert world.groups.committed("g", "orders") == 0  # not the old tenure's record in hand
    assert world.groups.committed("g", "orders") == 1
    assert [join.HasField("member") for join in world.groups.joins] == [False, False]


async def test_a_member_whose_time_ran_out_joins_anew(world: World) -> None:
    world.store("1")
    async with consuming(world, commit="manual") as consumer:
        record = await anext(consumer)
        world.groups.expire("g", world.groups.members("g")[0])
        again = await anext(consumer)
        assert (record.offset, again.offset) == (0, 0)
        await consumer.commit(again)
    assert world.groups.committed("g", "orders") == 1


async def test_who_leaves_before_its_join_is_answered_holds_nothing(world: World) -> None:
    groups = world.groups
    async with consuming(world) as consumer:
        gate = groups.faults.hold_joins = asyncio.Event()
        groups.seek("g", "orders", 0)  # its place is lost, and it joins anew
        await eventually(lambda: len(groups.joins) == 2 and len(groups.members("g")) == 1)

        async def answer_who_leaves() -> None:
            await eventually(lambda: consumer._membership._leaving)
            gate.set()

        answering = asyncio.ensure_future(answer_who_leaves())
    await answering
    await groups.until(lambda: not groups.members("g"))


async def test_nor_does_who_gives_up_before_it_has_joined(world: World) -> None:
    groups = world.groups
    groups.faults.hold_joins = gate = asyncio.Event()
    joining = asyncio.ensure_future(take_nothing(world))
    await groups.until(lambda: len(groups.joins) == 1)  # its member is made, and it does not know
    joining.cancel()
    for _ in range(20):
        await asyncio.sleep(0)  # it says that it leaves, and waits for that to be heard
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await joining
    await groups.until(lambda: not groups.members("g"))


async def take_nothing(world: World) -> None:
    async with consuming(world):
        pass


async def test_a_commit_of_a_place_that_is_lost_is_refused(world: World) -> None:
    world.store("1", "2")
    world.groups.faults.hold_commits = asyncio.Event()
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 1)
        pending = asyncio.ensure_future(consumer.commit())
        await asyncio.sleep(0)
        world.groups.expire("g", world.groups.members("g")[0])
        with pytest.raises(tidelog.Fenced, match="no longer this consumer's"):
            await pending
        world.groups.faults.hold_commits.set()
        await consumer.commit()  # it is said once
    assert world.groups.committed("g", "orders") is None


async def test_an_instance_that_another_one_replaced_ends(world: World) -> None:
    world.store("1")
    async with consuming(world, instance_id="i") as first:
        await take(first, 1)
        async with consuming(world, instance_id="i") as second:
            assert await take(second, 1) == ["1"]
            with pytest.raises(tidelog.Fenced) as fenced:
                await anext(first)
            assert fenced.value.reason == "FENCED_INSTANCE"


async def test_callbacks_are_told_between_two_records(world: World) -> None:
    world.store("b1", "b2", partition=1)
    told: list[tuple[str, int]] = []

    async def assigned(
        consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        told.append(("assigned", len(partitions)))

    async def revoked(
        consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        told.append(("revoked", len(partitions)))
        await consumer.commit()

    options: dict[str, Any] = {"on_assigned": assigned, "on_revoked": revoked, "commit": "manual"}
    async with consuming(world, **options) as first:
        assert await take(first, 1) == ["b1"]
        assert told == [("assigned", 2)]
        async with consuming(world):
            await eventually(lambda: len(first.assignment) == 1)
            assert not world.groups.handed_over  # the callback has not run
            task = await waiting(first)
            await world.groups.until(lambda: len(world.groups.handed_over) == 1)
            assert told[-1] == ("revoked", 1)
            assert world.groups.committed("g", *MOVES) == 1
            task.cancel()


async def test_a_member_that_comes_and_goes_commits_nothing(world: World) -> None:
    world.store("1")
    async with consuming(world) as consumer:
        await eventually(lambda: consumer.buffered == 1)
    assert world.groups.committed("g", "orders") is None


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_callback_that_raises_at_the_end_takes_no_commit_along(
    world: World, error: type[BaseException]
) -> None:
    world.store("1", "2", "3")

    async def revoked(
        consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        raise error

    with pytest.raises(error):
        async with consuming(world, on_revoked=revoked) as consumer:
            await take(consumer, 3)
    assert world.groups.committed("g", "orders") == 2
    assert world.groups.left == ["member-1"]


async def test_nor_does_a_commit_that_is_refused_take_its_error_along(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store("1", "2")
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))

    async def revoked(
        consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with consuming(world, on_revoked=revoked) as consumer:
            await take(consumer, 2)
    assert "the last commit failed" in caplog.text
