"""Repairs over the links between nodes: batches asked for, and answered.

Whoever assembles a node makes one, before the first link:

repairs = PeerRepairs(links)        it is `cluster.shell.repair_port.RepairLinks`
repairs.serve(Repairs(...).serve)   once there are partitions; until then others are refused
"""

from functools import partial
from typing import Final

from cluster.peer.forward import CallRefused, encode_refused
from cluster.peer.hello import Hello
from cluster.peer.repair import AskBatches, BatchesPart, decode, encode_ask, encode_part
from cluster.peer.table import Family, Frame
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_links import PeerLinks
from cluster.shell.repairs import Serve
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import NodeId

TIMEOUT_MS: Final = 5_000
"""Of one part; the next replica is asked then."""


class PeerRepairs:
    """See the module. Loop only.

    Invariants:
        REPAIR_FRAMES_ASK    only what asks comes to the route.
    """

    def __init__(self, links: PeerLinks) -> None:
        """Take the frames of the family; before the first link."""
        self._links = links
        self._serve: Serve | None = None
        links.route(Family.REPAIR, self._receive)

    def serve(self, serve: Serve) -> None:
        """Answer other nodes from here on."""
        self._serve = serve

    async def ask_batches(self, node: NodeId, ask: AskBatches) -> BatchesPart:
        """Return what another replica has.

        Raises:
            RequestError: it has not, or was not reached.
            MalformedError: it has answered what is no answer to this.
        """
        frame = await self._links.ask(node, partial(encode_ask, ask), timeout_ms=TIMEOUT_MS)
        part = decode(frame)
        if not isinstance(part, BatchesPart) or part.partition != ask.partition:
            raise MalformedError("BATCHES_PART", 0, "it answers another question")
        return part

    def _receive(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        """Answer another node.

        Raises:
            MalformedError: it is no question: end the link.
        """
        ask = decode(frame)
        assert answer is not None and isinstance(ask, AskBatches), "REPAIR_FRAMES_ASK"
        told = partial(_tell, answer, frame.correlation)
        if self._serve is None:
            told(RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, "this node begins; ask again"))
        else:
            self._serve(ask, told)


def _tell(answer: Answer, correlation: int, part: BatchesPart | RequestError) -> None:
    if isinstance(part, BatchesPart):
        answer(encode_part(part, correlation=correlation))
    else:
        answer(encode_refused(CallRefused.of(part), correlation=correlation))
