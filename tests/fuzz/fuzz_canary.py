"""A parser with one fault of each kind, on purpose: a run that does not find all has failed."""

import os
from itertools import repeat
from typing import Final

FAULTS: Final = {
    "exception": "IndexError",
    "blow-up of memory": "MemoryError",
    "slow input": "slow",
    "abort": "ended with -6",
    "hang": "hang",
}
"""Each kind, and the words in a finding that tell it."""


def samples() -> list[bytes]:
    """Return inputs that a parser without faults would take: a length, and so many bytes."""
    return [bytes([size, *range(size)]) for size in (4, 9, 30)]


def fuzz(data: bytes) -> None:
    """Read a length and so many bytes."""
    if not data or data[0] == len(data) - 1:
        return
    match data[0]:
        case 0xFF:
            bytes(1 << 40)
        case 0x80:
            sum(range(12_000_000))
        case 0x7F if len(data) % 2:
            os.abort()
        case 0x7F:
            for _ in repeat(None):
                pass
        case size if size > len(data):
            data[size]
