"""From the first step of a node to its last: start order, signals, stop order, exit code.

Exit codes: 0 stopped in order; 10 the configuration is refused, a port among it; 11 the log
directory failed; 12 it belongs to someone else or is in use; 13 it is newer than this program.
Any other end is a bug and comes with a traceback.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol

from api.door import Address, Door, DoorTaken
from api.node.assemble import Node
from model.errors import DirectoryRefused, StorageFailed

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 10
EXIT_FAILED: Final = 11
STOP_S_MAX: Final = 25
"""A stop that takes longer is broken off; the next start recovers."""


class Watcher(Protocol):
    """Whoever started the node: prints the banner, or a test."""

    def ready(self, addresses: dict[str, Address]) -> None:
        """Every door is open; `addresses` by door name."""
        ...

    def failed(self, error: Exception) -> None:
        """The node cannot go on; called once, before it ends."""
        ...


class Lifecycle:
    """One run of one node, on the running loop."""

    def __init__(self, watcher: Watcher, *, stopping: Callable[[], None] = lambda: None) -> None:
        """Tell `watcher` what happens.

        `stopping` is called as soon as the end is near, before anything is handed over: nobody new
        is to be sent here.
        """
        self._watcher = watcher
        self._stopping = stopping
        self._stop = asyncio.Event()
        self._exit_code = EXIT_OK
        self._starting: asyncio.Timeout | None = None

    def request_stop(self) -> None:
        """Stop in order; asked again, stop at once."""
        if self._stop.is_set():
            raise SystemExit(130)
        self._end_soon()

    def fail(self, error: BaseException) -> None:
        """Something broke that cannot be answered to a client: note it and stop."""
        if self._exit_code == EXIT_OK:
            self._exit_code = exit_code_of(error)
            if isinstance(error, Exception):
                self._watcher.failed(error)
        self._end_soon()

    async def run(
        self,
        start: Callable[["Lifecycle"], Coroutine[object, object, Node]],
        make_doors: Callable[[Node], Sequence[Door]],
    ) -> int:
        """Start, serve until somebody asks to stop, stop; return the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        try:
            node = await self._started(start)
        except (DirectoryRefused, StorageFailed, DoorTaken) as refused:
            self.fail(refused)
            return self._exit_code
        except TimeoutError:
            if not self._stop.is_set():
                raise
            return self._exit_code
        opened: list[Door] = []
        try:
            await self._open(node, make_doors(node), opened)
            await self._stop.wait()
        except DoorTaken as taken:
            self.fail(taken)
        finally:
            try:
                await asyncio.wait_for(self._end(node, opened), STOP_S_MAX)
            except TimeoutError:
                pass  # broken off: the next start recovers
            except StorageFailed as failed:  # the last checkpoint, or the mark of a clean stop
                self.fail(failed)
        return self._exit_code

    async def _started(
        self, start: Callable[["Lifecycle"], Coroutine[object, object, Node]]
    ) -> Node:
        """Return the node.

        Raises:
            TimeoutError: it is to stop before, or says so itself.
        """
        try:
            async with asyncio.timeout(None) as self._starting:
                return await start(self)
        finally:
            self._starting = None

    def _end_soon(self) -> None:
        """Stop; a start that still waits, for other nodes of its cluster, is broken off."""
        self._stop.set()
        self._stopping()
        if self._starting is not None:
            self._starting.reschedule(asyncio.get_running_loop().time())

    async def _open(self, node: Node, doors: Sequence[Door], opened: list[Door]) -> None:
        addresses: dict[str, Address] = {}
        for door in doors:
            addresses[door.name] = await door.start()
            opened.append(door)
        if not self._stop.is_set():
            self._watcher.ready(addresses)

    async def _end(self, node: Node, opened: Sequence[Door]) -> None:
        await node.leave()
        for door in opened:
            await door.drain()
        await node.settle()
        for door in reversed(opened):
            await door.stop()
        await node.stop(clean=self._exit_code == EXIT_OK)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take what asyncio caught: nothing fails unheard (an error in a callback is a bug)."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.fail(error)
        else:
            loop.default_exception_handler(context)


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an error ends the node with; 1 is a bug's."""
    match error:
        case DirectoryRefused():
            return int(error.exit_code)
        case StorageFailed():
            return EXIT_FAILED
        case DoorTaken():
            return EXIT_REFUSED
        case SystemExit(code=int(code)):
            return code
        case _:
            return 1
