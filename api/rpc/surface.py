"""Every call of tidelog.v1 with its handler; what has none says with which step it comes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import (
    GenericRpcHandler,
    HandlerCallDetails,
    RpcMethodHandler,
    method_handlers_generic_handler,
    stream_stream_rpc_method_handler,
    unary_stream_rpc_method_handler,
    unary_unary_rpc_method_handler,
)

from api.rpc.call import Call
from api.rpc.guard import Context, Guard
from api.rpc.handlers import Bidirectional, Handler, ServerStream, Unary
from api.rpc_surface import SERVED, not_implemented
from model.errors import ErrorCode, RequestError
from tidelog.v1 import (
    cluster_service_pb2,
    config_service_pb2,
    group_service_pb2,
    log_service_pb2,
    queue_service_pb2,
    stream_service_pb2,
    topic_service_pb2,
    transaction_service_pb2,
)

PACKAGE: Final = "tidelog.v1"
_FILES: Final = (
    log_service_pb2,
    topic_service_pb2,
    config_service_pb2,
    cluster_service_pb2,
    group_service_pb2,
    stream_service_pb2,
    queue_service_pb2,
    transaction_service_pb2,
)
_Method: TypeAlias = "RpcMethodHandler[Any, Any]"


def services() -> Iterator[ServiceDescriptor]:
    """Yield every service of the package."""
    for file in _FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


def methods() -> dict[str, MethodDescriptor]:
    """Return every call by its name: `LogService/Fetch` and so on."""
    return {
        f"{service.name}/{method.name}": method
        for service in services()
        for method in service.methods
    }


def served_services() -> list[str]:
    """Return the full names of services of which at least one call is served."""
    served = {name.partition("/")[0] for name in SERVED}
    return [one.full_name for one in services() if one.name in served]


def generic_handlers(guard: Guard, handlers: Mapping[str, Handler]) -> list[GenericRpcHandler]:
    """Return what a gRPC server dispatches by: every call, and what is no call of ours.

    `handlers`: by `LogService/Fetch` and so on. A call is served if it is in `SERVED` too.
    """
    assert handlers.keys() == SERVED, "SERVED_CALL_HAS_HANDLER"
    listed: list[GenericRpcHandler] = [
        method_handlers_generic_handler(
            service.full_name,
            {
                method.name: _method(
                    guard, method, f"{service.name}/{method.name}", handlers=handlers
                )
                for method in service.methods
            },
        )
        for service in services()
    ]
    return [*listed, _Unknown(guard)]


def _method(
    guard: Guard, method: MethodDescriptor, name: str, *, handlers: Mapping[str, Handler]
) -> _Method:
    read = GetMessageClass(method.input_type).FromString
    write = GetMessageClass(method.output_type).SerializeToString
    match handlers.get(name):
        case Unary() as handler:
            return unary_unary_rpc_method_handler(_unary(guard, name, handler), read, write)
        case ServerStream() as handler:
            return unary_stream_rpc_method_handler(
                _server_stream(guard, name, handler), read, write
            )
        case Bidirectional() as handler:
            return stream_stream_rpc_method_handler(
                _bidirectional(guard, name, handler), read, write
            )
        case None:
            refusing = _refusing(guard, name, not_implemented)
            return stream_stream_rpc_method_handler(refusing)  # reads nothing, so fits any shape


def _unary(guard: Guard, name: str, handler: Unary) -> Callable[..., Any]:
    serve, can_wait = handler.serve, handler.can_wait

    async def call(request: Any, context: Context) -> Any:
        async def act(call: Call) -> Any:
            answer = await serve(request, call)
            guard.hold(answer, call, sheds=can_wait)
            return answer

        return await guard.run(name, context, act)

    return call


def _server_stream(guard: Guard, name: str, handler: ServerStream) -> Callable[..., Any]:
    serve = handler.serve

    async def call(request: Any, context: Context) -> None:
        await guard.run(
            name, context, lambda call: serve(request, guard.sending(context, call), call)
        )

    return call


def _bidirectional(guard: Guard, name: str, handler: Bidirectional) -> Callable[..., Any]:
    serve = handler.serve

    async def call(requests: Any, context: Context) -> None:
        iterator = aiter(requests)
        await guard.run(
            name, context, lambda call: serve(iterator, guard.sending(context, call), call)
        )

    return call


def _refusing(
    guard: Guard, name: str, refusal: Callable[[str], RequestError]
) -> Callable[..., Any]:
    async def refuse(_: Call) -> None:
        raise refusal(name)

    async def call(_: Any, context: Context) -> None:
        await guard.run(name, context, refuse)

    return call


class _Unknown(GenericRpcHandler):
    """Answers calls of our package that no proto of this release knows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def service(self, handler_call_details: HandlerCallDetails) -> "_Method | None":
        """Return what refuses the call; None for other packages, which gRPC itself refuses."""
        path = handler_call_details.method
        if not path.startswith(f"/{PACKAGE}."):
            return None
        name = path.removeprefix(f"/{PACKAGE}.")[:100]
        return stream_stream_rpc_method_handler(_refusing(self._guard, name, _unknown))


def _unknown(name: str) -> RequestError:
    return RequestError(ErrorCode.NOT_IMPLEMENTED, f"this release has no call {name}", call=name)
