"""Record batches as a client makes and reads them; with the extra `speed` (docs/formats).

Format: docs/formats/record_batch.md, which is Kafka's record batch, magic 2. A batch is made in two
moves: its records become a body, compressed, as soon as nothing more joins it; the header with the
producer's stamp follows when the batch is sent, for only then is its sequence known.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from tidelog.compression import NAMES, NUMBERS, Unreadable, compress, expand
from tidelog.types import BatchInfo, Compression

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES: Final = 61
"""A batch has at least so many, before its records."""
_LENGTH_FROM: Final = 12
_COVERED_FROM: Final = 21
_MAGIC: Final = 2
_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_CONTROL: Final = 0x20
_SMALL: Final = 1 << 13


class Row(NamedTuple):
    """A record on its way out."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


class Stamp(NamedTuple):
    """What makes a batch idempotent: who sent it, and which number its first record has."""

    producer_id: int
    producer_epoch: int
    base_sequence: int


NOBODY: Final = Stamp(-1, -1, -1)


class Body(NamedTuple):
    """The records of a batch, ready to be sealed under a header."""

    records: bytes
    codec: int
    record_count: int
    base_timestamp: int
    max_timestamp: int


class StoredRow(NamedTuple):
    """A record as a batch holds it."""

    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]


class StoredBatch(NamedTuple):
    """A batch that was read."""

    info: BatchInfo
    rows: Sequence[StoredRow]


class CorruptBatchError(ValueError):
    """Bytes that are not the batch they say they are."""


def can_build() -> bool:
    """Tell whether batches can be made and checked here: the checksum's package is there."""
    return find_spec("fastcrc") is not None


@cache
def _crc32c() -> Any:
    from fastcrc import crc32  # noqa: PLC0415 - optional

    return crc32.iscsi


