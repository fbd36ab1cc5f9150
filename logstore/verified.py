"""Which bytes of a segment file were verified since it was opened (P6)."""

from bisect import bisect_right
from typing import Final

SPANS_MAX: Final = 1_024
"""Beyond this all are forgotten and verified anew: random reads must not cost memory."""


class Verified:
    """Spans of bytes whose batches matched their checksums.

    Replaced as a whole by one assignment, so that threads of the read pool may add to it: of two
    at the same moment one is lost, and its bytes are verified again.
    """

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        """Nothing is verified yet."""
        self._spans: tuple[tuple[int, int], ...] = ()

    def covers(self, start: int, end: int) -> bool:
        """Tell whether all of [start, end) was verified."""
        spans = self._spans
        slot = bisect_right(spans, (start, end)) - 1
        if slot + 1 < len(spans) and spans[slot + 1][0] == start:
            slot += 1
        return slot >= 0 and spans[slot][0] <= start and end <= spans[slot][1]

    def add(self, start: int, end: int) -> None:
        """Note that [start, end) was verified; neighbours become one span."""
        spans = self._spans
        if len(spans) >= SPANS_MAX:
            spans = ()
        apart = [span for span in spans if span[1] < start or span[0] > end]
        touching = [span for span in spans if span[1] >= start and span[0] <= end]
        low = min([start, *(span[0] for span in touching)])
        high = max([end, *(span[1] for span in touching)])
        self._spans = tuple(sorted([*apart, (low, high)]))
