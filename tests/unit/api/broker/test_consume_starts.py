"""Who hears that it is a member misses nothing from then on, also where it begins at the end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from api.broker import turns
from api.broker.consume_events import (
    Assigned,
    Event,
    HandOver,
    Joined,
    LeaveGroup,
    Opening,
    Rejoin,
    Revoke,
)
from api.broker.consume_session import ConsumeSession
from api.broker.place import AtTime, BeforeLatest, Earliest, Latest, Place
from cluster.state_partition.layout import partition_of
from consumer_groups.native import begin
from consumer_groups.records import GroupEpoch
from model.ids import Offset, TopicName
from model.limits import JOIN_STARTS_BYTES_MAX, LOOP_SLICE_MS
from model.record import ClockKind
from tests.broker_node import NOON, BrokerNode, batch_of, broker_node
from tests.group_state import until
from tests.unit.api.broker.test_consume_sessions import (
    BILLING,
    ME,
    ORDERS,
    Stream,
    listening,
    members,
)

LATEST = Latest()
TOPICS = (ORDERS, TopicName("payments"), TopicName("refunds"))


@asynccontextmanager
async def joined(
    node: BrokerNode, *topics: TopicName, start: Place = LATEST
) -> AsyncIterator[ConsumeSession]:
    """Be a member that is about to hear so."""
    session = await node.broker.consume(ME, Opening(group=BILLING, topics=topics, start=start))
    try:
        yield session
    finally:
        session.close()


async def starts(events: AsyncGenerator[Event, None], count: int) -> dict[tuple[str, int], Offset]:
    """Return where so many partitions begin, by topic and number."""
    found: dict[tuple[str, int], Offset] = {}
    async with asyncio.timeout(20):
        while len(found) < count:
            event = await anext(events)
            if isinstance(event, Assigned):
                for place in event.places:
                    found[place.partition.topic.name, place.partition.number] = place.start
    return found


async def append(node: BrokerNode, *topics: str, number: int = 0) -> None:
    for topic in topics:
        await node.produce(node.broker.context.partitions.get(topic, number), batch_of([b"a"]))


@pytest.mark.parametrize("committed_bytes", [JOIN_STARTS_BYTES_MAX.value, 200, 1])
async def test_what_is_appended_once_a_member_has_joined_comes_in_every_topic(
    monkeypatch: pytest.MonkeyPatch, committed_bytes: int
) -> None:
    """Also in those for whose places the join itself had no room."""
    limit = replace(JOIN_STARTS_BYTES_MAX, value=committed_bytes)
    monkeypatch.setattr(begin, "JOIN_STARTS_BYTES_MAX", limit)
    async with broker_node() as node:
        for topic in TOPICS:
            await node.create(topic)
            await append(node, topic)
        async with joined(node, *TOPICS) as session, aclosing(session.events()) as events:
            await append(node, *TOPICS)
            assert await starts(events, 3) == {(topic, 0): 1 for topic in TOPICS}


async def test_so_it_does_so_many_records_before_the_end() -> None:
    async with broker_node() as node:
        await node.create("orders")
        await append(node, *["orders"] * 3)
        start = BeforeLatest(1)
        async with joined(node, ORDERS, start=start) as session, aclosing(session.events()) as told:
            await append(node, "orders")
            assert await starts(told, 1) == {("orders", 0): 2}


async def test_whoever_joins_next_begins_there_too() -> None:
    async with broker_node() as node:
        await node.create("orders", 2)
        async with joined(node, ORDERS) as first, aclosing(first.events()) as told:
            assert isinstance(await anext(told), Joined)
            await append(node, "orders")
            await append(node, "orders", number=1)
            async with joined(node, ORDERS) as second, aclosing(second.events()):
                assert await starts(told, 1) in ({("orders", 0): 0}, {("orders", 1): 0})
            rows = await node.broker.group_lag(ME, BILLING, [])
            assert [row.committed and row.committed.offset for row in rows] == [0, 0]


async def test_whoever_begins_by_time_begins_for_all_who_come_at_once() -> None:
    """Each is given one partition, and what is committed for one is committed for the other."""
    async with broker_node() as node:
        await node.create("orders", 3)
        for number in range(3):
            await append(node, "orders", number=number)
        start = AtTime(NOON + 1, ClockKind.EVENT)  # behind what is there
        async with (
            listening(node) as all_alone,
            joined(node, ORDERS, start=start) as one,
            joined(node, ORDERS, start=start) as other,
            aclosing(one.events()) as told_one,
            aclosing(other.events()) as told_other,
        ):
            both = [await all_alone.first(Revoke), await all_alone.first(Revoke)]
            names = [name for revoke in both for name in revoke.names]
            await all_alone.session.act(HandOver(tuple(names)))
            found = await starts(told_one, 1) | await starts(told_other, 1)
        assert list(found.values()) == [1, 1]


async def test_a_topic_that_comes_again_begins_at_its_beginning() -> None:
    async with broker_node() as node:
        await node.create("orders")
        await node.create("payments")
        async with (
            joined(node, ORDERS, TopicName("payments")) as session,
            aclosing(session.events()) as events,
        ):
            await starts(events, 2)
            await node.broker.delete_topics(ME, [node.delete("orders")])
            await node.create("orders")
            await append(node, "orders")
            node.broker.group_upkeep.tend()
            assert await starts(events, 1) == {("orders", 0): 0}


async def test_what_somebody_else_had_before_begins_where_the_end_was() -> None:
    """Who had it began at the beginning, and has committed nothing."""
    async with broker_node() as node:
        await node.create("orders", 2)
        await append(node, "orders")
        await append(node, "orders", number=1)
        async with listening(node) as first:
            await first.first(Assigned)
            async with joined(node, ORDERS) as second, aclosing(second.events()) as events:
                await append(node, "orders")
                await append(node, "orders", number=1)
                await given_back(first)
                (start,) = (await starts(events, 1)).values()
                assert start == 1


async def given_back(stream: Stream) -> None:
    revoke = await stream.first(Revoke)
    await stream.session.act(HandOver(revoke.names))


async def test_a_member_that_resumes_misses_nothing_either() -> None:
    async with broker_node() as node:
        await node.create("orders")
        await append(node, "orders")
        async with joined(node, ORDERS) as session, aclosing(session.events()) as events:
            first = await anext(events)
            assert isinstance(first, Joined)
        await append(node, "orders")
        claim = Rejoin(first.member_id, GroupEpoch(first.member_epoch), {}, {})
        async with listening(node, rejoin=claim, start=LATEST) as again:
            (place,) = (await again.first(Assigned)).places
            assert place.start == 1
            assert len(await members(node)) == 1


async def test_so_it_does_when_its_stream_breaks_before_it_is_given_that() -> None:
    """It joined over another stream, and asked for the end as it was then."""
    async with broker_node() as node, asyncio.timeout(20):
        await node.create("orders", 2)
        await append(node, "orders")
        await append(node, "orders", number=1)
        kept = node.broker.members.at_join
        async with listening(node) as first:
            await first.first(Assigned)
            async with joined(node, ORDERS) as second, aclosing(second.events()) as events:
                told = await anext(events)
                assert isinstance(told, Joined)
            await append(node, "orders")
            await append(node, "orders", number=1)
            claim = Rejoin(told.member_id, GroupEpoch(told.member_epoch), {}, {})
            for _ in range(2):  # and breaks again
                async with listening(node, rejoin=claim, start=LATEST) as again:
                    await again.first(Joined)
            async with listening(node, rejoin=claim, start=LATEST) as again:
                await given_back(first)
                (place,) = (await again.first(Assigned)).places
                assert place.start == 1
                assert len(kept) == 1
                await again.session.act(LeaveGroup())
                await until(lambda: not kept)


async def test_where_it_lay_is_forgotten_with_the_coordinators_role() -> None:
    async with broker_node() as node:
        await node.create("orders")
        members = node.broker.members
        async with joined(node, ORDERS) as session:
            assert members.at_join.of(BILLING, session.member_id)
            members._ended(partition_of(BILLING))
            assert not members.at_join
        async with joined(node, ORDERS, start=Earliest()):
            assert not members.at_join


async def test_where_nobody_knows_any_more_how_it_lay_nothing_is_skipped() -> None:
    """Another node coordinates by now, or this one began anew: more comes."""
    async with broker_node() as node, asyncio.timeout(20):
        await node.create("orders", 2)
        await append(node, "orders")
        await append(node, "orders", number=1)
        async with listening(node) as first:
            await first.first(Assigned)
            async with joined(node, ORDERS) as second, aclosing(second.events()) as events:
                told = await anext(events)
                assert isinstance(told, Joined)
            node.broker.members.at_join.clear()
            claim = Rejoin(told.member_id, GroupEpoch(told.member_epoch), {}, {})
            async with listening(node, rejoin=claim, start=LATEST) as again:
                await given_back(first)
                (place,) = (await again.first(Assigned)).places
                assert place.start == 0


async def test_others_have_their_turns_while_many_places_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One slice of the loop is used up by each of them here."""
    monkeypatch.setattr(turns, "LOOP_SLICE_MS", replace(LOOP_SLICE_MS, value=0))
    async with broker_node() as node:
        await node.create("orders", 50)
        finding = asyncio.ensure_future(
            node.broker.consume.doors.starts.at_join(
                ME, Opening(group=BILLING, topics=(ORDERS,), start=LATEST)
            )
        )
        had = 0
        while not finding.done():
            await asyncio.sleep(0)
            had += 1
        assert len(await finding) == 50
        assert had > 50
