"""Times, ids and enums, there and back; what makes no sense is refused by its field."""

from collections.abc import Callable
from functools import partial

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from api.rpc import convert
from model.errors import ErrorCode, RequestError
from model.record import ClockKind
from tidelog.v1 import common_pb2


def code_of(call: Callable[[], object]) -> tuple[ErrorCode, str | None]:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code, caught.value.metadata.get("field")


@pytest.mark.parametrize(
    ("seconds", "nanos", "first_ms"),
    [
        (0, 0, 0),
        (1, 0, 1000),
        (1, 1, 1001),  # a record of 1000 ms lies before it
        (1, 1_000_000, 1001),
        (1, 999_999_999, 2000),
        (-1, 0, -1000),
        (-1, 1, -999),
    ],
)
def test_finer_times_mean_the_next_millisecond(seconds: int, nanos: int, first_ms: int) -> None:
    assert convert.ceil_ms("t", Timestamp(seconds=seconds, nanos=nanos)) == first_ms


@given(st.integers(convert.TIMESTAMP_MS_MIN, convert.TIMESTAMP_MS_MAX))
def test_milliseconds_there_and_back(time_ms: int) -> None:
    assert convert.ceil_ms("t", convert.timestamp(time_ms)) == time_ms


def test_what_no_timestamp_can_tell_becomes_the_nearest() -> None:
    assert convert.timestamp((1 << 63) - 1).ToJsonString() == "9999-12-31T23:59:59.999Z"
    assert convert.timestamp(-(1 << 63)).ToJsonString() == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_broken_times_are_refused(nanos: int) -> None:
    refused = (ErrorCode.INVALID_REQUEST, "t")
    assert code_of(lambda: convert.ceil_ms("t", Timestamp(nanos=nanos))) == refused
    assert code_of(lambda: convert.duration_ms("t", Duration(nanos=nanos))) == refused


def test_years_outside_the_calendar_and_negative_spans_are_refused() -> None:
    refused = (ErrorCode.INVALID_REQUEST, "t")
    assert code_of(lambda: convert.ceil_ms("t", Timestamp(seconds=1 << 40))) == refused
    assert code_of(lambda: convert.duration_ms("t", Duration(seconds=-1))) == refused
    assert convert.duration_ms("t", Duration(seconds=2, nanos=3_999_999)) == 2003


def test_clocks() -> None:
    assert convert.clock_kind("c", common_pb2.CLOCK_UNSPECIFIED) is ClockKind.EVENT
    assert convert.clock_kind("c", common_pb2.CLOCK_APPEND) is ClockKind.APPEND
    assert code_of(lambda: convert.clock_kind("c", 9)) == (ErrorCode.INVALID_REQUEST, "c")


def test_ids() -> None:
    raw = bytes(range(16))
    text = convert.uuid_text(raw)
    assert text == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert convert.topic_id(text) == convert.topic_id(raw.hex().upper()) == raw
    for wrong in ("", "0" * 31, "g" * 32, "0" * 33, "\u0661" * 32):
        assert code_of(partial(convert.topic_id, wrong))[1] == "topic_id"


@pytest.mark.parametrize(
    ("level", "code"),
    [
        (common_pb2.CONSISTENCY_STALE, ErrorCode.NOT_IMPLEMENTED),
        (common_pb2.CONSISTENCY_LINEARIZABLE, ErrorCode.NOT_IMPLEMENTED),
        (77, ErrorCode.INVALID_REQUEST),
    ],
)
def test_levels_of_later_steps_and_unknown_ones(level: int, code: ErrorCode) -> None:
    assert code_of(lambda: convert.check_consistency(level)) == (code, "consistency")
    convert.check_consistency(common_pb2.CONSISTENCY_LEADER)
    convert.check_consistency(common_pb2.CONSISTENCY_UNSPECIFIED)


def test_unknown_isolation_and_encoding_are_refused() -> None:
    assert code_of(lambda: convert.check_isolation(5))[1] == "isolation_level"
    assert code_of(lambda: convert.wants_records(5))[1] == "encoding"
    assert convert.wants_records(common_pb2.ENCODING_UNSPECIFIED)
    assert not convert.wants_records(common_pb2.ENCODING_BATCH)
