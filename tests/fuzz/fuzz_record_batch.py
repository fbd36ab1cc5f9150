"""Any bytes as record batches, and as the records under a header that tells the truth about them.

Nothing but MalformedError may come of it; and whoever reads the same batch must read the same.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from logstore.batch import (
    decode_batch,
    decode_slices,
    encode_batch,
    event_times,
    iter_timestamps,
)
from logstore.batch_records import RecordCursor
from logstore.compression import Codec, decompress, decompress_slices
from logstore.crc32c import crc32c
from logstore.validate import check_produced
from model.errors import MalformedError, RequestError
from model.record import HEADER, LOG_APPEND_TIME, BatchHeader, NewRecord, Record, iter_batches

RECORDS: Final = (
    NewRecord(1_700_000_000_000, None, b"value"),
    NewRecord(-1, b"key", None, ((b"trace", b"1"), (b"trace", None))),
    NewRecord(1_699_999_000_000, b"", bytes(9_000)),
    NewRecord(5, b"k" * 70, b"v" * 70),
)
_MINE: Final = 7
"""Bytes of the input that make the header: attributes, record count, what the offsets allow."""
READS: Final = 10
"""To compare: five times as a run, and as often as records under a header of ours."""
MANY: Final = 20_000
"""Records of the shortest kind in a large sample."""
"""An input is read so many times, to compare."""


def samples() -> list[bytes]:
    """Return runs of batches of every codec, and records under a header of ours."""
    batches = [encode_batch(RECORDS, compression=codec, base_offset=9) for codec in Codec]
    runs = [bytes(batch) for batch in (*batches, batches[0] + batches[4])]
    heads = [bytes([codec | stamp, 0, 4, 0, 0, 1, 0]) for codec in Codec for stamp in (0, 8)]
    return runs + [head + bytes(batches[head[0] & ~LOG_APPEND_TIME][61:]) for head in heads]


def large_samples() -> list[bytes]:
    """Return many of the shortest records, one with many headers, and zeros that expand a lot."""
    shortest = [NewRecord(1, None, None)] * MANY
    headers = [NewRecord(1, None, None, ((b"", None),) * 1_000)] * 20
    bomb = [NewRecord(1, None, bytes(4 << 20))]
    return [
        *(bytes(encode_batch(shortest, compression=codec)) for codec in (Codec.NONE, Codec.ZSTD)),
        bytes(encode_batch(headers)),
        *(bytes(encode_batch(bomb, compression=codec)) for codec in (Codec.GZIP, Codec.ZSTD)),
    ]


def expanded_bytes(data: bytes) -> int:
    """Return how many bytes the batches of an input become, both ways in which it is read."""
    found = 0
    with suppress(MalformedError):
        for batch in iter_batches(memoryview(data)):
            found += _expanded(batch)
    if len(data) >= _MINE:
        found += _expanded(_headed(data[:_MINE], data[_MINE:]))
    return found


def _expanded(batch: memoryview) -> int:
    found = 0
    with suppress(MalformedError):
        header = BatchHeader(batch)
        for part in decompress_slices(header.compression, header.records):
            found += len(part)
    return found


def fuzz(data: bytes) -> None:
    """Read the input both ways."""
    with suppress(MalformedError):  # a run may end in something else
        for batch in iter_batches(memoryview(data)):
            _read(batch)
    if len(data) >= _MINE:
        _read(_headed(data[:_MINE], data[_MINE:]))


def _headed(mine: bytes, records: bytes) -> memoryview:
    count = int.from_bytes(mine[1:3], "big")
    batch = bytearray(HEADER.size) + records
    HEADER.pack_into(
        batch, 0, 100, len(batch) - 12, 0, 2, 0, mine[0], count + mine[3],
        int.from_bytes(mine[4:], "big", signed=True) << 40, 5, -1, -1, -1, count,
    )  # fmt: skip
    batch[17:21] = crc32c(memoryview(batch)[21:]).to_bytes(4, "big")
    return memoryview(batch)


def _read(batch: memoryview) -> None:
    with suppress(RequestError):
        check_produced(batch, max_message_bytes=1 << 20)
    records = _result(lambda: decode_batch(batch))
    sliced = _result(lambda: [each for part in decode_slices(batch, every=3) for each in part])
    assert records == sliced, "decode_batch and decode_slices differ"
    assert records == _result(lambda: _carefully(batch)), "quick and careful loop differ"
    if records is None:
        return
    times = [(record.offset, record.timestamp_ms) for record in records]
    assert list(iter_timestamps(batch)) == times, "decode_batch and iter_timestamps differ"
    known = [time for _, time in times if time != -1]
    if known:
        assert event_times(batch) == (min(known), max(known)), "event_times differs"


def _carefully(batch: memoryview) -> list[Record]:
    header = BatchHeader(batch)
    cursor = RecordCursor(header, decompress(header.compression, header.records))
    records: list[Record] = []
    while cursor.left:  # a record with many headers ends a step early
        rows = cursor._take_carefully(cursor.left)
        cursor.left -= len(rows)
        records += map(Record._make, rows)
    cursor.finish()
    return records


def _result(read: Callable[[], list[Record]]) -> list[Record] | None:
    """Return what was read; None if the bytes do not parse."""
    try:
        return read()
    except MalformedError:
        return None
