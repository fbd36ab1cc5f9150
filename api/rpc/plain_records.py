"""Records of the wire as the log takes them: checked one by one, while they are encoded."""

from collections.abc import Iterable, Iterator
from typing import Final

from api.broker.decode_records import several_keys
from model.errors import ErrorCode, RequestError
from model.ids import WallMs
from model.limits import HEADERS_PER_RECORD_MAX
from model.record import NewRecord
from tidelog.v1 import common_pb2

HEADERS_MAX: Final = HEADERS_PER_RECORD_MAX.value


def key_of(record: common_pb2.Record) -> bytes | None:
    """Return a record's key; None is not the same as empty."""
    key = record.key
    return key if key or record.HasField("key") else None


def new_records(
    records: Iterable[common_pb2.Record], now: WallMs, *, one_key: bool
) -> Iterator[NewRecord]:
    """Yield records to be stored; what has no event time gets `now`.

    `one_key`: they were given a partition by the key of the first, so all must have it. Raises:
        RequestError: TIMESTAMP_OUT_OF_RANGE, INVALID_REQUEST; names the record by its position.
    """
    first: bytes | None = None
    for position, record in enumerate(records):
        key = key_of(record)
        if one_key:
            if position == 0:
                first = key
            elif key != first:
                raise several_keys()
        value = record.value
        if record.HasField("timestamp_ms"):
            time_ms = record.timestamp_ms
            if time_ms < 0:
                raise _no_time(position, time_ms)
        else:
            time_ms = now
        yield NewRecord(
            time_ms,
            key,
            value if value or record.HasField("value") else None,
            _headers(position, record) if record.headers else (),
        )


def _headers(position: int, record: common_pb2.Record) -> tuple[tuple[bytes, bytes | None], ...]:
    if len(record.headers) > HEADERS_MAX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"record {position} has {len(record.headers)} headers, at most {HEADERS_MAX}",
            field="headers",
            limit=str(HEADERS_MAX),
        )
    return tuple(
        (header.key.encode(), header.value if header.HasField("value") else None)
        for header in record.headers
    )


def _no_time(position: int, time_ms: int) -> RequestError:
    return RequestError(
        ErrorCode.TIMESTAMP_OUT_OF_RANGE,
        f"timestamp_ms of record {position} is {time_ms}; event times are 0 or later, and a record "
        "without one gets the node's",
        field="timestamp_ms",
        timestamp=str(time_ms),
        earliest="0",
    )
