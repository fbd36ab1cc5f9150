"""Plain records to the batch that is stored, in slices, never larger than the topic accepts."""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from api.broker.turns import Turns
from logstore.batch import Stamp
from logstore.batch_encoder import BatchEncoder
from logstore.event_bounds import Bounds
from model.errors import ErrorCode, RequestError
from model.record import NewRecord

SLICE_RECORDS: Final = 100
"""Converted and encoded in about half a millisecond."""


class Encoded(NamedTuple):
    """A batch that this node made itself, so that it knows what is in it."""

    batch: bytearray
    """Sealed; handed over: the log keeps it."""
    bounds: Bounds
    """Least and greatest event time, exactly."""


async def encode(
    records: Iterator[NewRecord], turns: Turns, *, stamp: Stamp, limit_bytes: int
) -> Encoded:
    """Return one uncompressed batch of at least one record.

    Raises:
        RequestError: RECORD_TOO_LARGE, as soon as it is known; what the iterator raises.
    """
    encoder = BatchEncoder()
    while taken := list(islice(records, SLICE_RECORDS)):
        # What is known to be too large is never encoded: one record may have megabytes.
        size = encoder.size_bytes + sum(
            len(one.key or b"") + len(one.value or b"") for one in taken
        )
        if size <= limit_bytes:
            encoder.add(taken)
            size = encoder.size_bytes
        if size > limit_bytes:
            raise RequestError(
                ErrorCode.RECORD_TOO_LARGE,
                f"the records make a batch of more than {limit_bytes} bytes, the topic's "
                "max.message.bytes; send fewer at once",
                size_bytes=str(size),
                limit_bytes=str(limit_bytes),
            )
        await turns.give_way()
    return Encoded(encoder.seal(stamp), encoder.bounds)
