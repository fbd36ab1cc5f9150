"""Seek and TimeRange of the wire to places and ranges; relative times are taken once, here."""

from api.broker.broker import Broker
from api.broker.place import (
    AfterEarliest,
    AtOffset,
    AtTime,
    BeforeLatest,
    Earliest,
    Latest,
    Place,
)
from api.rpc.convert import CLOCKS_OUT, ceil_ms, clock_kind, duration_ms, refuse, timestamp
from model.record import ClockKind, TimeRange
from tidelog.v1 import common_pb2


def now_ms(broker: Broker, clock: ClockKind) -> int:
    """Return the server's time on a clock."""
    if clock is ClockKind.APPEND:
        return broker.context.append_time()
    return broker.context.clock.wall_ms()


def place_of(broker: Broker, field: str, seek: common_pb2.Seek) -> Place:
    """Return the place that a Seek names; a time before now becomes a time.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    match seek.WhichOneof("to"):
        case "edge":
            return _edge(field, seek.edge)
        case "offset":
            return AtOffset(_from_zero(f"{field}.offset", seek.offset))
        case "time":
            clock = clock_kind(f"{field}.clock", seek.clock)
            return AtTime(ceil_ms(f"{field}.time", seek.time), clock)
        case "ago":
            clock = clock_kind(f"{field}.clock", seek.clock)
            return AtTime(now_ms(broker, clock) - duration_ms(f"{field}.ago", seek.ago), clock)
        case "after_earliest":
            return AfterEarliest(_from_zero(f"{field}.after_earliest", seek.after_earliest))
        case "before_latest":
            return BeforeLatest(_from_zero(f"{field}.before_latest", seek.before_latest))
        case None:
            refuse(field, "it names no place: set edge, offset, time, ago or a distance")


def range_of(broker: Broker, times: common_pb2.TimeRange) -> TimeRange:
    """Return an absolute range.

    Raises:
        RequestError: INVALID_REQUEST, also where the end lies before the start.
    """
    clock = clock_kind("range.clock", times.clock)
    now = now_ms(broker, clock)
    start: int | None = None
    end: int | None = None
    match times.WhichOneof("start"):
        case "start_time":
            start = ceil_ms("range.start_time", times.start_time)
        case "start_ago":
            start = now - duration_ms("range.start_ago", times.start_ago)
        case None:
            pass  # the log start
    match times.WhichOneof("end"):
        case "end_time":
            end = ceil_ms("range.end_time", times.end_time)
        case "end_ago":
            end = now - duration_ms("range.end_ago", times.end_ago)
        case None:
            pass  # the log end as it is now
    if start is not None and end is not None and end < start:
        refuse("range", f"its end, {end} ms, lies before its start, {start} ms")
    return TimeRange(clock, start, end)


def range_message(times: TimeRange) -> common_pb2.TimeRange:
    """Return a range in absolute times."""
    message = common_pb2.TimeRange(clock=CLOCKS_OUT[times.clock])
    if times.start_ms is not None:
        message.start_time.CopyFrom(timestamp(times.start_ms))
    if times.end_ms is not None:
        message.end_time.CopyFrom(timestamp(times.end_ms))
    return message


def _edge(field: str, edge: int) -> Place:
    match edge:
        case common_pb2.EDGE_EARLIEST:
            return Earliest()
        case common_pb2.EDGE_LATEST:
            return Latest()
        case common_pb2.EDGE_COMMITTED:
            refuse(f"{field}.edge", "EDGE_COMMITTED needs a group, and this call names none")
        case _:
            refuse(f"{field}.edge", f"{edge} is no edge: EDGE_EARLIEST or EDGE_LATEST")


def _from_zero(field: str, value: int) -> int:
    return value if value >= 0 else refuse(field, f"{value} is negative; count from 0")
