"""Opening a log directory: after a clean stop at once, after a crash by finding what is true.

It can be interrupted anywhere and begun again: until the checkpoint at its end is durable, nothing
that it needs is changed, and what it writes it would write again.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from logstore.checkpoint import (
    NO_TIME,
    Checkpoint,
    CheckpointRow,
    SegmentRow,
    encode_file,
    encode_row,
)
from logstore.checkpointer import remove_directory
from logstore.event_bounds import UNKNOWN
from logstore.identity import Identity
from logstore.journal_entry import Append, AppendDirect, ClockReserved, Decoded, Delete, Truncate
from logstore.journal_reader import SEQUENCE_STEP, JournalReader
from logstore.opening import Found, find, forget_clean_stop, spare_files
from logstore.paths import (
    CHECKPOINT,
    LOG,
    PARTITIONS,
    by_offset,
    parse_partition,
    partition_directory,
)
from logstore.recovering import Recovering, file_size, is_intact
from logstore.recovery_report import Finding, RecoveryReport
from logstore.replace_file import replace_file
from model.ids import AppendTimeMs, PartitionId
from model.ports import Disk


class Recovered(NamedTuple):
    """A directory that can be written to."""

    identity: Identity
    rows: tuple[CheckpointRow, ...]
    clock_floor: AppendTimeMs
    clock_reserved: AppendTimeMs
    """The floor as a start after a crash would find it; without a clean stop the same."""
    next_sequence: int
    free_files: list[int]
    clean: bool
    stray: tuple[PartitionId, ...]
    """Directories of partitions that neither checkpoint nor journal knows: left alone."""
    report: RecoveryReport


@dataclass(slots=True)
class _Replay:
    """The partitions above their rows."""

    disk: Disk
    rows: dict[PartitionId, CheckpointRow]
    reflected: dict[PartitionId, int]
    """Entries below it were reflected: of rows and tombstones."""
    clock_floor: AppendTimeMs
    states: dict[PartitionId, Recovering] = field(default_factory=dict)
    deleted: set[PartitionId] = field(default_factory=set)
    names_changed: bool = False

    def intact(self, decoded: Decoded) -> bool:
        """Tell whether a direct run that counts is in its file."""
        entry = decoded.entry
        if not isinstance(entry, AppendDirect) or not self._counts(entry.partition, decoded):
            return True
        return is_intact(self.disk, entry)

    def replay(self, decoded: Decoded) -> None:
        """Do what an entry says, unless the files reflect it already."""
        entry = decoded.entry
        if isinstance(entry, ClockReserved):
            self.clock_floor = max(self.clock_floor, entry.until)
            return
        if not self._counts(entry.partition, decoded):
            return
        match entry:
            case Append() | AppendDirect():
                self.state(entry.partition).replay(entry)
                self.clock_floor = max(self.clock_floor, entry.append_time)
            case Truncate():
                self.state(entry.partition).replay_truncate(entry)
            case Delete(partition):
                remove_directory(self.disk, partition_directory(partition))
                self.rows.pop(partition, None)
                self.states.pop(partition, None)
                self.names_changed = True

    def state(self, partition: PartitionId) -> Recovering:
        """Return a partition's state, beginning at its row."""
        state = self.states.get(partition)
        if state is None:
            row = self.rows.get(partition)
            state = self.states[partition] = Recovering.begin(self.disk, partition, row)
        return state

    def _counts(self, partition: PartitionId, decoded: Decoded) -> bool:
        return decoded.stamp.sequence >= self.reflected.get(partition, 0)


def recover(disk: Disk, identity: Identity, *, journal_bytes: int) -> Recovered:
    """Take a directory, bring it into a state that can be written to, and say what was done.

    Blocks. Raises:
        DirectoryRefused: in use or another's (12), damaged so that acknowledged records would be
            lost (11), of a newer format (13). Nothing was changed.
        OSError: the disk refused.
    """
    disk.lock()
    found = find(disk, identity)
    report = RecoveryReport(clean=found.clean is not None, new=found.new)
    if found.clean is not None:
        checkpoint, sequence = found.checkpoint, found.clean.next_sequence
        rows = checkpoint.rows
        # Not what was reserved and never used. A crash before the next checkpoint brings that back.
        clock_reserved = checkpoint.clock_floor
        appended = (segment.last_append_time for row in rows for segment in row.segments)
        clock_floor = max(found.clean.clock_floor, *appended, AppendTimeMs(0))
    else:
        rows, clock_floor, sequence = _recover(disk, found, report)
        clock_reserved = clock_floor
    rows = tuple(_compared(disk, row, report) for row in rows)
    free = spare_files(disk, journal_bytes=journal_bytes, clean=report.clean)
    if found.clean is not None:
        forget_clean_stop(disk)
    known = {row.partition for row in rows}
    return Recovered(
        found.identity,
        rows,
        clock_floor,
        clock_reserved,
        sequence,
        free,
        found.clean is not None,
        tuple(partition for partition in _partitions(disk) if partition not in known),
        report,
    )


