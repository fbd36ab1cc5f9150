"""The checkpoint: how far the files of every partition are durable, and may be believed.

Format: docs/formats/checkpoint.md, version 1. Pure; the file is replaced as a whole.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from logstore.event_bounds import Bounds
from logstore.removed import INTERVALS_MAX, Removed
from logstore.replace_file import seal, unseal
from model.errors import MalformedError
from model.ids import AppendTimeMs, Offset, PartitionId, TopicId

MAGIC: Final = b"TLCHECKP"
VERSION: Final = 1
NO_TIME: Final = AppendTimeMs(-1)
"""Append time of a segment that holds nothing."""

_HEAD: Final = struct.Struct(">8sHHIIQq")  # magic, version, zero, rows, tombstones, covered, clock
_ROW: Final = struct.Struct(">16sIIqqQqqII")
_INTERVAL: Final = struct.Struct(">qq")
_SEGMENT: Final = struct.Struct(">qQQqqqq")
_TOMBSTONE: Final = struct.Struct(">16sIQ")


class SegmentRow(NamedTuple):
    """One segment, as far as it is durable."""

    base_offset: Offset
    size_bytes: int
    """Durable length of the `.log`; 0: the file may be missing."""
    times_bytes: int
    """Durable length of the `.times`; the rows cover the segment up to the next, or the end."""
    first_append_time: AppendTimeMs
    last_append_time: AppendTimeMs
    event_bounds: Bounds
    """Of all its records; UNKNOWN if they were never all looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """One partition."""

    partition: PartitionId
    log_start: Offset
    end_offset: Offset
    """Everything below it is durable in the files; anything above is in the journal, or async."""
    sequence: int
    """Journal entries of this partition below it are reflected in the files."""
    high_watermark: Offset
    removed: Removed
    """Of the segments that went from the front."""
    segments: tuple[SegmentRow, ...]
    """In order of offset, the active one last; at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The whole file."""

    covered: int
    """Journal entries below it are reflected in the files of every partition."""
    clock_floor: AppendTimeMs
    """No batch gets a lower append time any more."""
    rows: tuple[CheckpointRow, ...]
    tombstones: tuple[tuple[PartitionId, int], ...]
    """Deleted partitions of which the journal still holds entries, all below the sequence."""


def encode_row(row: CheckpointRow) -> bytes:
    """Return one partition's part of the file."""
    topic, number = row.partition
    head = _ROW.pack(
        topic, number, len(row.segments),
        row.log_start, row.end_offset, row.sequence, row.high_watermark,
        row.removed.append_time, row.removed.unread_segments, len(row.removed.event_times),
    )  # fmt: skip
    intervals = b"".join(_INTERVAL.pack(*times) for times in row.removed.event_times)
    return (
        head
        + intervals
        + b"".join(_SEGMENT.pack(*segment[:5], *segment.event_bounds) for segment in row.segments)
    )


def encode_file(
    rows: list[bytes],
    tombstones: list[tuple[PartitionId, int]],
    *,
    covered: int,
    clock_floor: AppendTimeMs,
) -> bytes:
    """Return the file, given the encoded rows."""
    head = _HEAD.pack(MAGIC, VERSION, 0, len(rows), len(tombstones), covered, clock_floor)
    graves = [_TOMBSTONE.pack(*partition, sequence) for partition, sequence in tombstones]
    return seal(b"".join((head, *rows, *graves)))


def decode(file: bytes) -> Checkpoint:
    """Return what a checkpoint file says.

    Raises:
        MalformedError: it is not what was written.
        DirectoryRefused: its format is newer than this program.
    """
    content = unseal(file, "checkpoint", magic=MAGIC, version=VERSION)
    try:
        _, _, zero, count, graves, covered, clock_floor = _HEAD.unpack_from(content)
        rows, at = [], _HEAD.size
        for _ in range(count):
            row, at = _decode_row(content, at)
            rows.append(row)
        tombstones = []
        for _ in range(graves):
            topic, number, sequence = _TOMBSTONE.unpack_from(content, at)
            tombstones.append((PartitionId(TopicId(topic), number), sequence))
            at += _TOMBSTONE.size
    except struct.error as short:
        raise MalformedError("checkpoint", 0, "rows end early") from short
    if zero:
        raise MalformedError("checkpoint", 10, "reserved bytes")
    if at != len(content):
        raise MalformedError("checkpoint", at, f"{len(content) - at} bytes too many")
    return Checkpoint(
        covered=covered, clock_floor=clock_floor, rows=tuple(rows), tombstones=tuple(tombstones)
    )


def _decode_row(content: memoryview, at: int) -> tuple[CheckpointRow, int]:
    topic, number, count, log_start, end, sequence, mark, *told = _ROW.unpack_from(content, at)
    removed, at = _decode_removed(content, at + _ROW.size, (told[0], told[1], told[2]))
    segments = []
    for _ in range(count):
        base, size, times, first, last, *bounds = _SEGMENT.unpack_from(content, at)
        segments.append(SegmentRow(base, size, times, first, last, Bounds(*bounds)))
        at += _SEGMENT.size
    if not segments:
        raise MalformedError("checkpoint", at, "a partition without a segment")
    row = CheckpointRow(
        partition=PartitionId(TopicId(topic), number),
        log_start=log_start,
        end_offset=end,
        sequence=sequence,
        high_watermark=mark,
        removed=removed,
        segments=tuple(segments),
    )
    return row, at


def _decode_removed(
    content: memoryview, at: int, told: tuple[int, int, int]
) -> tuple[Removed, int]:
    append_time, unread, count = told
    if count > INTERVALS_MAX:
        raise MalformedError("checkpoint", at, f"{count} intervals of removed event times")
    times = tuple(
        Bounds(*_INTERVAL.unpack_from(content, at + number * _INTERVAL.size))
        for number in range(count)
    )
    edges = [edge for interval in times for edge in interval]
    if edges != sorted(edges):
        raise MalformedError("checkpoint", at, "removed event times out of order")
    return Removed(AppendTimeMs(append_time), unread, times), at + count * _INTERVAL.size
