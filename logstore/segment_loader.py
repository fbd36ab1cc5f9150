"""Reading what a segment knows from before this start: its index, and its append times.

Blocks on the disk: for the read pool. The index is a cache: one that does not fit is made anew.
Append times are data: a row that is damaged is made up from the batches' own timestamps, as
near to the truth as they allow, and reported (P37).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from logstore.index_builder import IndexBuilder
from logstore.leader_epochs import EpochBounds
from logstore.offset_index import OffsetIndex, Witness
from logstore.recovery_report import Finding
from logstore.replace_file import read_file
from logstore.times import ROW_BYTES, DecodedTimes, Times, decode
from logstore.times_repair import repair
from model.errors import MalformedError
from model.ids import AppendTimeMs, Offset, Position
from model.ports import Disk, File
from model.record import HEADER_BYTES, BatchHeader

CHUNK_BYTES: Final = 256 << 10


class Source(NamedTuple):
    """What to read; taken on the loop, immutable."""

    log_name: str
    times_name: str
    index_name: str
    base_offset: Offset
    end_offset: Offset
    size_bytes: int
    times_bytes: int
    first_append_time: AppendTimeMs
    last_append_time: AppendTimeMs
    interval_bytes: int
    epochs: EpochBounds
    """What the log's table knows of its batches."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a segment knows up to where it was taken over."""

    index: OffsetIndex | None
    """None: only the append times were asked for."""
    times: Times
    damage: tuple[Finding, ...]
    """Rows of append times that had to be made up."""
    guessed: tuple[Offset, Offset] | None = None
    """Between these base offsets lies every batch whose append time is made up."""
    lost_from: Offset | None = None
    """`Repaired.lost_from`."""


def load_times(disk: Disk, source: Source) -> Loaded:
    """Read a segment's append times; of batches none are left if the file is missing.

    Raises:
        OSError: the disk refused.
    """
    try:
        log = disk.open(source.log_name)
    except FileNotFoundError:
        return _load_times(disk, None, source)
    try:
        return _load_times(disk, log, source)
    finally:
        log.close()


def load(disk: Disk, source: Source, *, with_index: bool) -> Loaded:
    """Read a segment's rows. Raises OSError."""
    log = disk.open(source.log_name)
    try:
        index = _load_index(disk, log, source) if with_index else None
        loaded = _load_times(disk, log, source)
    finally:
        log.close()
    return replace(loaded, index=index)


def iter_headers(log: File, start: Position, end: int) -> Iterator[tuple[Position, BatchHeader]]:
    """Yield the header of each batch between two batch boundaries, and where it begins.

    Stops before anything that is no whole batch. Of a large batch perhaps only the header was read.
    """
    position = start
    chunk, chunk_at = b"", start
    while position + HEADER_BYTES <= end:
        if position + HEADER_BYTES > chunk_at + len(chunk):
            chunk, chunk_at = log.pread(min(CHUNK_BYTES, end - position), position), position
            if len(chunk) < HEADER_BYTES:
                return  # the file has lost its end: readers of what is missing will be told
        at = position - chunk_at
        size = int.from_bytes(chunk[at + 8 : at + 12], "big", signed=True) + 12
        if size < HEADER_BYTES or position + size > end:
            return
        view = memoryview(chunk)[at : at + size]
        yield position, BatchHeader.of_checked(view)
        position = Position(position + size)


def in_order(
    headers: Iterable[tuple[Position, BatchHeader]], source: Source
) -> Iterator[BatchHeader]:
    """Yield headers as long as their offsets rise within the segment.

    The checksum of a batch does not cover its base offset: what is out of order is damage, of which
    readers are told.
    """
    expected = source.base_offset
    for _, header in headers:
        if not expected <= header.base_offset < header.end_offset <= source.end_offset:
            return
        expected = header.end_offset
        yield header


def contiguous(
    headers: Iterable[tuple[Position, BatchHeader]], source: Source, *, begin: Offset
) -> Iterator[BatchHeader]:
    """Yield headers as long as each begins where the one before it ends; the first at `begin`.

    An index of others would lead readers to a batch that says a wrong offset, and a producer that
    sends again would be answered with it.
    """
    for header in in_order(headers, source):
        if header.base_offset != begin:
            return
        begin = header.end_offset
        yield header


