"""Why a call failed: the ErrorInfo that every refusal of a node carries in its status."""

from dataclasses import dataclass

import grpc
from events import say
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """A node's own words; docs/reference/errors.md lists the reasons."""

    reason: str
    outcome: str
    """DONE, NOT_DONE or UNKNOWN: what became of the request."""
    retryable: bool
    """The same request, unchanged, may succeed later."""


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal | None:
    """Return why a node refused; None: no node said it, the connection or the deadline failed."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == "tidelog":
            told = info.metadata
            return Refusal(info.reason, told["outcome"], told["retryable"] == "true")
    return None


def say_error(error: grpc.aio.AioRpcError) -> None:
    """Print why a whole call failed."""
    refusal = refusal_of(error)
    say(
        "error",
        status=error.code().name,
        reason=refusal.reason if refusal else None,
        outcome=refusal.outcome if refusal else "UNKNOWN",
        retryable=refusal.retryable if refusal else False,
        message=error.details(),
    )
