"""A node in this process and in memory, behind its real gRPC door on a free port of loopback."""

import logging
from asyncio import get_running_loop
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from api.broker.produce_records import ProduceRecords
from api.door import Address
from api.node.assemble import Node, World
from api.node.system_clock import SystemClock
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.rpc.server import GrpcDoor
from api.settings import NodeSettings
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.testing.failing_produce import FailingProduce
from logstore.settings import LogSettings
from model.errors import ErrorCode
from model.ids import WallMs
from model.limits import MIB

LOOPBACK: Final = Address("127.0.0.1", 0)
MEMORY_BYTES: Final = 64 * MIB
LOGGER: Final = logging.getLogger("tidelog.testing")


class TestingNode:
    """A running node, and what a test may do to it. Loop only."""

    __test__ = False  # pytest looks for tests in whatever is called so

    def __init__(self, node: Node, world: World, *, clock: SimClock | None) -> None:
        """Take a node that has started; `clock` is None where time is the machine's."""
        self._node = node
        self._world = world
        self._clock = clock
        broker = node.broker
        self._produce = FailingProduce(broker.context)
        broker.produce = self._produce
        broker.produce_records = ProduceRecords(broker.context, self._produce, broker.searches)
        self._door: GrpcDoor | None = None
        self.address = LOOPBACK
        """Where the gRPC door listens."""

    async def open(self) -> None:
        """Open the door, where it was if it was open before."""
        self._door = GrpcDoor(
            self._node.broker, self.address, reflection=True, rand=self._world.rand,
            note=self._world.note,
        )  # fmt: skip
        self.address = await self._door.start()

    async def shut(self) -> None:
        """Close every connection, after what was accepted is answered."""
        if self._door is not None:
            await self._door.drain()
            await self._node.settle()
            await self._door.stop()
            self._door = None

    async def advance(self, ms: int) -> None:
        """Let so many ms pass, and wait for what falls due meanwhile.

        Raises:
            ValueError: time is the machine's, or would run backwards.
        """
        if self._clock is None:
            raise ValueError("time passes by itself here; ask for a manual clock")
        if ms < 0:
            raise ValueError(f"time does not run backwards: {ms} ms")
        self._clock.advance(ms)
        await self._node.settle()

    def wall_ms(self) -> WallMs:
        """Return the node's date, ms since 1970."""
        return self._world.clock.wall_ms()

    def fail_next_produce(self, reason: str, *, times: int) -> None:
        """Refuse the next batches with a reason of docs/reference/errors.md.

        Raises:
            ValueError: there is no such reason.
        """
        if reason not in ErrorCode.__members__:
            raise ValueError(f"there is no reason {reason!r}; see: tidelog errors")
        self._produce.refusals.extend([ErrorCode[reason]] * times)


@asynccontextmanager
async def node_in_memory(start_ms: int | None) -> AsyncIterator[TestingNode]:
    """Start a node and open its door; at the end close both, and raise what the node failed with.

    `start_ms`: the date at which a clock set by hand begins; None: the machine's clock.
    """
    failures: list[BaseException] = []
    manual = None if start_ms is None else SimClock(wall=WallMs(start_ms))
    settings = NodeSettings(log=LogSettings(journal_file_bytes=4 * MIB, reserve_bytes=0))
    world = World(
        disk=SimDisk(crashable=False),
        clock=manual or SystemClock(get_running_loop()),
        rand=SystemRand(),
        spawn=SystemSpawn(failures.append),
        memory_bytes=MEMORY_BYTES,
        version="testing",
        note=_note,
    )
    node = await Node.start(settings, world, failed=failures.append)
    running = TestingNode(node, world, clock=manual)
    try:
        await running.open()
        yield running
    finally:
        await running.shut()
        await node.stop(clean=not failures)
    if failures:
        raise failures[0]


def _note(event: str, /, **fields: str | int) -> None:
    LOGGER.debug("%s %s", event, fields)
