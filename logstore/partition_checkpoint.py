"""What a checkpoint does for one partition, and what holds once it is durable (pure).

A plan covers what finished rounds have written, and nothing of a round in flight.
"""

from bisect import insort
from typing import Final

from logstore.checkpoint import CheckpointRow, SegmentRow, encode_row
from logstore.flush import SNAPSHOT_BYTES
from logstore.leader_epochs import LeaderEpochs
from logstore.leader_epochs import encode as encode_epochs
from logstore.partition_log import PartitionLog
from logstore.paths import EPOCHS, GOING_FILES, PRODUCERS, by_offset
from logstore.producer_snapshot import encode as encode_producers
from logstore.round import FileWrite, PartitionCheckpoint
from logstore.segment import Segment
from model.ids import AppendTimeMs, Offset

INDEX_BYTES: Final = 16 << 20
"""Of the active segment, between two writes of its index: what a first read scans at most."""
SNAPSHOTS_KEPT: Final = 2
"""Beside the sound one and a committed one. None of them is synced: of the oldest most is on the
disk by now."""


def plan(log: PartitionLog, sequence: int, *, stopping: bool) -> PartitionCheckpoint:
    """Return the plan. `sequence`: journal entries below it are of finished rounds. Loop only.

    Batches that are in the journal alone stay above the row.
    """
    end = log.filed_end
    sequence = log.carriage.reflected(sequence)
    segments = [s for s in log.segment_list if s.base_offset <= end]
    times: list[FileWrite] = []
    sync: list[str] = []
    caches: list[tuple[str, bytes]] = []
    names_changed, trimmed = log.upkeep.names_changed, bool(log.upkeep.trimmed)
    log.upkeep.checkpointing = []
    for segment in segments:
        position = segment.times_bytes
        if rows := segment.unfiled_rows(end):
            times.append(FileWrite(segment.times_name, position, rows))
            segment.written_times_bytes = segment.times_bytes
        if segment.written_bytes != segment.durable_bytes:
            names_changed = names_changed or not segment.durable_bytes
            if segment.written_bytes:
                sync.append(segment.log_name)
        times_bytes = segment.written_times_bytes
        if times_bytes != segment.durable_times_bytes:
            names_changed = names_changed or not segment.durable_times_bytes
            if times_bytes:
                sync.append(segment.times_name)
        if _index_due(segment, stopping=stopping) and segment.index is not None:
            caches.append((segment.index_name, segment.index.encode()))
            segment.indexed_bytes = segment.index.end
        log.upkeep.checkpointing.append((segment, segment.written_bytes, times_bytes))
    small: list[tuple[str, bytes]] = []
    if log.leader_epochs.changed or trimmed:
        name, table, sole = _epochs(log, end)
        (small if sole else caches).append((name, table))
    sound = (trimmed or log.upkeep.sound_snapshot is None) and _is_sole_copy(log, end)
    least = 0 if sound else 1 if stopping else SNAPSHOT_BYTES
    if snapshot := _snapshot(log, end, least=least):
        # One that the segments, or a sound one with them, tell as well saves reading them: nobody
        # misses it.
        (small if sound else caches).append(snapshot)
        small += _kept_sound(log, end) if sound else ()
    part = PartitionCheckpoint(
        log.id,
        log.directory_name,
        _row(log, segments, sequence),
        end,
        sequence,
        times=times,
        sync=sync,
        small=small,
        caches=caches,
        names_changed=names_changed or trimmed,
        unlink=_unlink(log, end),
    )
    log.upkeep.names_changed = False
    log.upkeep.unsynced_since = None
    return part


def finish(log: PartitionLog, part: PartitionCheckpoint) -> None:
    """Note that a plan's row is durable. Loop only."""
    assert log.upkeep.checkpointing is not None, "CHECKPOINT_WAS_PLANNED"
    for segment, size, times_bytes in log.upkeep.checkpointing:
        segment.durable_bytes, segment.durable_times_bytes = size, times_bytes
    log.upkeep.checkpointing = None
    log.carriage.row_durable(part.sequence, part.end_offset)
    reached = part.end_offset if log.cut is None else min(part.end_offset, log.cut)
    log.flushed_end = max(log.flushed_end, reached)


def _row(log: PartitionLog, segments: list[Segment], sequence: int) -> bytes:
    rows: list[SegmentRow] = []
    for segment in segments:
        last = segment.last_append_time
        if segment.written_bytes != segment.size_bytes:
            last = _append_time_below(segment, log.filed_end, last)
        rows.append(segment.row(segment.written_bytes, segment.written_times_bytes, last))
    return encode_row(
        CheckpointRow(
            partition=log.id,
            log_start=log.log_start,
            end_offset=log.filed_end,
            sequence=sequence,
            high_watermark=min(log.high_watermark, log.filed_end),
            removed=log.removed,
            segments=tuple(rows),
        )
    )


