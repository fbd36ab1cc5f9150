"""What must not wait for the program that consumes, and what it must not wait for itself (P32)."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

import tidelog
from model.errors import ErrorCode, RequestError
from tests.consumer_world import World, consuming, eventually, peers, seconds_until, take, value_of
from tests.group_peer import busy
from tidelog.consume_stream import ConsumeStream
from tidelog.v1 import group_service_pb2 as wire

MANY = 5_000
"""All of them are here at once: no record is waited for."""
BODY_S = 0.06
FIRST = tidelog.TopicPartition("orders", 0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


def is_heard(world: World) -> bool:
    return world.groups.heartbeats >= 3 and (world.groups.committed("g", "orders") or 0) > 0


async def test_a_program_that_awaits_nothing_is_heard_and_its_work_committed(world: World) -> None:
    world.store(*map(str, range(MANY)))
    async with consuming(world) as consumer:
        async for record in consumer:
            if is_heard(world):
                break
            assert record.offset < MANY - 1
            world.clock.advance(BODY_S)


async def test_so_is_one_whose_lists_take_long_to_fill(world: World) -> None:
    class Slow:
        def encode(self, value: str, /) -> bytes:
            return value.encode()

        def decode(self, data: bytes, /) -> str:
            world.clock.advance(BODY_S)
            heartbeats.append(world.groups.heartbeats)
            return data.decode()

    heartbeats: list[int] = []
    world.store(*map(str, range(MANY)))
    async with consuming(world, value=Slow()) as consumer:
        async for some in consumer.batches(max_records=MANY):
            if heartbeats[-1] >= 3:  # within the first list: it could not be longer
                break
            assert some[-1].offset < MANY - 1


async def test_the_end_waits_for_the_answer_to_a_commit(world: World) -> None:
    """One that is under way says nothing yet: it may be refused."""
    world.store("1", "2")
    hold = world.groups.faults.hold_commits = asyncio.Event()
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))

    async def let_go() -> None:
        await eventually(lambda: consumer._closed)
        hold.set()

    with pytest.raises(tidelog.AccessDenied):
        async with consuming(world) as consumer:
            await take(consumer, 2)
            await seconds_until(world, lambda: bool(consumer._membership.commits._pending))
            letting_go = asyncio.ensure_future(let_go())
    await letting_go
    assert world.groups.committed("g", "orders") is None


async def test_a_seek_is_not_undone_by_what_was_read_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message may be read in the very turn in which the stream is closed."""
    gate, was_read = asyncio.Event(), asyncio.Event()
    gate.set()
    read = ConsumeStream.read

    async def late(stream: ConsumeStream) -> wire.ConsumeResponse | None:
        message = await read(stream)
        if message is not None and message.HasField("records"):
            was_read.set()
            await gate.wait()
        return message

    monkeypatch.setattr(ConsumeStream, "read", late)
    world.store("1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        assert await take(consumer, 3) == ["1", "2", "3"]
        gate.clear()
        was_read.clear()
        world.store("4")
        await was_read.wait()
        seeking = asyncio.ensure_future(consumer.seek(0))
        await eventually(lambda: consumer._membership._stream is None or closed(consumer))
        gate.set()
        await seeking
        assert await take(consumer, 4) == ["1", "2", "3", "4"]


async def test_nor_by_what_the_stream_before_ended_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage ahead of where it stood: what lies before that is read again, none passed over."""
    gate, was_read = asyncio.Event(), asyncio.Event()
    read = ConsumeStream.read

    async def late(stream: ConsumeStream) -> wire.ConsumeResponse | None:
        try:
            return await read(stream)
        except grpc.aio.AioRpcError:
            if world.groups.faults.refuse_joins:  # what cut the stream before
                raise
            was_read.set()
            await gate.wait()
            raise

    monkeypatch.setattr(ConsumeStream, "read", late)
    world.store("1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        assert await take(consumer, 3) == ["1", "2", "3"]
        world.groups.faults.refuse_joins.append(damage(3, 4))
        consumer._membership._stream.close()  # type: ignore[union-attr]  # as if it broke
        await was_read.wait()
        seeking = asyncio.ensure_future(consumer.seek(0))
        await eventually(lambda: closed(consumer))
        gate.set()
        await seeking
        assert await take(consumer, 3) == ["1", "2", "3"]


async def test_damage_that_ends_the_consumer_says_that_nothing_goes_on_behind_it(
    world: World,
) -> None:
    """It lies elsewhere than where this consumer stands."""
    world.store("1")
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 1)
        world.groups.faults.refuse_joins.append(damage(5, 8))
        consumer._membership._stream.close()  # type: ignore[union-attr]  # as if it broke
        for _ in range(2):
            with pytest.raises(tidelog.DataCorrupt, match="rotten") as over:
                await take(consumer, 1)
            assert (over.value.offset, over.value.next_offset) == (5, None)


def damage(first: int, behind: int) -> RequestError:
    return RequestError(
        ErrorCode.CORRUPT_LOG,
        "rotten",
        topic="orders",
        partition="0",
        offset=str(first),
        next_offset=str(behind),
    )


def closed(consumer: tidelog.Consumer[bytes, bytes]) -> bool:
    stream = consumer._membership._stream
    return stream is not None and stream.closed


async def test_what_is_left_ends_with_the_consumer(world: World) -> None:
    world.store("1", "2")
    async with consuming(world) as consumer:
        rest = consumer.until_caught_up()
        assert value_of(await anext(rest)) == "1"
    assert [one async for one in rest] == []


async def test_what_is_paused_is_not_waited_for(world: World) -> None:
    world.store("a1", "a2", "a3", partition=0)
    world.store("b1", "b2", partition=1)
    async with consuming(world) as consumer:
        assert await take(consumer, 1) == ["a1"]
        assert consumer.buffered >= 2
        await consumer.pause(FIRST)
        assert [value_of(one) async for one in consumer.until_caught_up()] == ["b1", "b2"]
        assert (consumer.caught_up, consumer.buffered) == (True, 0)
        await consumer.resume(FIRST)
        assert (consumer.caught_up, consumer.buffered) == (False, 2)
        assert await take(consumer, 2) == ["a2", "a3"]
        assert consumer.buffered == 0
