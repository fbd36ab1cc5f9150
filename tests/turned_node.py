"""A node behind its gRPC door whose clock is turned by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.settings import NodeSettings
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from logstore.settings import LogSettings
from model.ids import MonotonicMs, WallMs
from tests.grpc_node import GrpcNode, grpc_node

NOON = WallMs(1_767_268_800_000)


@dataclass
class Turned:
    """A node and the clock that it goes by."""

    served: GrpcNode
    clock: SimClock

    async def turn(self, ms: int) -> None:
        """Let time pass, and the node go on."""
        self.clock.advance(ms)
        await self.served.turn()


@asynccontextmanager
async def turned_node(
    directory: Path, clock: SimClock | None = None, disk: SimDisk | None = None
) -> AsyncIterator[Turned]:
    """Start a node; clock and disk of an earlier one make it a restart."""
    clock = clock or SimClock(wall=NOON, monotonic=MonotonicMs(1_000))
    settings = NodeSettings(log=LogSettings(journal_file_bytes=1 << 20))
    async with grpc_node(directory, settings, clock=clock, disk=disk) as served:
        yield Turned(served, clock)
