"""Records from stdin for an event loop: read in a thread, so that waiting for input stops nothing.

The thread is a daemon: Ctrl-C must not wait for whoever is at the other end of the pipe.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

AHEAD_MAX: Final = 10_000
"""Items that are read before they are wanted, at most."""
AHEAD_BYTES_MAX: Final = 8 << 20
"""What they take, at most, but for one of them."""


class Feed(Generic[T]):
    """An async iterator over an iterator that blocks."""

    def __init__(self, source: Iterator[T], *, size_of: Callable[[T], int]) -> None:
        """Begin to read; `size_of`: the bytes of an item. Belongs to the running loop."""
        self._source = source
        self._size_of = size_of
        self._ahead_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._lock = threading.Condition()
        self._items: deque[T] = deque()
        self._told = False
        self._ended = False
        self._stopped = False
        self._failure: Exception | None = None
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def close(self) -> None:
        """Read no more."""
        with self._lock:
            self._stopped = True
            self._lock.notify()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield every item; raise at the end what ended the source."""
        while True:
            with self._lock:
                taken, self._items = self._items, deque()
                self._ahead_bytes = 0
                ended, self._told = self._ended, False
                self._lock.notify()
            for item in taken:
                yield item
            if not taken and ended:
                break
            if not taken:
                await self._changed.wait()
                self._changed.clear()
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        """Fill the queue; in the thread."""
        try:
            for item in self._source:
                with self._lock:
                    self._lock.wait_for(self._may_go_on)
                    if self._stopped:
                        return
                    self._items.append(item)
                    self._ahead_bytes += self._size_of(item)
                self._tell()
        except Exception as failure:  # noqa: BLE001 - raised where the items are taken
            self._failure = failure
        with self._lock:
            self._ended, self._told = True, False
        self._tell()

    def _may_go_on(self) -> bool:
        room = len(self._items) < AHEAD_MAX and self._ahead_bytes < AHEAD_BYTES_MAX
        return room or self._stopped

    def _tell(self) -> None:
        """Wake whoever waits, once for each time that it comes."""
        with self._lock:
            if self._told or self._stopped:
                return
            self._told = True
        self._loop.call_soon_threadsafe(self._changed.set)
