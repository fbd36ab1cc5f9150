"""The controller's frames as they come from other nodes: who looks for seeds, who asks for itself.

Routed before the first link, and for good: a node answers who looks for seeds before it has a
quorum, and everything else once `serve` was called. Who asks for itself is compared with who has
proven to be at the other end. A frame is read at once, since it lies in a buffer; its answer takes
as long as it takes.
"""

from collections.abc import Callable
from typing import Final

from cluster.controller.answer_frames import encode as encode_answer
from cluster.controller.answer_frames import refusal_of
from cluster.controller.bootstrap import Answer
from cluster.controller.brokers import RegisterBroker
from cluster.controller.isr import AlterIsr, AnswerForUnclean
from cluster.controller.leadership import TellRecovered
from cluster.controller.producer_ids import AllocateProducerIds
from cluster.controller.request_frames import Asked, AskSeed, BrokerHeartbeat
from cluster.controller.request_frames import decode as decode_request
from cluster.controller.standing import SetStanding
from cluster.peer.forward import encode_refused
from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.shell.controller_service import ControllerService
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import NodeId
from model.ports import Spawn

Send = Callable[[bytes], None]
"""Gives a question's answer, once."""


class ControllerFrames:
    """See the module. Loop only.

    Invariants:
        CONTROLLER_FRAMES_ASK   of this family only what asks comes to a route.
    """

    def __init__(self, spawn: Spawn, seed_answer: Callable[[], Answer]) -> None:
        """Answer who looks for seeds with what `seed_answer` says at the time."""
        self._spawn = spawn
        self._seed_answer = seed_answer
        self._service: ControllerService | None = None

    def serve(self, service: ControllerService) -> None:
        """Take everything from now on."""
        self._service = service

    def take(self, peer: Hello, frame: Frame, answer: Send | None) -> None:
        """Take a frame: `links.route(Family.CONTROLLER, frames.take)`.

        Raises:
            MalformedError: it is none, or one node speaks as another: end the link.
        """
        asked = decode_request(frame)
        assert answer is not None, "CONTROLLER_FRAMES_ASK"
        check_speaker(peer, asked, frame.type.name)
        if isinstance(asked, AskSeed):
            answer(encode_answer(self._seed_answer(), correlation=frame.correlation))
            return
        work = self._answer(asked, frame.correlation, answer)
        self._spawn.start(work, f"controller {frame.type.name}")

    async def _answer(self, asked: Asked, correlation: int, answer: Send) -> None:
        try:
            if self._service is None:
                raise RequestError(ErrorCode.NO_QUORUM, "this node has not joined a quorum yet")
            frame = encode_answer(await self._service.do(asked), correlation=correlation)
        except RequestError as refused:
            frame = encode_refused(refusal_of(refused), correlation=correlation)
        answer(frame)


def check_speaker(peer: Hello, asked: Asked, name: str) -> None:
    """Let nobody speak for another process than the one that has proven to be at the other end.

    Raises:
        MalformedError: one does.
    """
    speakers = _speakers(asked)
    if any(node != peer.node for node in speakers):
        why = f"it speaks for nodes {sorted(set(speakers))}, the link is that of node {peer.node}"
        raise MalformedError(name, _BODY_AT, why)
    if isinstance(asked, RegisterBroker):
        process = (asked.directory, asked.incarnation)
        if process != (peer.directory, peer.incarnation):
            why = f"it names another process than the one of node {peer.node} on this link"
            raise MalformedError(name, _BODY_AT, why)


_BODY_AT: Final = 6
"""Where a frame's body begins: who speaks stands there first."""


def _speakers(asked: Asked) -> tuple[NodeId, ...]:
    match asked:
        case RegisterBroker() | BrokerHeartbeat() | TellRecovered() | AllocateProducerIds():
            return (asked.node,)
        case AlterIsr() | AnswerForUnclean():
            return (asked.leader,)
        case SetStanding():
            return tuple(node for node, _ in asked.nodes)
        case _:
            return ()
