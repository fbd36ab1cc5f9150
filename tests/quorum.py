"""A quorum of one voter for tests: its doors, a runner that can be held, and a task for it."""

from asyncio import Event, Task, get_running_loop
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

from api.sim.clock import SimClock
from cluster.controller.brokers import RegisterBroker
from cluster.raft.voters import Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_quorum import RaftQuorum
from model.ids import NodeId, WallMs
from model.ports import Disk

ResultT = TypeVar("ResultT")

NODE = NodeId(0)
DIRECTORY_UUID = bytes(range(16))
ME = Voter(NODE, DIRECTORY_UUID)
REGISTER = RegisterBroker(node=NODE, directory=DIRECTORY_UUID, clean=True)


class Runner:
    """Runs jobs at once, on the loop; or, while held, lets them wait."""

    def __init__(self) -> None:
        self.jobs = 0
        self._free = Event()
        self._free.set()

    async def __call__(self, job: Callable[[], ResultT], /) -> ResultT:
        self.jobs += 1
        await self._free.wait()
        return job()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()


async def open_voter(
    disk: Disk,
    *,
    runner: Runner | None = None,
    settings: ClusterSettings | None = None,
    defaults: Mapping[str, str] | None = None,
    seed: int = 1,
) -> RaftQuorum:
    """Open the quorum on a disk; nothing runs it yet."""
    doors = Doors(
        disk=disk,
        clock=SimClock(wall=WallMs(1_700_000_000_000)),
        rand=Random(seed),
        run_blocking=Runner() if runner is None else runner,
    )
    return await RaftQuorum.open(
        doors, settings or ClusterSettings(), me=ME, voters=(ME,), defaults=defaults or {}
    )


@asynccontextmanager
async def running(voter: RaftQuorum) -> AsyncIterator[Task[None]]:
    """Run a quorum as its node would; at the end it is stopped, and its failure is the test's."""
    task = get_running_loop().create_task(voter.run())
    try:
        yield task
    finally:
        voter.stop()
        if not task.done():
            await task


async def turns(count: int = 10) -> None:
    """Give everything that is ready its turn, so many times."""
    for _ in range(count):
        turn = Event()
        get_running_loop().call_soon(turn.set)
        await turn.wait()
