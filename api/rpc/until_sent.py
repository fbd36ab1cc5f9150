"""What an answer holds of the node's memory until its client has taken it (P53, P58).

gRPC ends a call when the client has room for all of its answer, or takes it no more: it broke the
call off, or has gone. What a handler holds is let go then and not before.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from api.broker.memory import MemoryBudget

LARGE_BYTES: Final = 64 << 10
"""Answers up to here are a connection's own affair: gRPC holds as much for it as buffers."""


class UntilSent:
    """One call's. Loop only."""

    __slots__ = ("_context", "_is_used")

    def __init__(self, context: Any) -> None:
        """Hold nothing yet. `context`: gRPC's; the stubs know of no function as its callback."""
        self._context = context
        self._is_used = False

    def let_go(self, call: Callable[[], None]) -> None:
        """Call once the client has its answer, or will not have it."""
        self._is_used = True
        self._context.add_done_callback(lambda _: call())

    def hold(self, answer: Message, answers: MemoryBudget, *, sheds: bool) -> None:
        """Hold room for a large answer, unless its handler has seen to it.

        `sheds`: the client may be told to ask again; else it is counted whether it fits or not.

        Raises:
            RequestError: OVERLOADED.
        """
        if self._is_used or (size_bytes := answer.ByteSize()) <= LARGE_BYTES:
            return
        held_bytes = 2 * size_bytes  # it, and what gRPC makes of it
        if sheds:
            answers.check(held_bytes)
        answers.take(held_bytes)
        self.let_go(lambda: answers.give_back(held_bytes))
