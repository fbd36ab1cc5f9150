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
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from tests.cluster import local_faults, local_identity
from tests.cluster.local_stage import Stage
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

    def tell(self, rows: Sequence[Row]) -> int:
        """Play rows; return how many failed."""
        failed = 0
        try:
            for row in rows:
                began = monotonic()
                problem, figures = self._played(row)
                failed += bool(problem)
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


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Tell the story; 0 if every row passes."""
    parser = argparse.ArgumentParser(prog="make local-story", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(BY_NAME))
    parser.add_argument("--short", action="store_true", help="a few rows")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    asked = parser.parse_args()
    if unknown := [name for name in asked.rows if name not in BY_NAME]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    rows = [BY_NAME[name] for name in asked.rows] or [
        row for row in ROWS if row.short >= asked.short
    ]
    folder = Path(tempfile.mkdtemp(prefix="tidelog-local-story-"))
    failed = Story(folder, _say).tell(rows)
    _say(f"{len(rows) - failed} of {len(rows)} rows pass")
    if failed or asked.keep:
        _say(f"what the nodes have said is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
