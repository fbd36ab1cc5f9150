"""The SDK's consumer when streams break, partitions move, commits are refused (P29, P32)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import tidelog
from model.errors import ErrorCode, RequestError
from tests.consumer_world import (
    World,
    consuming,
    eventually,
    peers,
    seconds_until,
    take,
    value_of,
    waiting,
)
from tests.group_peer import busy
from tests.sdk_clock import client_of
from tidelog import held


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


async def test_a_record_counts_when_the_program_comes_back_for_the_next(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        assert await take(consumer, 2) == ["1", "2"]
    assert world.groups.committed("g", "orders") == 1  # the second was in hand
    assert world.groups.left == ["member-1"]
    async with consuming(world) as consumer:
        assert await take(consumer, 2) == ["2", "3"]


async def test_a_body_that_raises_has_not_finished_its_record(world: World) -> None:
    world.store("1", "2")
    with pytest.raises(ZeroDivisionError):
        async with consuming(world, commit="auto") as consumer:
            await take(consumer, 2)
            raise ZeroDivisionError
    assert world.groups.committed("g", "orders") == 1
    assert world.groups.left == ["member-1"]


async def test_auto_counts_the_record_in_hand_when_the_block_ends_in_order(world: World) -> None:
    world.store("1", "2")
    async with consuming(world, commit="auto") as consumer:
        await take(consumer, 2)
    assert world.groups.committed("g", "orders") == 2


async def test_manual_commits_only_what_it_is_told(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world, commit="manual") as consumer:
        first, _, _ = [await anext(consumer) for _ in range(3)]
        await consumer.commit(first)
        assert world.groups.committed("g", "orders") == 1
        await consumer.commit()
        assert world.groups.committed("g", "orders") == 3
        world.store("4", "5")
        await take(consumer, 2)
    assert world.groups.committed("g", "orders") == 3


async def test_what_is_finished_is_committed_every_second(world: World) -> None:
    world.store("1", "2")
    async with consuming(world) as consumer:
        await take(consumer, 2)
        await seconds_until(world, lambda: world.groups.committed("g", "orders") == 1)
        task = await waiting(consumer)
        await seconds_until(world, lambda: world.groups.committed("g", "orders") == 2)
        task.cancel()


async def test_a_regular_commit_takes_nothing_back(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        await take(consumer, 2)
        await consumer.commit()  # also the second, which is in hand
        beats = world.groups.heartbeats
        world.clock.advance(1)  # the time of a regular commit
        world.clock.advance(1)
        await world.groups.until(lambda: world.groups.heartbeats > beats)
        assert world.groups.committed("g", "orders") == 2
        await consumer.seek(0)
        await take(consumer, 2)
        await seconds_until(world, lambda: world.groups.committed("g", "orders") == 1)


async def test_a_commit_that_is_given_up_takes_none_back_that_was_done(world: World) -> None:
    world.store("1", "2", "3", "4")
    async with consuming(world) as consumer:
        lists = consumer.batches(max_records=2)
        await anext(lists)
        first, second = await anext(lists)  # the first list is finished, this one is in hand
        await consumer.commit(first)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await consumer.commit(second)
        beats = world.groups.heartbeats
        world.clock.advance(1)  # the time of a regular commit
        world.clock.advance(1)
        await world.groups.until(
            lambda: world.groups.heartbeats > beats or world.groups.committed("g", "orders") == 2
        )
        assert world.groups.committed("g", "orders") == 4, "it was said, and done all the same"
    assert world.groups.committed("g", "orders") == 4


async def test_a_slow_body_is_heard_all_the_time(world: World) -> None:
    world.store("1")
    async with consuming(world) as consumer:
        await take(consumer, 1)
        for beat in range(1, 4):  # the body works; two seconds pass, and two again
            world.clock.advance(2)
            await world.groups.until(lambda wanted=beat: world.groups.heartbeats >= wanted)  # type: ignore[misc]


async def test_a_cut_stream_is_resumed_where_it_was(world: World) -> None:
    for number in range(6):
        world.store(f"{number}", partition=number % 2)
    world.groups.faults.cut_after = [2, 1, 0, 1]
    async with consuming(world) as consumer:
        assert sorted(await take(consumer, 6)) == [str(number) for number in range(6)]
    joins = world.groups.joins
    assert [join.HasField("member") for join in joins] == [False, True, True, True, True]
    assert {join.member.member_id for join in joins[1:]} == {"member-1"}
    assert len(world.groups.left) == 1


async def test_a_commit_without_an_answer_is_said_again(world: World) -> None:
    world.store("1", "2")
    world.groups.faults.lose_commits = 2
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 2)
        await consumer.commit()
        assert world.groups.committed("g", "orders") == 2
    assert len(world.groups.joins) == 3


async def test_a_commit_that_is_refused_for_now_is_tried_again(world: World) -> None:
    world.store("1")
    world.groups.faults.refuse_commits.extend([busy(), busy()])
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 1)
        await consumer.commit()
    assert world.groups.committed("g", "orders") == 1


async def test_a_commit_that_is_refused_for_good_is_raised_where_it_was_made(world: World) -> None:
    world.store("1")
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))
    async with consuming(world, commit="manual") as consumer:
        await take(consumer, 1)
        with pytest.raises(tidelog.AccessDenied):
            await consumer.commit()
        await consumer.commit()
    assert world.groups.committed("g", "orders") == 1


async def test_a_regular_commit_that_is_refused_for_good_ends_the_iteration(world: World) -> None:
    world.store("1", "2")
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))
    async with consuming(world) as consumer:
        await take(consumer, 2)
        task = await waiting(consumer)
        world.clock.advance(1)
        with pytest.raises(tidelog.AccessDenied):
            async with asyncio.timeout(10):
                await task
    assert world.groups.left == ["member-1"]


async def test_the_last_commit_is_raised_at_the_end(world: World) -> None:
    world.store("1", "2")
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))
    with pytest.raises(tidelog.AccessDenied):
        async with consuming(world) as consumer:
            await take(consumer, 2)
    assert world.groups.left == ["member-1"]


async def test_a_failure_that_nobody_has_seen_is_raised_at_the_end(world: World) -> None:
    world.store("1", "2")
    world.groups.faults.refuse_commits.append(busy(ErrorCode.ACCESS_DENIED))
    with pytest.raises(tidelog.AccessDenied):
        async with consuming(world) as consumer:
            await take(consumer, 2)
            await seconds_until(world, lambda: not world.groups.faults.refuse_commits)
            await eventually(lambda: not consumer.assignment)


async def test_a_group_that_cannot_be_joined_is_raised_at_once(world: World) -> None:
    async with world.client() as client:
        with pytest.raises(tidelog.NotFound):
            async with client.consumer("ordrs", group="g"):
                pass
        world.groups.faults.refuse_joins.append(busy(ErrorCode.COORDINATOR_LOADING))
        async with client.consumer("orders", group="g") as consumer:
            assert len(consumer.assignment) >= 0
    assert len(world.groups.joins) == 3


async def test_a_seek_goes_on_elsewhere_and_commits_nothing(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        assert await take(consumer, 3) == ["1", "2", "3"]
        await consumer.seek(1)
        assert await take(consumer, 1) == ["2"]
        await consumer.seek("latest")
        world.store("4")
        assert await take(consumer, 1) == ["4"]
        await consumer.commit()
        await consumer.seek("earliest", tidelog.TopicPartition("orders", 0))
        assert await take(consumer, 1) == ["1"]
        await consumer.seek("committed")
        world.store("5")
        assert await take(consumer, 1) == ["5"]
        with pytest.raises(ValueError, match="orders/7 is not assigned"):
            await consumer.seek(0, tidelog.TopicPartition("orders", 7))
    assert world.groups.committed("g", "orders") == 4


async def test_a_paused_partition_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "RECORDS_AHEAD", 4)
    world.store("a1", "a2", "a3", "a4", partition=0)
    async with consuming(world) as consumer:
        assert await take(consumer, 1) == ["a1"]
        await consumer.pause(tidelog.TopicPartition("orders", 0))
        world.store("b1", "b2", partition=1)
        assert await take(consumer, 2) == ["b1", "b2"]
        world.groups.faults.cut_after = []
        await consumer.resume()
        assert await take(consumer, 3) == ["a2", "a3", "a4"]


async def test_what_is_here_is_bounded_and_credit_follows_the_program(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "RECORDS_AHEAD", 8)
    for number in range(40):
        world.store(f"{number}a", f"{number}b")
    async with consuming(world) as consumer:
        assert await take(consumer, 1) == ["0a"]
        for taken in range(2, 81):
            for _ in range(50):
                await asyncio.sleep(0)  # whatever the node may send has come
            assert world.groups.sent_records <= taken + 8 + 2
            assert consumer.buffered <= 8 + 2
            await take(consumer, 1)


async def test_lists_are_finished_as_one(world: World) -> None:
    world.store("1", "2", "3", "4", "5")
    async with consuming(world) as consumer:
        lists = consumer.batches(max_records=2)
        assert [value_of(one) for one in await anext(lists)] == ["1", "2"]
        assert [value_of(one) for one in await anext(lists)] == ["3", "4"]
    assert world.groups.committed("g", "orders") == 2


class Picky:
    def encode(self, value: str, /) -> bytes:
        return value.encode()

    def decode(self, data: bytes, /) -> str:
        if data == b"bad":
            raise ValueError("it is bad")
        return data.decode()


async def test_a_record_that_cannot_be_read_is_not_passed_over(world: World) -> None:
    world.store("1", "bad", "3")
    with pytest.raises(ValueError, match="it is bad") as raised:
        async with consuming(world, value=Picky()) as consumer:
            async for _ in consumer:
                pass
    assert raised.value.__notes__ == ["in orders/0 at offset 1"]
    assert world.groups.committed("g", "orders") == 1
    with pytest.raises(ValueError, match="it is bad"):
        async with (
            world.client() as client,
            client.consumer("orders", group="h", value=Picky()) as consumer,
        ):
            async for some in consumer.batches():
                assert [one.value for one in some] == ["1"]
    assert world.groups.committed("h", "orders") == 1


async def test_what_retention_removed_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store("1")
    world.store("2")
    world.log.topics["orders"][0].log_start = 1
    async with consuming(world) as consumer:
        assert await take(consumer, 1) == ["2"]
        assert "offsets 0 to 0 were removed, by retention or a trim" in caplog.text
    async with world.client() as client:
        async with client.consumer("orders", group="other", gaps="raise") as consumer:
            with pytest.raises(tidelog.LogGap):
                await anext(consumer)
            assert await take(consumer, 1) == ["2"]


async def test_waiting_for_a_record_may_be_interrupted(world: World) -> None:
    world.store("1")
    async with consuming(world) as consumer:
        assert await take(consumer, 1) == ["1"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(consumer), 0.01)
        world.store("2")
        assert await take(consumer, 1) == ["2"]
    assert len(world.groups.joins) == 1
    assert world.groups.committed("g", "orders") == 1


async def test_lag_and_caught_up(world: World) -> None:
    world.store("1", "2", "3")
    async with consuming(world) as consumer:
        await take(consumer, 1)
        assert sum((await consumer.lag()).values()) == 2
        await take(consumer, 2)
        task = await waiting(consumer)
        await eventually(lambda: consumer.caught_up)
        task.cancel()


def test_what_cannot_be_meant_is_refused() -> None:
    client = client_of("127.0.0.1:1")
    with pytest.raises(ValueError, match="name a topic"):
        client.consumer(group="g")
    with pytest.raises(ValueError, match="name the group"):
        client.consumer("orders", group="")
    with pytest.raises(ValueError, match="after, auto, manual"):
        client.consumer("orders", group="g", commit="never")  # type: ignore[arg-type]


def test_a_refusal_of_the_peer_is_a_row() -> None:
    assert isinstance(busy(), RequestError)
