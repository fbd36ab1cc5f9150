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


class SimWorker(Worker):
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
        self._loop, self._lane, self._handover = loop, lane, handover
        self._takes_us = takes_us
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def submit(
        self,
        job: Callable[[], ResultT],
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Do `job` later; then `done(result)` or `failed(error)` on the loop."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - carried to the loop, which judges it
                self._handover(failed, error)
            else:
                self._handover(done, result)

        self._waiting.append(run)
        self._begin()

    def close(self) -> None:
        """Finish what was submitted; it blocks, so it takes no time here."""
        while self._waiting:
            self._waiting.popleft()()

    def _begin(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            self._loop.post_at(self._lane, self._loop.now_us + self._takes_us(), self._end)

    def _end(self) -> None:
        self._busy = False
        if self._waiting:
            self._waiting.popleft()()
        self._begin()
