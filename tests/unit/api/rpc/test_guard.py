"""What stands around a call: work that may take for ever ends with the node."""

import asyncio
from typing import Any

import pytest
from grpc import aio

from api.node.log_events import EVENTS
from api.node.system_rand import SystemRand
from api.rpc.guard import Guard
from api.settings import LogLevel
from model.errors import ErrorCode, RequestError
from tests.world import Log


def guard() -> Guard:
    nobody: Any = None
    return Guard(nobody, rand=SystemRand(), note=Log())


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
        self.aborted: list[Any] = []

    def cancelled(self) -> bool:
        return self._cancelled

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> None:
        return None

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
