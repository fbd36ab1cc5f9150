"""Every reason in its status and in its row, and no more bytes than HTTP/2 lets through."""

from typing import Any

import pytest
from google.rpc import error_details_pb2

from api.errors import grpc_status
from api.rpc.details import record_error, status, trailers
from model.errors import ErrorCode, Outcome, RequestError
from tidelog.v1 import common_pb2

OUTCOMES = {
    Outcome.DONE: common_pb2.OUTCOME_DONE,
    Outcome.NOT_DONE: common_pb2.OUTCOME_NOT_DONE,
    Outcome.UNKNOWN: common_pb2.OUTCOME_UNKNOWN,
}


@pytest.mark.parametrize("code", list(ErrorCode), ids=lambda code: code.name)
def test_every_reason(code: ErrorCode) -> None:
    error = RequestError(code, "what, why, what to do", topic="orders", field="f")
    found = status(error)
    assert (found.code, found.message) == (grpc_status(code).value[0], "what, why, what to do")
    infos = [one for one in found.details if one.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    assert (info.reason, info.domain) == (code.name, "tidelog")
    assert info.metadata == {
        "topic": "orders",
        "field": "f",
        "outcome": code.outcome.name,
        "retryable": "true" if code.retryable else "false",
    }
    row = record_error(error)
    assert (row.reason, row.outcome, row.retryable) == (
        code.name,
        OUTCOMES[code.outcome],
        code.retryable,
    )
    assert row.metadata == info.metadata


def detail(error: RequestError, kind: type) -> object:
    for one in status(error).details:
        if one.Is(kind.DESCRIPTOR):  # type: ignore[attr-defined]
            message = kind()
            one.Unpack(message)
            return message
    return None


def test_where_a_wait_is_known_it_is_told() -> None:
    told = RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "election", retry_delay_ms=1_250)
    retry = detail(told, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToJsonString() == "1.250s"  # type: ignore[attr-defined]
    assert record_error(told).retry_delay.ToMilliseconds() == 1_250
    for code, delay_ms in ((ErrorCode.OVERLOADED, 100), (ErrorCode.SHUTTING_DOWN, 0)):
        row = record_error(RequestError(code, "x"))
        assert row.HasField("retry_delay")
        assert row.retry_delay.ToMilliseconds() == delay_ms
    assert detail(RequestError(ErrorCode.DISK_FULL, "x"), error_details_pb2.RetryInfo) is None


def test_invalid_requests_name_the_field() -> None:
    bad = detail(
        RequestError(ErrorCode.INVALID_REQUEST, "seek: it is missing", field="seek"),
        error_details_pb2.BadRequest,
    )
    (violation,) = bad.field_violations  # type: ignore[attr-defined]
    assert (violation.field, violation.description) == ("seek", "seek: it is missing")
    assert detail(RequestError(ErrorCode.DISK_FULL, "x"), error_details_pb2.BadRequest) is None


def test_megabytes_of_a_client_do_not_come_back() -> None:
    huge = "x" * (1 << 20)
    parts: Any = {f"part{at}": huge for at in range(40)}
    error = RequestError(ErrorCode.INVALID_REQUEST, huge, **parts)
    ((_, raw),) = trailers(error)
    assert len(raw) < 8 << 10
    assert record_error(error).ByteSize() < 8 << 10
    assert record_error(error).metadata["outcome"] == "NOT_DONE"
