"""A member that was told an epoch was told before what it had lost by then (P29)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from api.broker.consume_events import (
    Assigned,
    Event,
    HandOver,
    Joined,
    Named,
    Opening,
    Rejoin,
    Revoke,
    Stand,
)
from consumer_groups.records import GroupEpoch
from model.errors import ErrorCode
from model.ids import Offset, PartitionId
from tests.broker_node import BrokerNode, broker_node
from tests.group_state import until
from tests.unit.api.broker.test_consume_sessions import BILLING, ME, ORDERS, listening, members

AT: Named = ("orders", 0)


async def lost(node: BrokerNode) -> None:
    """Delete `orders`, and wait until its member has it no more."""
    await node.broker.delete_topics(ME, [node.delete("orders")])
    while (await members(node))[0].owned:
        await until(lambda: not node.broker.group_upkeep._running)


async def test_what_a_member_lost_is_told_before_the_epoch_in_which_it_lost_it() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            before = await stream.first(Joined)
            await stream.first(Assigned)
            await lost(node)
            await until(lambda: any(isinstance(one, Joined) for one in stream.events))
            revoke, after = (one for one in stream.events if isinstance(one, Joined | Revoke))
            assert isinstance(revoke, Revoke)
            assert isinstance(after, Joined)
            assert (revoke.names, revoke.time_left_ms) == ([AT], 0)
            assert after.member_epoch > before.member_epoch


async def resumed(node: BrokerNode, said: PartitionId) -> AsyncGenerator[Event, None]:
    """Return what a member of one partition is told that breaks its stream and resumes."""
    async with listening(node) as stream:
        joined = await stream.first(Joined)
        await stream.first(Assigned)
    epoch = GroupEpoch(joined.member_epoch)
    claim = Rejoin(joined.member_id, epoch, {said: Stand(Offset(0))}, {AT: said})
    opening = Opening(group=BILLING, topics=(ORDERS,), rejoin=claim)
    return (await node.broker.consume(ME, opening)).events()


async def test_what_goes_while_a_member_resumes_is_told_between_two_epochs() -> None:
    """A stream begins with Joined: with an epoch that says nothing of what was lost."""
    async with broker_node() as node:
        orders = await node.create("orders")
        async with aclosing(await resumed(node, orders.id)) as events:
            await lost(node)
            first, revoke, second = [await anext(events) for _ in range(3)]
            assert isinstance(first, Joined)
            assert isinstance(revoke, Revoke)
            assert isinstance(second, Joined)
            assert (revoke.names, revoke.time_left_ms) == ([AT], 0)
            assert first.member_epoch < second.member_epoch


async def test_what_goes_before_it_was_assigned_again_is_told() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        async with aclosing(await resumed(node, orders.id)) as events:
            assert isinstance(await anext(events), Joined)
            await lost(node)
            revoke, joined = [await anext(events) for _ in range(2)]
            assert isinstance(revoke, Revoke)
            assert isinstance(joined, Joined)
            assert (revoke.names, revoke.time_left_ms) == ([AT], 0)


async def test_a_place_in_what_is_there_no_more_is_answered_by_its_name() -> None:
    async with broker_node() as node:
        await node.create("orders")
        async with listening(node) as stream:
            joined = await stream.first(Joined)
            await stream.first(Assigned)
        gone: Named = ("gone", 0)
        said = {AT: (await members(node))[0].owned[0].partition, gone: None}
        claim = Rejoin(joined.member_id, GroupEpoch(joined.member_epoch), {}, said)
        async with listening(node, rejoin=claim) as stream:
            assert await stream.first(Revoke) == Revoke([gone], 0, [])
            await stream.first(Assigned)
            await stream.session.act(HandOver([gone]))
            await stream.session.act(HandOver([AT]))  # which nobody asked for
            await until(lambda: stream.ended)
            assert stream.failed is not None
            assert stream.failed.code is ErrorCode.INVALID_REQUEST
