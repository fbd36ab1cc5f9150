"""What other nodes bring ends with this node, as what its own clients ask does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from api.broker.memory import MemoryBudget
from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.fetch import FetchCall
from api.rpc.forwarded import LATE_MS, ForwardedCalls
from api.rpc.guard import Guard
from api.rpc.handlers import ServerStream, Unary
from api.rpc.pulled import NEXT, OPEN, PulledStreams
from cluster.peer.forward import Forward
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.quorum import turns
from tests.world import Log
from tidelog.v1 import log_service_pb2

READER = NodeId(3)
PRODUCE, SUBSCRIBE = "LogService/Produce", "LogService/Subscribe"


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    async with broker_node() as node:
        yield node


def calls_of(node: BrokerNode, guard: Guard, **handlers: Any) -> ForwardedCalls:
    context, memory = node.broker.context, MemoryBudget(1 << 20)
    streams = PulledStreams(context.spawn, context.clock, context.answers)
    named = {f"LogService/{name}": handler for name, handler in handlers.items()}
    return ForwardedCalls(guard, named, streams, memory=memory, clock=context.clock)


def brought(calls: ForwardedCalls, name: str, payload: bytes = b"") -> "asyncio.Future[bytes]":
    return asyncio.ensure_future(calls(READER, Forward(name, ANONYMOUS, 1_000, payload)))


async def test_a_stream_that_another_node_reads_ends_with_this_one(node: BrokerNode) -> None:
    """It is told to go on elsewhere, and does not wait until the links are gone."""
    guard = Guard(node.broker, rand=SystemRand(), note=Log())

    async def endless(_: Any, __: Callable[[Any], Awaitable[None]], ___: Call) -> None:
        await guard.interruptible(asyncio.Event().wait())

    calls = calls_of(node, guard, Subscribe=ServerStream(endless))
    number = await brought(calls, SUBSCRIBE + OPEN)
    taking = brought(calls, SUBSCRIBE + NEXT, number)
    await turns()
    guard.drain()
    for ended in (taking, brought(calls, SUBSCRIBE + OPEN)):
        with pytest.raises(RequestError) as refusal:
            await ended
        assert refusal.value.code is ErrorCode.SHUTTING_DOWN


async def test_a_node_that_stops_waits_for_what_others_have_brought(node: BrokerNode) -> None:
    guard, acked = Guard(node.broker, rand=SystemRand(), note=Log()), asyncio.Semaphore(0)

    async def produce(_: Any, __: Call) -> log_service_pb2.ProduceResponse:
        await acked.acquire()
        return log_service_pb2.ProduceResponse()

    calls = calls_of(node, guard, Produce=Unary(produce))
    answers = [brought(calls, PRODUCE) for _ in range(2)]
    await turns()
    guard.drain()
    idle = asyncio.ensure_future(guard.idle())
    for left in (2, 1):
        await turns()
        assert not idle.done()
        assert guard.counters.running == left
        acked.release()
    assert await asyncio.gather(*answers) == [b"", b""]
    await idle


async def test_a_bug_in_what_others_bring_is_counted(node: BrokerNode) -> None:
    guard = Guard(node.broker, rand=SystemRand(), note=Log())

    async def produce(_: Any, __: Call) -> log_service_pb2.ProduceResponse:
        raise ZeroDivisionError

    with pytest.raises(RequestError) as refusal:
        await brought(calls_of(node, guard, Produce=Unary(produce)), PRODUCE)
    assert refusal.value.code is ErrorCode.INTERNAL
    assert guard.counters.bugs == 1


async def test_what_nobody_waits_for_any_more_is_given_up(node: BrokerNode) -> None:
    """The client's time came along with the call; when it is over, so is what is done for it."""
    guard, ended, left = Guard(node.broker, rand=SystemRand(), note=Log()), [], list[int | None]()

    async def endless(_: Any, call: Call) -> log_service_pb2.ProduceResponse:
        left.append(call.left_ms)
        try:
            return await asyncio.Future[log_service_pb2.ProduceResponse]()
        finally:
            ended.append(node.clock.monotonic_ms())
            left.append(call.left_ms)

    calls = calls_of(node, guard, Fetch=Unary(endless))
    began = node.clock.monotonic_ms()
    answer = asyncio.ensure_future(calls(READER, Forward("LogService/Fetch", ANONYMOUS, 300, b"")))
    await turns()
    node.clock.advance(300 + LATE_MS - 1)
    await turns()
    assert ended == [], "who keeps the time himself says so before"
    node.clock.advance(1)
    with pytest.raises(RequestError) as refusal:
        await answer
    assert refusal.value.code is ErrorCode.REQUEST_TIMED_OUT
    assert ended == [began + 300 + LATE_MS]
    assert left == [300, 0]
    assert guard.counters.running == 0


async def test_a_fetch_that_was_brought_waits_no_longer_than_its_client(node: BrokerNode) -> None:
    orders = await node.create("orders")
    guard = Guard(node.broker, rand=SystemRand(), note=Log())
    calls = calls_of(node, guard, Fetch=Unary(FetchCall(node.broker, guard)))
    request = log_service_pb2.FetchRequest(min_bytes=1)
    request.cursors.add(topic=orders.topic.name)
    request.max_wait.FromMilliseconds(20_000)
    call = Forward("LogService/Fetch", ANONYMOUS, 300, request.SerializeToString())
    answer = asyncio.ensure_future(calls(READER, call))
    await turns()
    node.clock.advance(300)
    (row,) = log_service_pb2.FetchResponse.FromString(await answer).results
    assert row.records.next.offset == 0