def _varint(number: int) -> bytes:
    """Return a number zigzag, seven bits a byte, the lowest first."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_VARINTS: Final = tuple(_varint(number) for number in range(_SMALL))
_NULL: Final = _varint(-1)


def _length(size: int) -> bytes:
    return _VARINTS[size] if size < _SMALL else _varint(size)


def encode_body(rows: Sequence[Row], compression: Compression) -> Body:
    """Return the records of one batch, compressed."""
    base = rows[0].timestamp_ms
    latest = base
    parts: list[bytes] = []
    for delta, (time, key, value, headers) in enumerate(rows):
        latest = max(latest, time)
        apart = time - base
        record = b"".join(
            (
                b"\0",
                _VARINTS[apart] if 0 <= apart < _SMALL else _varint(apart),
                _length(delta),
                _NULL if key is None else _length(len(key)) + key,
                _NULL if value is None else _length(len(value)) + value,
                _encode_headers(headers) if headers else b"\0",
            )
        )
        parts += (_length(len(record)), record)
    packed = compress(compression, b"".join(parts))
    return Body(packed, NUMBERS[compression], len(rows), base, latest)


def _encode_headers(headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    parts = [_length(len(headers))]
    for key, value in headers:
        parts += (_length(len(key)), key)
        parts.append(_NULL if value is None else _length(len(value)) + value)
    return b"".join(parts)


def seal(body: Body, stamp: Stamp = NOBODY) -> bytes:
    """Return the whole batch; offset 0 and epoch -1 are for the leader to replace."""
    batch = bytearray(HEADER_BYTES + len(body.records))
    _HEADER.pack_into(
        batch, 0, 0, len(batch) - _LENGTH_FROM, -1, _MAGIC, 0, body.codec, body.record_count - 1,
        body.base_timestamp, body.max_timestamp, *stamp, body.record_count,
    )  # fmt: skip
    batch[HEADER_BYTES:] = body.records
    checksum = _crc32c()(memoryview(batch)[_COVERED_FROM:])
    batch[_COVERED_FROM - 4 : _COVERED_FROM] = checksum.to_bytes(4, "big")
    return bytes(batch)


def split(encoded: bytes) -> Iterator[memoryview]:
    """Yield the batches that lie back to back in an answer.

    Raises:
        CorruptBatchError: the last one is cut short, or what begins there is no batch.
    """
    run, at = memoryview(encoded), 0
    while at < len(run):
        if len(run) - at < HEADER_BYTES:
            raise CorruptBatchError(f"{len(run) - at} bytes are left, a batch has 61 at least")
        size = int.from_bytes(run[at + 8 : at + 12], "big", signed=True) + _LENGTH_FROM
        if not HEADER_BYTES <= size <= len(run) - at:
            raise CorruptBatchError(f"a batch of {size} bytes, {len(run) - at} are there")
        yield run[at : at + size]
        at += size


def info_of(batch: memoryview) -> BatchInfo:
    """Return what a batch says of itself; the checksum is not looked at."""
    fields = _HEADER.unpack_from(batch)
    return BatchInfo(
        base_offset=fields[0],
        record_count=fields[12],
        size_bytes=len(batch),
        compression=NAMES.get(fields[5] & _CODEC, "none"),
        crc32c=fields[4],
        producer_id=fields[9],
        producer_epoch=fields[10],
        base_sequence=fields[11],
    )


def decode(batch: memoryview) -> StoredBatch:
    """Return a batch with its records; none if it holds a transaction's marker.

    Raises:
        CorruptBatchError: another magic, a wrong checksum, or records that are none.
        CodecMissing: this Python cannot expand it; a node can.
    """
    fields = _HEADER.unpack_from(batch)
    base_offset, magic, checksum, attributes = fields[0], fields[3], fields[4], fields[5]
    if magic != _MAGIC:
        raise CorruptBatchError(f"offset {base_offset}: magic {magic}, only {_MAGIC} is known")
    if _crc32c()(batch[_COVERED_FROM:]) != checksum:
        raise CorruptBatchError(f"offset {base_offset}: the batch fails its checksum")
    info = info_of(batch)
    if attributes & _CONTROL:
        return StoredBatch(info, ())
    stamp = fields[8] if attributes & _LOG_APPEND_TIME else None
    try:
        records = expand(attributes & _CODEC, batch[HEADER_BYTES:])
        rows = _rows(records, fields[12], base_offset, fields[7])
    except (IndexError, Unreadable) as broken:
        raise CorruptBatchError(f"offset {base_offset}: {broken}") from broken
    if stamp is not None:
        time = None if stamp == -1 else stamp
        rows = [row._replace(timestamp_ms=time) for row in rows]
    return StoredBatch(info, rows)


def _rows(data: bytes, count: int, base_offset: int, base_timestamp: int) -> list[StoredRow]:  # noqa: PLR0917 - hot: a call for each batch, by place
    """Return the records of a batch's expanded bytes."""
    rows: list[StoredRow] = []
    push = rows.append
    at = 0
    for _ in range(count):
        length, at = _read(data, at)
        end = at + length
        apart, at = _read(data, at + 1)  # behind the attributes
        delta, at = _read(data, at)
        key, at = _read_bytes(data, at)
        value, at = _read_bytes(data, at)
        headers: tuple[tuple[bytes, bytes | None], ...] = ()
        if data[at]:
            headers, at = _read_headers(data, at)
        else:
            at += 1
        if at != end:
            raise Unreadable(f"record {len(rows)}: {length} bytes, but it ends elsewhere")
        time = base_timestamp + apart
        push(StoredRow(base_offset + delta, None if time == -1 else time, key, value, headers))
    if at != len(data):
        raise Unreadable(f"{len(data) - at} bytes follow the last record")
    return rows


def _read(data: bytes, at: int) -> tuple[int, int]:
    """Return the zigzag varint at a byte, and the byte behind it."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + 1
        shift += 7
        if shift > 63:
            raise Unreadable(f"byte {at}: a number of more than 64 bits")


def _read_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _read(data, at)
    if length == -1:
        return None, at
    end = at + length
    if length < 0 or end > len(data):
        raise Unreadable(f"byte {at}: a length of {length}")
    return data[at:end], end


def _read_headers(data: bytes, at: int) -> tuple[tuple[tuple[bytes, bytes | None], ...], int]:
    count, at = _read(data, at)
    if not 0 <= count <= len(data) - at:
        raise Unreadable(f"byte {at}: {count} headers")
    headers: list[tuple[bytes, bytes | None]] = []
    for _ in range(count):
        key, at = _read_bytes(data, at)
        value, at = _read_bytes(data, at)
        if key is None:
            raise Unreadable(f"byte {at}: a header without key")
        headers.append((key, value))
    return tuple(headers), at
