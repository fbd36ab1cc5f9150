"""What calls hold on their way between nodes is within the memory budget (P53)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from api.broker import answer_room
from api.broker.answer_shares import answer_shares
from api.broker.memory import MemoryBudget
from api.broker.room_row import Lane
from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.consume_elsewhere import ConsumeElsewhere
from api.rpc.fetch import FetchCall
from api.rpc.forwarded import ForwardedCalls
from api.rpc.guard import Guard
from api.rpc.handlers import Unary
from api.rpc.log_service import LogService
from api.rpc.produce import Producing, rows_bytes
from api.rpc.produce_elsewhere import PRODUCE
from api.rpc.pulled import CLOSE, NEXT, OPEN, PulledStreams
from api.rpc.subscribe_elsewhere import SUBSCRIBE, SpreadSubscribe
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.peer.forward import Forward
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, WallMs
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node, cold
from tests.controller_world import Tasks
from tests.elsewhere import OTHER, THIRD, Elsewhere, led_by
from tests.quorum import turns
from tests.world import Log
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2

READER = NodeId(3)
CALL = Call(PRODUCE, ANONYMOUS, None)
BATCH = batch_of([b"v" * 1_000])
Send = Callable[[Any], Awaitable[None]]


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node that leads `here`; two others lead a partition of `orders` each."""
    async with broker_node() as node:
        await node.create("here")
        await led_by(node, "orders", OTHER, THIRD)
        yield node


def guard_of(node: BrokerNode) -> Guard:
    return Guard(node.broker, rand=SystemRand(), note=Log())


def produced(*partitions: int) -> log_service_pb2.ProduceRequest:
    request = log_service_pb2.ProduceRequest()
    for number in partitions:
        request.batches.add(topic="orders", partition=number, encoded=BATCH)
    return request


class Held:
    """Other nodes that answer when they are let, as `answer` says."""

    def __init__(self, node: BrokerNode, answer: Callable[[bytes], bytes]) -> None:
        self.free = {OTHER: asyncio.Event(), THIRD: asyncio.Event()}
        self._answer = answer
        self.elsewhere = Elsewhere(node, self)

    async def __call__(self, node: NodeId, name: str, payload: bytes) -> bytes:
        await self.free[node].wait()
        return self._answer(payload)


def appended(payload: bytes) -> bytes:
    request = log_service_pb2.ProduceRequest.FromString(payload)
    answer = log_service_pb2.ProduceResponse()
    for batch in request.batches:
        answer.results.add(topic=batch.topic, base_offset=0)
    return answer.SerializeToString()


async def test_batches_are_held_until_their_leader_has_answered(node: BrokerNode) -> None:
    """As a stream has them, which keeps nothing of a request that was offered."""
    memory = node.broker.context.memory
    others = Held(node, appended)
    answer = log_service_pb2.ProduceResponse()
    offered = await Producing(node.broker).offer(produced(0, 1), answer, CALL)
    await turns()
    assert memory.taken_bytes == sum(len(sent) for _, _, sent in others.elsewhere.asked)
    assert memory.taken_bytes > 2 * len(BATCH)
    others.free[OTHER].set()
    await turns()
    assert len(BATCH) < memory.taken_bytes < 2 * len(BATCH)
    others.free[THIRD].set()
    await offered.answer
    assert memory.taken_bytes == 0


async def test_a_request_is_held_as_long_as_its_caller_waits(node: BrokerNode) -> None:
    memory = node.broker.context.memory
    others = Held(node, appended)
    service, request = LogService(node.broker, guard_of(node)), produced(0)
    waiting = asyncio.ensure_future(service.produce(request, CALL))
    await turns()
    ((_, _, sent),) = others.elsewhere.asked
    assert memory.taken_bytes == request.ByteSize() + rows_bytes(1) + len(sent)
    others.free[OTHER].set()
    await waiting
    assert memory.taken_bytes == 0


async def test_batches_that_do_not_fit_are_shed_and_not_sent(node: BrokerNode) -> None:
    others = Held(node, appended)
    answer = log_service_pb2.ProduceResponse()
    offered = await Producing(node.broker).offer(produced(0), answer, CALL)
    with node.broker.context.memory.held(1 << 19):  # another call came before it is sent
        with node.broker.context.memory.counted(1 << 19):
            await turns()
        assert others.elsewhere.asked == []
        (row,) = (await offered.answer).results
    assert row.error.reason == ErrorCode.OVERLOADED.name
    assert row.error.outcome == common_pb2.OUTCOME_NOT_DONE


async def test_what_another_node_has_brought_is_counted_while_it_is_served(
    node: BrokerNode,
) -> None:
    memory, found = MemoryBudget(1 << 20), list[int]()
    request = produced(0)

    async def serve(_: Any, __: Call) -> log_service_pb2.ProduceResponse:
        found.append(memory.taken_bytes)
        return log_service_pb2.ProduceResponse()

    streams = PulledStreams(node.broker.context.spawn, node.clock, MemoryBudget(1 << 20))
    calls = ForwardedCalls(
        guard_of(node), {PRODUCE: Unary(serve)}, streams, memory=memory, clock=node.clock
    )
    await calls(READER, Forward(PRODUCE, ANONYMOUS, 1_000, request.SerializeToString()))
    assert found == [request.ByteSize()]
    assert memory.taken_bytes == 0


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.cancel()
    assert tasks.failed == []


