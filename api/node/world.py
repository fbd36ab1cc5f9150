"""The doors to the world that a node is given: real ones, a test's, or the simulator's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from api.broker.damage import Note
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address, Network
from cluster.shell.worker import MakeWorker, Worker
from model.ports import Clock, Disk, Rand, Spawn


class OwnedSpawn(Spawn, Protocol):
    """Tasks of this node alone, which end with it."""

    def __len__(self) -> int:
        """Return how many run."""
        ...

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        ...


class PeerNet(Protocol):
    """How the nodes of a cluster reach each other."""

    @property
    def network(self) -> Network:
        """The way to the others."""
        ...

    def listen(self, links: PeerLinks, host: str, port: int) -> Address:
        """Let the others in; return where, with the port that was found for 0.

        Raises:
            OSError: the address cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The doors to the world that a node is given."""

    disk: Disk
    clock: Clock
    rand: Rand
    spawn: OwnedSpawn
    memory_bytes: int
    """What request and answer buffers may take together (P53)."""
    version: str
    note: Note
    """Writes a line of the node's log."""
    workers: MakeWorker = Worker
    """Makes what waits for the disk beside the loop."""
    peers: PeerNet | None = None
    """None: a node that is alone, whatever its seeds."""
    secret: bytes = b""
    """Of the cluster."""
    machine: str = "localhost"
    """Name by which others find this machine."""
    loaded: Callable[[], None] = lambda: None
    """Told once all is loaded that a node keeps: see `system_garbage`. A process that is not the
    node's own hears of it and does nothing."""
