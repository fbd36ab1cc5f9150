"""What stands around a call: work that may take for ever ends with the node."""

import asyncio
from typing import Any

import pytest

from api.node.system_rand import SystemRand
from api.rpc.guard import Guard
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
