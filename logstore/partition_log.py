"""One partition: its segments, its in-memory tail, and what the disk still has to be told.

Passive, in memory, on the loop: appending touches no disk, reading hands out plans. Rounds and
checkpoints take from here what is to be written (`logstore.flush`, `logstore.partition_checkpoint`)
and move the positions once it is.

Invariants:
    LOG_CUT_BEFORE_APPEND      nothing is appended between `truncate` and the round that does it.
    LOG_CUT_IS_ABOVE_START     a truncation keeps the log start.
    LOG_START_IS_WRITTEN       the log start moves over written records only (`settled`).
    LOG_TIME_NEVER_FALLS       append times rise along the log, or stand.
"""

import struct
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.carriage import Carriage
from logstore.event_bounds import UNKNOWN, Bounds, bounds_told
from logstore.leader_epochs import LeaderEpochs
from logstore.owner import Owner
from logstore.paths import partition_directory
from logstore.producer_state import ProducerState, Remembered
from logstore.read_plan import ReadPlan, out_of_range
from logstore.removed import NOTHING_REMOVED
from logstore.round import Carrier, Run
from logstore.segment import OFFSETS_MAX, Segment
from logstore.segment_view import SegmentView
from logstore.settings import Flush, LogSettings, PartitionSettings
from logstore.settled import settled_end
from logstore.tail import ReadResult, Tail
from logstore.upkeep import Upkeep
from logstore.validate import is_plain
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    Offset,
    PartitionId,
    Position,
    ProducerEpoch,
    ProducerId,
)
from model.ids import Sequence as SequenceNumber
from model.ports import Disk
from model.record import CONTROL, LOG_APPEND_TIME, BatchHeader

__all__ = ["PartitionLog", "ReadPlan", "ReadResult"]

RUN_BYTES_MAX: Final = 16 << 20
"""A longer run is ended: rounds stay bounded."""
_OFFSET: Final = struct.Struct(">q")
_INT32: Final = struct.Struct(">i")
_FIELDS: Final = struct.Struct(">hi16xqhii")
"""From byte 21 of a batch: attributes, last offset delta, then from 43 on the producer's fields."""
_TELLS_TIME: Final = CONTROL | LOG_APPEND_TIME
# Bound here, for Python 3.11 looks a member of an Enum up in 0.2 us, twice for each run.
_ASYNC: Final = Flush.ASYNC
_CARRIERS: Final = (Carrier.JOURNAL, Carrier.FILES)


