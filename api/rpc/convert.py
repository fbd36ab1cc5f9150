"""Values of the model to messages of the wire and back: times, clocks, ids, names of enums."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NoReturn

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from model.errors import ErrorCode, RequestError
from model.ids import TopicId
from model.record import ClockKind
from tidelog.v1 import common_pb2

NANOS_PER_MS: Final = 1_000_000
NANOS_PER_SECOND: Final = 1_000_000_000
TIMESTAMP_MS_MIN: Final = -62_135_596_800_000
"""0001-01-01: google.protobuf.Timestamp begins there."""
TIMESTAMP_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
DURATION_SECONDS_MAX: Final = 315_576_000_000
_HEX_128: Final = re.compile("[0-9a-fA-F]{32}")
_UUID_CUTS: Final = (0, 8, 12, 16, 20, 32)

_CLOCKS: Final[Mapping[int, ClockKind]] = {
    common_pb2.CLOCK_UNSPECIFIED: ClockKind.EVENT,
    common_pb2.CLOCK_EVENT: ClockKind.EVENT,
    common_pb2.CLOCK_APPEND: ClockKind.APPEND,
}
CLOCKS_OUT: Final = {
    ClockKind.EVENT: common_pb2.CLOCK_EVENT,
    ClockKind.APPEND: common_pb2.CLOCK_APPEND,
}
_CONSISTENCY_SERVED: Final = (
    common_pb2.CONSISTENCY_UNSPECIFIED,
    common_pb2.CONSISTENCY_LEADER,
)


def refuse(field: str, why: str) -> NoReturn:
    """Refuse a request for one of its fields."""
    raise RequestError(ErrorCode.INVALID_REQUEST, f"{field}: {why}", field=field)


def not_built(field: str, value: str, step: int) -> NoReturn:
    """Refuse a field or value that a later step brings."""
    raise RequestError(
        ErrorCode.NOT_IMPLEMENTED,
        f"{field}={value} is not built yet; it comes with step {step}",
        field=field,
        value=value,
        step=str(step),
    )


def timestamp(time_ms: int) -> Timestamp:
    """Return a point in time; what no Timestamp can tell becomes the nearest that it can."""
    seconds, rest = divmod(min(max(time_ms, TIMESTAMP_MS_MIN), TIMESTAMP_MS_MAX), 1000)
    return Timestamp(seconds=seconds, nanos=rest * NANOS_PER_MS)


def ceil_ms(field: str, time: Timestamp) -> int:
    """Return the first millisecond at or after a time: the log keeps no finer ones.

    So `record >= time` and `record < time` mean what they say. Raises:
        RequestError: INVALID_REQUEST, no time between the years 1 and 9999.
    """
    floor_ms = time.seconds * 1000
    if not (
        TIMESTAMP_MS_MIN <= floor_ms <= TIMESTAMP_MS_MAX and 0 <= time.nanos < NANOS_PER_SECOND
    ):
        refuse(field, f"{time.seconds} s and {time.nanos} ns are no time of the years 1 to 9999")
    return floor_ms - -time.nanos // NANOS_PER_MS


def duration_ms(field: str, span: Duration) -> int:
    """Return whole milliseconds of a span that is not negative.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    if not (0 <= span.seconds <= DURATION_SECONDS_MAX and 0 <= span.nanos < NANOS_PER_SECOND):
        refuse(field, f"{span.seconds} s and {span.nanos} ns are no duration from 0 on")
    return span.seconds * 1000 + span.nanos // NANOS_PER_MS


def clock_kind(field: str, clock: int) -> ClockKind:
    """Return which clock is meant; event time if that is left open.

    Raises:
        RequestError: INVALID_REQUEST, a value that this release does not know.
    """
    kind = _CLOCKS.get(clock)
    return refuse(field, f"{clock} is no clock") if kind is None else kind


def check_isolation(level: int) -> None:
    """Accept any isolation level: without transactions they show the same.

    Raises:
        RequestError: INVALID_REQUEST, a value that this release does not know.
    """
    if level not in common_pb2.IsolationLevel.values():
        refuse("isolation_level", f"{level} is no isolation level")


def check_consistency(level: int) -> None:
    """Accept reads from the leader.

    Raises:
        RequestError: NOT_IMPLEMENTED, INVALID_REQUEST.
    """
    if level in _CONSISTENCY_SERVED:
        return
    match level:
        case common_pb2.CONSISTENCY_STALE:
            not_built("consistency", "STALE", 2)
        case common_pb2.CONSISTENCY_LINEARIZABLE:
            not_built("consistency", "LINEARIZABLE", 4)
        case _:
            refuse("consistency", f"{level} is no level of consistency")


def wants_records(encoding: int) -> bool:
    """Tell whether records are to be decoded; else batches go out as they are stored.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    if encoding not in common_pb2.Encoding.values():
        refuse("encoding", f"{encoding} is no encoding")
    return encoding != common_pb2.ENCODING_BATCH


def uuid_text(raw: bytes) -> str:
    """Return 16 bytes as people write a UUID (RFC 9562, section 4)."""
    digits = raw.hex()
    return "-".join(digits[a:b] for a, b in pairwise(_UUID_CUTS))


def topic_id(text: str) -> TopicId:
    """Return the topic id that a UUID names.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    return TopicId(uuid_bytes("topic_id", text))


def uuid_bytes(field: str, text: str) -> bytes:
    """Return the 16 bytes of a UUID, with or without its dashes.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    digits = text.replace("-", "")
    if not _HEX_128.fullmatch(digits):
        refuse(field, f'"{text[:50]}" is no UUID')
    return bytes.fromhex(digits)
