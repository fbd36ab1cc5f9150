"""What a node is to its cluster: the whole of it, or one among several."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from api.broker.damage import Mending
from api.broker.forward import Forwarding
from cluster.controller.port import QuorumPort
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.peer_states import PeerStates
from model.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What the use cases of a node have of other nodes."""

    forwarding: Forwarding
    """The way of calls to them."""
    state: PeerStates
    """The way of snapshots of internal topics."""
    mending: Mending
    """Repairs what is damaged here from other nodes."""
    controller: Callable[[], NodeId | None]
    """Returns who leads the controller quorum, as far as is known."""
    tell_roles: Callable[[Callable[[HostedPartition], None]], None]
    """Have somebody told of partitions that this node leads, or does not any more."""


class Membership(Protocol):
    """How a node has a part in the metadata. Loop only; called in this order."""

    @property
    def quorum(self) -> QuorumPort:
        """The metadata; there once the node has entered."""
        ...

    @property
    def others(self) -> Others | None:
        """What use cases have of other nodes, from the beginning; None: there are none."""
        ...

    def open(self) -> None:
        """Let other nodes in.

        Raises:
            DoorTaken: the address for them cannot be had.
        """
        ...

    async def enter(self) -> None:
        """Open the metadata and register; afterwards the image shows this node.

        Raises:
            DirectoryRefused: the node does not belong here.
            StorageFailed: the disk refused.
        """
        ...

    def begin(self) -> None:
        """Everything that is to be hosted is: speak with other nodes of it."""
        ...

    def round_ended(self) -> None:
        """A round is done, every partition was told, and its reservation of the clock is noted."""
        ...

    async def leave(self) -> None:
        """Hand over to others what this node leads, while it goes on serving.

        One that is not registered leads nothing.
        """
        ...

    async def depart(self) -> None:
        """Nothing comes in any more: say the last word, and take no more of others."""
        ...

    async def stop(self) -> None:
        """End the metadata; what they still committed is written by the caller."""
        ...

    def abandon(self) -> None:
        """Be gone at once: the node could not start."""
        ...
