"""Changes of valid samples, chosen by a seed: the same seed makes the same inputs.

Most of a parser lies behind its first checks: an input is a sample with a few changes, not noise.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

INTERESTING: Final = (
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF,
)  # fmt: skip
"""Edges of the integer types that formats are made of, as unsigned numbers."""
WIDTHS: Final = (1, 2, 4, 8)
HEAD_BYTES: Final = 96
"""Heads hold the lengths and counts: half of all changes fall there."""
INPUT_BYTES_MAX: Final = 1 << 18


class Mutator:
    """An endless row of inputs made from samples."""

    def __init__(self, samples: Sequence[bytes], seed: int) -> None:
        """Take at least one sample."""
        self._samples = samples
        self._chance = random.Random(seed)
        self._changes: tuple[Callable[[bytearray, int], None], ...] = (
            self._flip, self._flip, self._set, self._set, self._integer, self._integer, self._add,
            self._remove, self._truncate, self._duplicate, self._splice, self._noise,
        )  # fmt: skip

    def next(self) -> bytes:
        """Return the next input: mostly one to three changes, sometimes many, rarely none."""
        changed = bytearray(self._chance.choice(self._samples))
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 2, 3, 8))):
            if not changed:
                changed += self._chance.randbytes(4)
            limit = min(len(changed), HEAD_BYTES) if self._chance.random() < 0.5 else len(changed)
            self._chance.choice(self._changes)(changed, self._chance.randrange(limit))
        return bytes(changed[:INPUT_BYTES_MAX])

    def _flip(self, data: bytearray, at: int) -> None:
        data[at] ^= 1 << self._chance.randrange(8)

    def _set(self, data: bytearray, at: int) -> None:
        data[at] = self._chance.choice((0, 1, 0x20, 0x7F, 0x80, 0xFF, self._chance.randrange(256)))

    def _integer(self, data: bytearray, at: int) -> None:
        """Write an edge, or add a little to a number that stands there: lengths and counts."""
        width = self._chance.choice(WIDTHS)
        whole = (1 << 8 * width) - 1
        if self._chance.random() < 0.5:
            number = self._chance.choice(INTERESTING)
        else:
            number = int.from_bytes(data[at : at + width], "big") + self._chance.randrange(-4, 5)
        data[at : at + width] = (number & whole).to_bytes(width, "big")

    def _add(self, data: bytearray, at: int) -> None:
        data[at:at] = self._chance.randbytes(self._chance.choice((1, 2, 4, 20)))

    def _remove(self, data: bytearray, at: int) -> None:
        del data[at : at + self._chance.choice((1, 2, 4, 20))]

    def _truncate(self, data: bytearray, at: int) -> None:
        del data[at:]

    def _duplicate(self, data: bytearray, at: int) -> None:
        part = data[at : at + self._chance.choice((1, 8, 24, 64, 512))]
        data[at:at] = part * self._chance.choice((1, 1, 2, 30))

    def _splice(self, data: bytearray, at: int) -> None:
        """Go on as another sample does."""
        other = self._chance.choice(self._samples)
        data[at:] = other[min(at, len(other)) :] if self._chance.random() < 0.5 else other

    def _noise(self, data: bytearray, at: int) -> None:
        size = self._chance.choice((4, 16, 64))
        data[at : at + size] = self._chance.randbytes(size)
