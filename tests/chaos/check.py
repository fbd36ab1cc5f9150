"""Judge what clients have recorded: `python -m tests.chaos.check DIRECTORY`.

Exit 0: no anomaly. 1: there are some, each told with its records and the clients that saw it.
2: the directory holds no history. The rules are in `checks/rules.py`; what clients write down, in
`history.py`. An outcome that is unknown is taken as both until somebody reads the value, or passes
its place.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.chaos.checks.appends import Appends
from tests.chaos.checks.commits import Commits
from tests.chaos.checks.exits import Exits
from tests.chaos.checks.holds import Holds
from tests.chaos.checks.known import Known
from tests.chaos.checks.placing import Placing
from tests.chaos.checks.progress import Progress
from tests.chaos.checks.queries import Queries
from tests.chaos.checks.reads import Reads
from tests.chaos.checks.report import Report
from tests.chaos.checks.shares import Shares
from tests.chaos.checks.shown import Edge
from tests.chaos.history import AnyEvent, HistoryError
from tests.chaos.history_reading import read_in_order

STUCK_S: Final = 60.0
"""No progress for so long after everything had healed is an anomaly."""
US_PER_S: Final = 1_000_000
Handler: TypeAlias = Callable[[str, Any], None]
"""Takes the client and the event, of the kind under which it is entered."""


def check(events: Iterable[tuple[str, AnyEvent]], stuck_s: float = STUCK_S) -> Report:
    """Judge events that come in the order of their times.

    Raises:
        HistoryError: they contradict themselves: whoever wrote them is at fault.
    """
    report = Report()
    known = Known(report)
    placing = Placing(known)
    reads = Reads(known, placing)
    shares = Shares()
    holds = Holds(known, shares)
    queries = Queries(known)
    progress = Progress(known, reads, int(stuck_s * US_PER_S))
    judges: list[dict[type[AnyEvent], Handler]] = [
        judge.handlers  # type: ignore[misc]
        for judge in (
            shares,
            Appends(known, placing),
            reads,
            Edge(known),
            holds,
            Commits(known, shares, holds),
            queries,
            progress,
            Exits(report),
        )
    ]
    handlers: defaultdict[type[AnyEvent], list[Handler]] = defaultdict(list)
    for judge in judges:
        for kind, handler in judge.items():
            handlers[kind].append(handler)
    count = 0
    for client, event in events:
        if event.t >= progress.due:
            progress.look()
        for handler in handlers[type(event)]:
            handler(client, event)
        count += 1
    report.counts["events"] = count
    placing.finish()
    queries.finish()
    return report


def table(report: Report) -> str:
    """Return the outcome for people."""
    rows = [f"{what:<56}{count:>12,}" for what, count in sorted(report.counts.items()) if count]
    rows += [f"ANOMALY: {anomaly}" for anomaly in report.anomalies]
    told: defaultdict[str, int] = defaultdict(int)
    for anomaly in report.anomalies:
        told[anomaly.rule] += 1
    rows += [
        f"and {count - told[rule]} more: {rule}"
        for rule, count in report.found.items()
        if count > told[rule]
    ]
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Judge a directory; report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.check", description=__doc__)
    parser.add_argument("directory", type=Path, help="with one file *.jsonl for each client")
    parser.add_argument("--stuck-seconds", type=float, default=STUCK_S)
    options = parser.parse_args(arguments)
    try:
        report = check(read_in_order(options.directory), options.stuck_seconds)
    except HistoryError as broken:
        sys.stderr.write(f"{broken}\n")
        return 2
    sys.stdout.write(table(report) + ("FAIL\n" if report.found else "PASS\n"))
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
