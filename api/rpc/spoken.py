"""What is said over a stream that another node serves, on its way there: one thing after the other.

    ConsumerGroupService/Consume#say    a stream's number, a byte, a request -> a byte

The first byte says what it is: a request, a sign of life, or that no more requests come. The answer
says whether it was taken: who serves holds one request beyond what it works on, and the next one
waits where it came from. What was not taken is said again, unchanged.
"""

import asyncio
from collections import deque
from typing import Any, Final

from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs
from model.ports import Clock

SAY: Final = "#say"
TAKEN: Final = b"\0"
NOT_YET: Final = b"\1"
ALIVE: Final = b"\0"
"""Nothing is said; who says it is there, though it takes no part."""
REQUEST: Final = b"\1"
LAST: Final = b"\2"
"""No more requests come."""
_KINDS: Final = frozenset({ALIVE, REQUEST, LAST})


class Spoken:
    """The requests of one stream, at the node that serves it: its iterator. Loop only."""

    __slots__ = ("_clock", "_come", "_ended", "_left", "_requests")

    def __init__(self, clock: Clock, first: Any) -> None:
        """Begin with the request that has opened the stream."""
        self._clock = clock
        self._requests = deque([first])
        self._come = asyncio.Event()
        self._left = asyncio.Event()
        self._ended = False

    async def take(self, request: Any, *, wait_ms: int) -> bool:
        """Take a request, once the one before it has been taken from here; False: not yet.

        Raises:
            RequestError: INVALID_REQUEST, it was said that nothing more comes.
        """
        if self._ended:
            raise RequestError(ErrorCode.INVALID_REQUEST, "it was ended before", field="say")
        if self._requests:
            self._left.clear()
            until = MonotonicMs(self._clock.monotonic_ms() + wait_ms)
            cancel = self._clock.call_at(until, self._left.set)
            try:
                await self._left.wait()
            finally:
                cancel()
        if self._requests:
            return False
        self._requests.append(request)
        self._come.set()
        return True

    def end(self) -> None:
        """No more requests come."""
        self._ended = True
        self._come.set()

    def __aiter__(self) -> "Spoken":
        """Return what is iterated."""
        return self

    async def __anext__(self) -> Any:
        """Return the next request, once it is there."""
        while not self._requests:
            if self._ended:
                raise StopAsyncIteration
            self._come.clear()
            await self._come.wait()
        request = self._requests.popleft()
        self._left.set()
        return request


def kind_of(said: bytes) -> bytes:
    """Return what was said, by its first byte.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    kind = said[:1]
    if kind not in _KINDS:
        raise RequestError(ErrorCode.INVALID_REQUEST, "nothing is said like this", field="say")
    return kind
