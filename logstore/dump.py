"""Any of our files as rows for people: what is in it, and where it does not parse.

Reads only. A row that has `fault` says what is wrong at its position; what follows cannot be found,
or is found again where the format allows it.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from logstore import offset_index, times
from logstore.batch import decode_batch
from logstore.crc32c import crc32c
from logstore.event_bounds import NO_EVENT_TIME, UNKNOWN, Bounds
from logstore.journal import HEADER_BYTES as JOURNAL_HEADER_BYTES
from logstore.journal import JournalHeader, decode_header
from logstore.journal_entry import (
    Append,
    AppendDirect,
    ClockReserved,
    Decoded,
    Delete,
    Truncate,
    decode,
)
from model.errors import MalformedError
from model.ids import Offset, Position
from model.ports import File
from model.record import COVERED_FROM, HEADER_BYTES, LENGTH_COUNTS_FROM, BatchHeader

Row: TypeAlias = dict[str, object]

BATCH_BYTES_MAX: Final = 64 << 20
"""A length beyond this is a fault: no node accepts a batch so long."""
COMPRESSION: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_SIZE_BYTES: Final = 12


def segment_rows(file: File, *, records: bool = False) -> Iterator[Row]:
    """Yield a row for each batch of a `.log`; with `records`, one for each record too."""
    position, size = Position(0), file.size()
    while position < size:
        try:
            batch = read_batch(file, position)
        except MalformedError as malformed:
            yield {"position": position, "size_bytes": size - position, "fault": malformed.why}
            return
        yield batch_row(batch, position)
        if records:
            yield from _record_rows(batch, position)
        position = Position(position + len(batch))


def read_batch(file: File, position: Position) -> memoryview:
    """Return the batch that begins at a position; its checksum is not looked at.

    Raises:
        MalformedError: no whole batch begins there.
    """
    head = file.pread(HEADER_BYTES, position)
    if len(head) < HEADER_BYTES:
        raise MalformedError("record batch", position, f"{len(head)} bytes, a header has 61")
    size = int.from_bytes(head[8:_SIZE_BYTES], "big", signed=True) + LENGTH_COUNTS_FROM
    if not HEADER_BYTES <= size <= BATCH_BYTES_MAX:
        raise MalformedError("record batch", position, f"size {size}")
    batch = memoryview(file.pread(size, position))
    if len(batch) != size:
        raise MalformedError("record batch", position, f"{len(batch)} bytes of {size}")
    BatchHeader(batch)
    return batch


def batch_row(batch: memoryview, position: int) -> Row:
    """Return what a batch's header says, and whether its checksum holds."""
    header = BatchHeader(batch)
    codec = header.compression
    row: Row = {
        "position": position,
        "size_bytes": len(batch),
        "base_offset": header.base_offset,
        "last_offset": header.base_offset + header.last_offset_delta,
        "records": header.record_count,
        "leader_epoch": header.leader_epoch,
        "compression": COMPRESSION[codec] if codec < len(COMPRESSION) else str(codec),
        "log_append_time": header.is_log_append_time,
        "control": header.is_control,
        "max_timestamp_ms": header.event_time_max,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "crc32c": f"{header.crc32c:08x}",
    }
    found = crc32c(batch[COVERED_FROM:])
    if found != header.crc32c:
        row["fault"] = f"checksum: the bytes have {found:08x}"
    return row


def _record_rows(batch: memoryview, position: int) -> Iterator[Row]:
    try:
        for record in decode_batch(batch):
            yield {
                "position": position,
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "key": _shown(record.key),
                "value": _shown(record.value),
                "headers": len(record.headers),
            }
    except MalformedError as malformed:
        yield {"position": position, "fault": malformed.why}


def _shown(text: bytes | None) -> str | None:
    """Return bytes for people: what is not UTF-8 is escaped."""
    return None if text is None else text.decode("utf-8", "backslashreplace")