MESSAGE = log_service_pb2.SubscribeResponse()
MESSAGE.records.partitions.add().batches.add(encoded=BATCH)


@pytest.mark.parametrize("end", ["taken", "closed", "lost"])
async def test_a_message_is_counted_until_the_other_node_takes_it(tasks: Tasks, end: str) -> None:
    answers = MemoryBudget(1 << 20)
    streams = PulledStreams(tasks, SimClock(wall=WallMs(0)), answers)

    async def serve(_: Any, send: Send, __: Call) -> None:
        await send(MESSAGE)

    call = Call(SUBSCRIBE, ANONYMOUS, None, brought_by=READER)
    number = streams.open(serve, None, call)
    await turns()
    assert answers.taken_bytes == MESSAGE.ByteSize()
    match end:
        case "taken":
            await streams.next(READER, number)
        case "closed":
            streams.close(READER, number)
        case _:
            streams.lost(READER)
    assert answers.taken_bytes == 0


def fetched(payload: bytes) -> bytes:
    request = log_service_pb2.FetchRequest.FromString(payload)
    answer = log_service_pb2.FetchResponse()
    for _ in request.cursors:
        answer.results.add().records.batches.add(encoded=BATCH)
    return answer.SerializeToString()


def both() -> log_service_pb2.FetchRequest:
    return log_service_pb2.FetchRequest(
        cursors=[common_pb2.Cursor(topic="orders", partition=number) for number in (0, 1)]
    )


async def test_rows_of_leaders_are_counted_until_all_have_answered(node: BrokerNode) -> None:
    answers = node.broker.context.answers
    others = Held(node, fetched)
    answer = asyncio.ensure_future(FetchCall(node.broker, guard_of(node))(both(), CALL))
    others.free[OTHER].set()
    await turns()
    assert answers.taken_bytes > 2 * len(BATCH)
    others.free[THIRD].set()
    assert [len(row.records.batches) for row in (await answer).results] == [1, 1]
    assert answers.taken_bytes == 0


async def test_rows_for_which_there_is_no_room_are_left_for_later(node: BrokerNode) -> None:
    """Who holds one part does not wait for the other: others might hold what it needs so."""
    answers = node.broker.context.answers
    others = Held(node, fetched)
    for free in others.free.values():
        free.set()
    with answers.held(answers.free_bytes - 3 * len(BATCH)):  # for one of the two
        answer = await FetchCall(node.broker, guard_of(node))(both(), CALL)
    assert sorted(len(row.records.batches) for row in answer.results) == [0, 1]
    for number, row in enumerate(answer.results):
        assert row.records.next.partition == number or row.records.batches
    assert answers.taken_bytes == 0


async def test_what_is_read_here_for_a_part_needs_no_room_of_clients() -> None:
    """It would wait for that while its fetch holds another part."""
    disk = SimDisk()
    await cold(disk, "here")
    async with asyncio.timeout(20), broker_node(disk) as node:
        await led_by(node, "orders", OTHER)
        context = node.broker.context
        context.shares = answer_shares(1 << 18, alone=False)

        async def elsewhere(_: NodeId, __: str, payload: bytes) -> bytes:
            return fetched(payload)

        Elsewhere(node, elsewhere)
        cursors = [common_pb2.Cursor(topic=name) for name in ("here", "orders")]
        request = log_service_pb2.FetchRequest(cursors=cursors)
        with context.answers.held(context.answers.free_bytes - 3 * len(BATCH)):
            answer = await FetchCall(node.broker, guard_of(node))(request, CALL)
        assert [row.error.reason for row in answer.results] == ["", ""]
        assert [len(row.records.batches) for row in answer.results].count(0) <= 1
        assert context.shares.taken_bytes == 0


