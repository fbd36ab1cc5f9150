"""The SDK's consumer: a commit is done in the tenure in which it was said, or not at all (P29)."""

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


async def answered(consumer: Consumer[bytes, bytes]) -> None:
    """Let whatever is on its way to the node come back."""
    for _ in range(20):
        await consumer.lag()


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
