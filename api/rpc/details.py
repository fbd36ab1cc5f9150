"""A refusal as gRPC carries it: the status with its details, and the row of an answer.

`google.rpc.Status` with exactly one ErrorInfo goes into `grpc-status-details-bin` of the trailing
metadata. HTTP/2 bounds that by 8 KiB in most clients, so every text is cut: a client may have sent
megabytes that the refusal names.
"""

from typing import Final

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from api.errors import DOMAIN, error_info_metadata, grpc_status
from model.errors import ErrorCode, Outcome, RequestError
from tidelog.v1 import common_pb2

STATUS_DETAILS: Final = "grpc-status-details-bin"
TEXT_CHARACTERS_MAX: Final = 1_000
METADATA_CHARACTERS_MAX: Final = 300
METADATA_ENTRIES_MAX: Final = 16
ERROR_TEXT_BYTES_MAX: Final = 256 << 10
"""Texts and metadata of all failed rows of an answer together; with the most rows that a call may
have, and the longest names in them, the answer still fits a message."""
BACK_OFF_MS: Final = 100
"""What a client is told to wait where a node has no room and does not know for how long."""

_OUTCOMES: Final = {
    Outcome.DONE: common_pb2.OUTCOME_DONE,
    Outcome.NOT_DONE: common_pb2.OUTCOME_NOT_DONE,
    Outcome.UNKNOWN: common_pb2.OUTCOME_UNKNOWN,
}
_DELAYS: Final = {
    ErrorCode.OVERLOADED: BACK_OFF_MS,
    ErrorCode.QUOTA_EXCEEDED: BACK_OFF_MS,
    ErrorCode.SHUTTING_DOWN: 0,  # another node, now
}
_FIELD: Final = "field"


def text_of(error: RequestError) -> str:
    """Return the sentence that people read, bounded."""
    detail = error.detail
    return detail if len(detail) <= TEXT_CHARACTERS_MAX else f"{detail[:TEXT_CHARACTERS_MAX]}..."


def trailers(error: RequestError) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata that carry a refusal."""
    return ((STATUS_DETAILS, status(error).SerializeToString()),)


def status(error: RequestError) -> status_pb2.Status:
    """Return the status with its details: ErrorInfo, and RetryInfo and BadRequest where due."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.code.name, domain=DOMAIN, metadata=_metadata(error)
        )
    ]
    delay = _retry_delay(error)
    if delay is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.code is ErrorCode.INVALID_REQUEST:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.metadata.get(_FIELD, ""), description=text_of(error)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    answer = status_pb2.Status(code=grpc_status(error.code).value[0], message=text_of(error))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        answer.details.append(packed)
    return answer


def record_error(error: RequestError) -> common_pb2.RecordError:
    """Return the row of one item that failed in a call that did not."""
    return common_pb2.RecordError(
        reason=error.code.name,
        message=text_of(error),
        outcome=_OUTCOMES[error.code.outcome],
        retryable=error.code.retryable,
        retry_delay=_retry_delay(error),
        metadata=_metadata(error),
    )


class ErrorRows:
    """The rows of one answer that failed: told in full as long as they are few."""

    __slots__ = ("_left_bytes",)

    def __init__(self) -> None:
        """No row has failed yet."""
        self._left_bytes = ERROR_TEXT_BYTES_MAX

    def row(self, error: RequestError) -> common_pb2.RecordError:
        """Return a row; without its text and metadata where those could make the answer too large.

        Reason, outcome and what a retry brings are always there.
        """
        row = record_error(error)
        size = row.ByteSize()
        if size > self._left_bytes:
            row.ClearField("message")
            row.ClearField("metadata")
        else:
            self._left_bytes -= size
        return row


def _metadata(error: RequestError) -> dict[str, str]:
    named = list(error_info_metadata(error).items())[-METADATA_ENTRIES_MAX:]
    return {name: value[:METADATA_CHARACTERS_MAX] for name, value in named}


def _retry_delay(error: RequestError) -> duration_pb2.Duration | None:
    delay_ms = error.retry_delay_ms
    if delay_ms is None:
        delay_ms = _DELAYS.get(error.code)
    if delay_ms is None:
        return None
    seconds, rest = divmod(delay_ms, 1000)
    return duration_pb2.Duration(seconds=seconds, nanos=rest * 1_000_000)
