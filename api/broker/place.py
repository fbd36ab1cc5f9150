"""Places in a partition: an edge, an offset, a distance from an edge, a time on either clock."""

from dataclasses import dataclass
from typing import TypeAlias

from model.record import ClockKind


@dataclass(frozen=True, slots=True)
class Earliest:
    """The log start."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The end that the isolation level may see."""


@dataclass(frozen=True, slots=True)
class AtOffset:
    """An offset; below the log start it means the log start, and the answer says truncated.

    It may lie above what is known to be committed, within its leader's log: who reads there waits.
    """

    offset: int


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first record whose clock shows this time or a later one; ms since 1970 UTC."""

    time_ms: int
    clock: ClockKind
    onward: bool = False
    """Who asks wants everything from there on: the answer says truncated if a record as late as
    that was removed, not only one up to the time of the answer."""


@dataclass(frozen=True, slots=True)
class Ago:
    """As `AtTime`, so many ms before the server's now."""

    before_ms: int
    clock: ClockKind


@dataclass(frozen=True, slots=True)
class AfterEarliest:
    """So many offsets after the log start, at most the end."""

    offsets: int


@dataclass(frozen=True, slots=True)
class BeforeLatest:
    """So many offsets before the end, at least the log start."""

    offsets: int


@dataclass(frozen=True, slots=True)
class MaxTimestamp:
    """The record with the greatest event time, the first of them (KIP-734)."""


Place: TypeAlias = (
    Earliest | Latest | AtOffset | AtTime | Ago | AfterEarliest | BeforeLatest | MaxTimestamp
)