async def test_a_fetch_waits_once_for_room_for_all_of_its_rows(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = list[object]()

    async def take(self: answer_room.AnswerRoom, size_bytes: int, **_: Any) -> None:
        waits.append(self)
        await turns()
        raise self._answers.overloaded()

    monkeypatch.setattr(answer_room.AnswerRoom, "take", take)
    answers = node.broker.context.answers
    others = Held(node, fetched)
    others.free[OTHER].set()
    with answers.held(answers.free_bytes - len(BATCH)):  # for none
        answer = asyncio.ensure_future(FetchCall(node.broker, guard_of(node))(both(), CALL))
        await turns(20)
        others.free[THIRD].set()  # when the other part was refused
        rows = (await answer).results
    assert [row.error.reason for row in rows] == [ErrorCode.OVERLOADED.name, ""]
    assert len(waits) == 1
    assert not rows[1].records.batches


async def test_messages_of_leaders_are_counted_until_the_client_has_taken_them(
    node: BrokerNode,
) -> None:
    """One that the client is being sent, one that waits for that, and one of each leader."""
    answers = node.broker.context.answers
    told, taken = asyncio.Event(), asyncio.Event()

    async def pulled(_: NodeId, name: str, payload: bytes) -> bytes:
        if name.endswith(OPEN):
            request = log_service_pb2.SubscribeRequest.FromString(payload)
            numbers.append(request.partitions[0].partition)
            return numbers[-1].to_bytes(8, "big")
        if name.endswith(CLOSE):
            return b""
        assert name.endswith(NEXT)
        return b"\2" + message(int.from_bytes(payload, "big")).SerializeToString()

    numbers, opened = list[int](), set[int]()

    def message(number: int) -> log_service_pb2.SubscribeResponse:
        found = log_service_pb2.SubscribeResponse()
        place = common_pb2.Cursor(topic="orders", partition=number)
        if number not in opened:
            opened.add(number)
            found.opened.bounds.add(start=place)
        else:
            found.records.partitions.add(next=place).batches.add(encoded=BATCH)
        return found

    async def send(response: log_service_pb2.SubscribeResponse) -> None:
        if response.HasField("records"):
            told.set()
            await taken.wait()

    async def local(*_: Any) -> None:
        raise AssertionError("nothing of it is here")

    Elsewhere(node, pulled)
    request = log_service_pb2.SubscribeRequest(topics=["orders"])
    spread = SpreadSubscribe(node.broker, request, CALL, local=local)
    running = asyncio.ensure_future(spread.run(send))
    telling = asyncio.ensure_future(told.wait())
    await asyncio.wait([running, telling], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running  # which says why
    await turns()
    assert 4 * len(BATCH) < answers.taken_bytes < 5 * len(BATCH)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert answers.taken_bytes == 0


async def test_a_sign_of_life_from_a_coordinator_elsewhere_waits_for_no_room(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is some, and others wait for more: who is told nothing for so long has no group."""
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0.01)
    answers, told = node.broker.context.answers, list[group_service_pb2.ConsumeResponse]()
    sign = group_service_pb2.ConsumeResponse()
    sign.heartbeat.SetInParent()
    parts = [b"\2" + sign.SerializeToString(), b"\1"]

    async def coordinator(_: NodeId, name: str, __: bytes) -> bytes:
        return parts.pop(0) if name.endswith(NEXT) else bytes(8)

    async def send(message: group_service_pb2.ConsumeResponse) -> None:
        assert answers.taken_bytes == taken + message.ByteSize()
        told.append(message)

    async def requests() -> AsyncIterator[group_service_pb2.ConsumeRequest]:
        await asyncio.Event().wait()
        yield group_service_pb2.ConsumeRequest()

    client = ConsumeElsewhere(node.broker, Elsewhere(node, coordinator), CALL, send=send)
    taken = answers.free_bytes - 1_000
    with answers.held(taken):
        place = answers.row.join(2_000, lambda: None, Lane.CALLS)
        assert await client.run(OTHER, group_service_pb2.ConsumeRequest(), requests()) is None
        answers.row.leave(place)
    assert [message.WhichOneof("event") for message in told] == ["heartbeat"]


async def test_where_a_reader_stands_elsewhere_waits_for_no_room(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leaders have a few bytes to say of it, while others wait for room for records."""
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0.01)
    answers, told = node.broker.context.answers, list[log_service_pb2.SubscribeResponse]()
    opened, gap, caught_up = (log_service_pb2.SubscribeResponse() for _ in range(3))
    place = common_pb2.TopicPartition(topic="orders", partition=0)
    opened.opened.bounds.add(start=common_pb2.Cursor(topic="orders", partition=0))
    gap.gap.partition.CopyFrom(place)
    gap.gap.next_offset = 7
    caught_up.caught_up.SetInParent()
    said = [b"\2" + one.SerializeToString() for one in (opened, gap, caught_up)]

    async def leader(_: NodeId, name: str, __: bytes) -> bytes:
        return (said.pop(0) if said else b"\1") if name.endswith(NEXT) else bytes(8)

    async def send(message: log_service_pb2.SubscribeResponse) -> None:
        told.append(message)

    async def local(*_: Any) -> None:
        raise AssertionError("nothing of it is here")

    Elsewhere(node, leader)
    request = log_service_pb2.SubscribeRequest(partitions=[place], stop=common_pb2.Seek(offset=7))
    spread = SpreadSubscribe(node.broker, request, CALL, local=local)
    with answers.held(answers.free_bytes - 1_000):
        waiter = answers.row.join(2_000, lambda: None, Lane.CALLS)
        await spread.run(send)
        answers.row.leave(waiter)
    assert [one.WhichOneof("event") for one in told] == ["opened", "gap", "caught_up"]
    assert told[-1].caught_up.cursors[0].offset == 7


async def test_a_room_gives_back_what_is_left_of_it() -> None:
    answers = MemoryBudget(1_000)
    room = answer_room.AnswerRoom(answers)
    await room.take(600)
    room.count(500)
    room.give_back(100)
    assert answers.taken_bytes == 1_000
    room.clear()
    assert answers.taken_bytes == 0
    with pytest.raises(RequestError):
        async with answer_room.room_for(answers, 900):
            room.count(1)
            answers.check(100)
