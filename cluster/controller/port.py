"""All that the rest of a node sees of the controller quorum: the shape that Raft fills too."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.quorum_status import QuorumStatus
from cluster.controller.request import Request
from model.ids import NodeId

AnswerT = TypeVar("AnswerT")

Listener: TypeAlias = Callable[[MetadataImage, MetadataDelta], None]
"""Called on the loop for each committed batch, in order, before any answer to it leaves."""


class QuorumPort(Protocol):
    """The metadata quorum. Loop only."""

    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata that this node knows."""
        ...

    @property
    def status(self) -> QuorumStatus:
        """Who votes, who leads, and who is heard, as far as this node knows."""
        ...

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        """Have a change decided; answered when it is committed and every listener has run.

        Raises:
            RequestError: refused, or the outcome is unknown (`code.outcome` tells).
        """
        ...

    async def read_barrier(self) -> None:
        """Return once `image` holds every change that anybody was told of before this call."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Call for each committed batch from here on; what came before is in `image`."""
        ...

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        """Change the quorum's members.

        Raises:
            RequestError: NOT_IMPLEMENTED where the quorum has one voter only.
        """
        ...

    async def transfer_leadership(self, to: NodeId) -> None:
        """Hand the quorum's leadership over.

        Raises:
            RequestError: NOT_IMPLEMENTED where the quorum has one voter only.
        """
        ...
