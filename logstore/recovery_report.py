"""What recovery found, dropped and repaired: every byte, and why (P5)."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was not as it should be."""

    file: str
    """Within the log directory."""
    position: int
    size_bytes: int
    """Bytes that were dropped or rebuilt; 0 if none were."""
    why: str

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.file} at byte {self.position}: {self.size_bytes} bytes: {self.why}"


@dataclass(slots=True)
class RecoveryReport:
    """The outcome of opening a log directory."""

    clean: bool = False
    """The last stop was clean: nothing had to be recovered."""
    new: bool = False
    """There was nothing to recover: the directory was made."""
    dropped: list[Finding] = field(default_factory=list)
    """Bytes that were never acknowledged, or only without a sync (flush=async)."""
    repaired: list[Finding] = field(default_factory=list)
    """Damage below the checkpoint that was made good, or that readers will be told of."""
    replayed_entries: int = 0
    scanned_bytes: int = 0

    @property
    def dropped_bytes(self) -> int:
        """Sum of what was dropped."""
        return sum(finding.size_bytes for finding in self.dropped)
