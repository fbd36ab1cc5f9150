"""What the batches of a log say of its idempotent producers: read from its files. Blocks.

A start reads the whole log, a cut reads the log as far as it stays (P20). Either begins at the
newest snapshot that can be read and reflects nothing behind the end.
"""

from collections.abc import Iterable
from typing import NamedTuple

from logstore.crc32c import crc32c
from logstore.paths import PRODUCERS, by_offset, parse_offset
from logstore.producer_snapshot import decode
from logstore.producer_state import Producer, ProducerState, Remembered
from logstore.replace_file import read_file
from logstore.segment_loader import Source, contiguous, iter_headers, load, start_of
from logstore.times import Times
from model.errors import MalformedError
from model.ids import AppendTimeMs, Offset, Position, ProducerEpoch, ProducerId, Sequence
from model.ports import Disk, File
from model.record import BatchHeader


class Stretch(NamedTuple):
    """One segment: taken on the loop while nothing may be appended, read by the writer."""

    source: Source
    """As this start found it."""
    base_offset: Offset
    size_bytes: int
    """Of the `.log`, once the round that cuts it has written what came before."""
    times: Times | None
    """Append times that memory has: of what came since, the files may lack them."""
    times_whole: bool
    """They begin with the segment."""


class Replay(NamedTuple):
    """What is to be read."""

    directory: str
    first: Offset
    """Where the oldest segment begins."""
    end: Offset
    """Where the log is to end: a batch boundary."""
    stretches: tuple[Stretch, ...]
    """The segments that begin below it, oldest first."""
    known: ProducerState
    """What memory still knows of the batches below the end; nobody else has it."""


class Snapshot(NamedTuple):
    """What a snapshot says."""

    reflected: Offset
    producers: list[tuple[ProducerId, Producer]]


def newest_snapshot(
    disk: Disk, directory: str, offsets: Iterable[Offset], *, first: Offset, end: Offset
) -> Snapshot | None:
    """Return the newest of these snapshots that can be read and lies within [first, end].

    One below `first` says too little: batches that came after it are gone. Raises OSError.
    """
    for offset in sorted(offsets, reverse=True):
        if offset > end:
            continue
        file = read_file(disk, f"{directory}/{by_offset(offset, PRODUCERS)}")
        try:
            found = Snapshot(*decode(file or b""))
        except MalformedError:
            continue
        if first <= found.reflected <= end:
            return found
    return None


def replay_producers(disk: Disk, replay: Replay) -> ProducerState:
    """Return what a log that ends there says of its producers. WRITER THREAD; raises OSError.

    Without a snapshot the segments are read from the first one on, and memory adds what it knows of
    batches whose segments are gone. It adds too what it knows of batches that are damaged by now.
    """
    names = (parse_offset(name, PRODUCERS) for name in disk.list(replay.directory))
    offsets = [offset for offset in names if offset is not None]
    found = newest_snapshot(disk, replay.directory, offsets, first=replay.first, end=replay.end)
    start = replay.first if found is None else found.reflected
    state = replay.known.replayed(() if found is None else found.producers)
    state.begin_at(replay.end)
    following = [stretch.base_offset for stretch in replay.stretches[1:]]
    for stretch, end in zip(replay.stretches, (*following, replay.end), strict=False):
        if end > start and stretch.size_bytes:
            _replay_stretch(disk, stretch, state, start=start, end=replay.end)
    if found is None:
        state.join(replay.known)
    state.follow(replay.known, start=start)
    return state


def _replay_stretch(
    disk: Disk, stretch: Stretch, state: ProducerState, *, start: Offset, end: Offset
) -> None:
    """Tell the state of the batches of one segment within [start, end)."""
    try:
        file = disk.open(stretch.source.log_name)
    except FileNotFoundError:
        return  # reported; readers of it will be told
    times = _times(disk, stretch)
    whole = stretch.source._replace(end_offset=end, size_bytes=stretch.size_bytes)
    position, begin = start_of(disk, file, whole, offset=start)
    headers = iter_headers(file, position, stretch.size_bytes)
    for header in contiguous(headers, whole, begin=begin):
        at = position
        position = Position(position + header.size_bytes)
        if header.base_offset < start or header.producer_id < 0 or header.is_control:
            continue
        if is_sound(file, at, header.size_bytes):
            note_found(state, header, times.at(header.base_offset).append_time)
    file.close()


def _times(disk: Disk, stretch: Stretch) -> Times:
    """Return the append times of a segment: from its file, and what memory has on top of it."""
    fresh = stretch.times
    if stretch.times_whole and fresh is not None:
        return fresh
    times = load(disk, stretch.source, with_index=False).times
    if fresh is not None and len(fresh):
        times.truncate(fresh.row(0).offset)
        for row in fresh.rows():
            times.append(*row)
    return times


def note_found(state: ProducerState, header: BatchHeader, append_time: AppendTimeMs) -> None:
    """Tell a state of a producer's batch that was read from the log."""
    state.found(
        ProducerId(header.producer_id),
        ProducerEpoch(header.producer_epoch),
        Remembered(
            Sequence(header.base_sequence), header.record_count, header.base_offset, append_time
        ),
    )


def is_sound(file: File, position: Position, size_bytes: int) -> bool:
    """Tell whether a batch is what its producer sent: a rotted one must not speak for another."""
    batch = file.pread(size_bytes, position)
    if len(batch) < size_bytes:
        return False
    header = BatchHeader.of_checked(memoryview(batch))
    return crc32c(header.covered) == header.crc32c
