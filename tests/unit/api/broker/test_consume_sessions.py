"""Members of groups on a node without doors: what is refused for a while, and who is in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from api.broker.consume_events import (
    Assigned,
    Committed,
    CommitTo,
    Event,
    GoTo,
    Grant,
    HandOver,
    Joined,
    LeaveGroup,
    Opening,
    Rejoin,
    Revoke,
)
from api.broker.consume_session import ConsumeSession
from api.broker.group_commits import NamedCursor
from api.broker.place import AtOffset, Earliest, Place
from api.broker.read_on import Gap
from cluster.controller.partitions import AddPartitions
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupEpoch
from consumer_groups.requests import FromOutside
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, TopicName
from model.principal import Principal
from tests.broker_node import MEMORY_BYTES, BrokerNode, batch_of, broker_node
from tests.group_state import until

EARLIEST = Earliest()
BILLING = GroupId("billing")
ORDERS = TopicName("orders")
ME = Principal(name="anonymous", host="10.0.0.7", client_id="me")
EventT = TypeVar("EventT")


@dataclass
class Stream:
    """A session that somebody listens to."""

    session: ConsumeSession
    events: list[Event] = field(default_factory=list)
    failed: RequestError | None = None
    ended: bool = False

    async def listen(self) -> None:
        try:
            async for event in self.session.events():
                self.events.append(event)
        except RequestError as error:
            self.failed = error
        self.ended = True
        self.session.close()

    async def first(self, kind: type[EventT]) -> EventT:
        """Wait for an event of a kind and take it out."""
        await until(lambda: any(isinstance(one, kind) for one in self.events))
        found = next(one for one in self.events if isinstance(one, kind))
        self.events.remove(found)
        return found


@asynccontextmanager
async def listening(
    node: BrokerNode,
    *,
    records: int = 0,
    rejoin: Rejoin | None = None,
    start: Place = EARLIEST,
    topic: TopicName = ORDERS,
) -> AsyncIterator[Stream]:
    opening = Opening(
        group=BILLING,
        topics=(topic,),
        rejoin=rejoin,
        start=start,
        records=records,
        size_bytes=records << 10,
    )
    stream = Stream(await node.broker.consume(ME, opening))
    task = asyncio.create_task(stream.listen())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def members(node: BrokerNode) -> list[MemberView]:
    def look(machine: GroupMachine) -> list[MemberView]:
        return [view for group, view in machine.members() if group == BILLING]

    return await node.broker.groups_state.read(BILLING, look)


@asynccontextmanager
async def overloaded(node: BrokerNode) -> AsyncIterator[None]:
    """Let the node have no room for another batch."""
    node.node.memory.take(MEMORY_BYTES)
    try:
        yield
    finally:
        node.node.memory.give_back(MEMORY_BYTES)


async def test_a_commit_that_finds_no_room_is_answered_and_the_member_stays() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            await stream.first(Assigned)
            cursors = [NamedCursor("orders", 0, Offset(0))]
            async with overloaded(node):
                await stream.session.act(CommitTo(1, cursors))
            (refused,) = (await stream.first(Committed)).results
            assert refused is not None
            assert refused.code is ErrorCode.OVERLOADED
            await stream.session.act(CommitTo(2, cursors))
            assert (await stream.first(Committed)).results == [None]


async def test_a_hand_over_that_finds_no_room_ends_the_stream_and_is_asked_for_again() -> None:
    async with broker_node() as node:
        await node.create("orders", 2)
        async with listening(node) as first:
            joined = await first.first(Joined)
            await first.first(Assigned)
            async with listening(node) as second:
                revoke = await first.first(Revoke)
                names = revoke.names
                async with overloaded(node):
                    await first.session.act(HandOver(names))
                    await until(lambda: first.ended)
                assert first.failed is not None
                assert first.failed.code is ErrorCode.OVERLOADED
                claim = Rejoin(joined.member_id, GroupEpoch(joined.member_epoch + 1), {}, {})
                async with listening(node, rejoin=claim) as again:
                    assert (await again.first(Revoke)).names == revoke.names
                    await again.session.act(HandOver(names))
                    await second.first(Assigned)


async def test_what_falls_due_without_room_is_done_when_there_is_some() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            await stream.first(Joined)
            async with overloaded(node):
                node.clock.advance(8_000)
                await until(lambda: not node.broker.members._ending)
                assert not stream.ended
            node.clock.advance(1_000)
            await until(lambda: stream.ended)
            assert stream.failed is not None
            assert stream.failed.code is ErrorCode.UNKNOWN_MEMBER
            assert await members(node) == []


async def test_who_goes_before_it_is_a_member_leaves_none_behind() -> None:
    async with broker_node() as node:
        await node.create("orders")
        opening = Opening(group=BILLING, topics=(ORDERS,))
        await node.broker.group_commits(
            BILLING, FromOutside("test"), [NamedCursor("orders", 0, Offset(0))]
        )
        joining = asyncio.ensure_future(node.broker.consume(ME, opening))
        await asyncio.sleep(0)  # decided, and on its way to the disk
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        async with listening(node) as stream:
            await stream.first(Assigned)
            assert [one.member_id for one in await members(node)] == [stream.session.member_id]


async def test_who_goes_before_it_hears_that_it_resumed_has_its_resume_timeout() -> None:
    """Not its session's: nobody is silent there, and what it has is waited for by others."""
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            joined = await stream.first(Joined)
            await stream.first(Assigned)
        claim = Rejoin(joined.member_id, GroupEpoch(joined.member_epoch), {}, {})
        before = (await members(node))[0].stream
        opening = Opening(group=BILLING, topics=(ORDERS,), rejoin=claim)
        resuming = asyncio.ensure_future(node.broker.consume(ME, opening))
        await asyncio.sleep(0)  # decided, and on its way to the disk
        resuming.cancel()
        await asyncio.gather(resuming, return_exceptions=True)
        (member,) = await members(node)  # committed by now
        for _ in range(3):  # the node sees the same
            await asyncio.sleep(0)
        assert member.stream != before
        assert due_in(node, member) == member.resume_timeout_ms
        node.clock.advance(member.resume_timeout_ms - 1)
        assert await members(node)
        node.clock.advance(1)
        await until(lambda: not node.broker.members._ending)
        assert await members(node) == []