class PartitionLog:
    """Loop only; everything is memory. Made by `LogDirectory`."""

    __slots__ = (
        "_directory", "_disk", "_is_dirty", "_log_settings", "_open_run", "_owner", "carriage",
        "cut", "cutting", "deleted", "filed_end", "flushed_end", "high_watermark", "id",
        "leader_epochs", "log_end", "log_start", "pending", "producers", "removed",
        "segment_list", "settings", "tail", "upkeep", "written_end",
    )  # fmt: skip

    def __init__(
        self,
        partition: PartitionId,
        settings: PartitionSettings,
        *,
        disk: Disk,
        log_settings: LogSettings,
        owner: "Owner[PartitionLog]",
        begin: Offset,
    ) -> None:
        """Begin empty, at an offset, known to no checkpoint."""
        self.id = partition
        self.settings = settings
        self._disk = disk
        self._log_settings = log_settings
        self._owner = owner
        self._directory = partition_directory(partition)
        self.segment_list = [Segment(self._directory, begin)]
        self.log_start = self.log_end = begin
        self.written_end = self.flushed_end = self.filed_end = begin
        self.high_watermark = self.log_start
        """As last told by replication; kept in the checkpoint."""
        self.removed = NOTHING_REMOVED
        self.tail = Tail(begin)
        self.carriage = Carriage(begin)
        self.leader_epochs = LeaderEpochs()
        self.producers = ProducerState(
            limit=log_settings.producer_ids_max, expiration_ms=log_settings.producer_expiration_ms
        )
        self.pending: deque[Run] = deque()
        """What no round has taken yet, in order."""
        self._open_run: Run | None = None
        self._is_dirty = False
        self.cut: Offset | None = None
        """Where `truncate` wants the log to end; None once that is done."""
        self.cutting = False
        """A round is doing so."""
        self.deleted = False
        self.upkeep = Upkeep()

    def begin_at(self, segments: list[Segment], *, log_start: Offset, sequence: int) -> None:
        """Begin with what recovery found; all of it is durable, and a row says so."""
        self.segment_list, self.log_start = segments, log_start
        for behind in segments[:-1]:
            behind.seal()
        end = segments[-1].end_offset
        self.log_end = self.written_end = self.flushed_end = self.filed_end = end
        self.tail = Tail(end)
        self.carriage = Carriage(end, row_sequence=sequence)
        self.upkeep.directory_made = self.upkeep.exists = True

    @property
    def size_bytes(self) -> int:
        """Bytes of all batches from the log start's segment on."""
        return sum(segment.size_bytes for segment in self.segment_list)

    @property
    def index_interval_bytes(self) -> int:
        """The least size of an index block."""
        return self._log_settings.index_interval_bytes

    @property
    def directory_name(self) -> str:
        """Where the files lie."""
        return self._directory

    def configure(self, settings: PartitionSettings) -> None:
        """Take over changed settings; another flush mode holds from the next batch on."""
        if self.settings.flush is _ASYNC and settings.flush is not _ASYNC:
            self.sync()  # what only the files carry counts from now on once it is synced
        self._open_run, self.settings = None, settings

    def append(
        self,
        batches: Sequence[bytearray],
        *,
        leader_epoch: LeaderEpoch,
        append_time: AppendTimeMs,
        bounds: Bounds | None = None,
    ) -> Offset:
        """Accept validated batches: offset and leader epoch are written into them, in place.

        The log keeps them; nobody changes them afterwards. `bounds`: exact event times of their
        records, where the node encoded them itself.
        """
        base = self.log_end
        if bounds is None and batches and all(map(is_plain, batches)):
            self.append_plain(list(batches), leader_epoch, append_time)
        else:
            for batch in batches:
                self.append_one(batch, leader_epoch, append_time, bounds=bounds)
        return base

    def append_plain(
        self, batches: list[bytearray], epoch: LeaderEpoch, now: AppendTimeMs
    ) -> list[Offset]:
        """Accept validated batches of one tick, `is_plain` all; return where each begins."""
        offset = self.log_end
        segment, settings = self.segment_list[-1], self.settings
        size = sum(map(len, batches))
        counts = [_INT32.unpack_from(batch, 23)[0] + 1 for batch in batches]
        if (
            segment.size_bytes + size > settings.segment_bytes
            or now - segment.first_append_time >= settings.segment_ms
            or offset + sum(counts) - segment.base_offset > OFFSETS_MAX
            or size > RUN_BYTES_MAX
        ):  # each batch is asked whether it begins another segment, or another run
            return [self.append_one(batch, epoch, now, bounds=None) for batch in batches]
        run = self._run(segment, epoch, now)
        offsets: list[Offset] = []
        for batch, count in zip(batches, counts, strict=True):
            offsets.append(offset)
            _OFFSET.pack_into(batch, 0, offset)
            _INT32.pack_into(batch, 12, epoch)
            offset = Offset(offset + count)
        segment.add_all(batches, offsets, offset, interval=self._log_settings.index_interval_bytes)
        run.buffers += batches
        run.size_bytes += size
        run.end_offset = offset
        self.tail.add_all(offsets, batches, offset, size_bytes=size)
        self.log_end = offset
        self.upkeep.snapshot_bytes += size
        return offsets

    def append_one(
        self, batch: bytearray, epoch: LeaderEpoch, now: AppendTimeMs, *, bounds: Bounds | None
    ) -> Offset:
        """Accept one validated batch, as `append` does; return where it begins."""
        offset = self.log_end
        _OFFSET.pack_into(batch, 0, offset)
        _INT32.pack_into(batch, 12, epoch)
        attributes, delta, producer, producer_epoch, sequence, count = _FIELDS.unpack_from(
            batch, 21
        )
        end = Offset(offset + delta + 1)
        size = len(batch)
        segment = self.segment_list[-1]
        filled = segment.size_bytes
        if filled and (
            filled + size > self.settings.segment_bytes
            or now - segment.first_append_time >= self.settings.segment_ms
            or end - segment.base_offset > OFFSETS_MAX
        ):
            segment = self._roll(segment)
        run = self._run(segment, epoch, now)
        if bounds is None:
            if attributes & _TELLS_TIME:
                bounds = bounds_told(BatchHeader.of_checked(memoryview(batch)))
            else:
                bounds = UNKNOWN
        segment.add(
            batch, offset, end, interval=self._log_settings.index_interval_bytes, bounds=bounds
        )
        run.buffers.append(batch)
        run.size_bytes += size
        run.end_offset = end
        self.tail.add(offset, batch, end)
        self.log_end = end
        self.upkeep.snapshot_bytes += size
        if producer >= 0 and not attributes & CONTROL:
            self.producers.appended(
                ProducerId(producer),
                ProducerEpoch(producer_epoch),
                Remembered(SequenceNumber(sequence), count, offset, now),
            )
        return offset

    def read(
        self, offset: Offset, max_bytes: int, *, end: Offset, start: Offset | None = None
    ) -> ReadResult | ReadPlan:
        """Return whole batches from the one that holds `offset` on, all below `end`.

        At least one, even if it is larger than `max_bytes`; none if `offset` is `end`. The first
        may begin below `offset`. What is no longer in memory is a plan. `start`: where a reader
        may begin, in a segment that is kept; the log start.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE: `offset` lies outside [start, end].
        """
        end, start = min(end, self.log_end), self.log_start if start is None else start
        if not start <= offset <= end:
            raise out_of_range(offset, start, end)
        if offset == end:
            return ReadResult([], offset, offset, 0)
        if offset >= self.tail.start:
            return self.tail.read(offset, max_bytes, end=end)
        segment = self.segment_of(offset)
        segment.epochs = self.leader_epochs
        self._owner.reading(segment)
        return ReadPlan(
            self._disk,
            segment,
            offset=offset,
            end=end,
            max_bytes=max_bytes,
            interval_bytes=self.index_interval_bytes,
        )

    def append_time_at(self, offset: Offset) -> AppendTimeMs | None:
        """Return the append time of the batch that holds an offset; None: only its file has it."""
        times = self.segment_of(offset).times_at(offset)
        return None if times is None else times.append_time

    def segments(self) -> tuple[SegmentView, ...]:
        """Return the segments as they are now, oldest first: what is written of them."""
        end, interval, kept = self.filed_end, self.index_interval_bytes, self._owner.stretches
        found = [segment for segment in self.segment_list if segment.base_offset <= end]
        for segment in found:
            segment.epochs = self.leader_epochs
        of_one = partial(SegmentView, self._disk, kept=kept, interval_bytes=interval, end=end)
        return tuple(map(of_one, found))

    def segment_of(self, offset: Offset) -> Segment:
        """Return the segment that holds an offset of the log."""
        for segment in reversed(self.segment_list):
            if segment.base_offset <= offset:
                return segment
        return self.segment_list[0]

    def truncate(self, offset: Offset) -> None:
        """Let the log end at `offset`, a batch boundary: positions fall at once, the files follow.

        Until `cut` is None again, which a finished round and perhaps a checkpoint bring about,
        nothing may be appended; and `producers` tells of the log as it was.
        """
        assert self.cut is None, "LOG_CUT_BEFORE_APPEND"
        assert offset >= self.log_start, "LOG_CUT_IS_ABOVE_START"
        if offset >= self.log_end:
            return
        self.cut = offset
        for segment in self.segment_list:
            if segment.end_offset > offset:  # the writer cuts its file before the round ends
                segment.generation, segment.shrinks = segment.generation + 1, True
        self._open_run = None
        self.log_end = offset
        self.written_end = min(self.written_end, offset)
        self.flushed_end = min(self.flushed_end, offset)
        self.high_watermark = min(self.high_watermark, offset)
        self.tail.truncate(offset)
        self.leader_epochs.roll_back(offset)
        self.touch()

    def trim(self, offset: Offset) -> None:
        """Move the log start forward to `offset`; whole segments below it go after a checkpoint."""
        if offset <= self.log_start:
            return
        assert offset <= settled_end(self), "LOG_START_IS_WRITTEN"
        self.log_start, self.high_watermark = offset, max(self.high_watermark, offset)
        # As far as batches are kept, for followers; of an empty log the last record's epoch stays.
        kept = min(self.segment_of(offset).base_offset, max(0, self.filed_end - 1))
        self.leader_epochs.trim(Offset(kept))
        self.drop_front()
        self._owner.checkpoint_wanted(self)

    def drop_front(self) -> None:
        """Let go of the segments that lie below the log start, as far as that can be done now.

        Not of the active one, nor of one that is still to be written, nor while a cut goes by what
        is there: when it has been sealed, or filed, or is done, this is asked again.
        """
        segments = self.segment_list
        before = len(segments)
        while (
            self.cut is None
            and len(segments) > 1
            and segments[0].end_offset <= self.log_start
            and segments[0].written_bytes == segments[0].size_bytes
        ):
            gone = segments.pop(0)
            self.removed = self.removed.after(gone.last_append_time, gone.event_bounds)
            gone.remove()
            self.upkeep.trimmed.append(gone)
        if len(segments) < before:
            self._owner.checkpoint_wanted(self)

    def roll(self) -> None:
        """Begin a new segment, unless the active one is empty or the log is being cut."""
        active = self.segment_list[-1]
        if active.size_bytes and self.cut is None:
            self._roll(active)

    def sync(self) -> None:
        """Let a checkpoint come soon: it syncs what only the files carry."""
        self._owner.checkpoint_wanted(self)

    def touch(self) -> None:
        """Let the next round look at the partition."""
        if not self._is_dirty:
            self._is_dirty = True
            self._owner.dirty(self)

    def taken(self) -> None:
        """A round took what it could; it may add to no run any more."""
        self._is_dirty = False
        self._open_run = None

    def _roll(self, segment: Segment) -> Segment:
        """Seal the active segment and begin the next."""
        segment.seal()
        self._open_run = None
        fresh = Segment(self._directory, self.log_end)
        self.segment_list.append(fresh)
        self.drop_front()
        self._owner.checkpoint_wanted(self)
        return fresh

    def _run(self, segment: Segment, epoch: LeaderEpoch, now: AppendTimeMs) -> Run:
        """Return the run that takes what is appended now: of a tick and an epoch, and not long."""
        assert self.cut is None, "LOG_CUT_BEFORE_APPEND"
        run = self._open_run
        if (
            run is not None
            and run.append_time == now
            and run.leader_epoch == epoch
            and run.size_bytes <= RUN_BYTES_MAX
        ):
            return run
        offset = self.log_end
        segment.begin_run(offset, epoch, now)
        self.leader_epochs.appended(epoch, offset)
        carrier = _CARRIERS[self.settings.flush is _ASYNC]
        place = (segment.log_name, segment.base_offset, Position(segment.size_bytes))
        run = Run(*place, offset, offset, epoch, now, carrier)
        self.pending.append(run)
        self._open_run = run
        if not self._is_dirty:
            self.touch()
        return run
