"""How long an answer is waited for: `timeout_ms`, in the requests that carry one."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeAlias

from model.errors import ErrorCode, RequestError

Outcomes: TypeAlias = "Sequence[Any | RequestError]"


async def within(timeout_ms: int, work: Awaitable[Outcomes], *, count: int) -> Outcomes:
    """Return the outcomes of `work`; all `count` of them are REQUEST_TIMED_OUT if it takes longer.

    Nobody waits for it then, but what was proposed to the quorum is not taken back: the client
    learns by asking again. 0 and less: not longer than it takes to ask.
    """
    scope = asyncio.timeout(max(timeout_ms, 0) / 1_000)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if not scope.expired():
            raise
        late = RequestError(
            ErrorCode.REQUEST_TIMED_OUT,
            f"not done within the {timeout_ms} ms that the request allows; it may yet happen",
        )
        return [late] * count
