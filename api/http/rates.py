"""Rates between two looks: what the status page shows without any timer that samples.

The page is the only reader. A look that comes at least a second after the one before replaces it;
the rate is the difference over the time in between.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

INTERVAL_MS_MIN: Final = 1_000


class Look(NamedTuple):
    """Counts at one moment."""

    at_ms: int
    counts: Mapping[str, int]


class Rates(NamedTuple):
    """By name, in the unit of the counts per second."""

    per_second: Mapping[str, float]
    over_ms: int
    """Between the two looks."""


class RateMeter:
    """Remembers two looks. Loop only."""

    __slots__ = ("_newer", "_older")

    def __init__(self) -> None:
        """Begin without any."""
        self._older: Look | None = None
        self._newer: Look | None = None

    def look(self, at_ms: int, counts: Mapping[str, int]) -> Rates | None:
        """Note the counts and return the rates since the look before; None at the first."""
        look = Look(at_ms, dict(counts))
        if self._newer is None or at_ms - self._newer.at_ms >= INTERVAL_MS_MIN:
            self._older, self._newer = self._newer, look
        if self._older is None:
            return None
        older, over_ms = self._older, at_ms - self._older.at_ms
        return Rates(
            {
                name: max(0, count - older.counts.get(name, count)) * 1000 / over_ms
                for name, count in counts.items()
            },
            over_ms,
        )
