"""Record batches to bytes and back, and their timestamps without their records.

Format: docs/formats/record_batch.md. Nothing here runs when a batch is appended or fetched: batches
travel as they are. It runs where a node makes batches of plain records, or must look inside one.

Invariants:
    BATCH_HAS_RECORDS        nobody makes an empty batch; only compaction leaves one behind.
    BATCH_CODEC_SET_APART    the codec is a parameter of its own, never an attribute bit.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple

from logstore.batch_records import RecordCursor, encode_records
from logstore.compression import compress, decompress, decompress_slices
from logstore.crc32c import crc32c
from model.ids import Offset
from model.record import (
    CHECKSUM_AT,
    COMPRESSION_MASK,
    COVERED_FROM,
    HEADER,
    HEADER_BYTES,
    LENGTH_COUNTS_FROM,
    MAGIC,
    NO_TIMESTAMP,
    BatchHeader,
    NewRecord,
    Record,
)

SLICE_RECORDS: Final = 250
"""What is decoded within the 2 ms for which the loop is lent, with two or three headers each."""


def encode_batch(  # noqa: PLR0913 - the fields of the header, each by its name
    records: Sequence[NewRecord],
    *,
    compression: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    base_offset: int = 0,
    leader_epoch: int = -1,
    attributes: int = 0,
) -> bytearray:
    """Return one batch of all the records, sealed.

    `attributes`: bits of `model.record` beside the codec, such as TRANSACTIONAL.

    Raises:
        OverflowError: a timestamp has more than 64 bits.
    """
    assert records, "BATCH_HAS_RECORDS"
    assert not attributes & COMPRESSION_MASK, "BATCH_CODEC_SET_APART"
    base_timestamp = records[0].timestamp_ms
    try:
        body, max_timestamp = encode_records(records, base_timestamp)
    except OverflowError:  # too far apart for a delta; from zero, whatever has 64 bits fits
        base_timestamp = 0
        body, max_timestamp = encode_records(records, base_timestamp)
    if compression:
        body = [compress(compression, b"".join(body))]
    return seal(
        body,
        Stamp(producer_id, producer_epoch, base_sequence),
        records=len(records),
        times=(base_timestamp, max_timestamp),
        attributes=attributes | compression,
        place=(base_offset, leader_epoch),
    )


class Stamp(NamedTuple):
    """What makes a batch idempotent; -1 in each stands for none."""

    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1


def seal(
    body: Sequence[bytes],
    stamp: Stamp,
    *,
    records: int,
    times: tuple[int, int],
    attributes: int = 0,
    place: tuple[int, int] = (0, -1),
) -> bytearray:
    """Return the batch of so many encoded records: header, body, checksum.

    `times`: what the records' timestamps count from, and the greatest of them. `place`: base offset
    and leader epoch, which the leader writes over.
    """
    batch = bytearray().join([bytes(HEADER_BYTES), *body])
    HEADER.pack_into(
        batch, 0, place[0], len(batch) - LENGTH_COUNTS_FROM, place[1], MAGIC, 0, attributes,
        records - 1, *times, *stamp, records,
    )  # fmt: skip
    checksum = crc32c(memoryview(batch)[COVERED_FROM:])
    batch[CHECKSUM_AT:COVERED_FROM] = checksum.to_bytes(4, "big")
    return batch


def decode_batch(batch: memoryview) -> list[Record]:
    """Return every record of a batch, in order; the checksum is not looked at.

    A client can make a batch of 1 MiB hold millions of records. Where it is not known who made it,
    take `decode_slices`.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    header = BatchHeader(batch)
    cursor = RecordCursor(header, decompress(header.compression, header.records))
    records: list[Record] = []
    while cursor.left:
        records += cursor.take(cursor.left)
    cursor.finish()
    return records


def decode_slices(batch: memoryview, *, every: int = SLICE_RECORDS) -> Iterator[list[Record]]:
    """Yield the records of a batch, at most `every` of them at a time; none while it expands.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    header = BatchHeader(batch)
    parts: list[bytes] = []
    for part in decompress_slices(header.compression, header.records):
        parts.append(part)
        yield []
    cursor = RecordCursor(header, b"".join(parts))
    while cursor.left:
        yield cursor.take(every)
    cursor.finish()


def timestamp_slices(
    batch: memoryview, *, every: int = SLICE_RECORDS
) -> Iterator[list[tuple[Offset, int]]]:
    """Yield offset and timestamp of the records, `every` at most at a time; none while it expands.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    return (taken for _, taken in placed_timestamps(batch, every=every))


def placed_timestamps(
    batch: memoryview, *, every: int = SLICE_RECORDS
) -> Iterator[tuple[int, list[tuple[Offset, int]]]]:
    """Yield the same, each time with the byte of the expanded batch at which the first one begins.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    header = BatchHeader(batch)
    parts: list[bytes] = []
    for part in decompress_slices(header.compression, header.records):
        parts.append(part)
        yield HEADER_BYTES, []
    cursor = RecordCursor(header, b"".join(parts))
    while cursor.left:
        position = HEADER_BYTES + cursor.at
        yield position, cursor.take_times(every)
    cursor.finish()


def event_times(batch: memoryview) -> tuple[int, int] | None:
    """Return the least and the greatest timestamp of the records; None if no record has one.

    Exact, unlike the header's claim. Records whose timestamp is -1 do not count.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    walk = event_times_sliced(batch, every=1 << 31)
    while True:
        try:
            next(walk)
        except StopIteration as done:
            bounds: tuple[int, int] | None = done.value
            return bounds


def event_times_sliced(
    batch: memoryview, *, every: int = SLICE_RECORDS
) -> Generator[None, None, tuple[int, int] | None]:
    """Do the same, but yield after every so many records, and while it expands.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    header = BatchHeader(batch)
    if header.is_log_append_time:
        stamp = header.event_time_max
        return None if stamp == NO_TIMESTAMP else (stamp, stamp)
    parts: list[bytes] = []
    for part in decompress_slices(header.compression, header.records):
        parts.append(part)
        yield
    cursor = RecordCursor(header, b"".join(parts))
    bounds: list[int] = []
    while cursor.left:
        taken = [time for _, time in cursor.take_times(every) if time != NO_TIMESTAMP]
        if taken:
            bounds += (min(taken), max(taken))
        yield
    cursor.finish()
    return (min(bounds), max(bounds)) if bounds else None


def iter_timestamps(batch: memoryview) -> Iterator[tuple[Offset, int]]:
    """Yield offset and timestamp of every record, without its key, value and headers.

    The first step expands the batch; a driver that may not wait takes `event_times_sliced`.

    Raises:
        ExpandsBeyondError: too large to be read.
        MalformedError: the records are not what the header says.
    """
    header = BatchHeader(batch)
    cursor = RecordCursor(header, decompress(header.compression, header.records))
    while cursor.left:
        yield from cursor.take_times(SLICE_RECORDS)
    cursor.finish()
