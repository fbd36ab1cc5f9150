"""What a replay asks for, as the wire has it; arguments that do not go together are refused."""

from collections.abc import Sequence

from tidelog.arguments import topics_of
from tidelog.batch import can_build
from tidelog.checkpoint import Checkpoint
from tidelog.places import range_of, seek_of
from tidelog.types import Clock, Start, TimeRange
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log


def subscribe_request(
    topics: Sequence[str],
    partitions: Sequence[int] | None,
    *,
    during: TimeRange | None,
    start: Start,
    stop: Start | None,
    clock: Clock,
) -> log.SubscribeRequest:
    """Return the request of a replay that begins anew.

    Raises:
        ValueError: no topic, both kinds of bounds, a naive datetime, a place that is none.
        TypeError: a topic that is no name, a range that is no TimeRange.
    """
    if not topics:
        raise ValueError("name a topic to read")
    topics_of(topics)
    encoding = common.ENCODING_BATCH if can_build() else common.ENCODING_RECORDS
    request = log.SubscribeRequest(encoding=encoding)
    if partitions is None:
        request.topics.extend(topics)
    else:
        for topic in topics:
            for partition in partitions:
                request.partitions.add(topic=topic, partition=partition)
    begin = seek_of(start, clock)
    if during is None:
        request.start.CopyFrom(begin)
        if stop is not None:
            request.stop.CopyFrom(seek_of(stop, clock))
    elif stop is not None or start != "earliest":
        raise ValueError("pass either during, or start and stop")
    else:
        request.range.CopyFrom(_range_of(during, clock))
    return request


def _range_of(during: TimeRange, clock: Clock) -> common.TimeRange:
    if not isinstance(during, TimeRange):
        raise TypeError(f"during is {during!r}; pass a TimeRange(start, end)")
    if clock not in {"event", during.clock}:
        raise ValueError(
            f"clock is {clock!r}, and the range goes by its own, {during.clock!r}; write "
            f"TimeRange(start, end, clock={clock!r})"
        )
    return range_of(during)


def check_resume(
    resume: Checkpoint | None, topics: Sequence[str], during: TimeRange | None
) -> None:
    """Refuse a checkpoint of another replay.

    Raises:
        ValueError: it is of other topics, or of a range of time where this one is not.
    """
    if resume is None:
        return
    others = sorted({cursor.topic for cursor in resume.cursors} - set(topics))
    if others:
        raise ValueError(f"the checkpoint is of {', '.join(others)}, which is not read here")
    if during is None and resume.times is not None:
        raise ValueError("the checkpoint is of a range of time: pass during as before")
    if during is not None and resume.times is None:
        raise ValueError("the checkpoint is of no range of time: pass start and stop as before")
