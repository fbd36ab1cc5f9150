"""What a campaign has shown, and the table of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.chaos.nodes_fate import Fate
from tests.chaos.nodes_plan import BACK_S_MAX, Kind


@dataclass(frozen=True, slots=True)
class Row:
    """One strike, and what came of it."""

    kind: Kind
    what: str
    silence_s: float
    """The longest time without acks in any partition, through either door."""
    where: str
    healed_s: float
    """From when nothing was broken until all replicas were in sync."""


@dataclass(slots=True)
class Outcome:
    """All of it."""

    seed: int
    rows: list[Row] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """By the history's checker."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What clients have said of themselves: errors that they were told."""
    harmed: list[str] = field(default_factory=list)
    """Damage of disks that keep their word; among the problems too."""
    fate: Fate = field(default_factory=Fate)
    """Of the records that were acknowledged."""
    batches: int = 0
    """Compared between the replicas."""
    anew: int = 0
    """Epochs that producers of librdkafka began anew; none should."""
    dumped: int = 0
    """Records that Apache's tool has read in the files of all nodes."""
    seconds: float = 0.0


def table(outcome: Outcome) -> str:
    """Return the outcome for people."""
    lines = [f"{what:<56}{count:>12,}" for what, count in sorted(outcome.counts.items()) if count]
    lines.append(f"{'batches that are the same on all replicas':<56}{outcome.batches:>12,}")
    lines.append(f"{'epochs that producers have begun anew':<56}{outcome.anew:>12,}")
    if outcome.dumped:
        lines.append(
            f"{'records that kafka-dump-log has read on all nodes':<56}{outcome.dumped:>12,}"
        )
    head = f"{'silence in a partition, s':<40}{'strikes':>8}{'median':>9}{'largest':>9}{'limit':>8}"
    lines += ["", head, *_silences(outcome.rows), ""]
    lines += [f"client: {note}" for note in outcome.notes[:20]]
    if len(outcome.notes) > 20:
        lines.append(f"client: and {len(outcome.notes) - 20} more")
    lines.append(
        f"seed {outcome.seed}, {outcome.seconds:.0f} s, load of the machine over 5 minutes "
        f"{os.getloadavg()[1]:.1f}"
    )
    lines += [f"PROBLEM: {problem}" for problem in outcome.problems]
    return "\n".join(lines) + "\n"


def _silences(rows: Sequence[Row]) -> list[str]:
    lines = []
    for kind in Kind:
        theirs = [row.silence_s for row in rows if row.kind is kind]
        if theirs:
            lines.append(
                f"{kind:<40}{len(theirs):>8}{median(theirs):>9.2f}{max(theirs):>9.2f}"
                f"{BACK_S_MAX[kind]:>8.0f}"
            )
    return lines
