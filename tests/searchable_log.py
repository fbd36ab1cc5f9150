"""A log in memory for searches by time, the records it holds as a plain list, and a driver.

The list is the oracle: what a search must answer is read off it by a linear scan.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, TypeVar

from logstore.batch import encode_batch
from logstore.crc32c import crc32c
from logstore.event_bounds import NO_EVENT_TIME, UNKNOWN, Bounds
from logstore.index_builder import IndexBuilder
from logstore.offset_index import OffsetIndex
from logstore.removed import NOTHING_REMOVED
from logstore.searchable import (
    NeedBlock,
    NeedIndex,
    NeedPart,
    NeedTimes,
    Reply,
    Search,
    SearchableSegment,
    SegmentGone,
    Slice,
    Step,
)
from logstore.stretches import BatchStretches, SegmentStretches, Stretches
from logstore.times import Times
from model.ids import AppendTimeMs, LeaderEpoch, Offset, Position
from model.record import (
    CHECKSUM_AT,
    CONTROL,
    COVERED_FROM,
    NO_TIMESTAMP,
    BatchHeader,
    ClockKind,
    NewRecord,
    iter_batches,
)

AnswerT = TypeVar("AnswerT")
NEVER = AppendTimeMs(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A batch as a producer sends it, and what the leader makes of it."""

    times: Sequence[int]
    """Event times of its records; -1 for none."""
    append_time: int = 0
    leader_epoch: int = 0
    compression: int = 0
    claimed_max: int | None = None
    """What the header says instead of the truth."""
    log_append_time: bool = False
    control: bool = False
    new_segment: bool = False
    unreadable: bool = False
    """The records are not what the header says."""
    padding_bytes: int = 0
    """Makes the last record larger."""
    value_bytes: int = 1
    """Of each record."""


class Kept(NamedTuple):
    """One record of the oracle."""

    offset: int
    event_time: int
    append_time: int

    def time(self, clock: ClockKind) -> int:
        return self.event_time if clock is ClockKind.EVENT else self.append_time

    def has(self, clock: ClockKind) -> bool:
        return clock is ClockKind.APPEND or self.event_time != NO_TIMESTAMP


def encoded(sent: Sent, base_offset: int) -> bytes:
    """Return the bytes of a batch in the log."""
    value = b"v" * sent.value_bytes
    records = [NewRecord(time, None, value) for time in sent.times]
    records[-1] = records[-1]._replace(value=value + b"v" * sent.padding_bytes)
    batch = encode_batch(
        records,
        compression=sent.compression,
        base_offset=base_offset,
        leader_epoch=sent.leader_epoch,
        attributes=CONTROL if sent.control else 0,
    )
    if sent.claimed_max is not None:
        struct.pack_into(">q", batch, 35, sent.claimed_max)
    if sent.unreadable:
        batch[-1] ^= 0x55  # the number of headers of the last record
        batch += b"\xff" * 3
        struct.pack_into(">i", batch, 8, len(batch) - 12)
    batch[CHECKSUM_AT:COVERED_FROM] = crc32c(memoryview(batch)[COVERED_FROM:]).to_bytes(4, "big")
    if sent.log_append_time:
        BatchHeader(memoryview(batch)).stamp_log_append_time(AppendTimeMs(sent.append_time), crc32c)
    return bytes(batch)


def exact_bounds(sent: Sent) -> Bounds:
    """Return what the encoder of a batch knows of it."""
    times = [time for time in event_times(sent) if time != NO_TIMESTAMP]
    return Bounds(min(times), max(times)) if times else NO_EVENT_TIME


def event_times(sent: Sent) -> list[int]:
    """Return the event times that the records of a batch have in the log."""
    if sent.log_append_time and not sent.control:
        return [sent.append_time] * len(sent.times)
    if sent.control or sent.unreadable:
        return [NO_TIMESTAMP] * len(sent.times)
    return list(sent.times)


