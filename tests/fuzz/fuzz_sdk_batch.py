"""Any bytes as record batches that the SDK fetched as they are stored."""

from contextlib import suppress
from typing import Final

from logstore.batch import encode_batch
from logstore.compression import Codec, decompress_slices
from model.errors import MalformedError
from model.record import BatchHeader, NewRecord
from tests.fuzz.sealing import sealed_at
from tidelog.batch import CorruptBatchError, decode, info_of, split


def samples() -> list[bytes]:
    """Return a batch of each compression, and two in a row."""
    records = [
        NewRecord(1_700_000_000_000, None, b"value"),
        NewRecord(5, b"key", None, ((b"trace", b"1"), (b"trace", None))),
        NewRecord(7, b"", bytes(3_000)),
    ]
    batches = [bytes(encode_batch(records, compression=codec, base_offset=9)) for codec in Codec]
    return [*batches, batches[0] + batches[1]]


READS: Final = 4
"""Twice, and each time looked through before it is decoded."""


def large_samples() -> list[bytes]:
    """Return many of the shortest records, as they are and compressed."""
    shortest = [NewRecord(1, None, None)] * 20_000
    return [bytes(encode_batch(shortest, compression=codec)) for codec in (Codec.NONE, Codec.ZSTD)]


def expanded_bytes(data: bytes) -> int:
    """Return how many bytes the batches of an input become."""
    found = 0
    with suppress(CorruptBatchError):
        for batch in split(_resealed(data)):
            header = BatchHeader(batch)
            with suppress(MalformedError):
                found += sum(map(len, decompress_slices(header.compression, header.records)))
    return found


def fuzz(data: bytes) -> None:
    """Read the run as it is, and with the checksum of its first batch made right."""
    for run in (data, _resealed(data)):
        with suppress(CorruptBatchError):
            for batch in split(run):
                info_of(batch)
                decode(batch)


def _resealed(run: bytes) -> bytes:
    return sealed_at(run, 17, run[21 : 12 + int.from_bytes(run[8:12], "big")])
