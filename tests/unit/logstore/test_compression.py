"""Codecs: there and back, by each library, and what happens to bombs and to bytes cut short (P56).

That foreign implementations read what we compress, and we what they do, is tested with whole
batches (test_batch_interop.py).
"""

import gzip
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec

import cramjam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from logstore import compression
from logstore.compression import (
    LIMIT_BYTES,
    SLICE_BYTES,
    Codec,
    ExpandsBeyondError,
    compress,
    decompress,
    decompress_slices,
)
from model.errors import MalformedError

COMPRESSING = [codec for codec in Codec if codec is not Codec.NONE]
MIB = 1 << 20


@pytest.fixture(params=["lz4 installed", "without lz4"], autouse=True)
def lz4_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run everything as on a server with the extra `speed`, and as on one without."""
    if request.param == "without lz4":
        monkeypatch.setattr(compression, "lz4_frame", None)
    elif find_spec("lz4") is None:
        pytest.skip("the extra `speed` is not installed")


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize(
    "plain", [b"", b"x", bytes(3 * MIB), bytes(range(256)) * 5000], ids=["0", "1", "zeros", "cycle"]
)
def test_there_and_back(codec: Codec, plain: bytes) -> None:
    assert decompress(codec, memoryview(compress(codec, memoryview(plain)))) == plain


@given(plain=st.binary(max_size=2000), times=st.sampled_from([1, 100]))
def test_whatever_it_is(plain: bytes, times: int) -> None:
    for codec in Codec:
        assert decompress(codec, compress(codec, plain * times)) == plain * times


@pytest.mark.parametrize("codec", COMPRESSING)
def test_it_is_smaller(codec: Codec) -> None:
    assert len(compress(codec, b"once more, " * 1000)) < 1000


@pytest.mark.parametrize("codec", Codec)
def test_what_fits_exactly_is_no_bomb(codec: Codec) -> None:
    plain = b"exactly " * 40_000
    compressed = compress(codec, plain)
    assert decompress(codec, compressed, len(plain)) == plain
    with pytest.raises(ExpandsBeyondError, match=f"expands beyond {len(plain) - 1} bytes"):
        decompress(codec, compressed, len(plain) - 1)


def zstd_without_size(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(plain)


def raw_snappy(plain: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(plain))


BOMBS: dict[str, tuple[Codec, Callable[[bytes], bytes]]] = {
    "gzip": (Codec.GZIP, lambda plain: compress(Codec.GZIP, plain)),
    "snappy": (Codec.SNAPPY, lambda plain: compress(Codec.SNAPPY, plain)),
    "raw snappy": (Codec.SNAPPY, raw_snappy),
    "lz4": (Codec.LZ4, lambda plain: compress(Codec.LZ4, plain)),
    "zstd": (Codec.ZSTD, lambda plain: compress(Codec.ZSTD, plain)),
    "zstd of unknown size": (Codec.ZSTD, zstd_without_size),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_stops_at_the_limit(name: str) -> None:
    codec, make = BOMBS[name]
    limit = 4 * MIB
    bomb = make(bytes(LIMIT_BYTES + MIB))
    tracemalloc.start()
    try:
        with pytest.raises(ExpandsBeyondError, match=f"expands beyond {limit} bytes"):
            decompress(codec, bomb, limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= limit + 2 * len(bomb) + 3 * SLICE_BYTES
    with pytest.raises(ExpandsBeyondError, match=f"expands beyond {LIMIT_BYTES} bytes"):
        decompress(codec, bomb)


def test_snappy_blocks_are_refused_before_they_are_more_than_the_limit() -> None:
    block = raw_snappy(bytes(3 * MIB))
    framed = compress(Codec.SNAPPY, b"") + 2 * (len(block).to_bytes(4, "big") + block)
    tracemalloc.start()
    try:
        with pytest.raises(ExpandsBeyondError):
            decompress(Codec.SNAPPY, framed, 4 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 4 * MIB


def test_lz4_blocks_stand_alone() -> None:
    """Java clients refuse linked blocks: bit 5 of the frame's flags says that these are not."""
    assert compress(Codec.LZ4, bytes(range(256)) * 2000)[4] & 0x20


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
def test_slices_are_small(codec: Codec) -> None:
    slices = [len(part) for part in decompress_slices(codec, compress(codec, bytes(8 * MIB)))]
    assert sum(slices) == 8 * MIB
    assert max(slices) <= SLICE_BYTES


@pytest.mark.parametrize("name", BOMBS)
def test_cut_short_is_malformed(name: str) -> None:
    codec, make = BOMBS[name]
    compressed = make(bytes(range(256)) * 300)
    heads = {*range(0, min(40, len(compressed))), len(compressed) // 2, len(compressed) - 1}
    if compressed.startswith(bytes.fromhex("82534e415050590000000001 00000001")):
        heads -= {16}  # no block at all is a stream, too
    for size in heads:
        with pytest.raises(MalformedError):
            decompress(codec, compressed[:size])


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("junk", [b"\x00", b"junk behind", b"\xff" * 64])
def test_bytes_behind_the_end_are_malformed(name: str, junk: bytes) -> None:
    codec, make = BOMBS[name]
    with pytest.raises(MalformedError):
        decompress(codec, make(b"hello " * 100) + junk)


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("garbage", [b"", bytes(100), b"\xff" * 100, bytes(range(256))])
def test_garbage_is_malformed(codec: Codec, garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        decompress(codec, garbage)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_changed_byte_raises_nothing_else(at: int, flip: int) -> None:
    for codec in COMPRESSING:
        changed = bytearray(compress(codec, bytes(range(256)) * 4))
        changed[at % len(changed)] ^= flip
        try:
            decompress(codec, changed, MIB)
        except MalformedError:
            continue


def test_raw_snappy_is_read_too() -> None:
    assert decompress(Codec.SNAPPY, raw_snappy(b"from librdkafka" * 9)) == b"from librdkafka" * 9


def test_a_snappy_claim_is_not_believed() -> None:
    with pytest.raises(MalformedError, match=r"4294967295 of 8 bytes"):
        decompress(Codec.SNAPPY, b"\xff\xff\xff\xff\x0fabc")


def test_a_second_member_is_not_read() -> None:
    with pytest.raises(MalformedError, match="bytes follow"):
        decompress(Codec.GZIP, gzip.compress(b"one") + gzip.compress(b"two"))


@pytest.mark.parametrize("codec", [5, 6, 7, -1])
def test_an_unknown_codec(codec: int) -> None:
    with pytest.raises(MalformedError, match=f"codec {codec} is unknown"):
        decompress(codec, b"")
    with pytest.raises(ValueError, match=f"{codec} is not a valid Codec"):
        compress(codec, b"")
