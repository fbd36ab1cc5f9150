"""Making one batch of plain records a few at a time, so that whoever makes it can stop in between.

Invariants:
    BATCH_HAS_RECORDS        an empty batch is never sealed.
    ENCODER_TIMES_FIT        its timestamps are 0 or later, so their distances have 64 bits.
"""

from collections.abc import Sequence

from logstore.batch import Stamp, seal
from logstore.batch_records import encode_records
from logstore.event_bounds import NO_EVENT_TIME, Bounds
from model.record import HEADER_BYTES, NewRecord


class BatchEncoder:
    """The records so far, encoded; uncompressed, for a node's time is worth more than its disk."""

    __slots__ = ("_base_timestamp", "_body", "_records", "bounds", "size_bytes")

    def __init__(self) -> None:
        """Begin with none."""
        self._body: list[bytes] = []
        self._records = 0
        self._base_timestamp = 0
        self.size_bytes = HEADER_BYTES
        """What the batch would have if it were sealed now."""
        self.bounds: Bounds = NO_EVENT_TIME
        """Least and greatest event time, exactly."""

    def add(self, records: Sequence[NewRecord]) -> None:
        """Encode at least one more record; each has an event time, and no more headers than may be.

        A call is not interrupted: the caller chooses how many.
        """
        times = [record.timestamp_ms for record in records]
        bounds = Bounds(min(times), max(times))
        assert bounds.earliest >= 0, "ENCODER_TIMES_FIT"
        if not self._records:
            self._base_timestamp = times[0]
        parts, _ = encode_records(records, self._base_timestamp, first_delta=self._records)
        self._body += parts
        self._records += len(records)
        self.size_bytes += sum(map(len, parts))
        self.bounds = self.bounds.joined(bounds)

    def seal(self, stamp: Stamp) -> bytearray:
        """Return the batch."""
        assert self._records, "BATCH_HAS_RECORDS"
        times = (self._base_timestamp, self.bounds.latest)
        return seal(self._body, stamp, records=self._records, times=times)