@dataclass(slots=True, eq=False)
class MemorySegment:
    """A segment: its bytes, its append times, and its index in whatever state a test wants."""

    base_offset: Offset
    end_offset: Offset
    sealed: bool = False
    first_append_time: AppendTimeMs = NEVER
    last_append_time: AppendTimeMs = NEVER
    event_bounds: Bounds | None = None
    log: bytearray = field(default_factory=bytearray)
    live_index: OffsetIndex | None = None
    index_file: bytes | None = None
    live_times: Times | None = None
    stored_times: Times = field(default_factory=lambda: Times(Offset(0)))
    learned_blocks: int = 0
    kept: Stretches = field(default_factory=Stretches)
    kept_stretches: SegmentStretches = field(default_factory=SegmentStretches)

    @property
    def size_bytes(self) -> int:
        return len(self.log)

    def index(self) -> OffsetIndex | None:
        return self.live_index

    def keep_index(self, index: OffsetIndex) -> None:
        live = OffsetIndex(self.base_offset)  # a log may join what it has made itself since
        for row in index.rows():
            live.append_block(
                row.offset, row.position, row.end, bounds=row.bounds, witness=index.witness
            )
        self.live_index = live

    def learned(self) -> None:
        self.learned_blocks += 1

    def stretches(self, position: Position) -> BatchStretches | None:
        return self.kept_stretches.find(position)

    def keep_stretches(self, position: Position, found: BatchStretches) -> None:
        self.kept.keep(self.kept_stretches, position, found)

    def times(self) -> Times | None:
        return self.live_times


class MemoryLog:
    """A partition built from batches; also the oracle's list, in `records`."""

    def __init__(
        self,
        batches: Sequence[Sent],
        *,
        interval_bytes: int = 4096,
        exact: bool = False,
        kept: Stretches | None = None,
    ) -> None:
        """Append all batches. `exact`: the node encoded them, so their bounds are known."""
        self.kept = Stretches() if kept is None else kept
        self.log_start = Offset(0)
        self.log_end = Offset(0)
        self.index_interval_bytes = interval_bytes
        self.records: list[Kept] = []
        self.kept_from = 0
        """First offset of the first segment that is there."""
        self.removed_times: list[tuple[int, int]] = []
        """Of each segment that went and that had been looked at."""
        self.unread = False
        """One went that had not."""
        self.all_segments: list[MemorySegment] = []
        self.removed = NOTHING_REMOVED
        self._exact = exact
        self._builder: IndexBuilder | None = None
        for sent in batches:
            self.append(sent)

    def append(self, sent: Sent) -> None:
        """Append one batch, to a new segment if it says so."""
        segment = self.all_segments[-1] if self.all_segments else None
        if segment is None or sent.new_segment:
            segment = self._roll()
            segment.first_append_time = AppendTimeMs(sent.append_time)
        batch = encoded(sent, self.log_end)
        assert self._builder is not None
        self._builder.add(
            BatchHeader(memoryview(batch)), exact_bounds(sent) if self._exact else None
        )
        segment.stored_times.append(
            self.log_end, LeaderEpoch(sent.leader_epoch), AppendTimeMs(sent.append_time)
        )
        segment.log += batch
        for number, time in enumerate(event_times(sent)):
            self.records.append(Kept(self.log_end + number, time, sent.append_time))
        self.log_end = Offset(self.log_end + len(sent.times))
        segment.end_offset = self.log_end
        segment.last_append_time = AppendTimeMs(sent.append_time)

    def _roll(self) -> MemorySegment:
        self.seal()
        segment = MemorySegment(self.log_end, self.log_end, kept=self.kept)
        segment.live_index = OffsetIndex(self.log_end)
        segment.live_times = segment.stored_times = Times(self.log_end)
        self._builder = IndexBuilder(segment.live_index, self.index_interval_bytes)
        self.all_segments.append(segment)
        return segment

    def seal(self) -> None:
        """Seal the last segment; the next batch rolls."""
        if self._builder is not None:
            self._builder.close()
            self.all_segments[-1].sealed = True

    def truncate(self, offset: Offset) -> None:
        """Cut the last segment before the batch that begins at an offset."""
        segment, builder = self.all_segments[-1], self._builder
        assert builder is not None
        batches = [BatchHeader(batch) for batch in iter_batches(memoryview(bytes(segment.log)))]
        kept = [header for header in batches if header.base_offset < offset]
        del segment.log[sum(header.size_bytes for header in kept) :]
        segment.stored_times.truncate(offset)
        segment.kept_stretches.forget()
        builder.truncate(offset)
        ends = accumulate((header.size_bytes for header in kept), initial=0)
        for header, position in zip(kept, ends, strict=False):
            if position >= builder.end:
                builder.add(header)
        self.log_end = segment.end_offset = offset
        del self.records[offset:]

    def unload(self) -> None:
        """Write every index to its file and forget it; forget the append times in memory."""
        for segment in self.all_segments:
            index = segment.live_index
            segment.index_file = index.encode() if index and index.writable else None
            segment.live_index = segment.live_times = None

    def drop_front(self, segments: int) -> None:
        """Remove segments, as retention does; the log start moves behind them."""
        removed = self.all_segments[:segments]
        for segment in removed:
            known = segment.event_bounds
            if known is None and segment.live_index is not None and segment.sealed:
                known = segment.live_index.bounds
            if known is None or not known.known:
                self.unread = True
            elif not known.empty:
                self.removed_times.append(known)
            self.removed = self.removed.after(segment.last_append_time, known or UNKNOWN)
            self.kept_from = segment.end_offset
        if removed:
            self.log_start = max(self.log_start, removed[-1].end_offset)
            self.all_segments = self.all_segments[segments:]

    @property
    def learned_blocks(self) -> int:
        """Return how many blocks the searches have learned the bounds of."""
        return sum(segment.learned_blocks for segment in self.all_segments)

    # What a search asks for.

    def segments(self) -> Sequence[SearchableSegment]:
        return tuple(segment for segment in self.all_segments if segment.size_bytes)

    # The oracle.

    def visible(self, end: int) -> Iterator[Kept]:
        """Yield what a reader below `end` can see."""
        return (kept for kept in self.records if self.log_start <= kept.offset < end)

    def first_at(self, time: int, clock: ClockKind, end: int) -> Kept | None:
        """Return the answer of `offset_for_time`, by scanning."""
        fits = (k for k in self.visible(end) if k.has(clock) and k.time(clock) >= time)
        return next(fits, None)

    def in_range(self, start: int, stop: int, *, clock: ClockKind, end: int) -> list[int]:
        """Return the offsets of a range of time, by scanning."""
        return [
            kept.offset
            for kept in self.visible(end)
            if kept.has(clock) and start <= kept.time(clock) < stop
        ]

    def truncated(self, start: int, clock: ClockKind, end: int, *, stop: int | None = None) -> bool:
        """Return whether a record of [start, stop) is gone, or may be, by scanning.

        No `stop`: up to what `offset_for_time` answers, its time included. The append clock knows
        no upper end.
        """
        answer = self.first_at(start, clock, end)
        if clock is ClockKind.APPEND:
            return any(gone.append_time >= start for gone in self.records[: self.log_start])
        if stop is None and answer is not None:
            stop = answer.event_time + 1
        intervals = [
            (gone.event_time, gone.event_time)
            for gone in self.records[self.kept_from : self.log_start]
            if gone.has(clock)
        ]
        for first, last in [*intervals, *self.removed_times]:
            if last >= start and (stop is None or first < stop):
                return True
        return self.unread


