"""Any bytes as what a codec wrote; its number is the first byte.

Nothing but MalformedError may come of it, and never more than the limit.
"""

from typing import Final

from logstore.compression import Codec, compress, decompress
from model.errors import MalformedError

_LIMIT_BYTES: Final = 1 << 20


def samples() -> list[bytes]:
    """Return what each codec makes of a text."""
    plain = bytes(range(256)) * 9 + bytes(2_000)
    return [bytes([codec]) + compress(codec, plain) for codec in Codec]


def large_samples() -> list[bytes]:
    """Return of each codec a bomb that stays within the limit, and one that does not."""
    sizes = (_LIMIT_BYTES, 4 * _LIMIT_BYTES)
    return [bytes([codec]) + compress(codec, bytes(size)) for codec in Codec for size in sizes][2:]


def expanded_bytes(data: bytes) -> int:
    """Return the most that may come of an input: expanded, compressed, and expanded again."""
    return 3 * _LIMIT_BYTES


def fuzz(data: bytes) -> None:
    """Expand the input; compress what came of it, and expand that again."""
    codec = data[0] % (len(Codec) + 1) if data else 0
    try:
        expanded = decompress(codec, data[1:], _LIMIT_BYTES)
    except MalformedError:
        return
    assert len(expanded) <= _LIMIT_BYTES, "more than the limit"
    assert decompress(codec, compress(codec, expanded), _LIMIT_BYTES) == expanded, "not the same"
