"""Threads that do one thing: run what would block, and hand the result back to the loop.

A worker owns no state. What it is given is immutable or its own, what it returns is a value: the
loop alone changes partitions.
"""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

HalfT = TypeVar("HalfT")
ResultT = TypeVar("ResultT")

Handover = Callable[..., object]
"""The loop's `call_soon_threadsafe`: run this call with these arguments on the loop."""


class Worker:
    """One queue, served in order by one thread or by several."""

    def __init__(self, name: str, handover: Handover, *, threads: int = 1) -> None:
        """Start the threads; they sleep while there is nothing to do."""
        self._handover = handover
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._serve, name=f"tidelog-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        job: Callable[[], ResultT],
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Run `job` in a thread; then `done(result)` or `failed(error)` on the loop."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - carried to the loop, which judges it
                self._handover(failed, error)
            else:
                self._handover(done, result)

        self._jobs.put(run)

    def submit_two(
        self,
        first: Callable[[], HalfT],
        then: Callable[[HalfT], ResultT],
        *,
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Run a job in two halves, the other one with what the first returns; else as `submit`.

        For a thread they are one job. In a simulation time passes in between.
        """
        self.submit(lambda: then(first()), done, failed)

    async def run(self, job: Callable[[], ResultT]) -> ResultT:
        """Run `job` in a thread and await it; for callers on the loop that are tasks anyway.

        Cancelling the wait does not stop the job; its result is dropped.
        """
        waiting: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()

        def done(result: ResultT) -> None:
            if not waiting.done():
                waiting.set_result(result)

        def failed(error: Exception) -> None:
            if not waiting.done():
                waiting.set_exception(error)

        self.submit(job, done, failed)
        return await waiting

    def close(self) -> None:
        """Finish what was submitted, then end the threads. Blocks until they are gone."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # with what it was given: a round has all that it wrote


class MakeWorker(Protocol):
    """Makes a node's workers: threads, or, in a simulation, what runs their jobs in its order."""

    def __call__(self, name: str, handover: Handover, /, *, threads: int = 1) -> Worker:
        """Return a worker that hands results over to the loop."""
        ...
