"""A restart costs what there is, not what there was: `python -m tests.restart.run`.

A node gets 10,000 groups with offsets in several partitions each, and is killed; then again after
1,000,000 and after 4,000,000 commits of the same groups. Of each of these directories a copy is
kept. Then nodes are started on them as they are installed, in turn, some times each, until they say
that every door is open, and killed again. The first state is the measure of the others: in turn,
since a machine that others use too is a third slower in one minute than in the next.

Wanted: ready within 5 s with 10,000 groups, and within 1.3 times the same after any number of
commits. The least of the starts is judged, for whatever else is busy only makes one longer; CPU is
told beside it. Exits 1 if it is not so.
"""

import argparse
import shutil
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
STARTS: Final = 7
"""Of each state."""
READY_S_MAX: Final = 5.0
RATIO_MAX: Final = 1.3


class State(NamedTuple):
    """A directory as a kill has left it."""

    commits: int
    records: int
    """In the coordinators' log since ever."""
    kept: int
    """Of them still there."""
    directory: Path


class Measured(NamedTuple):
    """Starts on one state."""

    state: State
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


def states(root: Path, commits: Sequence[int]) -> list[State]:
    """Return a directory for each number of commits; the numbers rise."""
    grows, found, done = root / "data", list[State](), 0
    each = GROUPS * PARTITIONS
    for wanted in commits:
        records, kept = fed(grows, max(1, (wanted - done + each - 1) // each))
        found.append(State(wanted, records, kept, root / str(wanted)))
        shutil.copytree(grows, found[-1].directory)
        done = wanted
    return found


def started(directory: Path) -> tuple[float, float]:
    """Return the seconds until a node is ready, and those of CPU; it is killed then."""
    took: list[float] = []
    with tidelog(directory, ready_s=took) as node:
        cost = cpu_s(node.pid)
    return took[0], cost


def measure(found: Sequence[State], starts: int) -> list[Measured]:
    """Start on each state in turn, so many times; return the least of each."""
    rounds = [[started(state.directory) for state in found] for _ in range(starts)]
    return [
        Measured(state, min(ready for ready, _ in took), min(cost for _, cost in took))
        for state, took in zip(found, zip(*rounds, strict=True), strict=True)
    ]


def judged(rows: Sequence[Measured]) -> list[str]:
    """Return what is not as it should be; the first row is the measure of the others."""
    wrong = [
        f"ready after {row.ready_s:.2f} s with {row.state.commits:,} commits, "
        f"at most {READY_S_MAX} s"
        for row in rows
        if row.ready_s > READY_S_MAX
    ]
    first = rows[0]
    return wrong + [
        f"{row.state.commits:,} commits make a start {row.ready_s / first.ready_s:.2f} times as "
        f"long as {first.state.commits:,}, at most {RATIO_MAX} times"
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
    with scratch() as root:
        found = states(Path(root), (GROUPS * PARTITIONS, *asked.commits))
        rows = measure(found, asked.starts)
    say(f"{'commits':>12}{'records':>12}{'kept':>10}{'ready, s':>10}{'ratio':>8}{'CPU, s':>8}")
    for (commits, records, kept, _), ready, cost in rows:
        ratio = ready / rows[0].ready_s
        say(f"{commits:>12,}{records:>12,}{kept:>10,}{ready:>10.2f}{ratio:>8.2f}{cost:>8.2f}")
    wrong = judged(rows)
    for line in wrong:
        say(line)
    say(f"load {load_average():.2f}; {'FAIL' if wrong else 'PASS'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
