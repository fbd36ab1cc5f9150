"""An event loop whose time passes only when nothing is ready, shared by several processes.

Each simulated process is a *lane*: what its code calls for runs in its lane, in the order in which
it called, as on a loop of its own. Among lanes that have something to do, who comes next is the
choice of the run. One step of a lane is one pass of asyncio's loop: everything that was ready when
it began. So the production shell sees what it may rely on, and nothing more.

A lane can be *held*, as a stopped process is: time passes, its timers fall due, and what is ready
waits. A lane that is *over* runs nothing any more, as a process that was killed.

There are no threads, sockets or files here: what a lane asks of the outside comes by the doors of
`api.node.world.World`. An exception that nobody caught ends the run.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Self, TypeVarTuple, Unpack

_Ts = TypeVarTuple("_Ts")
US_PER_S: Final = 1_000_000
US_PER_MS: Final = 1_000


class PowerGone(BaseException):
    """The power goes while something is at the disk: what was under way comes to no end.

    Nobody in the process can act on it any more; whoever raises it has held the lane.
    """


class Lane:
    """What one process has to do, in order."""

    __slots__ = ("held", "name", "over", "ready")

    def __init__(self, name: str) -> None:
        """Begin with nothing to do."""
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.held = False
        self.over = False


class Call(asyncio.Handle):
    """Something that a lane will do."""

    __slots__ = ("lane",)

    def __init__(
        self,
        lane: Lane,
        call: Callable[..., object],
        args: tuple[Any, ...],
        *,
        loop: "SimLoop",
        context: Context | None = None,
    ) -> None:
        """Belong to a lane."""
        super().__init__(call, args, loop, context)
        self.lane = lane


class Timer(asyncio.TimerHandle):
    """Something that a lane will do at a time."""

    __slots__ = ("lane",)

    def __init__(
        self,
        lane: Lane,
        when: float,
        call: Callable[..., object],
        *,
        args: tuple[Any, ...],
        loop: "SimLoop",
        context: Context | None = None,
    ) -> None:
        """Belong to a lane."""
        super().__init__(when, call, args, loop, context)
        self.lane = lane


class SimTask(asyncio.Task[Any]):
    """A task that knows its lane: when it is collected, somebody asks whose it was."""

    lane: Lane | None = None


class SimLoop(asyncio.AbstractEventLoop):
    """See the module. `run_until` is all that moves it."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        """Use `begin`. `choose(n)` returns which of n lanes is next."""
        self.now_us = 0
        self.failures: list[BaseException] = []
        self.steps = 0
        """Passes of lanes so far."""
        self.after: Callable[[Lane, int], None] | None = None
        """Called after each pass, with the lane and how much it did."""
        self.outside = Lane("outside")
        """What belongs to no process: wires, disks, the weather."""
        self._choose = choose
        self._lane = self.outside
        self._lanes = [self.outside]
        self._timers: list[tuple[int, int, Timer | Call]] = []
        self._order = count()

    @classmethod
    def begin(cls, choose: Callable[[int], int]) -> Self:
        """Return a loop; what asyncio's has for sockets, signals and processes stays unmade."""
        return cls(choose)

    # Lanes.

    def new_lane(self, name: str) -> Lane:
        """Make a lane for one more process."""
        lane = Lane(name)
        self._lanes.append(lane)
        return lane

    def end_lane(self, lane: Lane) -> None:
        """Run nothing of it any more."""
        lane.over = True
        lane.ready.clear()
        self._lanes.remove(lane)

    def post(self, lane: Lane, call: Callable[..., object], *args: object) -> None:
        """Let a lane do something as soon as its turn comes; nobody's context is carried over."""
        if not lane.over:
            lane.ready.append(Call(lane, call, args, loop=self, context=Context()))

    def post_at(self, lane: Lane, when_us: int, call: Callable[..., object], *args: object) -> Call:
        """Let a lane do something at a time, in microseconds; return what cancels it."""
        handle = Call(lane, call, args, loop=self, context=Context())
        heappush(self._timers, (max(when_us, self.now_us), next(self._order), handle))
        return handle

    def within(self, lane: Lane, call: Callable[[], object]) -> None:
        """Call now, as a part of a lane."""
        before, self._lane = self._lane, lane
        try:
            call()
        finally:
            self._lane = before

    # Time.

    def run_until(self, holds: Callable[[], bool], *, steps: int) -> bool:
        """Let happen what happens until something holds; false if nothing is left, or no steps.

        Raises:
            BaseException: what a lane has failed with.
        """
        with self._running():
            for _ in range(steps):
                if holds():
                    return True
                if not self._step():
                    return holds()
                if self.failures:
                    raise self.failures[0]
            return False

    def drain(self, lane: Lane, *, passes: int) -> None:
        """Let one lane alone go on, without time: the last moments of a process."""
        with self._running():
            for _ in range(passes):
                if not lane.ready:
                    break
                self._pass(lane)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Be the loop that code asks for."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def _step(self) -> bool:
        """Do one pass of one lane, or let time pass; false when there is nothing to come."""
        ready = [lane for lane in self._lanes if lane.ready and not lane.held]
        if ready:
            lane = ready[self._choose(len(ready))] if len(ready) > 1 else ready[0]
            done = self._pass(lane)
            self.steps += 1
            if self.after is not None:
                self.after(lane, done)
            return True
        if not self._timers:
            return False
        self.now_us = max(self.now_us, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now_us:
            handle = heappop(self._timers)[2]
            if not handle.cancelled() and not handle.lane.over:
                handle.lane.ready.append(handle)
        return True

    def _pass(self, lane: Lane) -> int:
        """Do what a lane had to do when this began; return how much that was."""
        before, self._lane = self._lane, lane
        ready, done = lane.ready, 0
        try:
            for _ in range(len(ready)):
                if not ready or lane.over or lane.held:
                    break
                handle = ready.popleft()
                if not handle.cancelled():
                    done += 1
                    handle._run()
        finally:
            self._lane = before
        return done

    # asyncio.AbstractEventLoop

    def time(self) -> float:
        """Return the seconds since the beginning."""
        return self.now_us / US_PER_S

    def get_debug(self) -> bool:
        """Never: asyncio's own checks look at real time."""
        return False

    def is_running(self) -> bool:
        """Tell that it runs, for whoever asks from within."""
        return True

    def is_closed(self) -> bool:
        """It is never closed."""
        return False

    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Let the lane that runs now do something in its next pass."""
        lane = self._lane
        handle = Call(lane, callback, args, loop=self, context=context)
        if not lane.over:
            lane.ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Do the same: there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Let the lane that runs now do something after some seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Let the lane that runs now do something at a time of this loop, in seconds."""
        lane = self._lane
        timer = Timer(lane, when, callback, args=args, loop=self, context=context)
        due_us = max(self.now_us, round(when * US_PER_S))
        heappush(self._timers, (due_us, next(self._order), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is counted: what was cancelled is dropped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **more: Any
    ) -> asyncio.Task[Any]:
        """Return a task of the lane that runs now."""
        del more
        task = SimTask(coro, loop=self, name=name or "task", context=context)
        task.lane = self._lane
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what went wrong, for `run_until` to raise; of a lane that is over, nothing."""
        task = context.get("task") or context.get("future")
        lane = task.lane if isinstance(task, SimTask) else self._lane
        if lane is None or lane.over:
            return
        error = context.get("exception")
        if isinstance(error, PowerGone):
            return
        if not isinstance(error, BaseException):
            error = AssertionError(f"{context.get('message')}: {task}")
        self.failures.append(error)
