"""The SDK against a whole node: what it writes, finds and reads is what the node keeps."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tidelog
import tidelog.sync
from api.node.system_rand import SystemRand
from api.rpc.server import GrpcDoor
from tests.grpc_node import GrpcNode
from tidelog.client import Client
from tidelog.portal import Portal

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def client(served: GrpcNode) -> AsyncIterator[Client]:
    async with tidelog.connect(f"tidelog://{served.target}") as client:
        yield client


@pytest.fixture(params=["encoded", "plain"])
def encoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the extra `speed`, and as the base install works."""
    if request.param == "plain":
        monkeypatch.setattr("tidelog.client.can_build", lambda: False)
        monkeypatch.setattr("tidelog.replay_request.can_build", lambda: False)
    return str(request.param)


async def test_the_life_of_a_topic(client: Client) -> None:
    planned = await client.topics.create("orders", partitions=3, dry_run=True)
    assert planned.partition_count == 3
    assert [topic.name async for topic in client.topics.list()] == []
    made = await client.topics.create("orders", partitions=3, config={"retention.ms": "1000"})
    assert (made.partition_count, made.replication_factor, made.kind) == (3, 1, "log")
    assert made.config == {"retention.ms": "1000"}
    with pytest.raises(tidelog.AlreadyExists):
        await client.topics.create("orders")
    same = await client.topics.create("orders", partitions=9, exist_ok=True)
    assert same.topic_id == made.topic_id
    grown = await client.topics.add_partitions("orders", 4)
    assert grown.partition_count == 4
    got = await client.topics.get("orders")
    assert [(one.id, one.leader, one.high_watermark) for one in got.partitions] == [
        (number, 0, 0) for number in range(4)
    ]
    with pytest.raises(tidelog.NotFound, match='"ordrs" does not exist') as wrong:
        await client.topics.get("ordrs")
    assert wrong.value.metadata["did_you_mean"] == "orders"
    await client.topics.delete("orders")
    await client.topics.delete("orders", missing_ok=True)
    assert [topic.name async for topic in client.topics.list()] == []


async def test_settings_of_a_topic(client: Client) -> None:
    await client.topics.create("orders")
    changed = await client.topics.configure("orders", set={"retention.ms": "5000"})
    assert changed["retention.ms"].value == "5000"
    assert changed["retention.ms"].source == "resource"
    await client.topics.configure("orders", unset=["retention.ms"])
    config = await client.topics.config("orders")
    assert config["retention.ms"].source == "default"
    with pytest.raises(tidelog.InvalidRequest, match="INVALID_CONFIG"):
        await client.topics.configure("orders", set={"retention.sm": "1"})


async def test_many_lists_turn_pages(client: Client) -> None:
    for name in ("a1", "a2", "b1"):
        await client.topics.create(name)
    assert [topic.name async for topic in client.topics.list()] == ["a1", "a2", "b1"]
    assert [topic.name async for topic in client.topics.list(prefix="a")] == ["a1", "a2"]


async def test_what_is_written_is_read(client: Client, encoding: str) -> None:
    await client.topics.create("orders", partitions=3)
    async with client.producer(key=tidelog.UTF8, value=tidelog.json(dict[str, int])) as p:
        ack = await p.send("orders", {"n": -1}, key="first", headers={"source": "web"})
        many = ({"n": n} for n in range(2000))
        acks = await p.send_many("orders", many, key=lambda v: str(v["n"]))
        tombstone = await p.send("orders", None, key="first")
    assert ack.offset is not None
    assert len({(one.partition, one.offset) for one in acks}) == 2000
    found: dict[tuple[int, int | None], int | None] = {}
    async with client.replay(
        "orders", stop="latest", key=tidelog.UTF8, value=tidelog.json(dict[str, int])
    ) as history:
        async for record in history:
            found[record.partition, record.offset] = record.value["n"] if record.value else None
    assert len(found) == 2002
    assert [found[one.partition, one.offset] for one in acks] == list(range(2000))
    assert found[ack.partition, ack.offset] == -1
    assert found[tombstone.partition, tombstone.offset] is None


