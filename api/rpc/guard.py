"""What stands around every call: who asks, what went wrong, and the end of the node.

A handler raises RequestError for what its client is to be told. Anything else that comes out of it
is a bug: the client gets INTERNAL with an id, the log gets the id with the place, and nobody else
notices.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message
from grpc import aio

from api.broker.broker import Broker
from api.broker.joining import Joining
from api.errors import grpc_status
from api.rpc.call import Begun, Call, read_metadata, stays
from api.rpc.details import text_of, trailers
from api.rpc.leader_trailers import Trailers, name_endpoints, with_endpoint
from api.rpc.until_sent import UntilSent
from model.counters import Counters
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ports import Rand

Context: TypeAlias = aio.ServicerContext[Any, Any]
AnswerT = TypeVar("AnswerT")
ERROR_ID_BYTES: Final = 6
FRAMES_TOLD: Final = 3


class Note(Protocol):
    """Writes a line of the node's log."""

    def __call__(self, event: str, /, **fields: str | int) -> None:
        """Write one event with its fields."""
        ...


class GrpcCounters(Counters):
    """What is counted of the door."""

    __slots__ = ("bugs", "calls", "refused", "running")
    calls: int
    refused: int
    """Calls that ended with a status other than OK, by a decision of the node."""
    bugs: int
    running: int
    """Calls under way, those of other nodes among them: a gauge."""


class Guard:
    """Runs the handlers of one door, and stands around what other nodes bring. Loop only."""

    def __init__(self, broker: Broker, *, rand: Rand, note: Note) -> None:
        """Guard calls to a broker; `rand` gives the ids under which bugs are found again."""
        self._broker = broker
        self._rand = rand
        self._note = note
        self.counters = GrpcCounters()
        self._draining = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def joining(self) -> Joining:
        """Whether there is anything to serve yet."""
        return self._broker.context.joining

    def drain(self) -> None:
        """Refuse new calls, and end those that wait for something to come: SHUTTING_DOWN."""
        if self._draining.is_set():
            return
        self._draining.set()
        now = asyncio.get_running_loop().time()
        for scope in list(self._waiting):
            scope.reschedule(now)

    async def idle(self) -> None:
        """Return once no call is under way."""
        await self._idle.wait()

    async def run(
        self, name: str, context: Context, act: Callable[[Call], Awaitable[AnswerT]]
    ) -> AnswerT | None:
        """Carry a call out, and end it with its status if it fails."""
        counters = self.counters
        counters.calls += 1
        call: Call | None = None
        try:
            with self.under_way():
                if not self.joining.is_over:
                    await self._joined(context.time_remaining())
                call = self._enter(name, context)
                return self._answered(await act(call), call, context)
        except RequestError as refused:
            error = refused
        except StorageFailed as failed:
            error = RequestError(ErrorCode.STORAGE_ERROR, str(failed))
        except Exception as bug:  # the last resort of a call: told, logged, counted
            if context.cancelled() or _is_transports(bug):
                self._note("client_gone", call=name, error=repr(bug))
                raise asyncio.CancelledError from bug
            error = self.bug(name, bug)
        counters.refused += 1
        if call is not None and call.stays:
            error = with_endpoint(self._broker.image, error)
        told: tuple[tuple[str, str | bytes], ...] = (*trailers(error), *self._where(call))
        await context.abort(grpc_status(error.code), text_of(error), told)
        return None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a call for as long as a block runs: a node that stops waits for it."""
        self.counters.running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.counters.running -= 1
            if not self.counters.running:
                self._idle.set()

    def check_goes_on(self) -> None:
        """Refuse what comes to a node that stops.

        Raises:
            RequestError: SHUTTING_DOWN: *not done*.
        """
        if self._draining.is_set():
            raise shutting_down()

    def sending(self, context: Context, call: Call) -> Callable[[Any], Awaitable[None]]:
        """Return what sends a message of a stream."""
        if not call.stays:
            return context.write

        async def send(message: Any) -> None:
            name_endpoints(self._broker.image, message)
            await context.write(message)

        return send

    def _where(self, call: Call | None) -> Trailers:
        known = call is not None and call.leaders.are_known
        return call.leaders.trailers(self._broker.image) if call is not None and known else ()

    def _answered(self, answer: AnswerT, call: Call, context: Context) -> AnswerT:
        """Tell with an answer which leaders there are to be asked."""
        if call.leaders.are_known:
            context.set_trailing_metadata(self._where(call))
        if call.stays and isinstance(answer, Message):
            name_endpoints(self._broker.image, answer)
        return answer

    async def interruptible(self, work: Awaitable[AnswerT]) -> AnswerT:
        """Await what may take for ever; a node that stops breaks it off.

        Raises:
            RequestError: SHUTTING_DOWN.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waiting.add(scope)
                if self._draining.is_set():  # it began before and comes here again
                    scope.reschedule(asyncio.get_running_loop().time())
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
            raise shutting_down() from None
        finally:
            self._waiting.discard(scope)

    async def _joined(self, left_s: float | None) -> None:
        """Wait for a node that is about to join its cluster.

        Raises:
            RequestError: NO_QUORUM, SHUTTING_DOWN: *not done*.
        """
        left_ms = None if left_s is None else int(left_s * 1_000)
        await self.interruptible(self.joining.over(left_ms))

    def _enter(self, name: str, context: Context) -> Call:
        self.check_goes_on()
        metadata = dict(context.invocation_metadata() or ())
        principal = read_metadata(metadata, context.peer(), self._broker.cluster_id)
        remaining: float | None = context.time_remaining()
        left_ms = None if remaining is None else int(remaining * 1000)
        until_sent = UntilSent(context)
        begun = Begun.now(self._broker.context.clock)
        return Call(
            name, principal, left_ms, stays=stays(metadata), until_sent=until_sent, begun=begun
        )

    def hold(self, answer: Message, call: Call, *, sheds: bool) -> None:
        """Hold room for the one answer of a call until its client has it; see `UntilSent.hold`."""
        if call.until_sent is not None:
            call.until_sent.hold(answer, self._broker.context.answers, sheds=sheds)

    def bug(self, name: str, bug: Exception) -> RequestError:
        """Log what no client is to see, and return what it is told instead."""
        error_id = self._rand.randbytes(ERROR_ID_BYTES).hex()
        self.counters.bugs += 1
        self._note("request_failed", id=error_id, call=name, error=repr(bug), at=_where(bug))
        return RequestError(
            ErrorCode.INTERNAL,
            f"a bug in Tidelog; the node's log has it under the id {error_id}",
            id=error_id,
        )


def _is_transports(bug: Exception) -> bool:
    """Tell whether gRPC itself could not go on with a call: its client has hung up.

    That may be heard of here before the call is known to be cancelled.
    """
    if isinstance(bug, ExceptionGroup):
        return all(_is_transports(each) for each in bug.exceptions)
    return isinstance(bug, aio.InternalError)


def _where(bug: BaseException) -> str:
    """Return the innermost places of a traceback, innermost first: a log line is short."""
    if isinstance(bug, BaseExceptionGroup):
        bug = bug.exceptions[0]
    frames = reversed(extract_tb(bug.__traceback__)[-FRAMES_TOLD:])
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


def shutting_down() -> RequestError:
    """Return what a client is told by a node that stops."""
    return RequestError(ErrorCode.SHUTTING_DOWN, "the node is stopping; go on with another one")
