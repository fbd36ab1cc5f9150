"""A restart costs what there is, not what there was: `python -m tests.restart.run`.

A node gets 10,000 groups with offsets in several partitions each, and is killed; then again after
1,000,000 and after 4,000,000 commits of the same groups. Each time it is started as it is
installed, some times in a row, until it says that every door is open, and killed again. The first
state is the measure of the others, in the same run, on the same machine.

Wanted: ready within 5 s with 10,000 groups, and within 1.3 times the same after any number of
commits. The least of the starts is judged, for whatever else is busy only makes one longer; CPU is
told beside it. Exits 1 if it is not so.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.machine import load_average, scratch
from bench.server import cpu_s
from bench.tidelog_node import ROOT, environment, tidelog
from tests.restart.shape import GROUPS, PARTITIONS

COMMITS: Final = (1_000_000, 4_000_000)
STARTS: Final = 5
READY_S_MAX: Final = 5.0
RATIO_MAX: Final = 1.3


class Measured(NamedTuple):
    """Starts on one state."""

    commits: int
    records: int
    """In the coordinators' log since ever."""
    kept: int
    """Of them still there."""
    ready_s: float
    cpu_s: float


def fed(directory: Path, times: int) -> tuple[int, int]:
    """Run a node until every group has committed so many times more, and kill it.

    Returns how many records its coordinators have written, and how many of them are kept.
    """
    command = [sys.executable, "-m", "tests.restart.feed", str(directory), str(times)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        line = child.stdout.readline()
        child.kill()
    assert line, "the node that is fed has failed"
    records, kept = line.split()
    return int(records), int(kept)


def started(directory: Path, starts: int) -> tuple[float, float]:
    """Return the least seconds to be ready of some starts, and the least of CPU."""
    took: list[float] = []
    costs: list[float] = []
    for _ in range(starts):
        with tidelog(directory, ready_s=took) as node:
            costs.append(cpu_s(node.pid))
    return min(took), min(costs)


def measure(directory: Path, commits: int, *, done: int, starts: int) -> Measured:
    """Commit until there were so many, and start on what is there then."""
    each = GROUPS * PARTITIONS
    records, kept = fed(directory, max(1, (commits - done + each - 1) // each))
    return Measured(commits, records, kept, *started(directory, starts))


def judged(rows: Sequence[Measured]) -> list[str]:
    """Return what is not as it should be; the first row is the measure of the others."""
    wrong = [
        f"ready after {row.ready_s:.2f} s with {row.commits:,} commits, at most {READY_S_MAX} s"
        for row in rows
        if row.ready_s > READY_S_MAX
    ]
    first = rows[0]
    return wrong + [
        f"{row.commits:,} commits make a start {row.ready_s / first.ready_s:.2f} times as long as "
        f"{first.commits:,}, at most {RATIO_MAX} times"
        for row in rows[1:]
        if row.ready_s > RATIO_MAX * first.ready_s
    ]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make restart", description=__doc__)
    parser.add_argument("--commits", type=int, nargs="+", default=list(COMMITS))
    parser.add_argument("--starts", type=int, default=STARTS)
    asked = parser.parse_args(arguments)
    say(f"{GROUPS:,} groups, offsets in {PARTITIONS} partitions each; load {load_average():.2f}")
    say(f"{'commits':>12}{'records':>12}{'kept':>10}{'ready, s':>10}{'ratio':>8}{'CPU, s':>8}")
    rows: list[Measured] = []
    with scratch() as root:
        directory = Path(root, "data")
        for commits in (GROUPS * PARTITIONS, *asked.commits):
            done = rows[-1].commits if rows else 0
            rows.append(measure(directory, commits, done=done, starts=asked.starts))
            row = rows[-1]
            say(
                f"{row.commits:>12,}{row.records:>12,}{row.kept:>10,}{row.ready_s:>10.2f}"
                f"{row.ready_s / rows[0].ready_s:>8.2f}{row.cpu_s:>8.2f}"
            )
    wrong = judged(rows)
    for line in wrong:
        say(line)
    say(f"load {load_average():.2f}; {'FAIL' if wrong else 'PASS'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
