"""Codecs of record batches as far as this Python has them, by name and by number.

gzip is always there; zstd and lz4 come with the extra `speed`, snappy with the package cramjam.
What a batch expands to is bounded, whatever it claims.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain, repeat
from typing import Any, Final

from tidelog.types import Compression

EXPANDED_BYTES_MAX: Final = 64 << 20
"""Of one batch (docs/reference/limits.md)."""

NUMBERS: Final[dict[Compression, int]] = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NAMES: Final[dict[int, Compression]] = {number: name for name, number in NUMBERS.items()}
PACKAGES: Final = {"snappy": "cramjam", "lz4": "lz4", "zstd": "zstandard"}

_GZIP_WINDOW: Final = 31  # 15 bits of window, and 16 to say: gzip, not zlib
_ZSTD_LEVEL: Final = 3
_SNAPPY_HEAD: Final = bytes.fromhex("82534e415050590000000001 00000001")
_SNAPPY_BLOCK_BYTES: Final = 32 << 10
_SLICE_BYTES: Final = 256 << 10
"""What is asked of a library at once."""


class CodecMissing(ValueError):  # noqa: N818 - says what happened
    """The package that a codec needs is not installed."""

    def __init__(self, codec: str) -> None:
        """Name the package."""
        install = "cramjam" if codec == "snappy" else "'tidelog[speed]'"
        super().__init__(f"compression {codec} is not installed; pip install {install}")
        self.codec = codec


class Unreadable(ValueError):  # noqa: N818
    """Bytes that do not expand, or to more than anybody wants to hold."""


def has(codec: Compression) -> bool:
    """Tell whether a codec can be used here."""
    package = PACKAGES.get(codec)
    return package is None or find_spec(package) is not None


def need(codec: Compression) -> None:
    """Refuse a codec that cannot be used here.

    Raises:
        CodecMissing: its package is not installed.
        ValueError: there is no such codec.
    """
    if codec not in NUMBERS:
        raise ValueError(f"compression is {codec!r}; there are {', '.join(NUMBERS)}")
    if not has(codec):
        raise CodecMissing(codec)


def compress(codec: Compression, data: bytes) -> bytes:
    """Return bytes that every Kafka client reads under the codec's number."""
    need(codec)
    match codec:
        case "none":
            return data
        case "gzip":
            deflater = zlib.compressobj(wbits=_GZIP_WINDOW)
            return deflater.compress(data) + deflater.flush()
        case "snappy":
            return _snappy_blocks(data)
        case "lz4":
            packed: bytes = _lz4().compress(data, block_linked=False)
            return packed
        case "zstd":
            squeezed: bytes = _zstd_compressor().compress(data)
            return squeezed


def expand(number: int, data: memoryview) -> bytes:
    """Return what was compressed under a codec's number.

    Raises:
        CodecMissing: this Python cannot read it; a node can.
        Unreadable: no such codec, broken bytes, or more than 64 MiB.
    """
    if number == 0:
        return bytes(data)
    name = NAMES.get(number)
    if name is None:
        raise Unreadable(f"codec {number} is unknown")
    need(name)
    try:
        expanded = _EXPANDERS[number](data)
    except Unreadable:
        raise
    except Exception as broken:
        raise Unreadable(f"{name}: {broken}") from broken
    if len(expanded) > EXPANDED_BYTES_MAX:
        raise Unreadable(f"it expands beyond {EXPANDED_BYTES_MAX} bytes")
    return expanded


def _gunzip(data: memoryview) -> bytes:
    inflater = zlib.decompressobj(wbits=_GZIP_WINDOW)
    expanded = inflater.decompress(data, EXPANDED_BYTES_MAX + 1)
    if not inflater.eof and len(expanded) <= EXPANDED_BYTES_MAX:
        raise Unreadable("gzip: the bytes are cut short")
    return expanded


def _unzstd(data: memoryview) -> bytes:
    import zstandard  # noqa: PLC0415 - optional

    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
        return _joined(lambda: reader.read(_SLICE_BYTES))


def _unlz4(data: memoryview) -> bytes:
    machine = _lz4().LZ4FrameDecompressor()
    slices: Iterator[memoryview | bytes] = chain([data], repeat(b""))
    expanded = _joined(
        lambda: b"" if machine.eof else machine.decompress(next(slices), max_length=_SLICE_BYTES)
    )
    if not machine.eof and len(expanded) <= EXPANDED_BYTES_MAX:
        raise Unreadable("lz4: the bytes are cut short")
    return expanded


def _joined(read: Callable[[], bytes]) -> bytes:
    """Return the slices up to an empty one, or up to the first that is too much.

    These two libraries reserve what they are asked for, and most batches are small.
    """
    slices: list[bytes] = []
    size = 0
    while size <= EXPANDED_BYTES_MAX and (expanded := read()):
        slices.append(expanded)
        size += len(expanded)
    return b"".join(slices)


def _snappy_blocks(data: bytes) -> bytes:
    """Return the blocks that snappy-java writes (docs/formats/record_batch.md)."""
    blocks = [_SNAPPY_HEAD]
    for at in range(0, len(data), _SNAPPY_BLOCK_BYTES):
        packed = bytes(_snappy().compress_raw(data[at : at + _SNAPPY_BLOCK_BYTES]))
        blocks += (len(packed).to_bytes(4, "big"), packed)
    return b"".join(blocks)


def _unsnap(data: memoryview) -> bytes:
    """Return the blocks expanded; raw snappy alone, as librdkafka writes it, is read too."""
    if bytes(data[:8]) != _SNAPPY_HEAD[:8]:
        return _unsnap_block(bytes(data))
    at, size, blocks = len(_SNAPPY_HEAD), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length > len(data) - at - 4:
            raise Unreadable("snappy: a block is cut short")
        blocks.append(_unsnap_block(bytes(data[at + 4 : at + 4 + length])))
        size += len(blocks[-1])
        if size > EXPANDED_BYTES_MAX:
            raise Unreadable(f"it expands beyond {EXPANDED_BYTES_MAX} bytes")
        at += 4 + length
    return b"".join(blocks)


def _unsnap_block(block: bytes) -> bytes:
    if _snappy().decompress_raw_len(block) > EXPANDED_BYTES_MAX:
        raise Unreadable(f"it expands beyond {EXPANDED_BYTES_MAX} bytes")
    return bytes(_snappy().decompress_raw(block))


_EXPANDERS: Final[dict[int, Callable[[memoryview], bytes]]] = {
    1: _gunzip,
    2: _unsnap,
    3: _unlz4,
    4: _unzstd,
}


@cache
def _zstd_compressor() -> Any:
    import zstandard  # noqa: PLC0415 - optional

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL)


@cache
def _lz4() -> Any:
    from lz4 import frame  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - optional

    return frame


@cache
def _snappy() -> Any:
    import cramjam  # noqa: PLC0415 - optional

    return cramjam.snappy
