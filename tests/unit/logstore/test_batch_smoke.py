"""A short run of the fuzz targets of record batches, over damaged samples of every codec."""

import random
from collections.abc import Callable

import pytest

from logstore.batch import encode_batch
from logstore.compression import Codec, compress
from model.record import LOG_APPEND_TIME, NewRecord
from tests.fuzz import fuzz_compression, fuzz_record_batch

RECORDS = [
    NewRecord(1_700_000_000_000, None, b"value"),
    NewRecord(-1, b"key", None, ((b"trace", b"1"), (b"trace", None))),
    NewRecord(1_699_999_000_000, b"", bytes(9_000)),
    NewRecord(5, b"k" * 70, b"v" * 70),
]
BATCHES = [encode_batch(RECORDS, compression=codec, base_offset=9) for codec in Codec]
ROUNDS = 4_000


def seeds(target: Callable[[bytes], None]) -> list[bytes]:
    if target is fuzz_compression.fuzz:
        plain = bytes(range(256)) * 9 + bytes(2_000)
        return [bytes([codec]) + compress(codec, plain) for codec in Codec]
    runs = [bytes(batch) for batch in (*BATCHES, BATCHES[0] + BATCHES[4])]
    heads = [bytes([codec | stamp, 0, 4, 0, 0, 1, 0]) for codec in Codec for stamp in (0, 8)]
    return runs + [head + bytes(BATCHES[head[0] & ~LOG_APPEND_TIME][61:]) for head in heads]


def damaged(sample: bytes, chance: random.Random) -> bytes:
    changed = bytearray(sample)
    for _ in range(chance.choice([0, 1, 1, 2, 8])):
        end = len(changed) if chance.random() < 0.5 else 90  # heads are worth more damage
        at = chance.randrange(min(end, len(changed)))
        match chance.randrange(5):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                changed[at:at] = chance.randbytes(chance.choice([1, 2, 20]))
            case 3:
                del changed[max(at, 1) : at + chance.choice([1, 2, 20])]
            case _:
                del changed[max(at, 1) :]
    return bytes(changed)


@pytest.mark.parametrize("target", [fuzz_record_batch.fuzz, fuzz_compression.fuzz])
def test_nothing_but_our_own_errors_escapes(target: Callable[[bytes], None]) -> None:
    chance = random.Random(20_240_229)
    samples = seeds(target)
    for sample in samples:
        target(sample)
    for _ in range(ROUNDS):
        target(damaged(chance.choice(samples), chance))
    for size in (0, 1, 7, 16, 17, 61, 300):
        target(bytes(size))
        target(b"\xff" * size)
        target(chance.randbytes(size))
