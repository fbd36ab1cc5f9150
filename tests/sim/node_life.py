"""A whole node without threads: whatever waits for the disk is run when the simulation says so.

Everything is the node's own code, from the use cases to the bytes on a simulated disk. What a
thread would do is a job that waits here; which one comes next is chosen. So a run is a function of
its seed, and a crash can come between any two jobs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from api.node.assemble import Node
from api.node.log_events import EVENTS
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.settings import NodeSettings
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.workers import DeferredWorker
from cluster.shell.worker import Handover, Worker

ResultT = TypeVar("ResultT")
MEMORY_BYTES = 16 << 20
TURNS_MAX = 20_000
"""Of the loop, for something that must come to an end by itself."""


class HeldWorker(DeferredWorker):
    """A worker of whose jobs none runs before it is told to."""

    def __init__(self, handover: Handover, jobs: deque[Callable[[], None]]) -> None:
        super().__init__(handover, jobs.append)
        self._held = jobs
        self._awaited: set[asyncio.Task[Any]] = set()

    async def run(self, job: Callable[[], ResultT]) -> ResultT:
        task = asyncio.current_task()
        assert task is not None
        self._awaited.add(task)
        try:
            return await super().run(job)
        finally:
            self._awaited.discard(task)

    def die(self) -> None:
        """End with the process: nobody waits any more for what will not be done."""
        for task in list(self._awaited):
            task.cancel()

    def close(self) -> None:
        while self._held:
            self._held.popleft()()


class Threads:
    """The workers of one process. Each does its jobs in order; among them, who is next is open."""

    def __init__(self) -> None:
        self._jobs: list[deque[Callable[[], None]]] = []
        self._workers: list[HeldWorker] = []

    def make(self, name: str, handover: Handover, /, *, threads: int = 1) -> Worker:
        del name, threads
        jobs: deque[Callable[[], None]] = deque()
        self._jobs.append(jobs)
        self._workers.append(HeldWorker(handover, jobs))
        return self._workers[-1]

    def die(self) -> None:
        for worker in self._workers:
            worker.die()

    def work(self, choose: Random) -> bool:
        """Do one job; false when there is none."""
        waiting = [jobs for jobs in self._jobs if jobs]
        if not waiting:
            return False
        choose.choice(waiting).popleft()()
        return True


class Life:
    """One process of the node, from its start to its end."""

    def __init__(self, disk: SimDisk, clock: SimClock, choose: Random) -> None:
        self.disk = disk
        self.clock = clock
        self.over = False
        self._choose = choose
        self._threads = Threads()
        self._spawn = SystemSpawn(self._failed)
        self._failures: list[BaseException] = []
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    async def begin(self, settings: NodeSettings) -> None:
        """Start on what the disk has."""
        world = World(
            disk=self.disk,
            clock=self.clock,
            rand=Random(self._choose.randrange(1 << 60)),
            spawn=self._spawn,
            memory_bytes=MEMORY_BYTES,
            version="test",
            note=_told,
            workers=self._threads.make,
        )
        self._node = await self.ended(Node.start(settings, world, failed=self._failed))

    def work(self) -> bool:
        """Let one thing end that waits for the disk."""
        return self._threads.work(self._choose)

    async def ended(self, doing: Awaitable[ResultT]) -> ResultT:
        """Do all work that there is until something has ended; return its result."""
        task = asyncio.ensure_future(doing)
        for _ in range(TURNS_MAX):
            if task.done():
                self.check()
                return task.result()
            await asyncio.sleep(0)
            if not self.work():
                await asyncio.sleep(0)
        task.cancel()
        raise AssertionError("IT_COMES_TO_AN_END")

    async def stop(self) -> None:
        """End in order."""
        await self.ended(self.node.stop(clean=True))
        self.over = True
        self.disk.kill()

    async def kill(self) -> None:
        """End at once: nothing that waits is done, nobody is told."""
        self.over = True
        self.node.broker.members.stop()
        await self._spawn.close()
        self._threads.die()
        await asyncio.sleep(0)

    def check(self) -> None:
        """Raise what a task of the node has failed with."""
        if self._failures and not self.over:
            raise self._failures[0]

    def _failed(self, error: BaseException) -> None:
        self._failures.append(error)


def _told(event: str, /, **fields: str | int) -> None:
    assert event in EVENTS
    assert event not in {"log_corrupt", "clock_in_doubt", "storage_failed"}, fields