def due_in(node: BrokerNode, member: MemberView) -> int:
    """Return in how many ms the only member's time runs out."""
    assert member.revoking == ()
    falls_due = node.broker.members._deadlines.next()
    assert falls_due is not None
    return falls_due - node.clock.monotonic_ms()


async def test_one_session_is_not_taken_in_twice() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            (member,) = await members(node)
            with pytest.raises(AssertionError, match="MEMBER_HAS_ONE_SESSION"):
                node.broker.members.attach(stream.session, member)


async def test_leaving_ends_in_order_though_the_group_has_lost_its_member() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        async with listening(node, records=10) as stream:
            await stream.first(Assigned)
            await stream.session.act(CommitTo(1, [NamedCursor("orders", 0, Offset(1))]))
            await stream.session.act(LeaveGroup())
            await until(lambda: stream.ended)
            assert stream.failed is None
            assert (await stream.first(Committed)).results == [None]
        found = await node.broker.group_lag(ME, BILLING, [])
        assert [(row.lag, row.owner) for row in found] == [(0, None)]


async def test_retention_during_a_pause_shows_as_a_gap() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        for value in (b"a", b"b", b"c"):
            await node.produce(orders, batch_of([value]))
        async with listening(node) as stream:
            await stream.first(Assigned)
            orders.log.trim(Offset(2))
            await stream.session.act(Grant(10, 1 << 20))
            gap = await stream.first(Gap)
            assert (gap.expected_offset, gap.next_offset) == (0, 2)


async def test_who_goes_to_an_offset_that_was_removed_is_told_of_the_gap() -> None:
    async with broker_node() as node, asyncio.timeout(20):
        orders = await node.create("orders")
        for value in (b"a", b"b", b"c"):
            await node.produce(orders, batch_of([value]))
        orders.log.trim(Offset(2))
        async with listening(node, records=10) as stream:
            await stream.first(Assigned)
            await stream.session.act(GoTo([], AtOffset(1)))
            (place,) = (await stream.first(Assigned)).places
            gap = await stream.first(Gap)
            assert (place.start, gap.expected_offset, gap.next_offset) == (1, 1, 2)


async def test_a_deletion_that_finds_no_room_reaches_the_groups_later() -> None:
    async with broker_node() as node:
        await node.create("orders", 2)
        async with listening(node) as stream:
            await stream.first(Assigned)
            await stream.session.act(CommitTo(1, [NamedCursor("orders", 1, Offset(0))]))
            await stream.first(Committed)
            state = node.broker.groups_state
            async with overloaded(node):
                await node.broker.delete_topics(ME, [node.delete("orders")])
                await until(lambda: not node.broker.group_upkeep._running)
                ids = await state.read_each(lambda machine: machine.topic_ids())
                assert any(ids)
            node.broker.group_upkeep.tend()
            assert (await stream.first(Revoke)).time_left_ms == 0
            assert not any(await state.read_each(lambda machine: machine.topic_ids()))


async def test_growth_that_finds_no_room_is_shared_later() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            await stream.first(Assigned)
            async with overloaded(node):
                await node.broker.topics.add_partitions(
                    ME, AddPartitions(name="orders", partitions=3)
                )
                await until(lambda: not node.broker.group_upkeep._running)
            node.broker.group_upkeep.tend()
            assigned = await stream.first(Assigned)
            assert [place.partition.number for place in assigned.places] == [1, 2]
