"""The parts of a node that its membership in a cluster works with."""

from collections.abc import Callable
from dataclasses import dataclass

from api.broker.memory import MemoryBudget
from api.node.world import World
from api.settings import NodeSettings
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.partitions import Partitions
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.append_clock import AppendClock
from logstore.log_directory import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """See the module; none of it hosts anything yet."""

    settings: NodeSettings
    world: World
    opened: Opened
    tick: Tick
    append_clock: AppendClock
    partitions: Partitions
    writer: DiskWriter
    read_pool: Worker
    metadata: Worker
    """Whose thread waits for the metadata's files."""
    memory: MemoryBudget
    storage_failed: Callable[[Exception], None]
    """Told of what the disk refused; the node ends (P44)."""
    failed: Callable[[BaseException], None]
    """Told of what else ends the node."""
