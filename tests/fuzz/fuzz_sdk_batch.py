"""Any bytes as record batches that the SDK fetched as they are stored."""

from contextlib import suppress

from logstore.batch import encode_batch
from logstore.compression import Codec
from model.record import NewRecord
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


def fuzz(data: bytes) -> None:
    """Read the run as it is, and with the checksum of its first batch made right."""
    for run in (data, sealed_at(data, 17, data[21 : 12 + int.from_bytes(data[8:12], "big")])):
        with suppress(CorruptBatchError):
            for batch in split(run):
                info_of(batch)
                decode(batch)
