"""What a process does beside its loop, without threads: each job takes simulated time.

A worker does its jobs in order, one at a time, and hands results over to its process, as
`cluster.shell.worker.Worker` does. How long a job takes is the choice of the run; all that it does
to the disk happens at its end, at one moment, unless the power goes in the middle of it.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from api.sim.loop import Lane, SimLoop
from cluster.shell.worker import Handover, Worker

ResultT = TypeVar("ResultT")


class DeferredWorker(Worker):
    """A worker without threads: a job runs when whoever has been given it calls it."""

    def __init__(self, handover: Handover, defer: Callable[[Callable[[], None]], object]) -> None:
        """`defer` takes what is to be called once, some time."""
        self._handover = handover
        self._defer = defer

    def submit(
        self,
        job: Callable[[], ResultT],
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Do `job` later; then `done(result)` or `failed(error)` by the handover."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - carried on, as a thread does
                self._handover(failed, error)
            else:
                self._handover(done, result)

        self._defer(run)

    def close(self) -> None:
        """Wait for nothing: what has not run is lost, as with a process."""


class SimWorker(DeferredWorker):
    """See the module."""

    def __init__(
        self,
        loop: SimLoop,
        lane: Lane,
        handover: Handover,
        *,
        takes_us: Callable[[], int],
    ) -> None:
        """`takes_us()` returns how long the next job takes."""
        super().__init__(handover, self._take)
        self._loop, self._lane = loop, lane
        self._takes_us = takes_us
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def close(self) -> None:
        """Finish what was submitted; it blocks, so it takes no time here."""
        while self._waiting:
            self._waiting.popleft()()

    def _take(self, run: Callable[[], None]) -> None:
        self._waiting.append(run)
        self._begin()

    def _begin(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            self._loop.post_at(self._lane, self._loop.now_us + self._takes_us(), self._end)

    def _end(self) -> None:
        self._busy = False
        if self._waiting:
            self._waiting.popleft()()
        self._begin()