def _recover(
    disk: Disk, found: Found, report: RecoveryReport
) -> tuple[tuple[CheckpointRow, ...], AppendTimeMs, int]:
    """Replay the journal, scan what only files carry, cut the rest, and write a checkpoint."""
    checkpoint = found.checkpoint
    reader = JournalReader(disk, checkpoint.covered)
    replay = _replay(disk, checkpoint)
    reader.check(replay.intact, report)
    for decoded in reader.entries():
        replay.replay(decoded)
        report.replayed_entries += 1
    for partition in replay.rows:
        if partition not in replay.states:
            state = replay.state(partition)
            state.scan(report)
    for state in replay.states.values():
        state.finish(report)
        replay.clock_floor = max(replay.clock_floor, *(s.last for s in state.segments))
        # A directory that a killed process made may be known to memory alone.
        replay.names_changed = replay.names_changed or state.made or state.row is None
    if replay.names_changed:
        # SYNC: directories that replay has made, or removed; the row or its absence needs them so.
        disk.sync_directory(PARTITIONS)
    sequence = reader.end + SEQUENCE_STEP
    rows = tuple(state.to_row(sequence) for state in replay.states.values())
    file = encode_file(
        [encode_row(row) for row in rows], [], covered=sequence, clock_floor=replay.clock_floor
    )
    replace_file(disk, CHECKPOINT, file)
    # SYNC: the journal is about to be overwritten.
    disk.sync_directory("")
    return rows, replay.clock_floor, sequence


def _replay(disk: Disk, checkpoint: Checkpoint) -> _Replay:
    """Begin at a checkpoint."""
    reflected = {row.partition: row.sequence for row in checkpoint.rows}
    reflected |= {
        partition: max(sequence, reflected.get(partition, 0))
        for partition, sequence in checkpoint.tombstones
    }
    rows = {row.partition: row for row in checkpoint.rows}
    return _Replay(disk, rows, reflected, checkpoint.clock_floor)


def _compared(disk: Disk, row: CheckpointRow, report: RecoveryReport) -> CheckpointRow:
    """Report what a row speaks of and the directory does not have; return the row to go on from.

    Where the segment that was written to is missing, the next one begins: behind a hole at the
    beginning of a file nothing would be found.
    """
    directory = partition_directory(row.partition)
    try:
        names = set(disk.list(directory))
    except FileNotFoundError:
        disk.make_directory(directory)
        names = set()
    is_missing = False
    for segment in row.segments:
        name = by_offset(segment.base_offset, LOG)
        is_missing = bool(segment.size_bytes) and name not in names
        if is_missing:
            why = "the segment is missing; readers will be told"
            report.repaired.append(Finding(f"{directory}/{name}", 0, segment.size_bytes, why))
    last = row.segments[-1]
    if last.size_bytes and not is_missing:  # of the others the scrub, and readers, will find it
        name = f"{directory}/{by_offset(last.base_offset, LOG)}"
        size = file_size(disk, name)
        is_missing = size < last.size_bytes
        if is_missing:
            why = "the file is shorter than the checkpoint says; readers will be told"
            report.repaired.append(Finding(name, size, last.size_bytes - size, why))
    if not is_missing:
        return row
    following = SegmentRow(row.end_offset, 0, 0, NO_TIME, NO_TIME, UNKNOWN)
    return replace(row, segments=(*row.segments, following))


def _partitions(disk: Disk) -> list[PartitionId]:
    """Return the partitions that have a directory."""
    found = (parse_partition(name) for name in disk.list(PARTITIONS))
    return [partition for partition in found if partition is not None]
