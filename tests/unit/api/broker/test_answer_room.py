"""Who reads from files has room before it reads, and holds it until its reader has it (P53)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
from google.protobuf.duration_pb2 import Duration

from api.broker import answer_room
from api.broker.answer_room import AnswerRoom
from api.broker.answer_shares import answer_shares
from api.broker.consume_events import Assigned, Grant, Heartbeat, Opening, Pause
from api.broker.consume_session import HEARTBEAT_MS, STEP_BYTES
from api.broker.memory import MemoryBudget
from api.broker.place import Earliest
from api.broker.read_on import Step
from api.broker.subscribe import Bounds, Event, Opened, Subscription
from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.fetch import FetchCall
from api.rpc.guard import Guard
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node, cold
from tests.group_state import until
from tests.quorum import turns
from tests.unit.api.broker.test_consume_sessions import BILLING, ME, ORDERS, Stream
from tests.world import Log
from tidelog.v1 import common_pb2, log_service_pb2

READERS: Final = 20
STEP: Final = 10_000
CALL: Final = Call("LogService/Fetch", ANONYMOUS, None)


@asynccontextmanager
async def on_disk() -> AsyncIterator[tuple[BrokerNode, HostedPartition]]:
    """Start a node that has one batch, and not in memory."""
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        assert orders.tail_start == orders.high_watermark == 1
        yield node, orders


def fetching(node: BrokerNode) -> FetchCall:
    return FetchCall(node.broker, Guard(node.broker, rand=SystemRand(), note=Log()))


def filled(answers: MemoryBudget) -> int:
    """Leave no room for another answer; return what to give back."""
    size = answers.free_bytes
    answers.take(size)
    return size


class Reader:
    """Reads on, and takes each event when it is told to."""

    def __init__(self, node: BrokerNode, orders: HostedPartition) -> None:
        self.may_go_on = asyncio.Event()
        self.events: list[Event] = []
        self._room = AnswerRoom(node.node.answers)
        wanted = Subscription(bounds=[Bounds(orders, Offset(0))], max_bytes=STEP)
        self._read = node.broker.subscribe(ANONYMOUS, wanted, self._room)
        self.task = asyncio.create_task(self._run())

    @property
    def steps(self) -> int:
        return sum(isinstance(event, list) for event in self.events)

    async def _run(self) -> None:
        try:
            async with aclosing(self._read) as events:
                async for event in events:
                    self.events.append(event)
                    if not isinstance(event, Opened):
                        await self.may_go_on.wait()
        finally:
            self._room.clear()


async def test_readers_that_wait_for_room_have_read_nothing() -> None:
    """Else each would hold a step beside the budget, and nobody would count it."""
    async with on_disk() as (node, orders):
        answers, context = node.node.answers, node.broker.context
        taken = filled(answers)
        readers = [Reader(node, orders) for _ in range(READERS)]
        await until(lambda: all(reader.events for reader in readers))
        await turns()
        assert context.served_bytes == 0
        answers.give_back(taken)
        await until(lambda: all(reader.steps for reader in readers))
        size = context.served_bytes // READERS
        assert answers.taken_bytes == 2 * size * READERS, "what each holds, and no more"
        readers[0].may_go_on.set()
        await until(lambda: answers.taken_bytes == 2 * size * (READERS - 1))
        for reader in readers:
            reader.task.cancel()
        await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)
        assert answers.taken_bytes == 0


async def test_who_waits_for_room_too_long_is_shed_and_has_read_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0)
    async with on_disk() as (node, orders):
        answers = node.node.answers
        taken = filled(answers)
        with pytest.raises(RequestError) as shed:
            await Reader(node, orders).task
        assert shed.value.code is ErrorCode.OVERLOADED
        fetch = fetching(node)
        request = log_service_pb2.FetchRequest(cursors=[common_pb2.Cursor(topic="orders")])
        call = CALL
        with pytest.raises(RequestError) as shed:
            await fetch(request, call)
        assert shed.value.code is ErrorCode.OVERLOADED
        assert node.broker.context.served_bytes == 0
        answers.give_back(taken)
        (row,) = (await fetch(request, call)).results
        assert row.records.next.offset == 1
        assert answers.taken_bytes == 0


def patient(min_bytes: int) -> log_service_pb2.FetchRequest:
    """Return a request that waits for a minute for so many bytes."""
    cursors = [common_pb2.Cursor(topic="orders")]
    wait = Duration(seconds=60)
    return log_service_pb2.FetchRequest(cursors=cursors, min_bytes=min_bytes, max_wait=wait)


async def test_who_waits_for_more_than_there_is_holds_no_room_meanwhile() -> None:
    async with asyncio.timeout(20), on_disk() as (node, orders):
        answers = node.node.answers
        fetch = asyncio.ensure_future(fetching(node)(patient(1_000), CALL))
        await until(lambda: answers.taken_bytes > 0)
        await until(lambda: answers.taken_bytes == 0)
        assert not fetch.done()
        await node.produce(orders, batch_of([b"new"]))  # too little still
        await turns()
        assert (fetch.done(), answers.taken_bytes) == (False, 0)
        await node.produce(orders, batch_of([b"x" * 1_000]))
        (row,) = (await fetch).results
        assert (row.records.next.offset, answers.taken_bytes) == (3, 0)


@pytest.mark.parametrize("relieved", [True, False])
async def test_it_takes_its_room_again_before_it_reads(*, relieved: bool) -> None:
    """Where there is none until its time is up, its answer has no records; it is not refused."""
    async with asyncio.timeout(20), on_disk() as (node, orders):
        answers = node.node.answers
        fetch = asyncio.ensure_future(fetching(node)(patient(1_000), CALL))
        await until(lambda: answers.taken_bytes > 0)
        await until(lambda: answers.taken_bytes == 0)
        taken = filled(answers)
        await node.produce(orders, batch_of([b"x" * 1_000]))
        await turns()
        assert (fetch.done(), answers.taken_bytes) == (False, taken)
        if relieved:
            answers.give_back(taken)
        else:
            node.clock.advance(60_000)
        (row,) = (await fetch).results
        assert row.records.next.offset == (2 if relieved else 0)
        assert bool(row.records.batches) == relieved
        if not relieved:
            answers.give_back(taken)
        assert answers.taken_bytes == 0
        assert not answers.row


@dataclass
class SlowMember(Stream):
    """Takes each delivery when it is told to."""

    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for event in self.session.events():
            self.events.append(event)
            if isinstance(event, list):
                await self.may_go_on.wait()

    def delivered(self) -> list[Step]:
        return [step for event in self.events if isinstance(event, list) for step in event]


async def test_a_member_for_whose_records_there_is_no_room_waits_and_is_told_it_lives() -> None:
    async with asyncio.timeout(20), on_disk() as (node, _):
        answers, context = node.node.answers, node.broker.context
        taken = filled(answers)
        opening = Opening(
            group=BILLING, topics=(ORDERS,), start=Earliest(), records=10, size_bytes=STEP_BYTES
        )
        member = SlowMember(await node.broker.consume(ME, opening))
        task = asyncio.create_task(member.listen())
        await member.first(Assigned)
        for _ in range(3):
            await turns()
            node.clock.advance(HEARTBEAT_MS)
            await member.first(Heartbeat)
            member.session.heard()
        assert (context.served_bytes, member.delivered()) == (0, [])
        answers.give_back(taken)
        await until(lambda: bool(member.delivered()))
        (step,) = member.delivered()
        await turns()
        assert answers.taken_bytes == 2 * step.size_bytes, "until it has taken them"
        member.may_go_on.set()
        await until(lambda: answers.taken_bytes == 0)
        await member.session.act(Grant(10, STEP_BYTES))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert answers.taken_bytes == 0


async def test_a_member_that_pauses_lets_the_room_go_of_what_it_has_not_been_sent() -> None:
    async with asyncio.timeout(20), on_disk() as (node, orders):
        answers = node.node.answers
        await node.produce(orders, batch_of([b"x" * 1_000] * 3))
        opening = Opening(
            group=BILLING, topics=(ORDERS,), start=Earliest(), records=1, size_bytes=STEP_BYTES
        )
        member = SlowMember(await node.broker.consume(ME, opening))
        task = asyncio.create_task(member.listen())
        await until(lambda: bool(member.delivered()))
        await member.session.act(Grant(1, STEP_BYTES))
        assert answers.taken_bytes > 0, "of what lies behind, which was read with it"
        await member.session.act(Pause((("orders", 0),), paused=True))
        member.may_go_on.set()
        await until(lambda: answers.taken_bytes == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_member_that_pauses_while_it_waits_for_room_leaves_the_row() -> None:
    async with asyncio.timeout(20), on_disk() as (node, _):
        answers = node.node.answers
        taken = filled(answers)
        opening = Opening(
            group=BILLING, topics=(ORDERS,), start=Earliest(), records=10, size_bytes=STEP_BYTES
        )
        member = SlowMember(await node.broker.consume(ME, opening))
        task = asyncio.create_task(member.listen())
        await until(lambda: len(answers.row) == 1)
        await member.session.act(Pause((("orders", 0),), paused=True))
        await until(lambda: not answers.row)
        await member.session.act(Pause((("orders", 0),), paused=False))
        await until(lambda: len(answers.row) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (len(answers.row), answers.taken_bytes) == (0, taken)
        answers.give_back(taken)


async def test_a_member_whose_client_is_at_another_node_needs_no_room_of_clients_here() -> None:
    """Else nodes whose members read across would wait for each other's clients."""
    async with asyncio.timeout(20), on_disk() as (node, _):
        shares = node.broker.context.shares = answer_shares(1 << 22, alone=False)
        taken = filled(shares.clients)
        opening = Opening(
            group=BILLING, topics=(ORDERS,), start=Earliest(), records=10, size_bytes=STEP,
            brought=True,
        )  # fmt: skip
        member = SlowMember(await node.broker.consume(ME, opening))
        task = asyncio.create_task(member.listen())
        await until(lambda: bool(member.delivered()))
        assert shares.relayed.taken_bytes > 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert shares.taken_bytes == taken
