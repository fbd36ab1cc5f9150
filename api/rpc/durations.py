"""Spans of time of the wire that may be left out, and those that are told."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from api.rpc.convert import NANOS_PER_MS, duration_ms


def optional_ms(message: Message, field: str) -> int | None:
    """Return whole milliseconds of a field; None when it is absent.

    Raises:
        RequestError: INVALID_REQUEST, it is negative.
    """
    return duration_ms(field, getattr(message, field)) if message.HasField(field) else None


def duration(ms: int) -> Duration:
    """Return a span that is not negative."""
    seconds, rest = divmod(ms, 1000)
    return Duration(seconds=seconds, nanos=rest * NANOS_PER_MS)
