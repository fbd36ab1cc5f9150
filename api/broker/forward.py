"""A call for another node: taken there once, with its principal; and what others bring here.

Any node takes any client's call. What another node has to answer goes there as one frame, and its
answer or refusal comes back as it is. What did not leave is *not done* (NODE_UNREACHABLE); once
bytes have left and no answer comes, nobody knows (UPSTREAM_LOST): it is never sent twice.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeAlias

from cluster.controller.image import MetadataImage
from cluster.peer.forward import (
    CallRefused,
    Forward,
    Forwarded,
    decode,
    encode_forward,
    encode_forwarded,
    encode_refused,
)
from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.shell.peer_asks import Encode
from cluster.shell.peer_links import LinkEvents
from cluster.shell.peer_loss import Loss
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import NodeId, TopicName
from model.ports import Spawn
from model.principal import Principal

GRACE_MS: Final = 2_000
"""Beyond what is left of a call's time: who answers it keeps the time, and says so itself."""

Serve: TypeAlias = Callable[[NodeId, Forward], Awaitable[bytes]]
"""Answers a call that a node has brought, or raises RequestError."""
Answer: TypeAlias = Callable[[bytes], None]
Gone: TypeAlias = Callable[[NodeId], None]
"""Is told of a node that has brought calls, and brings none any more."""
Controller: TypeAlias = Callable[[], NodeId | None]
"""Returns who leads the controller quorum, as far as is known."""


class ForwardLinks(Protocol):
    """What is needed of the links to other nodes."""

    async def ask(self, node: NodeId, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer of a node, or raise its refusal."""
        ...


class Forwarding(LinkEvents):
    """See the module. Loop only."""

    def __init__(
        self, node: NodeId, links: ForwardLinks, spawn: Spawn, *, controller: Controller
    ) -> None:
        """Bring calls to others; those of others are refused until `serve`."""
        self._node = node
        self._links = links
        self._controller = controller
        self._spawn = spawn
        self._serve: Serve | None = None
        self._gone: Gone | None = None

    def serve(self, serve: Serve, gone: Gone) -> None:
        """Answer what other nodes bring from now on."""
        self._serve, self._gone = serve, gone

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """A node brings nothing any more: `links.subscribe(forwarding)`."""
        if self._gone is not None:
            self._gone(peer.node)

    def leader_elsewhere(self, image: MetadataImage, topic: str, number: int) -> NodeId | None:
        """Return the other node that leads a partition; None: this one does, or nobody."""
        known = image.topics.get(TopicName(topic))
        if known is None or not 0 <= number < len(known.partitions):
            return None
        leader = known.partitions[number].leader
        return None if leader == self._node else leader

    async def call(
        self,
        node: NodeId,
        name: str,
        principal: Principal,
        *,
        payload: bytes,
        left_ms: int,
        grace_ms: int = GRACE_MS,
    ) -> bytes:
        """Return another node's answer.

        Raises:
            RequestError: its refusal; NODE_UNREACHABLE, OVERLOADED: *not done*; UPSTREAM_LOST,
                REQUEST_TIMED_OUT: *unknown*.
        """
        encode = partial(encode_forward, Forward(name, principal, left_ms, payload))
        frame = await self._links.ask(node, encode, timeout_ms=left_ms + grace_ms)
        try:
            told = decode(frame)
        except MalformedError as wrong:
            detail = f"node {node} answered what cannot be read: {wrong}"
            raise RequestError(ErrorCode.UPSTREAM_LOST, detail, node=str(node)) from wrong
        assert isinstance(told, Forwarded), "FORWARD_IS_FORWARDED"
        return bytes(told.payload)

    def not_taken(self, refusal: RequestError) -> RequestError:
        """Return what a client is told of a batch that was not taken to its partition's leader.

        Where that leader is not reached, another replica takes its place soon; but nobody decides
        that as long as nobody leads the controller quorum, and then this is what there is to tell.
        """
        told = passing(refusal)
        if told.code is not ErrorCode.NODE_UNREACHABLE or self._controller() is not None:
            return told
        detail = f"nobody leads the controllers, so the leadership does not move: {told.detail}"
        delay = told.retry_delay_ms
        return RequestError(ErrorCode.NO_QUORUM, detail, retry_delay_ms=delay, **told.metadata)

    def take(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        """Take a call of another node: `links.route(Family.CALL, forwarding.take)`.

        Raises:
            MalformedError: it is none: end the link.
        """
        said = decode(frame)
        assert isinstance(said, Forward) and answer is not None, "FORWARD_IS_FORWARDED"
        call = said._replace(payload=bytes(said.payload))
        work = self._answered(peer.node, call, answer, correlation=frame.correlation)
        self._spawn.start(work, f"forwarded {call.name}")

    async def _answered(
        self, node: NodeId, call: Forward, answer: Answer, *, correlation: int
    ) -> None:
        try:
            if self._serve is None:
                detail = f"node {self._node} takes no calls of clients yet"
                raise RequestError(ErrorCode.NODE_UNREACHABLE, detail, node=str(self._node))
            told = Forwarded(await self._serve(node, call))
        except RequestError as refused:
            answer(encode_refused(CallRefused.of(refused), correlation=correlation))
        else:
            answer(encode_forwarded(told, correlation=correlation))


def passing(refusal: RequestError) -> RequestError:
    """Return what a client is told whose call met a leadership that has just moved.

    Who asked any node knows no leaders: it is to ask again, unchanged.
    """
    return _moving(refusal) if refusal.code is ErrorCode.NOT_LEADER else refusal


def passing_elsewhere(refusal: RequestError) -> RequestError:
    """Return the same of what another node has refused: one that stops hands over what it leads."""
    return _moving(refusal) if refusal.code is ErrorCode.SHUTTING_DOWN else passing(refusal)


def _moving(refusal: RequestError) -> RequestError:
    detail = f"the leadership is just moving; ask again: {refusal.detail}"
    delay = refusal.retry_delay_ms
    code = ErrorCode.LEADER_NOT_AVAILABLE
    return RequestError(code, detail, retry_delay_ms=delay, **refusal.metadata)
