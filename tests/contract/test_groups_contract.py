"""Members of groups: they share, commit, hand over, come back, and are told when it is over."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from grpc import aio

import tidelog
from tests.contract.place import Place
from tests.group_client import Member, cursor
from tests.grpc_node import refused
from tidelog.consumer import Consumer
from tidelog.group_calls import CONSUME

PATIENCE_S = 30


async def filled(place: Place, partitions: int = 2, count: int = 4) -> str:
    """Return a topic whose partitions have records `<partition>-<number>`."""
    topic = await place.topic(partitions)
    for number in range(partitions):
        values = [b"%d-%d" % (number, which) for which in range(count)]
        await place.write(topic, *values, partition=number)
    return topic


async def take(consumer: Consumer[bytes, bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_S):
        return [(await anext(consumer)).value or b"" for _ in range(count)]


async def rest(consumer: Consumer[bytes, bytes]) -> list[bytes]:
    """Return what comes until everything that there is has come."""
    async with asyncio.timeout(PATIENCE_S):
        return [record.value or b"" async for record in consumer.until_caught_up()]


async def committed(place: Place, group: str) -> dict[int, int | None]:
    rows = await place.client.groups.offsets(group)
    return {
        row.partition.partition: None if row.committed is None else row.committed.offset
        for row in rows
    }


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)


async def test_everything_comes_and_the_next_one_goes_on(place: Place) -> None:
    topic, group = await filled(place), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group) as consumer:
        assert sorted(await rest(consumer)) == [
            b"0-0", b"0-1", b"0-2", b"0-3", b"1-0", b"1-1", b"1-2", b"1-3",
        ]  # fmt: skip
        assert consumer.caught_up
    assert await committed(place, group) == {0: 4, 1: 4}
    await place.write(topic, b"new", partition=1)
    async with place.client.consumer(topic, group=group) as consumer:
        assert await rest(consumer) == [b"new"]


async def test_a_partition_comes_in_its_order(place: Place) -> None:
    topic = await filled(place, count=50)
    async with place.client.consumer(topic, group=f"{place.prefix}-g") as consumer:
        values = await rest(consumer)
    for number in (b"0", b"1"):
        ordered = [int(value[2:]) for value in values if value.startswith(number)]
        assert ordered == list(range(50))


async def test_records_come_as_they_are_written(place: Place) -> None:
    topic = await place.topic()
    async with place.client.consumer(topic, group=f"{place.prefix}-g") as consumer:
        for value in (b"a", b"b", b"c"):
            await place.write(topic, value)
            assert await take(consumer, 1) == [value]


async def test_groups_do_not_know_each_other(place: Place) -> None:
    topic = await filled(place, 1)
    for group in ("a", "b"):
        async with place.client.consumer(topic, group=f"{place.prefix}-{group}") as consumer:
            assert len(await rest(consumer)) == 4


async def test_several_topics(place: Place) -> None:
    topics = [await filled(place, 1, 2), await filled(place, 1, 3)]
    async with place.client.consumer(*topics, group=f"{place.prefix}-g") as consumer:
        assert len(await rest(consumer)) == 5
        assert {at.topic for at in consumer.assignment} == set(topics)


@pytest.mark.parametrize(("start", "count"), [("earliest", 4), ("latest", 0), (3, 1)])
async def test_where_it_begins_when_nothing_is_committed(
    place: Place, start: Any, count: int
) -> None:
    topic = await filled(place, 1)
    async with place.client.consumer(topic, group=f"{place.prefix}-g", start=start) as consumer:
        assert len(await rest(consumer)) == count


async def test_a_record_in_hand_comes_again(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group) as consumer:
        assert await take(consumer, 2) == [b"0-0", b"0-1"]
    assert await committed(place, group) == {0: 1}
    async with place.client.consumer(topic, group=group) as consumer:
        assert await take(consumer, 1) == [b"0-1"]


async def test_by_hand_only_what_is_said_is_committed(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group, commit="manual") as consumer:
        records = [await anext(consumer) for _ in range(3)]
        await consumer.commit(records[1])
    assert await committed(place, group) == {0: 2}


async def test_two_members_share(place: Place) -> None:
    topic, group = await filled(place, 4, 0), f"{place.prefix}-g"
    async with (
        place.client.consumer(topic, group=group) as first,
        place.client.consumer(topic, group=group) as second,
    ):
        await until(lambda: {len(first.assignment), len(second.assignment)} == {2})
        assert not {*first.assignment} & {*second.assignment}
        for number in range(4):
            await place.write(topic, b"%d" % number, partition=number)
        values = [await take(consumer, 2) for consumer in (first, second)]
        assert sorted(values[0] + values[1]) == [b"0", b"1", b"2", b"3"]
        info = await place.client.groups.get(group)
        assert (info.state, len(info.members)) == ("stable", 2)


async def test_who_leaves_hands_over_and_nothing_comes_twice(place: Place) -> None:
    topic, group = await filled(place, 2), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group) as first:
        async with place.client.consumer(topic, group=group, commit="auto") as second:
            await until(lambda: len(first.assignment) == len(second.assignment) == 1)
            seen = await take(second, 2)
        await until(lambda: len(first.assignment) == 2)
        seen += await rest(first)
    counts = {value: seen.count(value) for value in seen}
    assert len(counts) == 8
    assert set(counts.values()) == {1}


async def test_a_newcomer_gets_what_was_handed_over_where_it_was_left(place: Place) -> None:
    topic, group = await filled(place, 2), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group) as first:
        seen = await rest(first)
        async with place.client.consumer(topic, group=group) as second:
            await until(lambda: len(second.assignment) == 1)
            (given,) = second.assignment
            await place.write(topic, b"more", partition=given.partition)
            assert await take(second, 1) == [b"more"]
    assert len(seen) == 8


async def test_a_seek_of_one_member_commits_nothing(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    async with place.client.consumer(topic, group=group, commit="manual") as consumer:
        assert len(await rest(consumer)) == 4
        await consumer.seek(2)
        assert await rest(consumer) == [b"0-2", b"0-3"]
        assert await consumer.lag() == {tidelog.TopicPartition(topic, 0): 0}
    assert None in {*(await committed(place, group)).values(), None}
    async with place.client.consumer(topic, group=group) as consumer:
        assert len(await rest(consumer)) == 4


async def test_a_paused_partition_waits(place: Place) -> None:
    topic = await filled(place, 1, 1)
    async with place.client.consumer(topic, group=f"{place.prefix}-g") as consumer:
        assert await take(consumer, 1) == [b"0-0"]
        await consumer.pause()
        await place.write(topic, b"later")
        waiting = asyncio.ensure_future(anext(consumer))
        await place.client.topics.get(topic)
        assert not waiting.done()
        await consumer.resume()
        assert (await waiting).value == b"later"


async def raw(place: Place, group: str, *topics: str, **join: Any) -> Member:
    """Return a member that speaks the API itself, and has heard Joined."""
    connection = place.client.connection
    node = await connection.ready(connection.budget())
    calls = SimpleNamespace(Consume=lambda metadata: connection.pipe(node, CONSUME))
    member = Member(cast("Any", SimpleNamespace(groups=calls)), group, *topics, **join)
    async with asyncio.timeout(PATIENCE_S):
        return await member.begin()


async def test_a_broken_stream_goes_on_without_a_rebalance(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    member = await raw(place, group, topic)
    assert await member.values(4) == [b"0-0", b"0-1", b"0-2", b"0-3"]
    member.call.cancel()
    await place.write(topic, b"meanwhile")
    resumed = await raw(
        place, group, member=member.membership, cursors=list(member.assigned.values())
    )
    assert resumed.membership == member.membership
    assert await resumed.values(1) == [b"meanwhile"]
    info = await place.client.groups.get(group)
    assert (info.epoch, len(info.members)) == (1, 1)
    await resumed.leave()


async def test_an_older_stream_is_fenced(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    older = await raw(place, group, topic)
    await raw(place, group, member=older.membership)
    why = await older.refused()
    assert (why.reason, why.info.metadata["outcome"]) == ("STALE_MEMBER_EPOCH", "NOT_DONE")


async def test_a_member_commits_what_it_has_and_nothing_else(place: Place) -> None:
    topic, group = await filled(place, 2), f"{place.prefix}-g"
    member = await raw(place, group, topic)
    await member.holding(0, 1, topic=topic)
    rows = await member.commit(cursor(topic, 0, 3), cursor(topic, 1, 99), cursor(topic, 2, 1))
    assert [row.error.reason for row in rows] == [
        "", "OFFSET_OUT_OF_RANGE", "UNKNOWN_PARTITION",
    ]  # fmt: skip
    await member.leave()
    assert (await committed(place, group))[0] == 3


async def test_who_is_no_member_does_not_resume(place: Place) -> None:
    topic, group = await filled(place, 1), f"{place.prefix}-g"
    member = await raw(place, group, topic)
    await member.leave()
    with pytest.raises(aio.AioRpcError) as ended:
        await raw(place, group, member=member.membership)
    assert refused(ended.value).reason == "UNKNOWN_MEMBER"


async def test_an_instance_takes_its_own_place(place: Place) -> None:
    topic, group = await filled(place, 2, 0), f"{place.prefix}-g"
    first = place.client.consumer(topic, group=group, instance_id="one")
    async with place.client.consumer(topic, group=group, instance_id="two") as other:
        await first.__aenter__()
        await until(lambda: len(first.assignment) == len(other.assignment) == 1)
        had, epoch = first.assignment, (await place.client.groups.get(group)).epoch
        async with place.client.consumer(topic, group=group, instance_id="one") as second:
            await until(lambda: second.assignment == had)
            with pytest.raises(tidelog.Fenced) as fenced:
                await anext(first)
            assert fenced.value.reason == "FENCED_INSTANCE"
            assert (await place.client.groups.get(group)).epoch - epoch <= 1
        await first.__aexit__(None, None, None)


async def test_a_topic_that_does_not_exist(place: Place) -> None:
    with pytest.raises(tidelog.NotFound) as refused:
        async with place.client.consumer(f"{place.prefix}-none", group=f"{place.prefix}-g"):
            pass
    assert refused.value.reason == "UNKNOWN_TOPIC"


async def test_a_name_that_no_group_can_have(place: Place) -> None:
    topic = await place.topic()
    with pytest.raises(tidelog.InvalidRequest) as refused:
        async with place.client.consumer(topic, group="a\nb"):
            pass
    assert refused.value.outcome == "not_done"
