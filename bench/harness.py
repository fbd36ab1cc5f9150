"""Every question in turn, one table, one exit code: 1 if a gated row misses its target.

    python -m bench.harness [--all] [--quick] [--only QUESTION ...] [--save NAME]

Without `--all` these are the headline questions, 25 minutes at most; with it every one, 3 hours at
most. `--quick` takes fewer pairs and less data: to look at while working, not to quote. `--save`
keeps the figures as bench/history/NAME.json. What each covers and what bounds it: bench/README.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from bench import (
    bulk,
    cli,
    durable,
    groups,
    grpc,
    idle,
    journal,
    lag,
    latency,
    partitions,
    seek,
    small,
    start,
    testing,
)
from bench.machine import load_average
from bench.rows import HEAD, Row, line

HISTORY: Final = Path(__file__).resolve().parent / "history"


class Question(Protocol):
    """What a file of this folder answers."""

    def __call__(self, *, quick: bool) -> Iterator[Row]:
        """Measure, and yield each figure as soon as it is there."""
        ...


QUESTIONS: Final[dict[str, Question]] = {
    "journal": journal.measure,
    "bulk": bulk.measure,
    "small": small.measure,
    "durable": durable.measure,
    "latency": latency.measure,
    "seek": seek.measure,
    "partitions": partitions.measure,
    "grpc": grpc.measure,
    "groups": groups.measure,
    "lag": lag.measure,
    "start": start.measure,
    "cli": cli.measure,
    "idle": idle.measure,
    "testing": testing.measure,
}
HEADLINE: Final = (
    "journal", "bulk", "small", "durable", "latency", "start", "cli", "idle", "testing",
)  # fmt: skip


def main() -> int:
    """Measure one node."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true")
    return run(parser, QUESTIONS, HEADLINE)


def run(
    parser: argparse.ArgumentParser,
    questions: Mapping[str, Question],
    headline: Sequence[str] = (),
) -> int:
    """Measure, print, keep: the headline questions, or every one; return the exit code."""
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=tuple(questions))
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    put: Callable[[str], int] = sys.stdout.write
    put(f"{os.cpu_count()} cores, load {load_average():.1f}, Python {platform.python_version()}\n")
    put(f"{HEAD}\n")
    rows: list[Row] = []
    every = not headline or options.all
    for name in options.only or (questions if every else headline):
        for row in questions[name](quick=options.quick):
            rows.append(row)
            put(f"{line(row)}\n")
            sys.stdout.flush()
        if options.save:  # after each question: one that fails takes no other with it
            _keep(options.save, rows, quick=options.quick)
    missed = [row for row in rows if row.gated and row.met is False]
    put(f"load {load_average():.1f} at the end; gated rows missed: {len(missed)}\n")
    return 1 if missed else 0


def _keep(name: str, rows: list[Row], *, quick: bool) -> None:
    HISTORY.mkdir(exist_ok=True)
    told = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_at_end": load_average(),
        "quick": quick,
        "rows": [row.to_json() for row in rows],
    }
    Path(HISTORY, f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
