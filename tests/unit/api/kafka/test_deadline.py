"""Waiting no longer than a request allows."""

import asyncio

import pytest

from api.kafka.deadline import within
from model.errors import ErrorCode, RequestError


async def test_what_is_done_in_time_is_returned() -> None:
    done: asyncio.Future[list[int]] = asyncio.Future()
    done.set_result([1, 2])
    assert await within(60_000, done, count=2) == [1, 2]


@pytest.mark.parametrize("timeout_ms", [1, 0, -1])
async def test_what_is_never_done_times_out_each_by_itself(timeout_ms: int) -> None:
    never: asyncio.Future[list[int]] = asyncio.Future()
    outcomes = await within(timeout_ms, never, count=3)
    assert [outcome.code for outcome in outcomes] == [ErrorCode.REQUEST_TIMED_OUT] * 3
    assert f" {timeout_ms} ms " in outcomes[0].detail
    assert never.cancelled()


async def test_errors_of_the_work_itself_are_not_taken_for_lateness() -> None:
    for error in (TimeoutError("of a socket"), RequestError(ErrorCode.OVERLOADED, "full")):
        failed: asyncio.Future[list[int]] = asyncio.Future()
        failed.set_exception(error)
        with pytest.raises(type(error), match=str(error)):
            await within(60_000, failed, count=1)
