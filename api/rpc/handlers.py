"""What serves a call, by its shape: one answer, a stream of answers, or two streams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import Message

from api.rpc.call import Call

# Messages differ from call to call; each handler names its own.
Send: TypeAlias = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one answer."""

    serve: Callable[[Any, Call], Awaitable[Message]]
    can_wait: bool = False
    """Nothing is changed by it, and nobody needs it to write: where there is no room for a large
    answer, the client is told to ask again."""


@dataclass(frozen=True, slots=True)
class ServerStream:
    """One request; answers are sent one by one, each as the client has room for it."""

    serve: Callable[[Any, Send, Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bidirectional:
    """Requests as they come, answers as they are ready."""

    serve: Callable[[AsyncIterator[Any], Send, Call], Awaitable[None]]


Handler: TypeAlias = Unary | ServerStream | Bidirectional
