"""Changes of valid samples, chosen by a seed: the same seed makes the same inputs.

Most of a parser lies behind its first checks: an input is a sample with a few changes, not noise.
An input that took a way which none had taken is kept, and is changed in turn.
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
LARGE_SHARE: Final = 1 / 250
"""Of inputs that are swollen to any size up to the greatest, and again of those made from a
target's large samples: what is not linear shows there, and the small ones are many times faster."""
SWOLLEN_BITS: Final = (10, 18)
"""A swollen input has from 1 KiB to 256 KiB; every doubling is as likely as the next."""
KEPT_SHARE: Final = 0.4
"""Of inputs made from what was kept."""
KEPT_MAX: Final = 400
KEPT_BYTES_MAX: Final = 4_096


class Mutator:
    """An endless row of inputs made from samples."""

    def __init__(self, samples: Sequence[bytes], seed: int, *, large: Sequence[bytes] = ()) -> None:
        """Take at least one sample; `large` ones are taken now and then."""
        self._samples = samples
        self._large = large
        self._kept: list[bytes] = []
        self._chance = random.Random(seed)
        self._changes: tuple[Callable[[bytearray, int], None], ...] = (
            self._flip, self._flip, self._set, self._set, self._integer, self._integer, self._add,
            self._remove, self._truncate, self._duplicate, self._splice, self._noise,
        )  # fmt: skip

    @property
    def kept(self) -> int:
        """How many inputs are kept to be changed further."""
        return len(self._kept)

    def keep(self, data: bytes) -> None:
        """Change this input too from now on, if it is not too long; the oldest one may go."""
        if len(data) > KEPT_BYTES_MAX:
            return
        if len(self._kept) < KEPT_MAX:
            self._kept.append(data)
        else:
            self._kept[self._chance.randrange(KEPT_MAX)] = data

    def next(self) -> bytes:
        """Return the next input: mostly one to three changes, sometimes many, rarely none."""
        changed = bytearray(self._origin())
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 2, 3, 8))):
            if not changed:
                changed += self._chance.randbytes(4)
            limit = min(len(changed), HEAD_BYTES) if self._chance.random() < 0.5 else len(changed)
            self._chance.choice(self._changes)(changed, self._chance.randrange(limit))
        if self._chance.random() < LARGE_SHARE:
            self._swell(changed)
        return bytes(changed[:INPUT_BYTES_MAX])

    def _origin(self) -> bytes:
        if self._large and self._chance.random() < LARGE_SHARE:
            return self._chance.choice(self._large)
        if self._kept and self._chance.random() < KEPT_SHARE:
            return self._chance.choice(self._kept)
        return self._chance.choice(self._samples)

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

    def _swell(self, data: bytearray) -> None:
        """Repeat a part over and over: what a parser does with an item, it does many times."""
        at = self._chance.randrange(len(data) + 1)
        part = bytes(data[at : at + self._chance.choice((1, 2, 8, 24, 64, 512))]) or b"\0"
        size = 1 << self._chance.randint(*SWOLLEN_BITS)
        data[at:at] = part * (size // len(part) + 1)
