"""What was asked on one link, and the answers as they come.

Each ask ends once: with its answer, with the refusal that came instead, when its time is over, or
with the link. What of it had left by then decides what may be claimed (P4): nothing, and it is not
done; a byte, and nobody knows.

Invariants:
    PEER_ASKED_ASKS     what is asked is of a type that is answered.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple, Protocol

from cluster.peer.forward import CallRefused, decode, encode_refused
from cluster.peer.table import TABLE, Family, Frame, FrameType, Manner
from cluster.shell.peer_doors import ASKS_MAX
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import MonotonicMs, NodeId
from model.ports import Clock

_CORRELATIONS: Final = (1 << 32) - 1
"""As many as fit a u32, without 0."""


class Encode(Protocol):
    """Makes the frame that asks: `partial(encode_forward, call)` and its like."""

    def __call__(self, *, correlation: int) -> bytes:
        """Return a whole frame, from its type on."""
        ...


class _Waiting(NamedTuple):
    answer: asyncio.Future[Frame]
    family: Family


class Asks:
    """Of one link. Loop only."""

    __slots__ = ("_clock", "_issued", "_unsent", "_waiting")

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._issued = 0
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: set[int] = set()

    def __len__(self) -> int:
        """Return how many wait for their answer."""
        return len(self._waiting)

    def check_room(self) -> None:
        """Refuse one more where too many wait.

        Raises:
            RequestError: OVERLOADED.
        """
        if len(self._waiting) >= ASKS_MAX:
            raise RequestError(
                ErrorCode.OVERLOADED, f"{ASKS_MAX} calls wait for one node", limit=str(ASKS_MAX)
            )

    def correlation(self) -> int:
        """Return a number that nothing on this link goes by that may still be answered."""
        while True:
            number = self._issued % _CORRELATIONS + 1
            self._issued += 1
            if number not in self._waiting:
                return number

    async def answer(self, correlation: int, kind: FrameType, *, timeout_ms: int) -> Frame:
        """Wait for an answer to what is about to leave. The frame is a copy, and lasts.

        Raises:
            RequestError: the refusal that came instead; REQUEST_TIMED_OUT, *unknown*; what `lost`
                says.
        """
        row = TABLE[kind]
        assert row.manner is Manner.ASKS, "PEER_ASKED_ASKS"
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = _Waiting(answer, row.family)
        self._unsent.add(correlation)
        until = MonotonicMs(self._clock.monotonic_ms() + timeout_ms)
        cancel = self._clock.call_at(until, partial(_time_out, answer, kind, timeout_ms))
        try:
            return await answer
        finally:
            cancel()
            self._waiting.pop(correlation, None)
            self._unsent.discard(correlation)

    def sent(self, asked: Iterable[int]) -> None:
        """What was asked under these numbers is out of our hands, if only its first byte."""
        self._unsent.difference_update(asked)

    def all_leave(self) -> None:
        """All that was asked so far still leaves, whatever becomes of the link."""
        self._unsent.clear()

    def answered(self, frame: Frame) -> None:
        """Take an answer; one that nobody waits for any more is dropped.

        Raises:
            MalformedError: nothing like it was asked, or it cannot be read.
        """
        name, correlation = frame.type.name, frame.correlation
        if correlation > self._issued:
            raise MalformedError(name, 2, f"it answers {correlation} of {self._issued} asked")
        waiting = self._waiting.get(correlation)
        if frame.type is FrameType.CALL_REFUSED:
            refused = decode(frame)
            if isinstance(refused, CallRefused) and waiting and not waiting.answer.done():
                waiting.answer.set_exception(refused.error)
        elif waiting is not None:
            if frame.row.family is not waiting.family:
                raise MalformedError(name, 0, f"it answers what was asked of {waiting.family}")
            if not waiting.answer.done():
                body = memoryview(bytes(frame.body))
                waiting.answer.set_result(Frame(frame.type, correlation, body))
        self._waiting.pop(correlation, None)

    def lost(self, node: NodeId | None, why: str) -> None:
        """The link is no more: no answer comes."""
        for correlation, waiting in list(self._waiting.items()):
            if waiting.answer.done():
                continue
            if correlation in self._unsent:
                error = unreachable(node, f"the link to it is {why}")
            else:
                error = RequestError(
                    ErrorCode.UPSTREAM_LOST,
                    f"the link to {_named(node)} is {why}, and no answer had come",
                    node=_number(node),
                )
            waiting.answer.set_exception(error)


def unreachable(node: NodeId | None, why: str) -> RequestError:
    """Return the refusal of what never left: *not done*."""
    detail = f"{_named(node)} was not reached: {why}"
    return RequestError(ErrorCode.NODE_UNREACHABLE, detail, node=_number(node))


def no_room(correlation: int) -> bytes:
    """Return the refusal that stands for an answer; what was asked for may be done: *unknown*."""
    detail = "it is answered, and more answers wait for this node than its link may hold"
    refused = CallRefused.of(RequestError(ErrorCode.REQUEST_TIMED_OUT, detail))
    return encode_refused(refused, correlation=correlation)


def _named(node: NodeId | None) -> str:
    return "a node that is not known yet" if node is None else f"node {node}"


def _number(node: NodeId | None) -> str:
    return "" if node is None else str(node)


def _time_out(answer: asyncio.Future[Frame], kind: FrameType, timeout_ms: int) -> None:
    if not answer.done():
        detail = f"no answer to {kind.name} within {timeout_ms} ms"
        answer.set_exception(RequestError(ErrorCode.REQUEST_TIMED_OUT, detail))
