"""What state partitions need of the rest of a node, and of other nodes.

Whoever assembles a node gives `StateDoors`, and on a node among others `StateElsewhere` with them:

    StatePartitions.role_changed(hosted)    is given to `ReplicaStreams.subscribe`
    StatePartitions.serve(ask, answer)      is called for ASK_STATE of another node
    `restore` is awaited after everything is hosted, in the same step of the loop: before it has
    been called no frame of another node may come in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.peer.snapshot import AskState, StatePart
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.state_log import Intake
from cluster.shell.worker import Worker
from model.ids import NodeId
from model.ports import Clock, Disk


class StateLinks(Protocol):
    """The way to other nodes' snapshots. Loop only."""

    def ask_state(
        self, node: NodeId, ask: AskState, done: Callable[[StatePart | None], None]
    ) -> None:
        """Ask for a part of a snapshot; `done` is called once, later, with None if none came.

        The part's bytes last.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StateElsewhere:
    """Other nodes, for a node that is not alone."""

    node: NodeId
    """This one."""
    links: StateLinks
    clock: Clock
    lacking: Callable[[HostedPartition, str], None]
    """Told of a partition whose state is not all here, and why."""
    hand_over: Callable[[HostedPartition, Sequence[NodeId]], None]
    """Called, again and again, where this node is to lead a partition of which it lacks the state:
    one of these replicas is to lead instead. At least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDoors:
    """What the state partitions of a node need of the rest of it."""

    intake: Intake
    disk: Disk
    worker: Worker
    """Its thread reads and writes snapshots, and replays logs. One: its jobs are done in order."""
    checkpoint: Callable[[], None]
    """Called when a log start has moved: files can go after the next checkpoint."""
    failed: Callable[[Exception], None]
    """Told of what the disk refused, or of a state that nobody can have; the node ends."""
    snapshot_records: int
    """A snapshot is made after so many records."""
    elsewhere: StateElsewhere | None = None
    """None: this node has no other, and its logs are the only ones."""
