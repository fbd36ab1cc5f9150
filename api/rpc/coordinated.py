"""Calls about one group, taken to the node that coordinates it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from api.broker.broker import Broker
from api.rpc.answers import read_answer
from api.rpc.call import Call
from api.rpc.handlers import Handler, Unary
from api.rpc.surface import methods
from model.errors import ErrorCode, RequestError
from model.ids import NodeId

LEADER: Final = "leader"
"""In the metadata of NOT_COORDINATOR: the node that is to be asked."""
Serve: TypeAlias = Callable[[Any, Call], Awaitable[Message]]


def coordinated(broker: Broker, handlers: dict[str, Handler]) -> dict[str, Handler]:
    """Return the handlers, those of one answer going on to the coordinator where this is not it."""
    return {
        name: replace(handler, serve=_Coordinated(broker, name, serve=handler.serve))
        if isinstance(handler, Unary)
        else handler
        for name, handler in handlers.items()
    }


class _Coordinated:
    """One call. Loop only."""

    def __init__(self, broker: Broker, name: str, *, serve: Serve) -> None:
        self._broker, self._name, self._serve = broker, name, serve
        self._answer = GetMessageClass(methods()[name].output_type)

    async def __call__(self, request: Message, call: Call) -> Message:
        """Answer here, or there.

        Raises:
            RequestError: the refusal of either; COORDINATOR_NOT_AVAILABLE, it is just moving.
        """
        try:
            return await self._serve(request, call)
        except RequestError as refusal:
            node = coordinator_of(refusal)
            forwarding = self._broker.context.forwarding
            if node is None or forwarding is None or not call.goes_on:
                raise
            note_coordinator(call, refusal, node)
        payload = request.SerializeToString()
        left_ms = call.wait_ms(None)
        try:
            answer = await forwarding.call(
                node, self._name, call.principal, payload=payload, left_ms=left_ms
            )
        except RequestError as refusal:
            if refusal.code is not ErrorCode.NOT_COORDINATOR:
                raise
            detail = f"the coordinator is just moving; ask again: {refusal.detail}"
            raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, detail) from refusal
        return read_answer(node, self._answer, answer)


def note_coordinator(call: Call, refusal: RequestError, node: NodeId) -> None:
    """Remember for a call's client which node coordinates the group, as a refusal names it."""
    told = refusal.metadata
    call.leaders.note(told["topic"], int(told["partition"]), node)


def coordinator_of(refusal: RequestError) -> NodeId | None:
    """Return the node that a refusal names as the coordinator; None: it names none."""
    leader = refusal.metadata.get(LEADER, "")
    if refusal.code is not ErrorCode.NOT_COORDINATOR or not leader.isdecimal():
        return None
    return NodeId(int(leader))
