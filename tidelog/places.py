"""A user's places and times as the wire's: `Seek`, `TimeRange`, `Timestamp`, `Duration`."""

from datetime import datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tidelog.types import EPOCH, Clock, FromEdge, Isolation, Start, TimeRange, datetime_of
from tidelog.v1 import common_pb2 as common

_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
OFFSET_MAX: Final = (1 << 63) - 1

EDGES: Final = {"earliest": common.EDGE_EARLIEST, "latest": common.EDGE_LATEST}
CLOCKS: Final = {"event": common.CLOCK_EVENT, "append": common.CLOCK_APPEND}
ISOLATIONS: Final = {
    "read_committed": common.ISOLATION_LEVEL_READ_COMMITTED,
    "read_uncommitted": common.ISOLATION_LEVEL_READ_UNCOMMITTED,
}


def aware(moment: datetime) -> datetime:
    """Return a datetime that has a zone.

    Raises:
        ValueError: it has none.
        TypeError: it is no datetime.
    """
    if not isinstance(moment, datetime):
        raise TypeError(
            f"a time is {moment!r}; pass a datetime, such as datetime(2026, 1, 1, tzinfo=UTC) or "
            "datetime.fromtimestamp(seconds, UTC)"
        )
    if moment.utcoffset() is None:
        raise ValueError(
            f"{moment!r} has no time zone; pass tzinfo, such as datetime(2026, 1, 1, tzinfo=UTC)"
        )
    return moment


def floor_ms(moment: datetime) -> int:
    """Return ms since 1970, rounded down; raises ValueError without a zone."""
    return (aware(moment) - EPOCH) // _MILLISECOND


def exact_ms(moment: datetime) -> int:
    """Return ms since 1970.

    Raises:
        ValueError: it has no zone, or is finer than the log keeps.
    """
    if aware(moment).microsecond % 1000:
        raise ValueError(
            f"{moment.isoformat()} is finer than a millisecond, which is what the log keeps; "
            'round it, or pass timestamps="floor"'
        )
    return floor_ms(moment)


def timestamp_of(moment: datetime) -> Timestamp:
    """Return a moment as it is, to the microsecond; raises ValueError without a zone."""
    seconds, micros = divmod((aware(moment) - EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def duration_of(ago: timedelta) -> Duration:
    """Return how long ago.

    Raises:
        ValueError: it is negative: that would be the future.
    """
    if ago < timedelta(0):
        raise ValueError(f"{ago} ago lies in the future; pass a positive timedelta")
    seconds, micros = divmod(ago // _MICROSECOND, 1_000_000)
    return Duration(seconds=seconds, nanos=micros * 1000)


def time_ms_of(moment: Timestamp) -> int:
    """Return ms since 1970, rounded down."""
    return int(moment.seconds) * 1000 + int(moment.nanos) // 1_000_000


def datetime_of_timestamp(moment: Timestamp) -> datetime:
    """Return a moment in UTC, to the millisecond."""
    return datetime_of(time_ms_of(moment))


def timestamp_to_ns(moment: Timestamp) -> int:
    """Return ns since 1970: all that the wire says."""
    return int(moment.seconds) * 1_000_000_000 + int(moment.nanos)


def timestamp_of_ns(time_ns: int) -> Timestamp:
    """Return ns since 1970 as the wire has it."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def clock_of(clock: Clock) -> common.Clock.ValueType:
    """Return the wire's clock; raises ValueError for another word."""
    if clock not in CLOCKS:
        raise ValueError(f'clock is {clock!r}; there are "event" and "append"')
    return CLOCKS[clock]


def isolation_of(isolation: Isolation) -> common.IsolationLevel.ValueType:
    """Return the wire's isolation level; raises ValueError for another word."""
    if isolation not in ISOLATIONS:
        raise ValueError(f"isolation is {isolation!r}; there are {', '.join(ISOLATIONS)}")
    return ISOLATIONS[isolation]


def seek_of(place: Start, clock: Clock = "event") -> common.Seek:
    """Return a place as the wire has it.

    Raises:
        ValueError: a naive datetime, a negative offset or timedelta, an unknown word.
        TypeError: it is no place.
    """
    wire = clock_of(clock)
    match place:
        case bool():
            raise TypeError(f"{place} is no place in a log")
        case int():
            return common.Seek(offset=_offset(place))
        case datetime():
            return common.Seek(time=timestamp_of(place), clock=wire)
        case timedelta():
            return common.Seek(ago=duration_of(place), clock=wire)
        case FromEdge():
            return _from_edge(place)
        case _:
            return _edge(place)


def _edge(place: object) -> common.Seek:
    if not isinstance(place, str):
        raise TypeError(
            f"{type(place).__name__} is no place in a log: pass an edge, an offset, a datetime, a "
            "timedelta or a FromEdge"
        )
    if place not in EDGES:
        raise ValueError(f'a start is {place!r}; there are "earliest" and "latest"')
    return common.Seek(edge=EDGES[place])


def _from_edge(place: FromEdge) -> common.Seek:
    if place.edge == "earliest":
        return common.Seek(after_earliest=_offset(place.offsets))
    if place.edge == "latest":
        return common.Seek(before_latest=_offset(place.offsets))
    raise ValueError(f'FromEdge begins at {place.edge!r}; there are "earliest" and "latest"')


def range_of(times: TimeRange) -> common.TimeRange:
    """Return a range of times as the wire has it.

    Raises:
        ValueError: a naive datetime, a negative timedelta, or it ends before it begins.
    """
    wire = common.TimeRange(clock=clock_of(times.clock))
    match times.start:
        case datetime():
            wire.start_time.CopyFrom(timestamp_of(times.start))
        case timedelta():
            wire.start_ago.CopyFrom(duration_of(times.start))
        case None:
            pass  # the log start
    match times.end:
        case datetime():
            wire.end_time.CopyFrom(timestamp_of(times.end))
        case timedelta():
            wire.end_ago.CopyFrom(duration_of(times.end))
        case None:
            pass  # the log end as it is now
    match times.start, times.end:
        case (datetime() as first, datetime() as second) if second < first:
            raise ValueError(f"the range ends at {second}, before it begins at {first}")
        case (timedelta() as first, timedelta() as second) if second > first:
            raise ValueError(f"the range ends {second} ago, before it begins {first} ago")
    return wire


def _offset(offset: int) -> int:
    if not 0 <= offset <= OFFSET_MAX:
        raise ValueError(f"an offset is {offset}; offsets go from 0 to {OFFSET_MAX}")
    return offset
