"""What a search by time needs of a log, and what it asks of whoever drives it.

A search is a generator that does no I/O. It yields steps; the driver carries each out and sends
what belongs to it:

    NeedBlock(segment, position, end)  a memoryview of those bytes of the segment's `.log`
    NeedPart(segment, position, end, batch)
                                       a memoryview of those bytes inside a batch; None if nobody
                                       has verified the batch since the segment was opened
    NeedIndex(segment)                 the bytes of its `.index` file, or None if there is none
    NeedTimes(segment)                 its `Times`
    Slice()                            None, at once or after the event loop had a turn

Between two steps at most 500 records are decoded. When the segment of a step was removed or cut
short before the reply is sent, the driver throws SegmentGone instead, and the search begins again
with what is left. The value that the generator returns is the answer.

Searches, the log and its indexes belong to the event loop: what another thread read is handed to
the loop before it is sent.

Invariants:
    SEARCH_IS_SENT_WHAT_IT_ASKED    a reply is of the kind, and the size, that was asked for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from logstore.event_bounds import Bounds
from logstore.offset_index import OffsetIndex, Row
from logstore.removed import Removed
from logstore.stretches import BatchStretches
from logstore.times import Times
from model.ids import AppendTimeMs, Offset, Position


class SearchableSegment(Protocol):
    """One segment as it was when `segments()` was called; only the index may know more by now."""

    @property
    def base_offset(self) -> Offset:
        """Where it begins."""
        ...

    @property
    def end_offset(self) -> Offset:
        """The first offset behind it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of whole batches in it."""
        ...

    @property
    def sealed(self) -> bool:
        """Whether nothing is appended to it any more."""
        ...

    @property
    def first_append_time(self) -> AppendTimeMs:
        """Append time of its first batch. An empty segment is asked for neither."""
        ...

    @property
    def last_append_time(self) -> AppendTimeMs:
        """Append time of its last batch."""
        ...

    @property
    def event_bounds(self) -> Bounds | None:
        """Event times that all its records lie within, if known; lets a search pass it by."""
        ...

    def index(self) -> OffsetIndex | None:
        """Return its live index, or None if that is not in memory."""
        ...

    def keep_index(self, index: OffsetIndex) -> None:
        """Take over an index that a search read or built, for the next one.

        It describes all of this view, also of the active segment, where the log goes on behind it.
        What `index()` returns from then on is the index that the search narrows.
        """
        ...

    def learned(self) -> None:
        """Note that the index knows more event times than its file; the segment may be gone."""
        ...

    def stretches(self, position: Position) -> BatchStretches | None:
        """Return what is remembered of the batch that begins there, None if nothing is."""
        ...

    def keep_stretches(self, position: Position, found: BatchStretches) -> None:
        """Remember the stretches of a batch for the next search."""
        ...

    def times(self) -> Times | None:
        """Return its live append times, or None if they are not in memory."""
        ...


class SearchableLog(Protocol):
    """A partition's log."""

    @property
    def log_start(self) -> Offset:
        """The first offset that anyone may see; it can lie inside a batch."""
        ...

    @property
    def removed(self) -> Removed:
        """What is known of the segments before the first."""
        ...

    @property
    def index_interval_bytes(self) -> int:
        """The least size of a block, where an index must be built again."""
        ...

    def segments(self) -> Sequence[SearchableSegment]:
        """Return all segments in the order of the log; they may begin below the log start."""
        ...


class NeedBlock(NamedTuple):
    """Bytes of a segment's `.log`; they begin with a batch."""

    segment: SearchableSegment
    position: Position
    end: Position
    cut: bool = False
    """They may end within a batch; else one that ends elsewhere is damaged."""


class NeedPart(NamedTuple):
    """Bytes inside a batch of a segment's `.log`."""

    segment: SearchableSegment
    position: Position
    end: Position
    batch: tuple[Position, Position]
    """Where the batch begins and ends: the checksum is over all of it."""


class NeedIndex(NamedTuple):
    """A segment's `.index` file."""

    segment: SearchableSegment


class NeedTimes(NamedTuple):
    """A segment's append times."""

    segment: SearchableSegment


class Slice(NamedTuple):
    """Nothing: a place to give the event loop a turn."""


Step: TypeAlias = NeedBlock | NeedPart | NeedIndex | NeedTimes | Slice
Reply: TypeAlias = memoryview | bytes | Times | None
AnswerT = TypeVar("AnswerT")
Search: TypeAlias = Generator[Step, Reply, AnswerT]


class SegmentGone(Exception):  # noqa: N818 - an event in a log's life, not a caller's error
    """The segment that a search was reading was removed or cut; the search starts again."""


class Visible(NamedTuple):
    """The offsets that a search may answer with: start <= offset < end."""

    start: Offset
    end: Offset


def overlapping(log: SearchableLog, visible: Visible) -> Sequence[SearchableSegment]:
    """Return the segments that hold visible offsets, in the order of the log; none is empty."""
    if visible.start >= visible.end:
        return ()
    segments = log.segments()
    first = bisect_right(segments, visible.start, key=lambda segment: segment.end_offset)
    stop = bisect_left(segments, visible.end, key=lambda segment: segment.base_offset)
    return segments[first:stop]


def read_block(
    segment: SearchableSegment, position: Position, end: Position, *, cut: bool = False
) -> Search[memoryview]:
    """Ask for bytes of a segment. `cut`: they may end within a batch."""
    block = yield NeedBlock(segment, position, end, cut)
    assert isinstance(block, memoryview), "SEARCH_IS_SENT_WHAT_IT_ASKED"
    assert len(block) == end - position, "SEARCH_IS_SENT_WHAT_IT_ASKED"
    return block


def read_part(
    segment: SearchableSegment, position: Position, end: Position, *, batch: Row
) -> Search[memoryview | None]:
    """Ask for bytes inside a batch that fills a row; None: all of it must be read."""
    part = yield NeedPart(segment, position, end, (batch.position, batch.end))
    assert part is None or isinstance(part, memoryview), "SEARCH_IS_SENT_WHAT_IT_ASKED"
    assert part is None or len(part) == end - position, "SEARCH_IS_SENT_WHAT_IT_ASKED"
    return part


def read_times(segment: SearchableSegment) -> Search[Times]:
    """Return the segment's append times, from memory if they are there."""
    times = segment.times()
    if times is None:
        sent = yield NeedTimes(segment)
        assert isinstance(sent, Times), "SEARCH_IS_SENT_WHAT_IT_ASKED"
        times = sent
    return times
