"""The README's snippets and the reference's, as one program that a user's type checker sees."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tidelog
import tidelog.sync
from tidelog import testing


@dataclass
class Order:
    id: str
    total: float


async def produce() -> None:
    async with tidelog.connect("tidelog://localhost:9095") as client:
        await client.topics.create("orders", partitions=6, exist_ok=True)
        async with client.producer(key=tidelog.UTF8, value=tidelog.json(Order)) as p:
            ack = await p.send("orders", Order("o-1", 9.5), key="alice", headers={"source": "web"})
            print(f"orders/{ack.partition}@{ack.offset}")
            many = (Order(f"o-{i}", i) for i in range(10_000))
            await p.send_many("orders", many, key=lambda o: o.id)


async def high_rate() -> None:
    async with tidelog.connect() as client, client.producer(key=tidelog.UTF8) as p:
        acks = [await p.enqueue("orders", b"...", key=str(n)) for n in range(100)]
        print([(await ack).offset for ack in acks])


async def consume() -> None:
    async with tidelog.connect() as client:
        billing = client.consumer("orders", group="billing", value=tidelog.json(Order))
        async with billing as orders:
            async for record in orders:
                print(record.partition, record.offset, record.value.total if record.value else 0)
            async for some in orders.batches(max_records=500):
                await orders.commit(*some)


async def rebalance(
    consumer: tidelog.Consumer[str, bytes], partitions: Sequence[tidelog.TopicPartition]
) -> None:
    await consumer.seek(timedelta(hours=1), *partitions, clock="append")


async def consume_with_callbacks() -> None:
    async with (
        tidelog.connect() as client,
        client.consumer("orders", group="g", key=tidelog.UTF8, on_assigned=rebalance) as orders,
    ):
        key: str | None = (await anext(orders)).key
        print(key)


async def move_a_live_group_through_time() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    async with tidelog.connect() as client:
        plan = await client.groups.seek("billing", new_year, clock="event", dry_run=True)
        for change in plan.changes:
            print(change.partition, change.before, "->", change.after, change.redelivered)
        await client.groups.seek("billing", new_year, clock="event", force=True)
        await client.groups.seek("billing", tidelog.SameAs("audit"), force=True)


def consume_without_await() -> None:
    with tidelog.sync.connect() as client:
        with client.consumer("orders", group="billing", value=tidelog.json(Order)) as orders:
            for record in orders:
                print(record.value.total if record.value else None)
        for change in client.groups.seek("billing", timedelta(hours=1), dry_run=True).changes:
            print(change.partition, change.before, change.after)


async def replay_a_day() -> float:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    total = 0.0
    async with tidelog.connect() as client:
        during = tidelog.TimeRange(day, day + timedelta(days=1))
        async with client.replay("orders", during=during, value=tidelog.json(Order)) as history:
            async for rec in history:
                total += rec.value.total if rec.value else 0
    return total


async def replay_what_arrived_in_the_last_hour() -> None:
    async with tidelog.connect() as client:
        hour = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
        async with client.replay("orders", during=hour) as history:
            async for rec in history:
                print(rec.append_time, rec.timestamp, rec.offset)


async def replay_that_survives_a_crash(state: Path) -> None:
    saved = tidelog.Checkpoint.from_json(state.read_text()) if state.exists() else None
    async with tidelog.connect() as client:
        async with client.replay("orders", stop="latest", resume=saved) as history:
            async for rec in history:
                print(rec.offset)
                state.write_text(history.checkpoint().to_json())


async def history_then_live() -> None:
    async with tidelog.connect() as client:
        two_hours = timedelta(hours=2)
        async with client.replay("orders", start=two_hours, clock="append") as events:
            async for rec in events:
                print("live" if events.caught_up else "history", rec.key)


async def find_by_time() -> None:
    async with tidelog.connect() as client:
        for at in await client.topics.resolve("orders", datetime(2026, 1, 1, tzinfo=UTC)):
            print(at.partition, "nothing that late" if at.offset == "end" else at.offset + 1)


async def errors_say_what_happened() -> None:
    async with tidelog.connect() as client, client.producer(idempotent=False) as p:
        try:
            await p.send("orders", b"...")
        except tidelog.OutcomeUnknown as e:
            print(f"it may be in the log: {e.reason}")
        except tidelog.TidelogError as e:
            print(f"it is not in the log: {e.reason}, {e.outcome}, retryable: {e.retryable}")


def without_await() -> None:
    with tidelog.sync.connect() as client:
        with client.producer(key=tidelog.UTF8, value=tidelog.json(Order)) as p:
            print(p.send("orders", Order("o-1", 9.5), key="alice").offset)
            print(p.enqueue("orders", Order("o-2", 1), key="bob").result().offset)
        with client.replay("orders", stop="latest", value=tidelog.json(Order)) as history:
            for rec in history:
                print(rec.offset, rec.value.total if rec.value else None)
        print([topic.name for topic in client.topics.list()])


def types_follow_the_codec() -> None:
    async def values(client: tidelog.Client) -> AsyncIterator[Order | None]:
        async with client.replay("orders", value=tidelog.json(Order)) as history:
            async for rec in history:
                yield rec.value

    async def raw(client: tidelog.Client) -> bytes | None:
        async with client.replay("orders") as records:
            return (await anext(records)).value

    async def tasks() -> None:
        async with tidelog.connect() as client, client.producer() as p:
            async with asyncio.TaskGroup() as group:
                group.create_task(p.send("orders", b"1"))
                group.create_task(p.flush())

    print(values, raw, tasks)


async def a_broker_inside_a_test() -> list[bytes | None]:
    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.topics.create("orders")
        broker.fail_next("produce", "NOT_ENOUGH_REPLICAS")
        async with broker.client.producer() as producer:
            await producer.send("orders", b"9.50")
        await broker.advance(minutes=5)
        await broker.drop()
        return [record.value for record in await broker.records("orders")]
