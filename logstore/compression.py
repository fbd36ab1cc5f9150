"""Codecs of record batches, by number; what they expand to is bounded.

Format: docs/formats/record_batch.md. Expansion goes slice by slice, and gives up as soon as it has
more than the limit, whatever the compressed bytes claim (P56). So memory stays below the limit and
one slice while a bomb goes off; sound bytes take twice their size for the moment they are joined.

A slice is at most 256 KiB, but for snappy, where the client chose the blocks, and for lz4 without
its own library: there one step may expand all there is, the claims having been checked before.
"""

import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final

import cramjam
import zstandard

from model.errors import MalformedError
from model.limits import BATCH_DECOMPRESSED_BYTES_MAX

try:
    from lz4 import frame as lz4_frame  # type: ignore[import-untyped,import-not-found,unused-ignore]
except ImportError:  # without the extra `speed`
    lz4_frame = None

LIMIT_BYTES: Final = BATCH_DECOMPRESSED_BYTES_MAX.value
SLICE_BYTES: Final = 256 << 10

_GZIP_WINDOW: Final = 31  # 15 bits of window, and 16 to say: gzip, not zlib
_ZSTD_LEVEL: Final = 3
_ZSTD_WINDOW_MAX: Final = 1 << 27  # what level 22 declares; only as much as is used is touched
_ZSTD_BLOCK_HEAD: Final = 3
_XERIAL_HEAD: Final = bytes.fromhex("82534e415050590000000001 00000001")  # version 1, readable by 1
_XERIAL_MAGIC: Final = _XERIAL_HEAD[:8]
_XERIAL_BLOCK_BYTES: Final = 32 << 10
_SNAPPY_RATIO_MAX: Final = 22  # its densest element makes 64 bytes of 3
_LZ4_RATIO_MAX: Final = 256  # each byte of a match's length stands for at most 255
_LIBRARY_ERRORS: Final = (
    zlib.error, zstandard.ZstdError, cramjam.DecompressionError, RuntimeError, OSError, ValueError,
)  # fmt: skip


class Codec(IntEnum):
    """What the three lowest attribute bits of a batch say."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class ExpandsBeyondError(MalformedError):
    """Sound or not, it is more than anyone wants to hold: unreadable here, not corrupt (P56)."""


def compress(codec: int, data: bytes | bytearray | memoryview) -> bytes:
    """Return bytes that every Kafka client reads under the codec's number."""
    match Codec(codec):
        case Codec.NONE:
            return bytes(data)
        case Codec.GZIP:
            deflater = zlib.compressobj(wbits=_GZIP_WINDOW)
            return deflater.compress(data) + deflater.flush()
        case Codec.SNAPPY:
            return _compress_xerial(memoryview(data))
        case Codec.LZ4:
            return _compress_lz4(data)
        case Codec.ZSTD:
            return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)


def decompress(codec: int, data: bytes | bytearray | memoryview, limit: int = LIMIT_BYTES) -> bytes:
    """Return what was compressed.

    Raises:
        ExpandsBeyondError: it is more than the limit.
        MalformedError: an unknown codec; cut short; not what the codec writes.
    """
    return b"".join(decompress_slices(codec, data, limit=limit))


def decompress_slices(
    codec: int, data: bytes | bytearray | memoryview, *, limit: int = LIMIT_BYTES
) -> Iterator[bytes]:
    """Yield what was compressed, slice by slice; a slice may be empty.

    Raises:
        ExpandsBeyondError: the slices together are more than the limit.
        MalformedError: an unknown codec; cut short; not what the codec writes.
    """
    expand = _EXPANDERS.get(codec)
    if expand is None:
        raise MalformedError("compressed records", 0, f"codec {codec} is unknown")
    room = limit
    try:
        for expanded in expand(bytes(data), limit):
            room -= len(expanded)
            if room < 0:
                raise _beyond(limit)
            yield expanded
    except _LIBRARY_ERRORS as error:
        raise MalformedError("compressed records", 0, f"{Codec(codec).name}: {error}") from error


def _beyond(limit: int) -> ExpandsBeyondError:
    return ExpandsBeyondError("compressed records", 0, f"expands beyond {limit} bytes")


def _cut_short(codec: Codec) -> MalformedError:
    return MalformedError("compressed records", 0, f"{codec.name}: cut short")


def _expect_end(codec: Codec, rest: bytes) -> None:
    # Clients write one frame. Reading more would let millions of empty ones hold the loop.
    if rest:
        raise MalformedError("compressed records", 0, f"{codec.name}: {len(rest)} bytes follow")


def _as_they_are(data: bytes, _limit: int) -> Iterator[bytes]:
    yield data


