"""What stands around a call: work that may take for ever ends with the node."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from grpc import StatusCode, aio

from api.broker.joining import WAIT_MS_MAX, Joining
from api.node.log_events import EVENTS
from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.settings import LogLevel
from api.sim.clock import SimClock
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, WallMs
from tests.world import Log

CLOCK = SimClock(wall=WallMs(0))


def guard(*, joined: bool = True) -> Guard:
    joining = Joining(NodeId(4), CLOCK)
    if joined:
        joining.end()
    broker: Any = SimpleNamespace(
        context=SimpleNamespace(joining=joining, clock=CLOCK), cluster_id="tide"
    )
    return Guard(broker, rand=SystemRand(), note=Log())


async def test_a_node_that_stops_breaks_off_what_waits() -> None:
    one = guard()
    waiting = asyncio.ensure_future(one.interruptible(asyncio.Event().wait()))
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    one.drain()
    one.drain()
    with pytest.raises(RequestError) as ended:
        await waiting
    assert ended.value.code is ErrorCode.SHUTTING_DOWN


async def test_what_waits_again_while_the_node_stops_does_not_stay() -> None:
    """A stream that was busy when the node began to stop comes back for its next request."""
    one = guard()
    one.drain()
    with pytest.raises(RequestError) as ended:
        await one.interruptible(asyncio.Event().wait())
    assert ended.value.code is ErrorCode.SHUTTING_DOWN


async def test_a_timeout_of_the_work_itself_stays_one() -> None:
    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await guard().interruptible(late())


class Hanging:
    """A call whose client goes away at a moment of which gRPC has not told yet."""

    def __init__(self, *, cancelled: bool) -> None:
        self._cancelled = cancelled
        self.remaining_s: float | None = None
        self.aborted: list[Any] = []

    def cancelled(self) -> bool:
        return self._cancelled

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float | None:
        return self.remaining_s

    def add_done_callback(self, _: Any) -> None:
        """It is never done."""

    async def abort(self, *told: Any) -> None:
        self.aborted.append(told)


@pytest.mark.parametrize(
    ("cancelled", "failure"),
    [
        (True, RuntimeError("written to nobody")),
        (False, aio.InternalError("Failed batch")),
        (False, ExceptionGroup("tasks", [aio.InternalError("a"), aio.InternalError("b")])),
    ],
)
async def test_a_client_that_hangs_up_is_no_failure_of_ours(
    cancelled: bool, failure: Exception
) -> None:
    one, log = guard(), Log()
    one._note = log

    async def act(_: Any) -> None:
        raise failure

    call: Any = Hanging(cancelled=cancelled)
    one._enter = lambda *_: None  # type: ignore[assignment,method-assign]
    with pytest.raises(asyncio.CancelledError):
        await one.run("LogService/Subscribe", call, act)
    assert [event for event, _ in log.lines] == ["client_gone"]
    assert EVENTS["client_gone"].level is LogLevel.DEBUG
    assert (one.counters.bugs, one.counters.refused, call.aborted) == (0, 0, [])


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("ours"), ExceptionGroup("tasks", [aio.InternalError("a"), KeyError("ours")])],
)
async def test_what_is_ours_is_told_though_a_client_hung_up_as_well(failure: Exception) -> None:
    one, log = guard(), Log()
    one._note = log

    async def act(_: Any) -> None:
        raise failure

    call: Any = Hanging(cancelled=False)
    one._enter = lambda *_: None  # type: ignore[assignment,method-assign]
    await one.run("LogService/Subscribe", call, act)
    assert [event for event, _ in log.lines] == ["request_failed"]
    assert (one.counters.bugs, len(call.aborted)) == (1, 1)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("left_s", [None, 30.0, 0.2])
async def test_a_node_that_has_not_joined_refuses_after_a_moment(left_s: float | None) -> None:
    """Nothing was done, and the next node may serve: what else is left of the call's time."""
    one = guard(joined=False)
    call: Any = Hanging(cancelled=False)
    call.time_remaining = lambda: left_s
    asked = asyncio.ensure_future(one.run("TopicService/ListTopics", call, _served))
    await turns()
    wait_ms = WAIT_MS_MAX if left_s is None else min(WAIT_MS_MAX, int(left_s * 1_000))
    CLOCK.advance(wait_ms - 1)
    await turns()
    assert not asked.done()
    CLOCK.advance(1)
    await asked
    ((status, text, _),) = call.aborted
    assert status is StatusCode.UNAVAILABLE
    assert "node 4 has not joined its cluster" in text


async def test_a_call_that_comes_a_moment_too_early_is_served() -> None:
    one = guard(joined=False)
    call: Any = Hanging(cancelled=False)
    asked = asyncio.ensure_future(one.run("TopicService/ListTopics", call, _served))
    await turns()
    assert not asked.done()
    one.joining.end()
    assert await asked == "served"
    assert call.aborted == []


async def test_a_node_that_stops_before_it_has_joined_keeps_no_call() -> None:
    one = guard(joined=False)
    call: Any = Hanging(cancelled=False)
    asked = asyncio.ensure_future(one.run("TopicService/ListTopics", call, _served))
    await turns()
    one.drain()
    await asked
    assert "stopping" in call.aborted[0][1]


async def _served(_: Any) -> str:
    return "served"


async def test_a_call_knows_what_is_left_of_its_deadline() -> None:
    context, left = Hanging(cancelled=False), list[int | None]()
    context.remaining_s = 2.0

    async def act(call: Call) -> None:
        CLOCK.advance(500)
        left.append(call.left_ms)

    await guard().run("LogService/Fetch", context, act)  # type: ignore[arg-type]
    assert left == [1_500]
