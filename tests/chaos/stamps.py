"""Values that say who sent them where: each is unique, and every byte of it can be checked.

`producer/partition/number;` and then filling that follows from those: a reader needs no memory to
know whether it was given what was sent.
"""

from binascii import crc32
from typing import Final, NamedTuple

PRODUCER_CHARS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
)
LENGTH_DIGITS_MAX: Final = 10


class Stamp(NamedTuple):
    """Whose value it is: the `n`th of a producer in a partition."""

    producer: str
    at: str
    """Topic and partition: `orders/3`."""
    n: int


def value_of(stamp: Stamp, size_bytes: int = 0) -> bytes:
    """Return a value of so many bytes, or of as many as the stamp needs.

    Raises:
        ValueError: the producer's name has a character that would end it.
    """
    if not stamp.producer or not PRODUCER_CHARS.issuperset(stamp.producer):
        raise ValueError(f"{stamp.producer!r} names no producer; use letters, digits, `-_.`")
    head = f"{stamp.producer}/{stamp.at}/{stamp.n}".encode()
    filling = max(0, size_bytes - len(head) - 1 - LENGTH_DIGITS_MAX)
    return head + b"/%d;" % filling + _filling(head, filling)


def stamp_of(value: bytes | None) -> Stamp | None:
    """Return whose a value is; None: not a byte for byte value of ours."""
    head, mark, filling = (value or b"").partition(b";")
    parts = head.split(b"/")
    if not mark or len(parts) != 5:
        return None
    producer, topic, partition, n, length = parts
    if not (n.isdigit() and length.isdigit() and len(length) <= LENGTH_DIGITS_MAX):
        return None
    if len(filling) != int(length) or filling != _filling(head.rpartition(b"/")[0], len(filling)):
        return None
    try:
        return Stamp(producer.decode("ascii"), f"{topic.decode()}/{partition.decode()}", int(n))
    except UnicodeDecodeError:
        return None


def _filling(head: bytes, size_bytes: int) -> bytes:
    """Return bytes that differ from value to value."""
    pattern = b"%08x." % crc32(head)
    return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]