def _append_time_below(segment: Segment, end: Offset, otherwise: AppendTimeMs) -> AppendTimeMs:
    row = segment.times_at(Offset(end - 1)) if end > segment.base_offset else None
    return otherwise if row is None else row.append_time


def _index_due(segment: Segment, *, stopping: bool) -> bool:
    """Tell whether the segment's index is worth writing, and speaks of written bytes alone."""
    index = segment.index
    if index is None or not segment.index_whole or not index.writable:
        return False
    if index.end > segment.written_bytes or index.end <= segment.indexed_bytes:
        return False
    return segment.sealed or stopping or index.end - segment.indexed_bytes >= INDEX_BYTES


def _epochs(log: PartitionLog, end: Offset) -> tuple[str, bytes, bool]:
    """Return the table of leader epochs, name and content, and whether it is the sole copy.

    It is if no segment holds a record of the latest epoch below the row's end: of a log without a
    record nothing else knows the epoch above which the next one must lie. Then it says nothing of
    what may be lost, and it with that. Else it is a cache: append times name the epochs, and are
    what an unclean start believes.
    """
    known = log.leader_epochs
    rows = [row for row in known.rows if row.start < end]
    sole = bool(rows) and rows[-1].start < log.segment_list[0].base_offset
    table = LeaderEpochs(rows) if sole else known
    known.changed = table.latest != known.latest
    return f"{log.directory_name}/{EPOCHS}", encode_epochs(table), sole


def _is_sole_copy(log: PartitionLog, at: Offset) -> bool:
    """Tell whether a producer's batches below `at` lie in segments that are gone, or about to go.

    They may where none of those that are remembered lies below `at`: more came since than the
    window holds.
    """
    floor = log.segment_list[0].base_offset
    return floor > 0 and not all(
        known.window and floor <= known.window[0].base_offset < at
        for _, known in log.producers.items()
    )


def _snapshot(log: PartitionLog, end: Offset, *, least: int) -> tuple[str, bytes] | None:
    """Return the producer snapshot of what is below `end`, if one is due.

    `least`: bytes filed since the last one. A sound one stays as it is, even if another of the
    same name is due: that one might not be synced.
    """
    # What waits for the files was counted as well: the next snapshot will have it.
    unfiled = sum(segment.size_bytes - segment.written_bytes for segment in log.segment_list)
    if log.upkeep.snapshot_bytes - unfiled < least or end == log.upkeep.sound_snapshot:
        return None
    log.upkeep.snapshot_bytes = unfiled
    return _snapshot_at(log, end)


def _snapshot_at(log: PartitionLog, end: Offset) -> tuple[str, bytes]:
    """Return the snapshot of what is below `end`, name and content, and note that it is there."""
    if end not in log.upkeep.snapshots:
        insort(log.upkeep.snapshots, end)
    # What is accepted and not yet written may be lost, and a snapshot that reflects it with it.
    # Nor does a cut under way count: until the journal has it, a start finds the log as it was.
    whole = end == log.log_end and log.cut is None
    known = log.producers if whole else log.producers.as_of(end)
    return f"{log.directory_name}/{by_offset(end, PRODUCERS)}", encode_producers(known, end)


def _kept_sound(log: PartitionLog, end: Offset) -> list[tuple[str, bytes]]:
    """Note which snapshot is the sound one: that at `end`, unless a cut is to take it along.

    Then it is another one, where the log will end: it is returned, if memory knows it exactly. Else
    none is, and those below stay.
    """
    if log.cut is None or end <= log.cut:
        log.upkeep.sound_snapshot = end
    elif log.producers.reaches(log.cut):
        log.upkeep.sound_snapshot = log.cut
        return [_snapshot_at(log, log.cut)]
    return []


def has_small_files(log: PartitionLog) -> bool:
    """Tell whether a stop has something to write although everything else is saved."""
    return log.upkeep.snapshot_bytes > 0 or log.leader_epochs.changed


def _unlink(log: PartitionLog, end: Offset) -> list[str]:
    """Return what nobody needs once the row is durable."""
    unlink = [
        name
        for segment in log.upkeep.trimmed
        for name in (
            f"{segment.directory}/{by_offset(segment.base_offset, ending)}"
            for ending in GOING_FILES
        )
    ]
    log.upkeep.trimmed.clear()
    useful = [offset for offset in log.upkeep.snapshots if offset <= end]
    sound = log.upkeep.sound_snapshot
    older = [offset for offset in useful if sound is not None and offset < sound]
    # A cut begins there: nothing that is committed is cut off, unless an election says so.
    committed = max((offset for offset in useful if offset <= log.high_watermark), default=None)
    for offset in (*older, *useful[len(older) : -SNAPSHOTS_KEPT]):
        if offset in {sound, committed} or (log.cut is not None and offset <= log.cut):
            continue
        unlink.append(f"{log.directory_name}/{by_offset(offset, PRODUCERS)}")
        log.upkeep.snapshots.remove(offset)
    return unlink
