"""Room for an answer in memory: waited for a while, held until the client has taken the answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from api.broker.memory import MemoryBudget
from model.limits import STREAM_SILENCE_MS_MAX

WAIT_S_MAX: Final = STREAM_SILENCE_MS_MAX.value / 2 / 1000
"""Short enough that a stream which waits is not taken for a dead one."""


@asynccontextmanager
async def room_for(answers: MemoryBudget, size_bytes: int) -> AsyncIterator[None]:
    """Hold the bytes of an answer for as long as a block runs.

    Raises:
        RequestError: OVERLOADED, other readers have taken nothing for a while.
    """
    if not answers.fits(size_bytes):
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while not answers.fits(size_bytes):
                    await answers.relief()
        except TimeoutError:
            pass  # `held` says why
    with answers.held(size_bytes):
        yield
