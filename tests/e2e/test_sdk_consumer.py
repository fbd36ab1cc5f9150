"""The SDK's consumer and groups against a whole node: what its peers need no faults for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

import tidelog
from tests.grpc_node import GrpcNode
from tidelog.client import Client
from tidelog.consumer import Consumer

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def client(served: GrpcNode) -> AsyncIterator[Client]:
    async with tidelog.connect(f"tidelog://{served.target}", client_id="c") as client:
        await client.topics.create("orders", partitions=2)
        yield client


async def produce(client: Client, count: int, *, topic: str = "orders", first: int = 0) -> None:
    async with client.producer(value=tidelog.UTF8, key=tidelog.UTF8) as p:
        await p.send_many(
            topic,
            [f"{n}" for n in range(first, first + count)],
            key=lambda value: value,
            timestamp=lambda value: DAY + timedelta(minutes=int(value)),
        )


async def take(consumer: Consumer[bytes, bytes], count: int) -> list[int]:
    async with asyncio.timeout(20):
        return [int((await anext(consumer)).value or b"") for _ in range(count)]


async def test_everything_comes_once_and_the_next_one_goes_on(client: Client) -> None:
    await produce(client, 10)
    async with client.consumer("orders", group="g", commit="auto") as consumer:
        assert sorted(await take(consumer, 10)) == list(range(10))
        assert len(consumer.assignment) == 2
    await produce(client, 5, first=10)
    async with client.consumer("orders", group="g", commit="auto") as consumer:
        async with asyncio.timeout(20):
            rest = [int(r.value or b"") async for r in consumer.until_caught_up()]
        assert sorted(rest) == list(range(10, 15))
    assert [(row.lag, row.lag_time) for row in await client.groups.offsets("g")] == [
        (0, timedelta(0))
    ] * 2


async def test_more_than_the_credit_in_both_encodings(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await produce(client, 25_000)
    for group in ("encoded", "plain"):
        if group == "plain":
            monkeypatch.setattr("tidelog.consumer_settings.can_build", lambda: False)
        async with client.consumer("orders", group=group) as consumer:
            got = await take(consumer, 25_000)
        assert sorted(got) == list(range(25_000))


async def test_two_members_share_and_one_that_leaves_hands_over(client: Client) -> None:
    async with client.consumer("orders", group="g") as first:
        async with client.consumer("orders", group="g") as second:
            await produce(client, 40)
            got: list[int] = []

            async def read(consumer: Consumer[bytes, bytes]) -> None:
                async for record in consumer:
                    got.append(int(record.value or b""))

            tasks = [asyncio.ensure_future(read(one)) for one in (first, second)]
            async with asyncio.timeout(20):
                while len(got) < 40:  # noqa: ASYNC110 - turns of the loop
                    await asyncio.sleep(0)
            assert {len(first.assignment), len(second.assignment)} == {1}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(got) == list(range(40))
        info = await client.groups.get("g")
        assert [member.client_id for member in info.members] == ["c"]


async def test_a_member_that_is_killed_is_replaced(served: GrpcNode, client: Client) -> None:
    await produce(client, 40)
    other = tidelog.connect(f"tidelog://{served.target}")
    killed = other.consumer("orders", group="g")
    await killed.__aenter__()
    await take(killed, 5)
    await other.connection.close()  # the stream breaks, and nobody comes back
    async with client.consumer("orders", group="g") as consumer:
        assert sorted(set(await take(consumer, 40))) == list(range(40))
    with pytest.raises(tidelog.TidelogError, match="the client is closed"):
        await killed.__aexit__(None, None, None)


async def test_a_live_group_is_sent_back_by_time(client: Client) -> None:
    await produce(client, 20)
    async with client.consumer("orders", group="g", commit="auto") as consumer:
        await take(consumer, 20)
        await consumer.commit()
        plan = await client.groups.seek("g", DAY + timedelta(minutes=15), dry_run=True)
        assert plan.member_count == 1
        assert not plan.applied
        assert sum(change.redelivered for change in plan.changes) == 5
        with pytest.raises(tidelog.Conflict) as refused:
            await client.groups.seek("g", DAY + timedelta(minutes=15))
        assert refused.value.reason == "GROUP_NOT_EMPTY"
        done = await client.groups.seek("g", DAY + timedelta(minutes=15), force=True)
        assert done.applied
        assert sorted(await take(consumer, 5)) == list(range(15, 20))


async def test_groups_are_administered(client: Client) -> None:
    await produce(client, 20)
    at = tidelog.TopicPartition("orders", 0)
    await client.groups.commit("g", tidelog.Cursor("orders", 0, 3, metadata="by hand"))
    (info,) = [each async for each in client.groups.list(prefix="g")]
    assert (info.name, info.state, info.kind) == ("g", "empty", "native")
    row = next(r for r in await client.groups.offsets("g") if r.partition == at)
    assert row.committed is not None
    assert (row.committed.offset, row.committed.metadata) == (3, "by hand")
    plan = await client.groups.shift("g", -1)
    assert [(each.before, each.after) for each in plan.changes] == [(3, 2)]
    await client.groups.seek("g", {at: 1})
    await client.groups.commit("h", tidelog.Cursor("orders", 0, 4))
    same = await client.groups.seek("h", tidelog.SameAs("g"))
    assert [(each.before, each.after, each.redelivered) for each in same.changes] == [(4, 1, 3)]
    assert (await client.groups.offsets("g", topics=["orders"]))[0].lag is not None
    await client.groups.delete_offsets("g", at)
    await client.groups.delete("g")
    await client.groups.delete("g", missing_ok=True)
    with pytest.raises(tidelog.NotFound):
        await client.groups.get("g")
    with pytest.raises(tidelog.TidelogError, match="NOT_IMPLEMENTED"):
        await client.groups.seek("h", tidelog.CommittedAt(DAY))


async def test_seek_pause_and_lag(client: Client) -> None:
    await produce(client, 20)
    async with client.consumer("orders", group="g") as consumer:
        await take(consumer, 20)
        await consumer.seek(DAY + timedelta(minutes=18))
        assert sorted(await take(consumer, 2)) == [18, 19]
        await consumer.pause()
        await produce(client, 4, first=20)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(consumer), 0.1)
        assert sum((await consumer.lag()).values()) == 4
        await consumer.resume()
        assert sorted(await take(consumer, 4)) == [20, 21, 22, 23]


async def test_the_same_without_await(served: GrpcNode, client: Client) -> None:
    await produce(client, 6)
    await asyncio.to_thread(_without_await, served.target)


def _without_await(target: str) -> None:
    with tidelog.sync.connect(f"tidelog://{target}") as client:
        with client.consumer("orders", group="s", commit="auto", value=tidelog.UTF8) as consumer:
            got = [record.value for record in consumer.until_caught_up()]
        assert sorted(got, key=str) == ["0", "1", "2", "3", "4", "5"]
        with client.consumer("orders", group="t", value=tidelog.UTF8) as consumer:
            for batch in consumer.batches(max_records=6, max_wait=timedelta(seconds=2)):
                assert batch
                break
        assert client.groups.seek("s", "earliest", dry_run=True).changes[0].after == 0
        assert {info.name for info in client.groups.list()} == {"s", "t"}