async def test_one_day_exactly_on_both_clocks(client: Client, encoding: str) -> None:
    await client.topics.create("orders", partitions=2)
    hours = [(7 * n) % 72 for n in range(72)]  # out of order
    async with client.producer(value=tidelog.json(int), batch_bytes=300) as p:
        for hour in hours:
            _ = await p.enqueue("orders", hour, timestamp=T0 + timedelta(hours=hour))
    day = tidelog.TimeRange(T0 + timedelta(days=1), T0 + timedelta(days=2))
    async with client.replay("orders", during=day, value=tidelog.json(int)) as history:
        assert sorted([r.value or 0 async for r in history]) == list(range(24, 48))
    hour_ago = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
    async with client.replay("orders", during=hour_ago, value=tidelog.json(int)) as history:
        assert sorted([r.value or 0 async for r in history]) == list(range(72))


async def test_places_are_found(client: Client) -> None:
    await client.topics.create("orders")
    async with client.producer(batch_bytes=100) as p:
        for n in range(10):
            await p.send("orders", b"x" * 50, timestamp=T0 + timedelta(seconds=n))

    async def at(place: tidelog.Start) -> int | str:
        (found,) = await client.topics.resolve("orders", place)
        return found.offset

    assert await at("earliest") == 0
    assert await at(T0 + timedelta(seconds=4)) == 4
    assert await at(T0 + timedelta(seconds=4, microseconds=1)) == 5
    assert await at(T0 + timedelta(days=1)) == "end"
    assert await at(tidelog.FromEdge("latest", 3)) == 7
    assert await at(tidelog.FromEdge("earliest", 3)) == 3
    with pytest.raises(tidelog.OffsetOutOfRange) as beyond:
        await at(99)
    assert beyond.value.high_watermark == 10


async def test_trimming_leaves_a_gap_that_is_told(
    client: Client, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    await client.topics.create("orders")
    async with client.producer(batch_bytes=100) as p:
        for _ in range(10):
            await p.send("orders", b"x" * 50)
    async with client.replay("orders", stop="latest") as history:
        await anext(history)
        saved = history.checkpoint()
    at = tidelog.TopicPartition("orders", 0)
    assert await client.topics.trim("orders", 4, dry_run=True) == {at: 4}
    assert await client.topics.trim("orders", 4) == {at: 4}
    with caplog.at_level(logging.WARNING, logger="tidelog.client"):
        async with client.replay("orders", start=2, stop="latest") as history:
            assert history.bounds == [tidelog.ReadBounds(at, 4, 10, truncated=True)]
            assert [record.offset async for record in history] == list(range(4, 10))
    assert "orders/0: offsets 2 to 3 were removed, by retention or a trim" in caplog.text
    async with client.replay("orders", stop="latest", resume=saved, gaps="raise") as history:
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(history)
        assert (gap.value.expected_offset, gap.value.next_offset) == (1, 4)
        assert [record.offset async for record in history] == list(range(4, 10))


async def test_resuming_reads_to_the_stop_of_this_call(client: Client, encoding: str) -> None:
    """And partitions that the topic has grown meanwhile are read from their beginning."""
    await client.topics.create("orders", partitions=1)
    async with client.producer() as p:
        await p.send_many("orders", [b"0", b"1", b"2"])
        async with client.replay("orders", start=1, stop="latest") as history:
            assert [record.value async for record in history] == [b"1", b"2"]
            saved = history.checkpoint()
        await client.topics.add_partitions("orders", 2)
        await p.send("orders", b"3", partition=0)
        await p.send("orders", b"new", partition=1)
    async with client.replay("orders", stop="latest", resume=saved) as history:
        assert {record.value async for record in history} == {b"3", b"new"}
    async with client.replay("orders", stop=4, partitions=[0], resume=saved) as history:
        assert [record.value async for record in history] == [b"3"]
    async with client.replay("orders", resume=saved) as history:
        assert {(await anext(history)).value for _ in range(2)} == {b"3", b"new"}
    with pytest.raises(ValueError, match="of no range of time"):
        client.replay("orders", during=tidelog.TimeRange(), resume=saved)


async def test_history_becomes_live(client: Client, encoding: str) -> None:
    await client.topics.create("orders")
    async with client.producer() as p:
        await p.send("orders", b"history")
        async with client.replay("orders") as events:
            assert (await anext(events)).value == b"history"
            live = asyncio.ensure_future(anext(events))
            while not events.caught_up:  # noqa: ASYNC110 - the SDK has no event for it
                await asyncio.sleep(0.001)
            await p.send("orders", b"live")
            assert (await live).value == b"live"


async def test_the_map(client: Client) -> None:
    info = await client.cluster.get()
    assert info.status == "healthy"
    assert [(one.id, one.state) for one in info.brokers] == [(0, "running")]


async def test_a_door_that_closes_and_opens_again(served: GrpcNode, client: Client) -> None:
    """The producer sends again, the reader goes on where it was; neither user notices."""
    await client.topics.create("orders")
    async with client.producer() as p, client.replay("orders") as history:
        assert (await p.send("orders", b"1")).offset == 0
        assert (await anext(history)).offset == 0
        waiting = asyncio.ensure_future(anext(history))
        await served.door.drain()
        await served.door.stop()
        sending = asyncio.ensure_future(p.send("orders", b"2"))
        await asyncio.sleep(0)
        again = GrpcDoor(
            served.node.broker,
            served.address,
            reflection=False,
            rand=SystemRand(),
            note=served.log,
        )
        await again.start()
        try:
            assert (await sending).offset == 1
            assert (await waiting).value == b"2"
        finally:
            await again.drain()
            await again.stop()


async def test_what_is_not_built_says_so(client: Client) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.queues,
        lambda: client.stream("orders", "o-1"),
        lambda: client.queue("q"),
        client.transactions,
        lambda: client.producer().transaction(),
    ]
    for call in calls:
        with pytest.raises(tidelog.TidelogError) as refused:
            call()
        assert refused.value.reason == "NOT_IMPLEMENTED"
        assert "is not built yet" in str(refused.value)