def index_rows(file: bytes, base_offset: Offset) -> Iterator[Row]:
    """Yield a row for each block of an `.index`."""
    try:
        index = offset_index.OffsetIndex.decode(file, base_offset)
    except MalformedError as malformed:
        yield {"fault": malformed.why}
        return
    for row in index.rows():
        earliest, latest = _bounds(row.bounds)
        yield {
            "offset": row.offset,
            "position": row.position,
            "end": row.end,
            "earliest_ms": earliest,
            "latest_ms": latest,
        }


def _bounds(bounds: Bounds) -> tuple[int | str, int | str]:
    if bounds == UNKNOWN:
        return "unknown", "unknown"
    return ("none", "none") if bounds == NO_EVENT_TIME else (bounds[0], bounds[1])


def times_rows(file: bytes, base_offset: Offset) -> Iterator[Row]:
    """Yield a row for each one of a `.times` file, then those that are damaged."""
    try:
        decoded = times.decode(file, base_offset)
    except MalformedError as malformed:
        yield {"fault": malformed.why}
        return
    for row in decoded.times.rows():
        yield {
            "offset": row.offset,
            "leader_epoch": row.leader_epoch,
            "append_time_ms": row.append_time,
        }
    for number in decoded.damaged:
        yield {"row": number, "fault": "checksum, or out of order"}
    if decoded.torn_bytes:
        yield {"row": len(file) // times.ROW_BYTES - 1, "fault": f"{decoded.torn_bytes} bytes torn"}


def journal_rows(file: bytes) -> Iterator[Row]:
    """Yield the header of a journal file, then each entry written under its salt."""
    try:
        header = decode_header(file[:JOURNAL_HEADER_BYTES])
    except MalformedError as malformed:
        yield {"position": 0, "fault": f"{malformed.why}: never used, or damaged"}
        return
    yield {
        "position": 0,
        "kind": "header",
        "first_sequence": header.first_sequence,
        "size_bytes": header.file_bytes,
        "salt": header.salt.hex(),
    }
    yield from _entries(file, header)


def _entries(file: bytes, header: JournalHeader) -> Iterator[Row]:
    position = Position(JOURNAL_HEADER_BYTES)
    while True:
        try:
            decoded = decode(file, position, salt=header.salt)
        except MalformedError as malformed:
            found = file.find(header.salt, position + 1, len(file) - JOURNAL_HEADER_BYTES)
            if found < 0:
                return
            yield {"position": position, "fault": malformed.why}
            position = Position(found)
            continue
        yield entry_row(decoded, position)
        position = Position(position + decoded.size_bytes)


def entry_row(decoded: Decoded, position: int) -> Row:
    """Return one journal entry."""
    row: Row = {
        "position": position,
        "size_bytes": decoded.size_bytes,
        "sequence": decoded.stamp.sequence,
        "synced": decoded.stamp.synced,
    }
    match decoded.entry:
        case Append() as entry:
            row |= {"kind": "append", "batch_bytes": sum(map(len, entry.batches))}
            row |= _place(entry)
        case AppendDirect() as entry:
            row |= {"kind": "append_direct"} | _place(entry)
        case Truncate(partition, offset):
            row |= {"kind": "truncate", "offset": offset, "topic_id": partition.topic.hex()}
            row |= {"partition": partition.number}
        case Delete(partition):
            row |= {"kind": "delete", "topic_id": partition.topic.hex()}
            row |= {"partition": partition.number}
        case ClockReserved(until):
            row |= {"kind": "clock", "until_ms": until}
    return row


def _place(entry: Append | AppendDirect) -> Row:
    base, segment, position = entry.place
    return {
        "topic_id": entry.partition.topic.hex(),
        "partition": entry.partition.number,
        "base_offset": base,
        "segment": segment,
        "segment_position": position,
        "leader_epoch": entry.leader_epoch,
        "append_time_ms": entry.append_time,
    }
