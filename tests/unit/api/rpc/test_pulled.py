"""A stream that another node takes leaves nothing behind, whatever it ends with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from api.broker.memory import MemoryBudget
from api.rpc import pulled
from api.rpc.call import Call
from api.rpc.pulled import CLOSE, NEXT, OPEN, PulledStreams, Pulling
from api.rpc.spoken import Spoken
from api.sim.clock import SimClock
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, WallMs
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.controller_world import Tasks
from tests.elsewhere import OTHER, Elsewhere
from tests.quorum import turns
from tidelog.v1 import log_service_pb2

READER = NodeId(3)
NAME = "LogService/Subscribe"
CALL = Call(NAME, ANONYMOUS, None, brought_by=READER)
MOVED = RequestError(ErrorCode.NOT_LEADER, "the leadership has moved", leader="2")
MESSAGE = log_service_pb2.SubscribeResponse()
MESSAGE.caught_up.SetInParent()

Send = Callable[[Any], Awaitable[None]]


async def refused(_: Any, send: Send, __: Call) -> None:
    """Serve one message, and end with an error."""
    await send(MESSAGE)
    raise MOVED


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.cancel()
    assert tasks.failed == []


async def test_a_stream_whose_error_was_told_is_over(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers open another one at once: dead ones must not fill the table meanwhile."""
    monkeypatch.setattr(pulled, "STREAMS_MAX", 2)
    streams = PulledStreams(tasks, SimClock(wall=WallMs(0)), MemoryBudget(1 << 20))
    for _ in range(10):
        number = streams.open(refused, None, CALL)
        assert MESSAGE.SerializeToString() in await streams.next(READER, number)
        with pytest.raises(RequestError, match="NOT_LEADER"):
            await streams.next(READER, number)


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    async with broker_node() as node:
        yield node


class Serving:
    """The other node: serves streams, until the way to it is lost."""

    def __init__(self, node: BrokerNode, streams: PulledStreams, serve: Any) -> None:
        self.elsewhere = Elsewhere(node, self)
        self._streams, self._serve = streams, serve
        self.lost: RequestError | None = None

    async def __call__(self, _: NodeId, name: str, payload: bytes) -> bytes:
        if name.endswith(OPEN):
            return self._streams.open(self._serve, None, CALL)
        if name.endswith(NEXT):
            if self.lost is not None:
                raise self.lost
            return await self._streams.next(READER, payload)
        return self._streams.close(READER, payload)


async def read(node: BrokerNode, other: Serving) -> list[Any]:
    """Return what a reader gets, with the error that it ends with; then the way is lost."""
    stream = Pulling(
        other.elsewhere, OTHER, name=NAME, answer=log_service_pb2.SubscribeResponse, call=CALL
    )
    found: list[Any] = []
    request = log_service_pb2.SubscribeRequest()
    try:
        async with aclosing(stream.messages(request, node.broker.context.spawn)) as messages:
            async for message in messages:
                found.append(message)
                other.lost = RequestError(ErrorCode.REQUEST_TIMED_OUT, "no answer in time")
    except RequestError as refusal:
        found.append(refusal.code)
    await turns()
    return found


async def test_a_reader_that_has_lost_the_way_ends_the_stream_there(
    node: BrokerNode, tasks: Tasks
) -> None:
    """What it was told says nothing about the stream: that goes on, for nobody."""
    ended: list[str] = []

    async def endless(_: Any, send: Send, __: Call) -> None:
        try:
            while True:
                await send(MESSAGE)
        finally:
            ended.append("ended")

    other = Serving(node, PulledStreams(tasks, node.clock, node.broker.context.answers), endless)
    assert await read(node, other) == [MESSAGE, ErrorCode.REQUEST_TIMED_OUT]
    assert other.elsewhere.names[-1] == NAME + CLOSE
    assert ended == ["ended"]


async def test_a_stream_that_was_read_to_its_end_needs_no_closing(
    node: BrokerNode, tasks: Tasks
) -> None:
    async def whole(_: Any, send: Send, __: Call) -> None:
        return

    other = Serving(node, PulledStreams(tasks, node.clock, node.broker.context.answers), whole)
    assert await read(node, other) == []
    assert NAME + CLOSE not in other.elsewhere.names


async def test_what_is_said_after_the_end_is_refused_and_not_put_off() -> None:
    """Else whoever says it would say it again for ever."""
    spoken = Spoken(SimClock(wall=WallMs(0)), "first")
    assert await anext(spoken) == "first"
    spoken.end()
    with pytest.raises(RequestError) as refusal:
        await spoken.take("late", wait_ms=1_000)
    assert refusal.value.code is ErrorCode.INVALID_REQUEST
