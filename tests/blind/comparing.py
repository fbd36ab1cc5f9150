"""Two lists of records against each other, and what a phase of the test has counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.blind.oracle import Row

SHOWN: Final = 5
"""Records of each kind that a difference names."""


def difference(expected: Sequence[Row], got: Sequence[Row]) -> str | None:
    """Say how two lists of records differ as multisets, or in their order; None: not at all."""
    if expected == got:
        return None
    missing, surplus = Counter(expected), Counter(got)
    missing.subtract(got)
    surplus.subtract(expected)
    lines = [
        f"{count} x {what}: {row}"
        for what, rows in (("missing", missing), ("not expected", surplus))
        for row, count in sorted((+rows).items(), key=lambda item: item[0][:2])[:SHOWN]
    ]
    if not lines:
        lines = ["the same records in another order than that of their offsets"]
    return f"{len(expected)} records expected, {len(got)} read\n  " + "\n  ".join(lines)


@dataclass(slots=True)
class Tally:
    """What one phase has compared."""

    phase: str
    ranges: Counter[str] = field(default_factory=Counter)
    """By door."""
    lookups: Counter[str] = field(default_factory=Counter)
    """By door; each over one partition."""
    records: int = 0
    truncated: int = 0
    """Answers that history is missing, all of them right."""
    ends: int = 0
    near: int = 0
    differences: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the phase in one line."""
        doors = ", ".join(f"{name} {count}" for name, count in sorted(self.ranges.items()))
        looks = ", ".join(f"{name} {count}" for name, count in sorted(self.lookups.items()))
        near = f"{100 * self.near / self.ends:.0f} %" if self.ends else "-"
        cut = f"; truncated said {self.truncated}" if self.truncated else ""
        return (
            f"{self.phase}: {self.ranges.total()} ranges ({doors}), {self.records} records "
            f"compared, {near} of ends at or a tick beside a time that occurs; "
            f"{self.lookups.total()} lookups ({looks}){cut}; "
            f"{len(self.differences)} differences"
        )
