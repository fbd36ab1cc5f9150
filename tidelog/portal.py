"""The thread behind `tidelog.sync`: it runs the event loop in which the async client lives."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

_END: Final = object()
CLOSED: Final = "the client is closed; use it inside `with`"


class Portal:
    """Runs coroutines for threads that have no event loop. Any thread may call it."""

    def __init__(self) -> None:
        """Begin; the thread starts with the first call."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; interrupted here, it is cancelled there.

        Raises:
            RuntimeError: the client is closed; or this is the loop's own thread, in a callback,
                which would wait for itself.
        """
        try:
            loop = self._started()
        except RuntimeError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def do(self, work: Callable[[], T]) -> T:
        """Call a function in the loop's thread and return its result."""

        async def call() -> T:
            return work()

        return self.run(call())

    def later(self, work: Coroutine[Any, Any, Awaitable[T]]) -> "Future[T]":
        """Run a coroutine; return a future for what the awaitable that it returns comes to."""
        return asyncio.run_coroutine_threadsafe(_result(self.run(work)), self._started())

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Yield what an async iterator yields."""
        while (item := self.run(_next(source))) is not _END:
            yield item  # type: ignore[misc]

    def lent(self) -> "Portal":
        """Return one that uses the same thread, and does not end it when it is closed."""
        return _Lent(self._started)

    def close(self) -> None:
        """End the thread, for good."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError(CLOSED)
            if threading.current_thread() is self._thread:
                raise RuntimeError(
                    "tidelog.sync was called by what it had called itself (a codec, a key or a "
                    "timestamp function): that call would wait for itself"
                )
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(loop,), name="tidelog", daemon=True
                )
                self._thread.start()
            return self._loop


class _Lent(Portal):
    """Another's thread, used."""

    def __init__(self, started: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__()
        self._owner_started = started

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise RuntimeError(CLOSED)
        return self._owner_started()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, then end what is left in it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _result(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _next(source: AsyncIterator[T]) -> object:
    return await anext(source, _END)
