"""Signs of life over a member's stream: while places are sought, and however often it speaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from api.broker.consume import Consume
from api.broker.consume_actions import SessionDoors
from api.broker.consume_events import ALIVE, Assigned, Heartbeat, Joined, Opening
from api.broker.consume_session import HEARTBEAT_MS
from api.broker.place import AtTime, Place
from api.broker.readable import Readable
from api.broker.resolve import Resolve, Resolved
from api.broker.subscribe import CaughtUp
from model.ids import MonotonicMs
from model.principal import Principal
from model.record import ClockKind
from tests.broker_node import BrokerNode, batch_of, broker_node
from tests.unit.api.broker.test_consume_sessions import BILLING, ME, ORDERS, Stream

LATE = AtTime(1 << 60, ClockKind.EVENT)
"""No record is so late: at the end, which has to be searched for."""


class Patient(Resolve):
    """Looks for places once it may."""

    def __init__(self, node: BrokerNode) -> None:
        context = node.broker.context
        super().__init__(context, node.broker.searches)
        self.may = asyncio.Event()
        self.asked = 0

    async def __call__(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        self.asked += 1
        await self.may.wait()
        return await super().__call__(principal, partition, place)


@asynccontextmanager
async def listening(node: BrokerNode, doors: SessionDoors) -> AsyncIterator[Stream]:
    consume = Consume(doors, node.broker.consume.configs)
    opening = Opening(group=BILLING, topics=(ORDERS,), start=LATE, records=10, size_bytes=1 << 20)
    stream = Stream(await consume(ME, opening))
    task = asyncio.create_task(stream.listen())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_places_that_take_long_to_find_are_waited_for_with_signs_of_life() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", 2)
        await node.produce(orders, batch_of([b"a", b"b"]))
        resolve = Patient(node)
        doors = node.broker.consume.doors
        doors = replace(doors, starts=replace(doors.starts, resolve=resolve))
        async with asyncio.timeout(20), listening(node, doors) as stream:
            await stream.first(Joined)
            for _ in range(3):
                node.clock.advance(HEARTBEAT_MS)
                await stream.first(Heartbeat)
                stream.session.heard()
            assert stream.events == []
            resolve.may.set()
            places = (await stream.first(Assigned)).places
            assert [place.start for place in places] == [2, 0]
            await stream.first(CaughtUp)


async def test_a_group_begins_once_in_a_topic_however_many_come() -> None:
    """Each would look through all partitions else, and the places would be found in turn."""
    async with broker_node() as node:
        await node.create("orders", 2)
        resolve = Patient(node)
        doors = node.broker.consume.doors
        doors = replace(doors, starts=replace(doors.starts, resolve=resolve))
        async with (
            asyncio.timeout(20),
            listening(node, doors) as first,
            listening(node, doors) as second,
        ):
            await first.first(Joined)
            await second.first(Joined)
            resolve.may.set()
            await first.first(Assigned)
            await first.session.act(ALIVE)
        assert resolve.asked == 2


async def test_a_member_that_speaks_does_not_put_its_signs_of_life_off() -> None:
    """On a clock that stands, each word would begin the time to the next one anew."""
    async with broker_node() as node:
        await node.create("orders")
        wakes: list[Callable[[], None]] = []

        def remind(_: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
            wakes.append(wake)
            return lambda: wakes.remove(wake) if wake in wakes else None

        doors = replace(node.broker.consume.doors, remind=remind)
        async with asyncio.timeout(20), listening(node, doors) as stream:
            await stream.first(CaughtUp)
            await until_rests(wakes)
            reminder = wakes[0]
            for _ in range(3):
                await stream.session.act(ALIVE)
                await until_rests(wakes)
            assert wakes == [reminder]
            asked = len(wakes)
            reminder()
            await stream.first(Heartbeat)
            assert asked == 1


async def until_rests(wakes: list[Callable[[], None]]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)  # whatever the stream may do it has done
    assert len(wakes) == 1
