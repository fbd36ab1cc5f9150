"""The SDK's consumer and a program that is told what comes and goes, and takes its time (P29)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

import tidelog
from tests.consumer_world import (
    MOVES,
    World,
    answered,
    consuming,
    eventually,
    peers,
    take,
    waiting,
)
from tidelog.consumer import Consumer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


class Callbacks:
    """A program that is told, and takes its time about the first partition that goes."""

    def __init__(self) -> None:
        self.told: list[tuple[str, set[int]]] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def assigned(
        self, consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        self.told.append(("+", {one.partition for one in partitions}))

    async def revoked(
        self, consumer: Consumer[bytes, bytes], partitions: Sequence[tidelog.TopicPartition]
    ) -> None:
        self.told.append(("-", {one.partition for one in partitions}))
        if not self.asked.is_set():
            self.asked.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error

    @property
    def options(self) -> dict[str, Any]:
        return {"on_assigned": self.assigned, "on_revoked": self.revoked}


async def sent_back_meanwhile(
    world: World, consumer: Consumer[bytes, bytes], program: Callbacks
) -> "asyncio.Task[tidelog.Record[bytes, bytes]]":
    """Let the group be sent to its beginning while the program is told of a partition that goes."""
    task = await waiting(consumer)
    async with consuming(world, commit="manual"):
        await program.asked.wait()
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(consumer._membership.lost) == 2)
    await eventually(lambda: len(consumer.assignment) == 2)
    program.go_on.set()
    return task


async def test_what_went_while_the_program_was_told_is_not_committed(world: World) -> None:
    """Its group was sent back to read it again: a commit would undo that."""
    world.store("a1", "a2", partition=0)
    world.store("b1", "b2", partition=1)
    program = Callbacks()
    async with consuming(world, **program.options) as consumer:
        await take(consumer, 4)
        task = await sent_back_meanwhile(world, consumer, program)
        assert (await task).offset == 0
        await answered(consumer)
        assert world.groups.committed("g", *MOVES) == 0


async def test_what_is_lost_while_it_is_told_of_something_else_is_told_too(world: World) -> None:
    """Once, and before it comes again."""
    world.store("a1", partition=0)
    world.store("b1", partition=1)
    program = Callbacks()
    async with consuming(world, commit="manual", **program.options) as consumer:
        await take(consumer, 2)
        await (await sent_back_meanwhile(world, consumer, program))
        assert program.told == [("+", {0, 1}), ("-", {1}), ("-", {0}), ("+", {0, 1})]


async def test_also_where_the_callback_raises(world: World) -> None:
    world.store("a1", partition=0)
    world.store("b1", partition=1)
    program = Callbacks()
    program.error = ZeroDivisionError()
    async with consuming(world, commit="manual", **program.options) as consumer:
        await take(consumer, 2)
        task = await sent_back_meanwhile(world, consumer, program)
        with pytest.raises(ZeroDivisionError):
            await task
        await take(consumer, 1)
        assert program.told == [("+", {0, 1}), ("-", {1}), ("-", {0, 1}), ("+", {0, 1})]


async def test_what_the_program_could_not_be_told_it_is_told_again(world: World) -> None:
    world.store("a1", partition=0)
    program = Callbacks()
    program.error = ZeroDivisionError()
    program.go_on.set()
    async with consuming(world, commit="manual", **program.options) as consumer:
        await take(consumer, 1)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(consumer._membership.lost) == 2)
        with pytest.raises(ZeroDivisionError):
            await anext(consumer)
        await take(consumer, 1)
        assert program.told == [("+", {0, 1}), ("-", {0, 1}), ("-", {0, 1}), ("+", {0, 1})]


async def test_what_was_taken_and_came_back_before_it_was_told_is_told_as_gone_first(
    world: World,
) -> None:
    world.store("b1", partition=1)
    program = Callbacks()
    program.go_on.set()
    async with consuming(world, commit="manual", **program.options) as first:
        await take(first, 1)
        async with consuming(world, commit="manual"):
            await eventually(lambda: len(first.assignment) == 1)
            world.clock.advance(61)
            world.groups.overdue("g", world.groups.members("g")[0])
        await eventually(lambda: len(first.assignment) == 2)
        await take(first, 1)
        assert program.told == [("+", {0, 1}), ("-", {1}), ("+", {1})]


async def test_what_it_never_heard_of_goes_back_while_it_is_told_of_something_else(
    world: World,
) -> None:
    """Nobody waits for a program that has nothing to do with what is wanted back."""
    world.store("a1", partition=0)
    program = Callbacks()
    async with consuming(world, commit="manual", **program.options) as first:
        await take(first, 1)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(first.assignment) == 2)
        task = await waiting(first)
        await program.asked.wait()  # it is told of what it lost, not yet of what came
        async with consuming(world, commit="manual"):
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            program.go_on.set()
        task.cancel()


async def test_what_goes_back_is_said_once(world: World) -> None:
    """A second word would be taken for one of the tenure that has begun meanwhile."""
    program = Callbacks()
    async with consuming(world, commit="manual", **program.options) as first:
        await eventually(lambda: len(first.assignment) == 2)
        async with consuming(world, commit="manual"):
            await eventually(lambda: len(first.assignment) == 1)
            going = first._settlement.idle()
            first._settlement.give_back(going)
            first._settlement.give_back(going)
            await world.groups.until(lambda: bool(world.groups.handed_over))
            await eventually(lambda: MOVES not in first._holdings.by_key)
            await answered(first)
        assert world.groups.handed_over == [MOVES]


async def test_but_not_while_it_is_told_that_it_came(world: World) -> None:
    program = Callbacks()
    program.go_on.set()
    heard, go_on = asyncio.Event(), asyncio.Event()

    async def assigned(*_: object) -> None:
        heard.set()
        await go_on.wait()

    options = {**program.options, "on_assigned": assigned}
    async with consuming(world, commit="manual", **options) as first:
        task = await waiting(first)
        await heard.wait()
        async with consuming(world, commit="manual"):
            await eventually(lambda: len(first.assignment) == 1)
            await answered(first)
            assert world.groups.handed_over == []
            go_on.set()
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            assert program.told == [("-", {1})]
        task.cancel()


async def test_what_comes_and_goes_untold_is_not_told(world: World) -> None:
    program = Callbacks()
    program.go_on.set()
    async with consuming(world, commit="manual", **program.options) as first:
        await eventually(lambda: len(first.assignment) == 2)
        async with consuming(world):
            await eventually(lambda: len(first.assignment) == 1)
            task = await waiting(first)
            await world.groups.until(lambda: world.groups.handed_over == [MOVES])
            world.store("a1", partition=0)
            await task
            assert program.told == [("+", {0})]
            assert first._membership.arrived == []


async def test_nor_at_the_end(world: World) -> None:
    program = Callbacks()
    program.go_on.set()
    async with consuming(world, commit="manual", **program.options) as consumer:
        await eventually(lambda: len(consumer._membership.arrived) == 2)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(consumer._membership.lost) == 2)
        await eventually(lambda: len(consumer._membership.arrived) == 2)
    assert program.told == []


async def test_the_end_tells_what_was_lost_and_not_told_yet(world: World) -> None:
    world.store("a1", partition=0)
    program = Callbacks()
    program.go_on.set()
    async with consuming(world, commit="manual", **program.options) as consumer:
        await take(consumer, 1)
        world.groups.seek("g", "orders", 0)
        await eventually(lambda: len(consumer._membership.lost) == 2)
    assert program.told == [("+", {0, 1}), ("-", {0, 1})]
