"""Which partition a record goes to: by its key as Kafka's clients do, or by turns without one.

The same key goes to the same partition whoever writes it: Tidelog's SDK, its nodes, a Java client.
A topic that grows sends keys elsewhere.
"""

from random import Random
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 that Kafka's clients use for keys."""
    whole = len(data) & ~3
    value = (_SEED ^ len(data)) & _MASK
    for at in range(0, whole, 4):
        block = int.from_bytes(data[at : at + 4], "little") * _MULTIPLIER & _MASK
        block = (block ^ block >> 24) * _MULTIPLIER & _MASK
        value = (value * _MULTIPLIER & _MASK) ^ block
    if whole < len(data):
        value ^= int.from_bytes(data[whole:], "little")
        value = value * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15


def partition_of_key(key: bytes, partition_count: int) -> int:
    """Return where a key belongs."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


class Sticky:
    """Records without a key stay on one partition until a batch is full, then move on (KIP-480).

    So they fill batches instead of spreading thinly over all partitions.
    """

    def __init__(self, chance: Random) -> None:
        """Take where chance comes from."""
        self._chance = chance
        self._current: int | None = None

    def choose(self, partition_count: int) -> int:
        """Return the partition that the next record goes to."""
        if self._current is None or self._current >= partition_count:
            self._current = self._chance.randrange(partition_count)
        return self._current

    def move_on(self, partition_count: int) -> None:
        """Leave the partition for another one; a batch of it is full."""
        if self._current is not None and partition_count > 1:
            step = 1 + self._chance.randrange(partition_count - 1)
            self._current = (self._current + step) % partition_count