def _expand_gzip(data: bytes, _limit: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=_GZIP_WINDOW)
    while True:
        expanded = inflater.decompress(data, SLICE_BYTES)
        yield expanded
        if inflater.eof:
            break
        data = inflater.unconsumed_tail
        if not data and len(expanded) < SLICE_BYTES:
            raise _cut_short(Codec.GZIP)
    _expect_end(Codec.GZIP, inflater.unused_data)


def _compress_xerial(data: memoryview) -> bytes:
    parts: list[bytes] = [_XERIAL_HEAD]
    for start in range(0, len(data), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (len(block).to_bytes(4, "big"), block)
    return b"".join(parts)


def _expand_snappy(data: bytes, limit: int) -> Iterator[bytes]:
    """Read blocks of lengths, after the head that Java clients write; or a single bare block."""
    if not data.startswith(_XERIAL_MAGIC):
        _check_snappy_claim(data, 0, limit=limit)
        yield bytes(cramjam.snappy.decompress_raw(data))
        return
    at = len(_XERIAL_HEAD)
    if len(data) < at:
        raise _cut_short(Codec.SNAPPY)
    size = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if len(data) - at < length:
            raise _cut_short(Codec.SNAPPY)
        block = data[at : at + length]
        size = _check_snappy_claim(block, size, limit=limit)
        yield bytes(cramjam.snappy.decompress_raw(block))
        at += length


def _check_snappy_claim(block: bytes, before: int, *, limit: int) -> int:
    """Return the expanded size up to the block's end: what the library will allocate."""
    claimed = cramjam.snappy.decompress_raw_len(block)
    if claimed > len(block) * _SNAPPY_RATIO_MAX:
        raise MalformedError("compressed records", 0, f"SNAPPY: {claimed} of {len(block)} bytes")
    if before + claimed > limit:
        raise _beyond(limit)
    return before + claimed


def _compress_lz4(data: bytes | bytearray | memoryview) -> bytes:
    # Java clients refuse blocks that lean on the one before.
    if lz4_frame is not None:
        compressed: bytes = lz4_frame.compress(data, block_linked=False)
        return compressed
    compressor = cramjam.lz4.Compressor(block_linked=False)
    compressor.compress(bytes(data))
    return bytes(compressor.finish())


def _expand_lz4(data: bytes, limit: int) -> Iterator[bytes]:
    return _expand_lz4_plainly(data, limit) if lz4_frame is None else _expand_lz4_slices(data)


def _expand_lz4_slices(data: bytes) -> Iterator[bytes]:
    inflater = lz4_frame.LZ4FrameDecompressor()
    yield inflater.decompress(data, SLICE_BYTES)
    while not inflater.eof:
        if inflater.needs_input:
            raise _cut_short(Codec.LZ4)
        yield inflater.decompress(b"", SLICE_BYTES)
    _expect_end(Codec.LZ4, inflater.unused_data or b"")


def _expand_lz4_plainly(data: bytes, limit: int) -> Iterator[bytes]:
    """Expand into a buffer of fixed size, as large as the bytes can become or may be."""
    possible = len(data) * _LZ4_RATIO_MAX
    buffer = bytearray(min(limit, possible))
    try:
        size = cramjam.lz4.decompress_into(data, buffer)
    except cramjam.DecompressionError as error:
        if limit < possible and "whole buffer" in str(error):
            raise _beyond(limit) from error
        raise
    yield bytes(memoryview(buffer)[:size])


def _expand_zstd(data: bytes, _limit: int) -> Iterator[bytes]:
    """Feed one block at a time: a block is at most 128 KiB (RFC 8878 3.1.1.2.4)."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    inflater = decompressor.decompressobj()
    start = 0
    for end in _zstd_cuts(data):
        yield inflater.decompress(data[start:end])
        start = end
        if inflater.eof:
            break
    if not inflater.eof:
        raise _cut_short(Codec.ZSTD)
    _expect_end(Codec.ZSTD, inflater.unused_data + data[start:])


def _zstd_cuts(data: bytes) -> Iterator[int]:
    """Yield where each block of the first frame ends, then the end of all there is.

    If the bytes are not what they seem, the library says so: this only keeps its portions small.
    """
    at = zstandard.frame_header_size(data)
    while len(data) - at >= _ZSTD_BLOCK_HEAD:
        head = int.from_bytes(data[at : at + _ZSTD_BLOCK_HEAD], "little")
        is_last, is_run = head & 1, head & 6 == 2  # a run is one byte, repeated
        at += _ZSTD_BLOCK_HEAD + (1 if is_run else head >> 3)
        yield at
        if is_last:
            break
    yield len(data)


_EXPANDERS: Final[dict[int, Callable[[bytes, int], Iterator[bytes]]]] = {
    Codec.NONE: _as_they_are,
    Codec.GZIP: _expand_gzip,
    Codec.SNAPPY: _expand_snappy,
    Codec.LZ4: _expand_lz4,
    Codec.ZSTD: _expand_zstd,
}
