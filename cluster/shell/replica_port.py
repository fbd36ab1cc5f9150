"""What replicas need of the rest of a node: links to other nodes, the controller, the disk.

Whoever assembles a node gives these to `ReplicaStreams` and calls it when something happens:

    stream_up(node)          links to and from a node are both there, and both are younger than the
                             `stream_lost` before; everything is opened again.
    stream_lost(node)        either of the two has ended. The other one is to be ended too: what was
                             on its way is lost, and nothing of it may come in behind `stream_up`.
    incoming(node, frame)    a frame of the replica family, from the node that has proven itself to
                             be that one. MalformedError: end the link.
    round_ended()            a round is done, every partition was told, and a reservation of the
                             append clock is noted there (`AppendClock.reserved`).
    isr_refused(partition, based_on)   the controller's last word on a proposal that it did not
                             take. What it took comes with the metadata.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cluster.controller.isr import IsrProposal, RowVersion
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.append_clock import AppendClock
from logstore.log_directory import LogDirectory
from model.ids import MonotonicMs, NodeId, PartitionId
from model.ports import Clock

Buffer: TypeAlias = bytes | bytearray | memoryview


class ReplicaLinks(Protocol):
    """The way to the other nodes. Loop only."""

    def say(self, node: NodeId, parts: Sequence[Buffer]) -> bool:
        """Send one whole frame, behind all before it; tell whether it is on its way.

        The parts are shared with the log and must not be changed. False: it is dropped, and so is
        the stream; `end` follows.
        """
        ...

    def end(self, node: NodeId) -> None:
        """Close both links to a node and make them anew; `stream_lost` was taken note of."""
        ...

    def heard_at(self) -> Mapping[NodeId, MonotonicMs]:
        """Return when something came from each node last, whatever it was."""
        ...


class ReplicaController(Protocol):
    """The way to the controller, wherever it is. Loop only; every call returns at once."""

    def alter_isr(self, rows: Sequence[IsrProposal]) -> None:
        """Propose; again over a new connection, but never so that two copies may both arrive."""
        ...

    def answer_for(self, rows: Sequence[RowVersion]) -> None:
        """Say that all that is committed is flushed here; said again while it is wanted."""
        ...

    def session_held(self) -> bool:
        """Tell whether the controller counts this node among the living, as far as is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDoors:
    """The parts of a node that replica streams work with."""

    node: NodeId
    links: ReplicaLinks
    controller: ReplicaController
    clock: Clock
    append_clock: AppendClock
    directory: LogDirectory
    tick: Tick
    read_pool: Worker
    ask_writer: Callable[[], None]
    """`DiskWriter.ask`: something is to be written."""
    ask_space: Callable[[], None]
    """`DiskWriter.look_at_space`: something was refused for want of space."""
    accepted: Callable[[int], None]
    """So many bytes from a leader are in memory now; the round that writes them gives them back."""
    let_go: Callable[[int], None]
    """So many of them go without a round: they were cut."""
    storage_failed: Callable[[Exception], None]
    """The disk refused a read; the node ends (P44)."""
    halted: Callable[[PartitionId, str], None]
    """A replica stands still and somebody has to look (`Halted`): say so at the highest level."""
    damaged: Callable[[PartitionId], None]
    """What a follower needs is damaged here; it is noted on the segment."""
