"""Answers of other nodes, read: what cannot be read says nothing of what was done there (P4).

A node of another release, or one with a bug, must not end the nodes that ask it.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from api.broker.forward import passing
from api.rpc.details import record_error
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId
from tidelog.v1 import common_pb2

MessageT = TypeVar("MessageT", bound=Message)
RowT = TypeVar("RowT")
_SAID_BESIDE: Final = frozenset({"outcome", "retryable", "retry_delay_ms"})
"""In the metadata of a row's error: what follows from its reason."""


def read_answer(node: NodeId, answer: type[MessageT], payload: bytes) -> MessageT:
    """Return the message that a node has answered.

    Raises:
        RequestError: UPSTREAM_LOST, it cannot be read: *unknown*.
    """
    try:
        return answer.FromString(payload)
    except DecodeError as wrong:
        raise unreadable(node, f"no {answer.__name__}") from wrong


def check_rows(node: NodeId, rows: Sequence[RowT], asked: int) -> Sequence[RowT]:
    """Return the rows of an answer, one for each thing that was asked for.

    Raises:
        RequestError: UPSTREAM_LOST, there are more or fewer: *unknown*.
    """
    if len(rows) != asked:
        raise unreadable(node, f"{len(rows)} rows for {asked}")
    return rows


def unreadable(node: NodeId, what: str) -> RequestError:
    """Return the refusal of an answer that cannot be read."""
    detail = f"node {node} answered what cannot be read: {what}"
    return RequestError(ErrorCode.UPSTREAM_LOST, detail, node=str(node))


def refusal_of(error: common_pb2.RecordError) -> RequestError:
    """Return a row's error as the refusal that it was."""
    code = ErrorCode.__members__.get(error.reason)
    if code is None:
        unknown = error.outcome != common_pb2.OUTCOME_NOT_DONE
        code = ErrorCode.INTERNAL if unknown else ErrorCode.NOT_IMPLEMENTED
        return RequestError(code, f"{error.reason}: {error.message}")
    told = {name: text for name, text in error.metadata.items() if name not in _SAID_BESIDE}
    return RequestError(code, error.message, retry_delay_ms=None, **told)


def passed(error: common_pb2.RecordError) -> common_pb2.RecordError:
    """Return a row's error as a client is told it that knows no leaders (see `passing`)."""
    if error.reason != ErrorCode.NOT_LEADER.name:
        return error
    return record_error(passing(refusal_of(error)))


def storage_error(failed: StorageFailed) -> RequestError:
    """Return what a client is told of this node's disk beside what others answer."""
    return RequestError(ErrorCode.STORAGE_ERROR, str(failed))