async def test_records_that_are_here_wake_no_thread(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = 0
    run = Portal.run

    def counted(portal: Portal, work: Coroutine[Any, Any, Any]) -> Any:
        nonlocal woken
        woken += 1
        return run(portal, work)

    def read() -> int:
        with tidelog.sync.connect(f"tidelog://{served.target}") as client:
            client.topics.create("orders")
            with client.producer() as p:
                p.send_many("orders", [b"%d" % n for n in range(500)])
            monkeypatch.setattr(Portal, "run", counted)
            with client.replay("orders", stop="latest") as history:
                return len(list(history))

    assert await asyncio.to_thread(read) == 500
    assert woken < 50


async def test_the_same_without_await(served: GrpcNode) -> None:
    """The façade lives in a thread of its own, as in a program without an event loop."""
    await asyncio.to_thread(_without_await, served.target)


def _without_await(target: str) -> None:
    with tidelog.sync.connect(f"tidelog://{target}") as client:
        client.ready(timedelta(seconds=5))
        client.topics.create("orders", partitions=2)
        assert [topic.name for topic in client.topics.list()] == ["orders"]
        with client.producer(key=tidelog.UTF8, value=tidelog.UTF8) as p:
            assert p.send("orders", "one", key="a").offset == 0
            later = p.enqueue("orders", "two", key="a")
            assert later.result().offset == 1
            assert len(p.send_many("orders", ["three", "four"], key=lambda v: v)) == 2
            p.flush()
        with client.replay("orders", stop="latest", value=tidelog.UTF8) as history:
            first = next(history)
            saved = history.checkpoint()
            rest = [record.value for record in history]
        assert {first.value, *rest} == {"four", "one", "three", "two"}
        with client.replay("orders", stop="latest", resume=saved) as history:
            assert len(list(history)) == 3
        with pytest.raises(tidelog.NotFound):
            client.topics.get("ordrs")
        with pytest.raises(tidelog.TidelogError, match="NOT_IMPLEMENTED"):
            client.queues  # noqa: B018
