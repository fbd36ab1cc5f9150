"""The story of a cluster on one machine: `python -m tests.cluster.local_story [ROW...] [--short]`.

Three nodes are started by `tidelog local`, as their user does it. An idempotent producer of
librdkafka with acks=all and a consumer go on while one thing after the other happens to the nodes.
After each row everything is well again by itself, and is read back: whatever was acknowledged is
there, once, in the producer's order, and is what the consumer was shown. A line for each row, with
figures; exit 1 if one of them fails.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from tests.cluster import local_faults, local_identity
from tests.cluster.local_stage import Stage
from tests.cluster.telling import parser_of, say, told
from tests.cluster.waiting import Broken
from tests.kill.node_process import NodeFailed
from tidelog.errors import TidelogError


class Row(NamedTuple):
    """One thing that happens."""

    name: str
    play: Callable[[Stage], str]
    short: bool = False
    ends: bool = False
    """The cluster cannot be healed afterwards: it is thrown away."""


ROWS: Final = (
    Row("kill-leader", local_faults.kill_leader, short=True),
    Row("kill-controller", local_faults.kill_controller),
    Row("two-killed", local_faults.two_killed),
    Row("paused", local_faults.paused),
    Row("all-killed", local_faults.all_killed, short=True),
    Row("rolling", local_faults.rolling),
    Row("one-wiped", local_faults.one_wiped, short=True),
    Row("clone", local_identity.clone),
    Row("same-id", local_identity.same_id, short=True),
    Row("controllers-id", local_identity.controllers_id),
    Row("old-image", local_identity.old_image),
    Row("other-cluster", local_identity.other_cluster),
    Row("fourth", local_faults.fourth),
    Row("two-wiped", local_faults.two_wiped, ends=True),
)
BY_NAME: Final = {row.name: row for row in ROWS}
NAME_WIDTH: Final = max(map(len, BY_NAME))


class Story:
    """Plays rows, each on the stage of the one before as long as that is whole."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self._folder, self._say = folder, say
        self._stage: Stage | None = None
        self._stages = 0

    def tell(self, rows: Sequence[Row]) -> list[str]:
        """Play rows; return what failed."""
        failed = []
        try:
            for row in rows:
                began = monotonic()
                problem, figures = self._played(row)
                if problem:
                    failed.append(f"{row.name}: {problem}")
                word, text = ("FAIL", problem) if problem else ("PASS", figures)
                took = f"[{monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}]"
                self._say(f"{word} {row.name:{NAME_WIDTH}}  {text} {took}")
                if self._stage is not None and (problem or row.ends):
                    self._close(self._stage)
        finally:
            if self._stage is not None:
                self._close(self._stage)
        return failed

    def _played(self, row: Row) -> tuple[str, str]:
        """Return what went wrong, and the figures."""
        try:
            stage = self._stage = self._stage or self._raised()
            figures = row.play(stage)
            if not row.ends:
                stage.heal()
                figures = f"{figures}; {stage.judge()}"
        except (Broken, NodeFailed, KafkaException, TidelogError) as broken:
            return f"{broken}", ""
        return "", figures

    def _raised(self) -> Stage:
        self._stages += 1
        return Stage(self._folder / f"stage-{self._stages}")

    def _close(self, stage: Stage) -> None:
        """End a stage; the logs of its nodes stay."""
        self._stage = None
        logs = self._folder / f"logs-{self._stages}"
        logs.mkdir()
        for log in stage.cluster.folder.glob("node-*.log*"):
            shutil.copy(log, logs)
        stage.close()


def row(name: str) -> Row:
    """Return the row of a name, for the command line."""
    if name not in BY_NAME:
        raise argparse.ArgumentTypeError(f"no such row: {name}; there are {', '.join(BY_NAME)}")
    return BY_NAME[name]


def play(folder: Path, asked: argparse.Namespace) -> list[str]:
    """Tell the story; return what failed."""
    rows = asked.rows or [one for one in ROWS if one.short >= asked.short]
    failed = Story(folder, say).tell(rows)
    say(f"{len(rows) - len(failed)} of {len(rows)} rows pass")
    return failed


def main() -> int:
    """Tell the story; 0 if every row passes."""
    parser = parser_of(__doc__)
    parser.add_argument("rows", nargs="*", type=row, metavar="ROW", help=", ".join(BY_NAME))
    parser.add_argument("--short", action="store_true", help="a few rows")
    return told(parser, play)


if __name__ == "__main__":
    sys.exit(main())
