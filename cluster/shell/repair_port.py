"""What repairs need of the rest of a node, and of other nodes.

Whoever assembles a node gives these to `Repairs` and calls it when something happens:

    found(partition, segment)     damage was met in a segment of a hosted partition
    serve(ask, tell)              another replica asks for what is damaged there (`PeerRepairs`)
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from cluster.peer.repair import AskBatches, BatchesPart
from cluster.shell.controller_doors import Note
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.worker import Worker
from logstore.free_space import Claim
from logstore.segment import Segment
from model.ids import NodeId
from model.ports import Clock, Disk, Spawn


class RepairLinks(Protocol):
    """The way to other replicas. Loop only."""

    async def ask_batches(self, node: NodeId, ask: AskBatches) -> BatchesPart:
        """Return what another replica has.

        Raises:
            RequestError: it has not, or was not reached.
            MalformedError: it has answered what is no answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDoors:
    """See the module."""

    node: NodeId
    clock: Clock
    spawn: Spawn
    disk: Disk
    writer: DiskWriter
    read_pool: Worker
    claim: Callable[[int], Claim]
    """`LogDirectory.claim`: raises RequestError where a full disk has no room for so much."""
    links: RepairLinks
    note: Note
    hand_over: Callable[[HostedPartition, NodeId], Coroutine[object, object, None]]
    """Let another replica lead, which is in sync and has what is damaged here; at most once for
    each repair. Raises nothing that passes."""
    mended: Callable[[HostedPartition, Segment], None]
    """A segment is whole again, or always was."""
    gone: Callable[[HostedPartition, Segment], None]
    """Nothing is left of a damaged segment."""
