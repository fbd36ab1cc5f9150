"""The real doors to the world for a node that runs inside a test, on a directory of its own."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from api.node.log_events import EVENTS
from api.node.system_clock import SystemClock
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from logstore.disk_posix import PosixDisk
from model.ports import Clock, Disk

MEMORY_BYTES = 64 << 20


@dataclass
class Log:
    """Every line that a node or a door wrote."""

    lines: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def __call__(self, event: str, /, **fields: str | int) -> None:
        assert event in EVENTS
        self.lines.append((event, fields))


def real_world(
    directory: Path,
    failures: list[BaseException],
    *,
    memory_bytes: int = MEMORY_BYTES,
    disk: Disk | None = None,
    clock: Clock | None = None,
) -> World:
    """Return real files and clocks, unless others are given, real chance and tasks.

    What a task fails with goes to `failures`.
    """
    return World(
        disk=disk or PosixDisk(str(directory), create=True),
        clock=clock or SystemClock(asyncio.get_running_loop()),
        rand=SystemRand(),
        spawn=SystemSpawn(failures.append),
        memory_bytes=memory_bytes,
        version="test",
        note=Log(),
    )
