"""What a replica acts on: the partition that it belongs to, and the way to everybody else."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from cluster.peer.replica import Progress
from cluster.peer.replica_frames import OfOne
from cluster.replication.events import AnswerFor, ProposeIsr
from cluster.replication.high_watermark import CommitRule
from logstore.partition_log import PartitionLog
from model.ids import AppendTimeMs, NodeId, Offset, PartitionId, RegistrationEpoch


class Host(Protocol):
    """The partition that a replica belongs to."""

    @property
    def log(self) -> PartitionLog:
        """Its log; another one after `begin_anew`."""
        ...

    @property
    def rule(self) -> CommitRule:
        """When its records count as committed."""
        ...

    def advanced(self, mark: Offset) -> None:
        """What lies below `mark` is committed, as this replica knows it."""
        ...

    def began(self) -> None:
        """This node leads from here on."""
        ...

    def ended(self) -> None:
        """This node does not lead any more."""
        ...

    @property
    def held(self) -> bool:
        """This replica is neither to follow nor to lead before `Replica.go_on`."""
        ...

    def truncated(self) -> None:
        """The log ends earlier than it did."""
        ...

    def exists(self) -> None:
        """The log that was begun anew is there now."""
        ...

    def trim(self, log_start: Offset) -> None:
        """The leader's log begins there: this one may begin there too, or before."""
        ...

    def begin_anew(self, offset: Offset) -> None:
        """Put an empty log that begins there in the place of the log."""
        ...


class Outlet(Protocol):
    """Where a replica's words and wishes go: the streams, or, on a lone node, nowhere."""

    @property
    def registration_epoch(self) -> RegistrationEpoch:
        """Of this node, as the controller has given it out."""
        ...

    def say(self, where: PartitionId, to: NodeId, message: OfOne) -> None:
        """Put a frame on the stream to a node; dropped if there is none."""
        ...

    def ready(self, where: PartitionId, to: NodeId) -> None:
        """There is something to send to a follower."""
        ...

    def touched(self, where: PartitionId) -> None:
        """Something is to be announced to followers at the end of the tick."""
        ...

    def progress(
        self, where: PartitionId, to: NodeId, message: Progress, *, soon: bool = True
    ) -> None:
        """Tell a leader how far this replica is, at the end of the tick.

        Not `soon`: a round is about to go further, and only if it takes long this is told, too.
        """
        ...

    def reserve(self, where: PartitionId, closed_time: AppendTimeMs) -> None:
        """Let the append clock never read less; nothing is said until that is durable."""
        ...

    def took(self, where: PartitionId, leader: NodeId, size_bytes: int) -> None:
        """Batches of a leader are in the tail, up to the log's end: have them written."""
        ...

    def cut(self, where: PartitionId) -> None:
        """The log was cut, or begun anew: have that written, give back the room it took."""
        ...

    def sync(self, where: PartitionId) -> None:
        """Have the log made durable to its end."""
        ...

    def begin_anew(self, where: PartitionId, offset: Offset) -> PartitionLog:
        """Return an empty log that takes the place of the partition's."""
        ...

    def propose(self, where: PartitionId, proposal: ProposeIsr) -> None:
        """Ask the controller for another ISR."""
        ...

    def answer_for(self, where: PartitionId, answer: AnswerFor) -> None:
        """Tell the controller that the leader holds all that is committed."""
        ...

    def promised(self) -> Mapping[NodeId, AppendTimeMs]:
        """Return below which append time each other node would stamp nothing, should it lead.

        Newer promises are asked for: whoever wants to know asks again.
        """
        ...

    def halted(self, where: PartitionId, why: str) -> None:
        """The replica stands still."""
        ...

    def forget(self, where: PartitionId) -> None:
        """The partition is gone from this node: hold nothing for it."""
        ...

    def follows(self, where: PartitionId, leader: NodeId | None) -> None:
        """This node follows another leader from here on; None: nobody."""
        ...

    def role_changed(self, where: PartitionId) -> None:
        """This node has begun to lead, or does not lead any more."""
        ...


class Here(NamedTuple):
    """This node, and how its replicas speak to others."""

    node: NodeId
    outlet: Outlet
