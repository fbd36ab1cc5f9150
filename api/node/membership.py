"""What a node is to its cluster: the whole of it, or one among several."""

from typing import Protocol

from cluster.controller.port import QuorumPort


class Membership(Protocol):
    """How a node has a part in the metadata. Loop only; called in this order."""

    @property
    def quorum(self) -> QuorumPort:
        """The metadata; there once the node has entered."""
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
        """Hand over to others what this node leads, while it goes on serving."""
        ...

    async def depart(self) -> None:
        """Nothing comes in any more: say the last word, and take no more of others."""
        ...

    async def stop(self) -> None:
        """End the metadata; what they still committed is written by the caller."""
        ...
