"""Calls that other nodes bring: served by the same handlers, and brought no further."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from api.broker.memory import MemoryBudget
from api.rpc import pulled, spoken
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional, Handler, ServerStream, Unary
from api.rpc.pulled import PulledStreams
from api.rpc.resolve_elsewhere import ONWARD
from api.rpc.surface import methods
from cluster.peer.forward import Forward
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId

_METHODS: Final = methods()


class ForwardedCalls:
    """See the module. It is `api.broker.forward.Serve`. Loop only."""

    def __init__(
        self,
        guard: Guard,
        handlers: Mapping[str, Handler],
        streams: PulledStreams,
        *,
        memory: MemoryBudget,
    ) -> None:
        """Serve these, by `LogService/Fetch` and so on; what is brought is counted in `memory`."""
        self._guard = guard
        self._handlers = handlers
        self._streams = streams
        self._memory = memory

    async def __call__(self, node: NodeId, call: Forward) -> bytes:
        """Return the answer's bytes.

        Raises:
            RequestError: the call's own refusal; NOT_IMPLEMENTED, no such call here; INTERNAL;
                NO_QUORUM, this node has not joined the cluster yet; SHUTTING_DOWN.
        """
        with self._guard.under_way(), self._memory.counted(len(call.payload)):
            return await self._taken(node, call)

    async def _taken(self, node: NodeId, call: Forward) -> bytes:
        if not self._guard.joining.is_over:
            await self._guard.joining.over(call.left_ms)
        name, mark, what = call.name.partition("#")
        handler = self._handlers.get(name)
        if isinstance(handler, ServerStream | Bidirectional):
            return await self._of_stream(handler, node, call, what=f"{mark}{what}")
        if not isinstance(handler, Unary) or (mark and call.name != ONWARD):
            raise _not_taken(call.name)
        request = self._read(name, node, call)
        facts = Call(call.name, call.principal, call.left_ms, node)
        answer = await self._guarded(call.name, handler.serve, request, facts)
        serialized: bytes = answer.SerializeToString(deterministic=True)
        return serialized

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


def _not_taken(name: str) -> RequestError:
    detail = f'this node takes no "{name[:100]}" of another node'
    return RequestError(ErrorCode.NOT_IMPLEMENTED, detail, call=name[:100])
