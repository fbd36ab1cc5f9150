"""Which segments may go from the front of a partition, by append time and by size (P38).

The active segment never goes. If it is old enough for another to follow it, or all of it has aged,
`roll_due` says so: in a partition that nobody writes to, no append rolls it.

Pure. Event times play no part: a record dated in the future keeps nothing, one dated in the past
deletes nothing (KIP-937 tells what happens otherwise).

Invariants:
    SEGMENTS_ARE_CONTIGUOUS   each segment begins where the one before ended.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from logstore.settings import PartitionSettings
from model.ids import AppendTimeMs, Offset


class AgedSegment(Protocol):
    """What retention looks at."""

    @property
    def base_offset(self) -> Offset:
        """Where the segment begins."""
        ...

    @property
    def end_offset(self) -> Offset:
        """The first offset behind it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of its batches."""
        ...

    @property
    def sealed(self) -> bool:
        """Whether nothing is appended to it any more; the active segment never goes."""
        ...

    @property
    def first_append_time(self) -> AppendTimeMs:
        """Append time of its first batch."""
        ...

    @property
    def last_append_time(self) -> AppendTimeMs:
        """Append time of its last batch."""
        ...


def roll_due(
    active: AgedSegment, settings: PartitionSettings, *, now: AppendTimeMs, in_doubt: bool
) -> bool:
    """Tell whether a new segment should begin although nothing is appended.

    It is due `segment_ms` after the first batch, and also once the last batch is older than
    `retention_ms`: all of the segment may go then. An empty one is not due, nor is any while `now`
    is `in_doubt`.
    """
    if in_doubt or not active.size_bytes:
        return False
    full = now - active.first_append_time >= settings.segment_ms
    return full or _is_aged(active, settings, now=now)


def plan(
    segments: Sequence[AgedSegment],
    settings: PartitionSettings,
    *,
    log_start: Offset,
    now: AppendTimeMs,
    high_watermark: Offset,
    in_doubt: bool,
) -> Offset:
    """Return the log start after retention: `log_start` if nothing goes.

    `now` is the append clock; while that is `in_doubt`, age deletes nothing (P39). A segment goes
    if its newest append time is older than `retention_ms`, or if what is left holds at least
    `retention_bytes` without it.
    """
    assert all(a.end_offset == b.base_offset for a, b in pairwise(segments)), (
        "SEGMENTS_ARE_CONTIGUOUS"
    )
    kept = [segment for segment in segments if segment.end_offset > log_start]
    left_bytes = sum(segment.size_bytes for segment in kept)
    start = log_start
    for segment in kept:
        if not segment.sealed or segment.end_offset > high_watermark:
            break
        left_bytes -= segment.size_bytes
        aged = _is_aged(segment, settings, now=now) and not in_doubt
        over = left_bytes >= settings.retention_bytes >= 0
        if not (aged or over):
            break
        start = segment.end_offset
    return start


def _is_aged(segment: AgedSegment, settings: PartitionSettings, *, now: AppendTimeMs) -> bool:
    return now - segment.last_append_time > settings.retention_ms >= 0
