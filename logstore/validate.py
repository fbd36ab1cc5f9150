"""What a produced batch must satisfy before it is accepted: its header and its checksum.

Records are never decoded here: what the header claims about them is checked by whoever decodes
(docs/formats/record_batch.md says which claims that leaves open). What Kafka's broker refuses is
refused; the producer fields of a batch without producer id are not looked at, because clients of
long standing leave zeros there.
"""

from struct import Struct
from typing import Final, NoReturn

from logstore.crc32c import crc32c
from model.errors import ErrorCode, RequestError
from model.record import (
    COMPRESSION_MASK,
    CONTROL,
    COVERED_FROM,
    HEADER,
    HEADER_BYTES,
    LENGTH_COUNTS_FROM,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
)

_KIND: Final = Struct(">h20xq")
"""Attributes and, behind offset delta and times, the producer id: from COVERED_FROM on."""
_CODEC_MAX: Final = 4
_CLIENTS_BITS: Final = COMPRESSION_MASK | TRANSACTIONAL
"""Attributes that a client may set; the others belong to the log, or to nobody yet."""
_PLAIN: Final = frozenset(range(_CODEC_MAX + 1))
"""Attributes of nearly all batches: a codec and nothing else."""


def check_produced(batch: bytearray | memoryview, *, max_message_bytes: int) -> int:
    """Return the producer id of a batch that may be appended; -1: it has none.

    Raises:
        RequestError: RECORD_TOO_LARGE, CORRUPT_BATCH (lengths, checksum), INVALID_REQUEST (fields
            that were sent as they arrived and cannot be meant), UNSUPPORTED_COMPRESSION, or
            TIMESTAMP_OUT_OF_RANGE.
    """
    size = len(batch)
    if size > max_message_bytes:
        _refuse_size(size, max_message_bytes)
    if size < HEADER_BYTES:
        raise RequestError(
            ErrorCode.CORRUPT_BATCH,
            f"a record batch has {HEADER_BYTES} bytes at least, {size} were sent",
            size_bytes=str(size),
        )
    (
        _, length, _, magic, checksum, attributes, last_offset_delta, base_timestamp,
        max_timestamp, producer_id, producer_epoch, base_sequence, count,
    ) = HEADER.unpack_from(batch)  # fmt: skip
    if magic != MAGIC:
        raise RequestError(
            ErrorCode.CORRUPT_BATCH,
            f"magic {magic}: only record batches of magic {MAGIC} are accepted",
            magic=str(magic),
        )
    if length != size - LENGTH_COUNTS_FROM:
        raise RequestError(
            ErrorCode.CORRUPT_BATCH,
            f"the batch's length field says {length}, its bytes {size - LENGTH_COUNTS_FROM}; "
            "send one batch for each partition",
            length=str(length),
            size_bytes=str(size),
        )
    if (found := crc32c(memoryview(batch)[COVERED_FROM:])) != checksum:
        raise RequestError(
            ErrorCode.CORRUPT_BATCH,
            f"the batch's checksum is {checksum:08x}, its bytes have {found:08x}",
            checksum=f"{checksum:08x}",
            found=f"{found:08x}",
        )
    if attributes not in _PLAIN:
        _check_attributes(attributes & 0xFFFF, producer_id)
    if count <= 0 or count != last_offset_delta + 1:
        _refuse("record_count", count, f"a last offset delta of {last_offset_delta} contradicts it")
    if base_timestamp < -1 or max_timestamp < -1:
        _refuse_time(base_timestamp, max_timestamp)
    if producer_id != -1:
        _check_producer(producer_id, producer_epoch, base_sequence)
    return int(producer_id)


def is_plain(batch: bytearray | memoryview) -> bool:
    """Tell whether a sound batch names no producer, and says nothing certain of its times."""
    attributes, producer_id = _KIND.unpack_from(batch, COVERED_FROM)
    return bool(producer_id < 0 and not attributes & (CONTROL | LOG_APPEND_TIME))


def _check_attributes(attributes: int, producer_id: int) -> None:
    codec = attributes & COMPRESSION_MASK
    if codec > _CODEC_MAX:
        raise RequestError(
            ErrorCode.UNSUPPORTED_COMPRESSION,
            f"compression codec {codec} is unknown; 0 to {_CODEC_MAX} are none, gzip, snappy, lz4 "
            "and zstd",
            codec=str(codec),
        )
    if attributes & CONTROL:
        _refuse("attributes", attributes, "only the log itself writes control batches")
    if attributes & LOG_APPEND_TIME:
        _refuse("attributes", attributes, "only the log itself stamps batches with append time")
    if attributes & ~_CLIENTS_BITS:
        _refuse("attributes", attributes, "a bit is set that has no meaning in a produced batch")
    if attributes & TRANSACTIONAL and producer_id < 0:
        _refuse("producer_id", producer_id, "a transactional batch needs one")


def _check_producer(producer_id: int, producer_epoch: int, base_sequence: int) -> None:
    if producer_id < -1:
        _refuse("producer_id", producer_id, "-1 stands for none")
    if producer_epoch < 0:
        _refuse("producer_epoch", producer_epoch, "a batch with a producer id has one from 0 on")
    if base_sequence < 0:
        _refuse("base_sequence", base_sequence, "a batch with a producer id has one from 0 on")


def _refuse(field: str, value: int, why: str) -> NoReturn:
    raise RequestError(
        ErrorCode.INVALID_REQUEST,
        f"{field} of the record batch is {value}: {why}",
        field=field,
        value=str(value),
    )


def _refuse_size(size: int, limit: int) -> NoReturn:
    raise RequestError(
        ErrorCode.RECORD_TOO_LARGE,
        f"the record batch has {size} bytes, max.message.bytes is {limit}",
        size_bytes=str(size),
        limit_bytes=str(limit),
    )


def _refuse_time(base_timestamp: int, max_timestamp: int) -> NoReturn:
    raise RequestError(
        ErrorCode.TIMESTAMP_OUT_OF_RANGE,
        f"timestamps of the record batch are {base_timestamp} (base) and {max_timestamp} (max); "
        "-1 stands for none, nothing lies below",
        base_timestamp_ms=str(base_timestamp),
        max_timestamp_ms=str(max_timestamp),
    )
