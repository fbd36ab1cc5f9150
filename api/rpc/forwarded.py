"""Calls that other nodes bring: served by the same handlers, and brought no further.

Each brings along how much time its client has left. Who serves it keeps to that, as it does to
what its own clients have: what nobody waits for any more is given up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from api.broker.memory import MemoryBudget
from api.rpc import pulled, spoken
from api.rpc.call import Begun, Call
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional, Handler, ServerStream, Unary
from api.rpc.pulled import PulledStreams
from api.rpc.resolve_elsewhere import ONWARD
from api.rpc.surface import methods
from cluster.peer.forward import Forward
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import MonotonicMs, NodeId
from model.ports import Clock

_METHODS: Final = methods()
LATE_MS: Final = 1_000
"""After its time a call is broken off. What keeps the time by itself says so before, in its own
words; and whoever has brought the call waits longer still (`api.broker.forward.GRACE_MS`)."""


class ForwardedCalls:
    """See the module. It is `api.broker.forward.Serve`. Loop only."""

    def __init__(
        self,
        guard: Guard,
        handlers: Mapping[str, Handler],
        streams: PulledStreams,
        *,
        memory: MemoryBudget,
        clock: Clock,
    ) -> None:
        """Serve these, by `LogService/Fetch` and so on; what is brought is counted in `memory`.

        `clock`: by which a call is given up once its client's time is over.
        """
        self._clock = clock
        self._guard = guard
        self._handlers = handlers
        self._streams = streams
        self._memory = memory

    async def __call__(self, node: NodeId, call: Forward) -> bytes:
        """Return the answer's bytes.

        Raises:
            RequestError: the call's own refusal; NOT_IMPLEMENTED, no such call here; INTERNAL;
                NO_QUORUM, this node has not joined the cluster yet; SHUTTING_DOWN;
                REQUEST_TIMED_OUT, its client's time is over: *unknown*.
        """
        with self._guard.under_way(), self._memory.counted(len(call.payload)):
            return await self._taken(node, call)

    async def _taken(self, node: NodeId, call: Forward) -> bytes:
        begun = Begun.now(self._clock)
        if not self._guard.joining.is_over:
            await self._guard.joining.over(call.left_ms)
        name, mark, what = call.name.partition("#")
        handler = self._handlers.get(name)
        if isinstance(handler, ServerStream | Bidirectional):
            return await self._of_stream(handler, node, call, what=f"{mark}{what}")
        if not isinstance(handler, Unary) or (mark and call.name != ONWARD):
            raise _not_taken(call.name)
        request = self._read(name, node, call)
        facts = Call(call.name, call.principal, call.left_ms, node, begun=begun)
        work = self._guarded(call.name, handler.serve, request, facts)
        answer = await self._in_time(work, call, begun)
        serialized: bytes = answer.SerializeToString(deterministic=True)
        return serialized

    async def _in_time(self, work: Awaitable[Any], call: Forward, begun: Begun) -> Any:
        """Await a call's answer for as long as its client does, and a little longer.

        Raises:
            RequestError: REQUEST_TIMED_OUT: *unknown*.
        """
        scope, now = asyncio.timeout(None), asyncio.get_running_loop().time
        until = MonotonicMs(begun.at + call.left_ms + LATE_MS)
        cancel = self._clock.call_at(until, lambda: scope.reschedule(now()))
        try:
            async with scope:
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
            raise _too_late(call) from None
        finally:
            cancel()

    async def _guarded(self, name: str, serve: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        """Serve a call as its door would: whatever goes wrong is a refusal, and nobody else's."""
        try:
            return await serve(*given)
        except RequestError:
            raise
        except StorageFailed as failed:
            raise RequestError(ErrorCode.STORAGE_ERROR, str(failed)) from failed
        except Exception as bug:
            raise self._guard.bug(name, bug) from bug

    async def _of_stream(
        self, handler: ServerStream | Bidirectional, node: NodeId, call: Forward, *, what: str
    ) -> bytes:
        """Begin a stream, go on with it, or end it."""
        name = call.name.partition("#")[0]
        match what:
            case pulled.OPEN:
                self._guard.check_goes_on()
                request = self._read(name, node, call)
                facts = Call(name, call.principal, None, node)
                serve = partial(self._guarded, name, handler.serve)
                if isinstance(handler, Bidirectional):
                    return self._streams.open_both(serve, request, facts)
                return self._streams.open(serve, request, facts)
            case pulled.NEXT:
                return await self._streams.next(node, bytes(call.payload))
            case spoken.SAY:
                read = partial(self._message, name, node)
                return await self._streams.say(node, bytes(call.payload), read)
            case pulled.CLOSE:
                return self._streams.close(node, bytes(call.payload))
            case _:
                raise _not_taken(call.name)

    def _read(self, name: str, node: NodeId, call: Forward) -> Any:
        return self._message(name, node, bytes(call.payload))

    @staticmethod
    def _message(name: str, node: NodeId, payload: bytes) -> Any:
        request: Any = GetMessageClass(_METHODS[name].input_type)()
        try:
            request.ParseFromString(payload)
        except DecodeError as wrong:
            detail = f"{name}: what node {node} has brought cannot be read"
            raise RequestError(ErrorCode.INVALID_REQUEST, detail, field=name) from wrong
        return request


def _too_late(call: Forward) -> RequestError:
    detail = f"{call.name}: no answer within the {call.left_ms} ms that were left of the call"
    return RequestError(ErrorCode.REQUEST_TIMED_OUT, detail, call=call.name[:100])


def _not_taken(name: str) -> RequestError:
    detail = f'this node takes no "{name[:100]}" of another node'
    return RequestError(ErrorCode.NOT_IMPLEMENTED, detail, call=name[:100])
