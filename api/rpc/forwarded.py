"""Calls that other nodes bring: served by the same handlers, and brought no further."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from api.rpc import pulled
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Handler, ServerStream, Unary
from api.rpc.pulled import PulledStreams
from api.rpc.surface import methods
from cluster.peer.forward import Forward
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId

_METHODS: Final = methods()


class ForwardedCalls:
    """See the module. It is `api.broker.forward.Serve`. Loop only."""

    def __init__(
        self, guard: Guard, handlers: Mapping[str, Handler], streams: PulledStreams
    ) -> None:
        """Serve those of these that answer one request, by `LogService/Fetch` and so on."""
        self._guard = guard
        self._handlers = handlers
        self._streams = streams

    async def __call__(self, node: NodeId, call: Forward) -> bytes:
        """Return the answer's bytes.

        Raises:
            RequestError: the call's own refusal; NOT_IMPLEMENTED, no such call here; INTERNAL.
        """
        name, mark, what = call.name.partition("#")
        handler = self._handlers.get(name)
        if isinstance(handler, ServerStream):
            return await self._of_stream(handler, node, call, what=f"{mark}{what}")
        if not isinstance(handler, Unary) or mark:
            raise _not_taken(call.name)
        request = self._read(name, node, call)
        facts = Call(call.name, call.principal, call.left_ms, node)
        try:
            answer = await handler.serve(request, facts)
        except RequestError:
            raise
        except StorageFailed as failed:
            raise RequestError(ErrorCode.STORAGE_ERROR, str(failed)) from failed
        except Exception as bug:
            raise self._guard.bug(call.name, bug) from bug
        return answer.SerializeToString()

    async def _of_stream(
        self, handler: ServerStream, node: NodeId, call: Forward, *, what: str
    ) -> bytes:
        """Begin a stream, go on with it, or end it."""
        name = call.name.partition("#")[0]
        match what:
            case pulled.OPEN:
                request = self._read(name, node, call)
                facts = Call(name, call.principal, None, node)
                return self._streams.open(handler.serve, request, facts)
            case pulled.NEXT:
                return await self._streams.next(node, bytes(call.payload))
            case pulled.CLOSE:
                return self._streams.close(node, bytes(call.payload))
            case _:
                raise _not_taken(call.name)

    @staticmethod
    def _read(name: str, node: NodeId, call: Forward) -> Any:
        request: Any = GetMessageClass(_METHODS[name].input_type)()
        try:
            request.ParseFromString(call.payload)
        except DecodeError as wrong:
            detail = f"{name}: what node {node} has brought cannot be read"
            raise RequestError(ErrorCode.INVALID_REQUEST, detail, field=name) from wrong
        return request


def _not_taken(name: str) -> RequestError:
    detail = f'this node takes no "{name[:100]}" of another node'
    return RequestError(ErrorCode.NOT_IMPLEMENTED, detail, call=name[:100])
