"""Real tasks: each has an owner, and none fails unheard."""

import asyncio
from collections.abc import Callable, Coroutine


class SystemSpawn:
    """`model.ports.Spawn` over the running loop.

    A task that raises ends the node: the error goes to the one handler that was given. Cancelling
    is the owner's: `close` cancels what still runs and waits for it.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """Take the handler that ends the node."""
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many tasks run."""
        return len(self._tasks)

    def start(self, task: Coroutine[object, object, None], name: str) -> None:
        """Run a task until it returns or the node stops."""
        running = asyncio.get_running_loop().create_task(task, name=name)
        self._tasks.add(running)
        running.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
