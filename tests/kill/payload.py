"""What each record holds: all of it follows from who sent it as which, so that anyone can tell.

A producer is a small number, a sequence counts its records from 0 in all partitions together.
"""

import random
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

HEAD: Final = struct.Struct(">IQ")
"""Producer and sequence begin each value."""
SMALL_BYTES: Final = (30, 300)
LARGE_BYTES: Final = (8_000, 24_000)
LARGE_EVERY: Final = 300
"""One record in so many is large: some runs go past the journal."""
STICKY: Final = 16
"""So many records in a row go to one partition."""
EPOCH_MS: Final = 1_700_000_000_000
TIME_SPREAD_MS: Final = 3_600_000
_MIXER: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1

_BLOCK: Final = random.Random(1).randbytes(2 * LARGE_BYTES[1])


class Place(NamedTuple):
    """A partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Author:
    """One producer and the partitions that it writes to in turn."""

    number: int
    places: tuple[Place, ...]
    idempotent: bool
    """Its records are in the log once each, in its order."""

    def place_of(self, sequence: int) -> Place:
        """Return where a record goes."""
        return self.places[_mixed(self.number, sequence // STICKY) % len(self.places)]

    def value_of(self, sequence: int) -> bytes:
        """Return the bytes of a record."""
        mixed = _mixed(self.number, sequence)
        least, most = LARGE_BYTES if mixed % LARGE_EVERY == 0 else SMALL_BYTES
        size = least + (mixed >> 16) % (most - least)
        start = (mixed >> 32) % LARGE_BYTES[1]
        return HEAD.pack(self.number, sequence) + _BLOCK[start : start + size]

    def key_of(self, sequence: int) -> bytes | None:
        """Return its key; every eighth record has none."""
        return None if sequence % 8 == 7 else b"%d" % (sequence % 101)

    def time_of(self, sequence: int) -> int:
        """Return its event time, ms: out of order."""
        return EPOCH_MS + sequence + _mixed(self.number, sequence + 1) % TIME_SPREAD_MS


def identity(value: bytes) -> tuple[int, int]:
    """Return producer and sequence of a value that `value_of` made.

    Raises:
        ValueError: it did not.
    """
    if len(value) < HEAD.size:
        raise ValueError("no value of ours")
    producer, sequence = HEAD.unpack_from(value)
    return producer, sequence


def _mixed(producer: int, sequence: int) -> int:
    """Return 64 bits that look random."""
    mixed = ((producer << 40 ^ sequence) + 1) * _MIXER & _MASK
    mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & _MASK
    return mixed ^ mixed >> 32
