"""What a call ended with, as the exception that it is.

A node's refusal is a `google.rpc.Status` with one `ErrorInfo`. A status without one comes from
gRPC itself: the connection broke, or the deadline passed. Then nobody knows what became of the
request; whoever made it knows whether that matters.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import grpc

from tidelog.errors import (
    CONNECTION_LOST,
    OUTCOMES,
    TIMED_OUT,
    ConnectError,
    OutcomeUnknown,
    TidelogError,
    error_of,
)

if TYPE_CHECKING:
    from grpc.aio import AioRpcError

    from tidelog.v1 import common_pb2 as common

DETAILS: Final = "grpc-status-details-bin"
DOMAIN: Final = "tidelog"

OUTCOME_NAMES: Final = {1: "DONE", 2: "NOT_DONE", 3: "UNKNOWN"}
"""Of `tidelog.v1.Outcome`; a value that is not known means UNKNOWN (common.proto)."""

_LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,  # what gRPC makes of a write to a stream that has just broken
        grpc.StatusCode.UNKNOWN,
    }
)
"""Without a word from a node behind them: nobody knows what became of the request."""


class Failure(NamedTuple):
    """Why a call failed, and how long the node wants to be left alone; None = it did not say."""

    error: TidelogError
    retry_after_s: float | None = None
    other_node: bool = False
    """The node itself is the trouble: the next one may do."""


def failure_of_status(status: "AioRpcError", address: str) -> Failure:
    """Return what a call to an address ended with."""
    told = _told(status)
    if told is not None:
        return told
    code, details = status.code(), status.details() or ""
    if code in _LOST:
        text = f"the connection to {address} broke: {details}"
        lost = OutcomeUnknown(text, reason=CONNECTION_LOST, outcome="unknown", retryable=True)
        return Failure(lost, other_node=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        error = error_of(TIMED_OUT, f"{address} did not answer in time")
        return Failure(error, other_node=True)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Failure(error_of("NOT_IMPLEMENTED", f"{address} does not know this call: {details}"))
    text = f"{address} answered {code.name}: {details}"
    return Failure(error_of(code.name, text, outcome="unknown", retryable=False))


def failure_of_row(row: "common.RecordError") -> Failure:
    """Return what one item of an OK call failed with."""
    outcome = OUTCOMES[OUTCOME_NAMES.get(row.outcome, "UNKNOWN")]
    error = error_of(
        row.reason,
        row.message,
        outcome=outcome,
        retryable=row.retryable,
        metadata=dict(row.metadata),
    )
    after_s = None
    if row.HasField("retry_delay"):
        after_s = row.retry_delay.seconds + row.retry_delay.nanos / 1e9
    return Failure(error, after_s)


def unreachable(why: str) -> TidelogError:
    """Return the error of a client that cannot connect anywhere: nothing was sent."""
    return ConnectError(why, reason="UNREACHABLE", retryable=True)


def harmless(error: TidelogError) -> TidelogError:
    """Return what an unclear end of a call is that changes nothing: no node answered it."""
    if error.reason != CONNECTION_LOST:
        return error
    return ConnectError(error.text, reason=CONNECTION_LOST, retryable=True)


def _told(status: "AioRpcError") -> Failure | None:
    """Return what the node itself said; None: it said nothing."""
    # Loaded only when something went wrong; googleapis-common-protos ships no types.
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from google.rpc.error_details_pb2 import (  # noqa: PLC0415
        ErrorInfo,
        RetryInfo,
    )
    from google.rpc.status_pb2 import Status  # noqa: PLC0415

    info, after_s = None, None
    for key, value in status.trailing_metadata() or ():
        if key != DETAILS or not isinstance(value, bytes):
            continue
        try:
            for detail in Status.FromString(value).details:
                if detail.Is(ErrorInfo.DESCRIPTOR):
                    info = ErrorInfo.FromString(detail.value)
                elif detail.Is(RetryInfo.DESCRIPTOR):
                    delay = RetryInfo.FromString(detail.value).retry_delay
                    after_s = delay.seconds + delay.nanos / 1e9
        except DecodeError:  # not a node's own words: a proxy between may write there too
            return None
    if info is None or info.domain != DOMAIN:
        return None
    metadata = dict(info.metadata)
    outcome = OUTCOMES.get(metadata.pop("outcome", ""), "unknown")
    retryable = metadata.pop("retryable", "") == "true"
    error = error_of(
        info.reason,
        status.details() or info.reason,
        outcome=outcome,
        retryable=retryable,
        metadata=metadata,
    )
    elsewhere = status.code() in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    return Failure(error, after_s, other_node=elsewhere)
