"""One process of a node on simulated doors: the node as it is assembled for production.

Recovery, use cases, replicas, quorum, links and the handlers behind the gRPC door are the node's
own. Not here: listeners of clients (calls come in at the handlers), and the process around it.

Invariants:
    SIM_NODE_IS_UP    a process is asked for its node only while it has one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from api.config_file import load
from api.node.assemble import Node
from api.node.world import World
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Unary
from api.rpc.server import handlers_of, serve_other_nodes
from api.sim.disk import SimDisk
from api.sim.loop import US_PER_MS, Lane, SimLoop
from api.sim.net import Host
from api.sim.workers import SimWorker
from cluster.shell.worker import Handover
from model.errors import RequestError
from model.ids import MonotonicMs, WallMs
from model.limits import MIB
from model.ports import Rand
from model.principal import ANONYMOUS

MEMORY_BYTES: Final = 16 * MIB
LAST_PASSES: Final = 200
"""Of a lane whose process ends: its tasks are told, and what they do then reaches nobody."""
_PPM: Final = 1_000_000


class ProcessClock:
    """`model.ports.Clock` of one process, over the loop's time."""

    def __init__(self, loop: SimLoop, lane: Lane, *, wall: WallMs, drift_ppm: int) -> None:
        """`wall`: the date now. `drift_ppm`: by how much this machine counts too fast."""
        self._loop, self._lane = loop, lane
        self._start_us = loop.now_us
        self._wall = wall
        self._rate = _PPM + drift_ppm

    def monotonic_ms(self) -> MonotonicMs:
        """Milliseconds since this process began."""
        return MonotonicMs((self._loop.now_us - self._start_us) * self._rate // _PPM // US_PER_MS)

    def wall_ms(self) -> WallMs:
        """Return the date, as this machine has it."""
        return WallMs(self._wall + self.monotonic_ms())

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        """Wake in the lane of this process."""
        due_us = self._start_us - (-int(when) * US_PER_MS * _PPM // self._rate)
        return self._loop.post_at(self._lane, due_us, wake).cancel


class ProcessSpawn:
    """`api.node.world.OwnedSpawn`: tasks of one process, in the order in which they began."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """`failed` ends the process."""
        self._failed = failed
        self._over = False
        self._tasks: dict[asyncio.Task[None], None] = {}

    def __len__(self) -> int:
        """Return how many run."""
        return len(self._tasks)

    def start(self, task: Coroutine[object, object, None], name: str) -> None:
        """Run a task until it returns or the process ends."""
        if self._over:
            task.close()
            return
        running = asyncio.get_running_loop().create_task(task, name=name)
        self._tasks[running] = None
        running.add_done_callback(self._ended)

    def cancel(self, *, over: bool = False) -> None:
        """Cancel every task; `over`: none begins any more."""
        self._over = over
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        tasks = list(self._tasks)
        self.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


class Doors(NamedTuple):
    """What a process runs on."""

    loop: SimLoop
    lane: Lane
    disk: SimDisk
    host: Host
    rand: Rand
    takes_us: Callable[[], int]
    """How long the next job beside the loop takes."""


class Process:
    """See the module. Everything but `kill` is called within its lane."""

    def __init__(
        self, number: int, doors: Doors, overrides: list[str], *, wall: WallMs, drift_ppm: int
    ) -> None:
        """Begin with nothing; `overrides` are settings as `-X` takes them."""
        self.number, self.doors = number, doors
        self.lane = doors.lane
        self.settings = load(overrides=overrides).settings
        self.failures: list[BaseException] = []
        self.node: Node | None = None
        self.events: list[str] = []
        """Names of the lines of its log that nobody has looked at."""
        self.over = self.stopping = False
        self._clock = ProcessClock(doors.loop, doors.lane, wall=wall, drift_ppm=drift_ppm)
        self._spawn = ProcessSpawn(self.failures.append)
        self._stop: asyncio.Task[None] | None = None
        self._handlers: dict[str, Unary] = {}

    @property
    def up(self) -> Node:
        """The node, once its doors are open."""
        assert self.node is not None, "SIM_NODE_IS_UP"
        return self.node

    @property
    def has_joined(self) -> bool:
        """Whether it serves."""
        return self.node is not None and self.node.has_joined

    async def begin(self) -> None:
        """Start on what the disk has; doors are open when this returns.

        Raises:
            DirectoryRefused, StorageFailed: as a node's start does.
        """
        doors = self.doors
        world = World(
            disk=doors.disk,
            clock=self._clock,
            rand=doors.rand,
            spawn=self._spawn,
            memory_bytes=MEMORY_BYTES,
            version="simulated",
            note=self._note,
            workers=self._worker,
            peers=doors.host,
            secret=b"what every simulated node knows",
            machine=f"n{self.number}",
        )
        node = await Node.start(self.settings, world, failed=self.failures.append)
        serve_other_nodes(node.broker, rand=doors.rand, note=self._note)
        guard = Guard(node.broker, rand=doors.rand, note=self._note)
        every = handlers_of(node.broker, guard)
        self._handlers = {name: one for name, one in every.items() if isinstance(one, Unary)}
        self.node = node

    def start(self) -> None:
        """Begin, as a task of this process; what goes wrong is among `failures`."""
        self._spawn.start(self.begin(), f"node {self.number}")

    async def call(self, name: str, request: Message, *, within_ms: int) -> Any:
        """Answer a client's call as the gRPC door does behind its guard.

        Raises:
            RequestError: the refusal.
        """
        await self.up.broker.context.joining.over(within_ms)
        return await self._handlers[name].serve(request, Call(name, ANONYMOUS, within_ms))

    def serve(
        self,
        name: str,
        request: Message,
        *,
        within_ms: int,
        told: Callable[[Message | RequestError], object],
    ) -> None:
        """Answer a call as a task of this process; `told` is called at most once."""

        async def answer() -> None:
            try:
                told(await self.call(name, request, within_ms=within_ms))
            except RequestError as refused:
                told(refused)

        self._spawn.start(answer(), name)

    def begin_stop(self, ended: Callable[[], None]) -> None:
        """Stop in order, as on SIGTERM; `ended` is called outside when that is done."""
        node, loop = self.up, self.doors.loop
        self.stopping = True

        async def stop() -> None:
            try:
                await node.leave()
                await node.settle()
                await node.stop(clean=True)
            except Exception as error:  # noqa: BLE001 - it ends the run as any failure does
                self.failures.append(error)
            else:
                loop.post(loop.outside, ended)

        self._stop = loop.create_task(stop())

    def kill(self) -> None:
        """Be gone: what is told to its tasks now reaches neither disk nor wire."""
        self.over = True
        self._handlers = {}
        self.doors.disk.kill()
        lane, loop = self.lane, self.doors.loop
        lane.held = False
        loop.within(lane, self._let_go)
        loop.drain(lane, passes=LAST_PASSES)
        loop.end_lane(lane)

    def _let_go(self) -> None:
        """Nothing waits for this process any more, and it waits for nothing."""
        if self.node is not None:
            self.node.broker.members.stop()
        self._spawn.cancel(over=True)

    def _worker(self, name: str, handover: Handover, /, *, threads: int = 1) -> SimWorker:
        del name, threads
        doors = self.doors
        return SimWorker(doors.loop, doors.lane, handover, takes_us=doors.takes_us)

    def _note(self, event: str, /, **fields: str | int) -> None:
        del fields
        self.events.append(event)
