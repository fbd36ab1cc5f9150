"""What a process does beside its loop, without threads: each job takes simulated time.

A worker does its jobs in order, one at a time, and hands results over to its process, as
`cluster.shell.worker.Worker` does. How long a job takes is the choice of the run; all that it does
to the disk happens at its end, at one moment, unless the power goes in the middle of it. A job of
two halves, a round that is written and then synced, has two such moments, and most of its time
goes by between them.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, TypeVar

from api.sim.loop import Lane, SimLoop
from cluster.shell.worker import Handover, Worker

HalfT = TypeVar("HalfT")
ResultT = TypeVar("ResultT")
FIRST_SHARE: Final = 4
"""The first half of a job takes one part in so many of its time: writing is soon done."""


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
        self._defer(self._whole(job, done, failed))

    def submit_two(
        self,
        first: Callable[[], HalfT],
        then: Callable[[HalfT], ResultT],
        *,
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Do both halves later, the other one later still."""

        def go_on(half: HalfT) -> None:
            self._defer(self._whole(partial(then, half), done, failed))

        self._defer(self._half(first, go_on, failed))

    def _whole(
        self,
        job: Callable[[], ResultT],
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> Callable[[], None]:
        """Return what does a job and hands over what comes of it."""
        return self._half(job, partial(self._handover, done), failed)

    def _half(
        self,
        job: Callable[[], ResultT],
        go_on: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> Callable[[], None]:
        """Return what does a job and goes on with its result at once."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - carried on, as a thread does
                self._handover(failed, error)
            else:
                go_on(result)

        return run

    def close(self) -> None:
        """Wait for nothing: what has not run is lost, as with a process."""


class _Waiting(NamedTuple):
    run: Callable[[], None]
    takes_us: int | None
    """None: chosen when it begins."""


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
        self._waiting: deque[_Waiting] = deque()
        self._busy = False

    def close(self) -> None:
        """Finish what was submitted; it blocks, so it takes no time here."""
        while self._waiting:
            self._waiting.popleft().run()

    def submit_two(
        self,
        first: Callable[[], HalfT],
        then: Callable[[HalfT], ResultT],
        *,
        done: Callable[[ResultT], object],
        failed: Callable[[Exception], object],
    ) -> None:
        """Do the other half after the rest of the job's time, before anything else."""
        takes_us = self._takes_us()
        soon_us = takes_us // FIRST_SHARE

        def go_on(half: HalfT) -> None:
            rest = self._whole(partial(then, half), done, failed)
            self._waiting.appendleft(_Waiting(rest, takes_us - soon_us))

        self._take(self._half(first, go_on, failed), soon_us)

    def _take(self, run: Callable[[], None], takes_us: int | None = None) -> None:
        self._waiting.append(_Waiting(run, takes_us))
        self._begin()

    def _begin(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            known_us = self._waiting[0].takes_us
            takes_us = self._takes_us() if known_us is None else known_us
            self._loop.post_at(self._lane, self._loop.now_us + takes_us, self._end)

    def _end(self) -> None:
        self._busy = False
        if self._waiting:
            self._waiting.popleft().run()
        self._begin()