@dataclass(slots=True)
class Drive:
    """Runs searches against a log in memory, and counts what they ask for."""

    log: MemoryLog
    before_step: Callable[[int], None] = lambda step: None
    """Called with the number of each step, before it is carried out: the log may change."""
    steps: int = 0
    block_bytes: int = 0
    part_bytes: int = 0
    trusted: bool = True
    """Batches count as verified once they were read."""
    reads: list[tuple[Offset, Position, Position]] = field(default_factory=list)
    index_files: int = 0
    asked: list[str] = field(default_factory=list)

    def run(self, search: Search[AnswerT]) -> AnswerT:
        """Carry out every step; return the answer."""
        self.steps = self.block_bytes = self.part_bytes = self.index_files = 0
        self.reads.clear()
        self.asked.clear()
        try:
            step = next(search)
            while True:
                step = self.advance(search, step)
        except StopIteration as done:
            answer: AnswerT = done.value
            return answer

    def run_some(self, search: Search[AnswerT], steps: int) -> bool:
        """Carry out some steps and drop the search; return whether it was finished by then."""
        try:
            step = next(search)
            for _ in range(steps):
                step = self.advance(search, step)
        except StopIteration:
            return True
        search.close()
        return False

    def advance(self, search: Search[AnswerT], step: Step) -> Step:
        """Carry out one step; return the next."""
        self.before_step(self.steps)
        self.steps += 1
        self.asked.append(type(step).__name__)
        if self._is_gone(step):
            return search.throw(SegmentGone())
        return search.send(self._reply(step))

    def _is_gone(self, step: Step) -> bool:
        return not isinstance(step, Slice) and step.segment not in self.log.all_segments

    def _reply(self, step: Step) -> Reply:
        if isinstance(step, Slice):
            return None
        segment = step.segment
        assert isinstance(segment, MemorySegment)
        match step:
            case NeedBlock(_, position, end):
                assert 0 <= position < end <= segment.size_bytes
                self.reads.append((segment.base_offset, position, end))
                self.block_bytes += end - position
                return memoryview(bytes(segment.log[position:end]))
            case NeedPart(_, position, end, batch):
                assert batch[0] < position < end <= batch[1] <= segment.size_bytes
                self.part_bytes += end - position
                return memoryview(bytes(segment.log[position:end])) if self.trusted else None
            case NeedIndex():
                self.index_files += 1
                return segment.index_file
            case NeedTimes():
                return segment.stored_times
