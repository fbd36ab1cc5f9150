"""One partition while its log directory is being recovered: from its checkpoint row to its end.

Every step can be done again after a crash in the middle: what lies above the row is not believed,
and what is below is cut only by a TRUNCATE that the journal keeps until the next checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from logstore.checkpoint import NO_TIME, CheckpointRow, SegmentRow
from logstore.crc32c import crc32c
from logstore.epochs_file import forget_epochs
from logstore.event_bounds import UNKNOWN, Bounds
from logstore.journal_entry import Append, AppendDirect, Buffer, Truncate
from logstore.paths import (
    EPOCHS,
    LOG,
    PRODUCERS,
    SEGMENT_FILES,
    TEMPORARY,
    TIMES,
    by_offset,
    parse_offset,
    partition_directory,
)
from logstore.recovery_report import Finding, RecoveryReport
from logstore.removed import NOTHING_REMOVED
from logstore.round import Cut
from logstore.round_writer import cut_files
from logstore.scanned import row_before, rows_above, whole_batches
from logstore.segment_loader import iter_headers
from logstore.times import ROW_BYTES, Times, TimesRow, encode_row
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import AppendTimeMs, Offset, PartitionId, Position
from model.ports import Disk
from model.record import BatchHeader, iter_batches

_FIRST: Final = Offset(0)


@dataclass(slots=True)
class RecoveringSegment:
    """One segment, as far as it is known."""

    base_offset: Offset
    size_bytes: int = 0
    times_bytes: int = 0
    """Of the `.times` file, as far as its rows are believed."""
    first: AppendTimeMs = NO_TIME
    last: AppendTimeMs = NO_TIME
    bounds: Bounds = UNKNOWN
    rows: Times | None = None
    """Rows to be written behind those."""
    closing: TimesRow | None = None
    """Likewise, of what only the files carry: says again how far batches are covered."""
    changed: bool = False
    """Its files hold something else than the row says, and are to be synced."""

    def appended(self, row: TimesRow, size_bytes: int) -> None:
        """Note batches, and when they were appended."""
        if self.first == NO_TIME:
            self.first = row.append_time
        self.last = row.append_time
        self.bounds = UNKNOWN
        self.size_bytes += size_bytes
        self.changed = True


@dataclass(slots=True)
class Recovering:
    """A partition's state; the row is what the checkpoint said, None if it knew nothing."""

    disk: Disk
    partition: PartitionId
    row: CheckpointRow | None
    log_start: Offset = _FIRST
    end: Offset = _FIRST
    segments: list[RecoveringSegment] = field(default_factory=list)
    touched: bool = False
    """Files were written or cut."""
    names: frozenset[str] = frozenset()
    """What the directory had before that."""
    cut: bool = False
    """Segments went, in this start or in the process before it."""
    made: bool = False
    """The directory was made."""
    first_changed: int = 0
    """Segments before it are as the row says."""

    @classmethod
    def begin(cls, disk: Disk, partition: PartitionId, row: CheckpointRow | None) -> "Recovering":
        """Begin at a row, or with nothing."""
        state = cls(disk, partition, row)
        if row is not None:
            state.log_start, state.end = row.log_start, row.end_offset
            state.segments = [RecoveringSegment(*segment) for segment in row.segments]
            state.first_changed = len(row.segments) - 1
        return state

    @property
    def directory(self) -> str:
        """Where the files lie."""
        return partition_directory(self.partition)

    def replay(self, entry: Append | AppendDirect) -> None:
        """Put an entry's batches where they were, and note when they were appended.

        Raises:
            DirectoryRefused: batches between the partition's end and the entry are missing.
        """
        base, segment_base, position = entry.place
        if not self.segments:
            self.log_start = self.end = base
        if not self.segments or segment_base != self.segments[-1].base_offset:
            self.segments.append(RecoveringSegment(segment_base))
        segment = self.segments[-1]
        new_segment = segment_base != base and position == 0
        if base != self.end or position != segment.size_bytes or new_segment:
            raise DirectoryRefused(
                DirectoryExit.FAILED,
                f"{self.directory}: the journal goes on at offset {base}, the files end at "
                f"{self.end}: what lies between is lost on this node; let it join again with an "
                "empty directory",
            )
        self._touch()
        name = f"{self.directory}/{by_offset(segment_base, LOG)}"
        file = self.disk.open(name, create=True)
        try:
            if isinstance(entry, Append):
                size = sum(map(len, entry.batches))
                file.pwrite(entry.batches, position)
                self.end = _end_of(entry.batches)
            else:
                size = entry.size_bytes
                for _, header in iter_headers(file, position, position + size):
                    self.end = header.end_offset
        finally:
            file.close()
        row = TimesRow(base, entry.leader_epoch, entry.append_time)
        if segment.rows is None:
            segment.rows = Times(segment_base)
        segment.rows.append(*row)
        segment.appended(row, size)

    def replay_truncate(self, entry: Truncate) -> None:
        """Cut the files, again if they were cut already."""
        offset = entry.offset
        if offset >= self.end:
            return
        self._touch()
        self.cut = True
        kept = [segment for segment in self.segments if segment.base_offset < offset]
        gone = tuple(segment.base_offset for segment in self.segments[len(kept) :])
        base = kept[-1].base_offset if kept else None
        done = cut_files(self.disk, Cut(self.directory, offset, base, gone))
        if kept:
            kept[-1].size_bytes = done.size_bytes
            kept[-1].changed = True
            kept[-1].times_bytes = min(kept[-1].times_bytes, done.times_bytes)
            if kept[-1].rows is not None:
                kept[-1].rows.truncate(offset)
            newest = kept[-1].rows.newest if kept[-1].rows is not None else None
            last = done.last_append_time if newest is None else newest.append_time
            if last is not None:
                kept[-1].last = last
        self.segments = [*kept, RecoveringSegment(offset)]
        self.first_changed = min(self.first_changed, max(0, len(kept) - 1))
        self.end = offset

    def _touch(self) -> None:
        """Files change: the directory must be there."""
        if not self.touched:
            self.touched = True
            self.made = self.disk.make_directory(self.directory) or self.made
            self.names = frozenset(self.disk.list(self.directory))

    def scan(self, report: RecoveryReport) -> None:
        """Go on from the row with what only the files carry: whole batches with known times."""
        try:
            names = set(self.disk.list(self.directory))
        except FileNotFoundError:
            return
        while self._scan_segment(self.segments[-1], names, report):
            following = RecoveringSegment(self.end)
            if by_offset(self.end, LOG) not in names:
                return
            self.segments.append(following)

    def _scan_segment(
        self, segment: RecoveringSegment, names: set[str], report: RecoveryReport
    ) -> bool:
        """Take over what is whole of one segment; tell whether another may follow it."""
        log_name, times_name = (
            by_offset(segment.base_offset, LOG),
            by_offset(segment.base_offset, TIMES),
        )
        if log_name not in names or times_name not in names:
            return bool(segment.size_bytes)
        log = self.disk.open(f"{self.directory}/{log_name}")
        times = self.disk.open(f"{self.directory}/{times_name}")
        try:
            log.drop_cache()
            times.drop_cache()
            base, known_bytes = segment.base_offset, segment.times_bytes
            known = row_before(times, known_bytes)
            rows = rows_above(times, base, self.end, known_bytes=known_bytes, before=known)
            covered = rows[-1].offset if rows else self.end
            number = 0
            for header in whole_batches(log, segment.size_bytes, report):
                if header.base_offset != self.end or header.end_offset > covered:
                    break
                while number < len(rows) and rows[number].offset <= header.base_offset:
                    known, number = rows[number], number + 1
                if known is None:
                    break  # no row is left that tells when it was appended
                segment.appended(known, header.size_bytes)
                self.end = header.end_offset
                segment.closing = known._replace(offset=self.end)
                self._touch()
            if segment.closing is not None:
                kept = sum(row.offset < self.end for row in rows)
                segment.times_bytes = (segment.times_bytes or ROW_BYTES) + kept * ROW_BYTES
        finally:
            log.close()
            times.close()
        return segment.size_bytes > 0

    def finish(self, report: RecoveryReport) -> None:
        """Cut the files to what is believed, write the times, sync; remove what is left over."""
        disk, directory = self.disk, self.directory
        if not self.segments:
            self.segments = [RecoveringSegment(Offset(0))]
        self.made = disk.make_directory(directory) or self.made
        known = {EPOCHS}
        for segment in self.segments:
            known |= {by_offset(segment.base_offset, end) for end in SEGMENT_FILES}
        removed = False
        names = disk.list(directory)
        if EPOCHS in names:
            removed = forget_epochs(disk, directory, self.end)
        for name in names:
            if self._is_left_over(name, known):
                if name.endswith(LOG) and (size := file_size(disk, f"{directory}/{name}")):
                    why = "a segment of which the log holds nothing"
                    report.dropped.append(Finding(f"{directory}/{name}", 0, size, why))
                disk.unlink(f"{directory}/{name}")
                removed = True
        for segment in self.segments[self.first_changed :]:
            if by_offset(segment.base_offset, LOG) in names:  # a missing one is told of later
                self._finish_log(segment, report)
            self._finish_times(segment)
        self._leave_a_hole_behind(names)
        if removed or self.cut or self._has_new_names():
            # SYNC: files that replay has made, and names that must not come back beside new ones.
            disk.sync_directory(directory)

    def _has_new_names(self) -> bool:
        """Tell whether a name may be lost that the next row speaks of.

        Not that of a file in which the row before it had bytes: like a checkpoint, which syncs the
        directory before it first speaks of bytes in a file. Unless the file was missing, and has
        been made again.
        """
        rows = self.row.segments if self.row is not None else ()
        named = {row.base_offset for row in rows if row.size_bytes and row.times_bytes}
        return any(
            segment.base_offset not in named
            or not {by_offset(segment.base_offset, end) for end in (LOG, TIMES)} <= self.names
            for segment in self.segments
            if segment.changed
        )

    def _leave_a_hole_behind(self, names: Sequence[str]) -> None:
        """Go on in a new segment where the last one lacks bytes: nothing would be found there."""
        last = self.segments[-1]
        name = by_offset(last.base_offset, LOG)
        if name in names and file_size(self.disk, f"{self.directory}/{name}") < last.size_bytes:
            self.segments.append(RecoveringSegment(self.end))

    def _finish_log(self, segment: RecoveringSegment, report: RecoveryReport) -> None:
        """Cut a `.log` behind its last believed batch."""
        name = f"{self.directory}/{by_offset(segment.base_offset, LOG)}"
        size, wanted = file_size(self.disk, name), segment.size_bytes
        if size > wanted:
            why = "behind the last batch that is whole and has its append time"
            report.dropped.append(Finding(name, wanted, size - wanted, why))
            self._touch()
        elif size < wanted:
            why = "the file is shorter than the checkpoint says; readers will be told"
            report.repaired.append(Finding(name, size, wanted - size, why))
        if size and (segment.changed or size > wanted):
            file = self.disk.open(name)
            if size > wanted:
                file.truncate(wanted)
            # SYNC: what was replayed or scanned is below the row that is written next; what was
            # cut must not come back behind it.
            file.fdatasync()
            file.close()

    def _finish_times(self, segment: RecoveringSegment) -> None:
        """Cut a `.times` behind its last believed row, and add the rows of the journal.

        What only the files carry is closed at its end: until the next checkpoint is durable
        another start finds there, whenever this one is killed, how far its batches are covered.
        """
        name = f"{self.directory}/{by_offset(segment.base_offset, TIMES)}"
        size = file_size(self.disk, name)
        if size > segment.times_bytes:
            self._touch()
        elif not segment.changed or not (size or segment.rows):
            return
        content = b""
        if segment.closing is not None:
            content = encode_row(segment.closing)
            segment.closing = None
        elif segment.rows:
            head = b"" if segment.times_bytes else segment.rows.encode_head()
            content = head + segment.rows.encode_rows()
            segment.rows = None
        file = self.disk.open(name, create=True)
        if content:
            file.pwrite([content], Position(segment.times_bytes))
            segment.times_bytes += len(content)
        if size > segment.times_bytes:
            file.truncate(segment.times_bytes)
        # SYNC: append times have the durability of their batches.
        file.fdatasync()
        file.close()

    def _is_left_over(self, name: str, known: set[str]) -> bool:
        """Tell whether a file is ours and of no use: half-written, trimmed, or above the end."""
        if name in known:
            return False
        if name.endswith(TEMPORARY):
            return True
        snapshot = parse_offset(name, PRODUCERS)
        if snapshot is not None:
            return snapshot > self.end
        return any(parse_offset(name, ending) is not None for ending in SEGMENT_FILES)

    def to_row(self, sequence: int) -> CheckpointRow:
        """Return the row that says what was recovered."""
        mark = self.row.high_watermark if self.row else self.log_start
        return CheckpointRow(
            partition=self.partition,
            log_start=self.log_start,
            end_offset=self.end,
            sequence=sequence,
            high_watermark=min(max(mark, self.log_start), self.end),
            removed=self.row.removed if self.row else NOTHING_REMOVED,
            segments=tuple(
                SegmentRow(s.base_offset, s.size_bytes, s.times_bytes, s.first, s.last, s.bounds)
                for s in self.segments
            ),
        )


def is_intact(disk: Disk, entry: AppendDirect) -> bool:
    """Tell whether the bytes that an APPEND_DIRECT speaks of are in the segment file."""
    _, segment, position = entry.place
    try:
        file = disk.open(f"{partition_directory(entry.partition)}/{by_offset(segment, LOG)}")
    except FileNotFoundError:
        return False
    try:
        file.drop_cache()
        content = file.pread(entry.size_bytes, position)
    finally:
        file.close()
    return len(content) == entry.size_bytes and crc32c(content) == entry.crc32c


def _end_of(batches: Sequence[Buffer]) -> Offset:
    """Return the offset behind the last batch of a run."""
    end = Offset(0)
    for buffer in batches:
        for batch in iter_batches(memoryview(buffer)):
            end = BatchHeader.of_checked(batch).end_offset
    return end


def file_size(disk: Disk, name: str) -> int:
    """Return a file's length; 0 if there is none."""
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return 0
    try:
        return file.size()
    finally:
        file.close()