def start_of(disk: Disk, log: File, source: Source, *, offset: Offset) -> tuple[Position, Offset]:
    """Return where a batch begins, in bytes and in offsets: `offset` is its, or lies behind it.

    As near as the index file knows one.
    """
    found = _index_file(disk, log, source)
    if found is None:
        return Position(0), source.base_offset
    return found.described.block_of(offset)


def _load_index(disk: Disk, log: File, source: Source) -> OffsetIndex:
    """Return the index of the whole source; from its file as far as that fits."""
    found = _index_file(disk, log, source)
    index, following = found or (OffsetIndex(source.base_offset), source.base_offset)
    builder = IndexBuilder(index, source.interval_bytes)
    headers = iter_headers(log, index.end, source.size_bytes)
    for header in contiguous(headers, source, begin=following):
        builder.add(header)
        following = header.end_offset
    builder.close()
    if index.end < source.size_bytes:
        # Damage that readers of these bytes will be told of: the last block takes them all.
        following = min(following, Offset(max(source.base_offset, source.end_offset - 1)))
        if len(index) and index.row(-1).offset >= following:
            index.truncate(following)
        index.append_block(following, index.end, Position(source.size_bytes))
    return index


class _IndexFile(NamedTuple):
    """An index from its file."""

    described: OffsetIndex
    following: Offset
    """The batch behind what it describes begins there; too high if its last batch lies."""


def _index_file(disk: Disk, log: File, source: Source) -> _IndexFile | None:
    """Return the index that the file holds, if it describes the segment as it is."""
    file = read_file(disk, source.index_name)
    if file is None:
        return None
    try:
        index = OffsetIndex.decode(file, source.base_offset)
    except MalformedError:
        return None
    last = _last_described(index, log, source)
    if last is None:
        return None
    return _IndexFile(index, Offset(max(last.end_offset, index.row(-1).offset + 1)))


def _last_described(index: OffsetIndex, log: File, source: Source) -> BatchHeader | None:
    """Return the last batch that an index describes; None: it is not of this segment as it is."""
    witness = index.witness
    if witness is None or index.end > source.size_bytes:
        return None
    head = log.pread(HEADER_BYTES, witness.position)
    if len(head) < HEADER_BYTES:
        return None
    header = BatchHeader.of_checked(memoryview(head))
    ends = witness.position + header.length + 12 == index.end
    return header if ends and Witness.of(header, witness.position) == witness else None


def _load_times(disk: Disk, log: File | None, source: Source) -> Loaded:
    """Return the append times of the whole source, and what of them was made up."""
    file = (read_file(disk, source.times_name) or b"")[: source.times_bytes]
    try:
        decoded = decode(file, source.base_offset)
        why = "checksum" if decoded.damaged else "file ends"
    except MalformedError as malformed:
        decoded = DecodedTimes(Times(source.base_offset), (0,), len(file))
        why = malformed.why
    short = source.times_bytes - len(file)
    if not decoded.damaged and not short:
        return Loaded(None, decoded.times, ())
    if short:  # rows at the end are missing: whatever lies behind the last whole one is guessed
        rows = len(decoded.times) + len(decoded.damaged)
        decoded = decoded._replace(damaged=(*decoded.damaged, rows))
    found = () if log is None else iter_headers(log, Position(0), source.size_bytes)
    repaired = repair(
        decoded,
        in_order(found, source),
        floor=source.first_append_time,
        ceiling=source.last_append_time,
        end=source.end_offset,
        epochs=source.epochs,
    )
    if repaired.guessed is None:
        return Loaded(None, repaired.times, ())
    first, last = repaired.guessed
    finding = Finding(
        source.times_name,
        0,
        len(decoded.damaged) * ROW_BYTES,
        f"{why}: batches from offset {first} to {last} have a guessed append time",
    )
    return Loaded(None, repaired.times, (finding,), repaired.guessed, repaired.lost_from)
