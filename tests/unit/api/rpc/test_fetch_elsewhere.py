"""A fetch that waits at several leaders leaves no long waits behind at any of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.fetch import FetchCall
from api.rpc.fetch_elsewhere import FETCH, WAIT_MS, SpreadFetch, leaders_of
from api.rpc.guard import Guard
from cluster.shell.controller_doors import pause
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, Elsewhere, led_by
from tests.quorum import turns
from tests.world import Log
from tidelog.v1 import common_pb2, log_service_pb2

MAX_WAIT_MS = 30_000
STEP_MS = 100


class Idle:
    """A leader that has nothing, and takes the time that it is given to say so."""

    def __init__(self, node: BrokerNode) -> None:
        self.node = node
        self.waits: list[int] = []

    async def __call__(self, node: NodeId, name: str, payload: bytes) -> bytes:
        assert (node, name) == (OTHER, FETCH)
        request = log_service_pb2.FetchRequest.FromString(payload)
        wait_ms = request.max_wait.ToMilliseconds() if request.min_bytes else 0
        self.waits.append(wait_ms)
        if wait_ms:
            await pause(self.node.clock, wait_ms)
        answer = log_service_pb2.FetchResponse()
        for cursor in request.cursors:
            answer.results.add().records.next.CopyFrom(cursor)
        return answer.SerializeToString()


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    async with broker_node() as node:
        await node.create("here")
        await led_by(node, "orders", OTHER)
        yield node


async def fetched(node: BrokerNode, min_bytes: int) -> log_service_pb2.FetchResponse:
    """Return the answer of a fetch that may wait, as time passes."""
    request = log_service_pb2.FetchRequest(
        cursors=[common_pb2.Cursor(topic=name) for name in ("here", "orders")],
        min_bytes=min_bytes,
    )
    request.max_wait.FromMilliseconds(MAX_WAIT_MS)
    guard = Guard(node.broker, rand=SystemRand(), note=Log())
    call = Call(FETCH, ANONYMOUS, None)
    answer = asyncio.ensure_future(FetchCall(node.broker, guard)(request, call))
    for _ in range(2 * MAX_WAIT_MS // STEP_MS):
        await turns()
        if answer.done():
            break
        node.clock.advance(STEP_MS)
    return await answer


async def test_a_long_wait_is_many_short_ones_elsewhere(node: BrokerNode) -> None:
    idle = Idle(node)
    Elsewhere(node, idle)
    began = node.clock.monotonic_ms()
    answer = await fetched(node, min_bytes=1)
    assert [row.HasField("records") for row in answer.results] == [True, True]
    assert node.clock.monotonic_ms() - began >= MAX_WAIT_MS
    assert (sum(idle.waits), max(idle.waits)) == (MAX_WAIT_MS, WAIT_MS)


async def test_who_wants_no_bytes_waits_for_none(node: BrokerNode) -> None:
    idle = Idle(node)
    Elsewhere(node, idle)
    await fetched(node, min_bytes=0)
    assert idle.waits == [0]


async def test_what_goes_wrong_in_a_later_wait_is_told(node: BrokerNode) -> None:
    idle = Idle(node)

    async def fails_at_last(to: NodeId, name: str, payload: bytes) -> bytes:
        if len(idle.waits) == 3:
            raise RequestError(ErrorCode.NOT_LEADER, "it was voted out", leader="9")
        return await idle(to, name, payload)

    Elsewhere(node, fails_at_last)
    answer = await fetched(node, min_bytes=1)
    assert answer.results[1].error.reason == ErrorCode.LEADER_NOT_AVAILABLE.name
    assert len(idle.waits) == 3


async def test_a_disk_that_fails_here_is_told_beside_what_others_answer(node: BrokerNode) -> None:
    async def local(*_: Any) -> log_service_pb2.FetchResponse:
        raise StorageFailed("orders", 5, "read")

    Elsewhere(node, Idle(node))
    request = log_service_pb2.FetchRequest(
        cursors=[common_pb2.Cursor(topic=name) for name in ("here", "orders")]
    )
    call = Call(FETCH, ANONYMOUS, None)
    groups = leaders_of(node.broker, request.cursors, call)
    answer = await SpreadFetch(node.broker, request, call, local=local).answer(groups, 0)
    assert answer.results[0].error.reason == ErrorCode.STORAGE_ERROR.name
    assert answer.results[1].HasField("records")


async def test_nobody_is_told_of_a_node_that_stops_but_who_asked_it(node: BrokerNode) -> None:
    """What it leads it hands over: its readers are to ask the node again that they have asked."""

    async def stops(*_: Any) -> bytes:
        raise RequestError(ErrorCode.SHUTTING_DOWN, "the node is stopping")

    Elsewhere(node, stops)
    answer = await fetched(node, min_bytes=0)
    assert answer.results[1].error.reason == ErrorCode.LEADER_NOT_AVAILABLE.name
