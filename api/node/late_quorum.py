"""The metadata quorum before there is one: use cases are made with it, and it is found later.

Until then there is an empty image, and whatever is asked is refused, *not done*. What a quorum
found on its disk may be old; it is shown to nobody here before the node has its registration.
"""

from typing import Final, TypeVar

from cluster.controller.image import EMPTY, MetadataImage
from cluster.controller.port import Listener, QuorumPort
from cluster.controller.quorum_status import QuorumStatus
from cluster.controller.request import Request
from model.errors import ErrorCode, RequestError
from model.ids import Index, NodeId, Term

AnswerT = TypeVar("AnswerT")

NOBODY: Final = QuorumStatus(Term(0), None, Index(0), ())
"""What is known before anything is."""


class LateQuorum:
    """A `QuorumPort`. Loop only.

    Invariants:
        QUORUM_FOUND_ONCE    a node has one quorum, from the moment it is found.
    """

    def __init__(self) -> None:
        """There is none."""
        self._found: QuorumPort | None = None
        self._listeners: list[Listener] = []

    def found(self, quorum: QuorumPort) -> None:
        """Go on with a quorum, whose image counts from now on; listeners hear of what follows.

        The caller tells everybody at once that there is an image: no listener is told.
        """
        assert self._found is None, "QUORUM_FOUND_ONCE"
        self._found = quorum
        for listener in self._listeners:
            quorum.subscribe(listener)

    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata that this node shows."""
        return EMPTY if self._found is None else self._found.image

    @property
    def status(self) -> QuorumStatus:
        """Who votes, who leads, and who is heard."""
        return NOBODY if self._found is None else self._found.status

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        """Have a change decided; see `QuorumPort`.

        Raises:
            RequestError: NO_QUORUM, *not done*; and what the quorum raises.
        """
        return await self._quorum().propose(request)

    async def read_barrier(self) -> None:
        """Wait until `image` is as new as this call.

        Raises:
            RequestError: NO_QUORUM; and what the quorum raises.
        """
        await self._quorum().read_barrier()

    def subscribe(self, listener: Listener) -> None:
        """Call for each committed batch from here on, in the order of subscription."""
        if self._found is None:
            self._listeners.append(listener)
        else:
            self._found.subscribe(listener)

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        """Change the quorum's members; raises as `propose`."""
        await self._quorum().change_voters(add, remove)

    async def transfer_leadership(self, to: NodeId) -> None:
        """Hand the quorum's leadership over; raises as `propose`."""
        await self._quorum().transfer_leadership(to)

    def _quorum(self) -> QuorumPort:
        if self._found is None:
            detail = "this node has not joined its cluster: it waits for the controllers"
            raise RequestError(ErrorCode.NO_QUORUM, detail)
        return self._found
