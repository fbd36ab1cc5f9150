"""Kill a real node again and again: `python -m tests.kill.run --kills 200 --seed 1`.

A node runs under load from librdkafka and gRPC; it is killed with SIGKILL, started on the same
directory, and the same producers go on. When they are quiet, everything is read back: what was
acknowledged is there, at its offset, byte for byte; what idempotent producers sent is there once.
Members of groups consume and commit beside it, and offsets are committed from outside: each commit
that was acknowledged is there, or a later one that was sent, and none goes back.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from signal import SIGTERM, signal
from typing import Final

from tests.kill.campaign import SETTINGS, Campaign, Plan, Tally, report
from tests.kill.era import ALL_TOPICS, LEADER_ONLY, SENDERS, Era
from tests.kill.group_load import GROUPS
from tests.kill.group_report import groups_lacking
from tests.kill.moment import Phase, supported
from tests.kill.node_process import NodeProcess
from tests.kill.strike import Struck, strike

WISHES: Final = (None, *Phase)
STATE: Final = "cluster.state_snapshot_records=500"
"""Snapshots of groups are made all the time, so that kills fall beside them."""
ENOUGH: Final = 5
"""Kills after which every kind of thing must have been seen of groups."""


def kill(node: NodeProcess, era: Era, *, rand: Random, wanted: Phase | None) -> Struck:
    """Kill the node; keep its directory as it was, until the next kill: recovery changes it."""
    struck = strike(node, era, rand=rand, wanted=wanted)
    kept = node.directory.with_name("killed")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(node.directory, kept)
    return struck


def failed(tally: Tally, kills: int) -> bool:
    """Tell whether a run has shown less than it must."""
    met_all = all(tally.phases[phase] for phase in Phase)
    unmet = (kills >= len(WISHES) and not met_all) or (kills >= ENOUGH and bool(lacking(tally)))
    return bool(tally.problems) or tally.ends < kills or unmet


def lacking(tally: Tally) -> list[str]:
    """Return what the groups of a run did not show."""
    return groups_lacking(tally.books, tally.commits_in_flight)


def run(kills: int, seed: int, *, say: Callable[[str], None]) -> tuple[Tally, bool]:
    """Run a campaign in a folder of its own, which stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-kill-"))
    plan = Plan(ALL_TOPICS, (*SENDERS, LEADER_ONLY), WISHES, kill, GROUPS)
    node = NodeProcess(folder / "data", (*SETTINGS, STATE), folder)
    tally = Campaign(node, plan, seed=seed, say=say).run(kills)
    bad = failed(tally, kills)
    if bad:
        say(f"directory and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return tally, bad


def met(tally: Tally) -> str:
    """Return where the kills fell, for people."""
    phases = ", ".join(f"{phase.value} {tally.phases[phase]}" for phase in Phase)
    return (
        f"kills: {tally.ends}; inside {phases}; without a look {tally.unseen}; "
        f"moment not met {tally.missed}\n"
    )


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Kill as often as asked; report."""
    parser = argparse.ArgumentParser(prog="make kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if not supported():
        sys.stderr.write("this machine does not show what a process is in the middle of\n")
        return 2
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that no node stays behind
    sys.setswitchinterval(0.000_5)  # the killer is one thread of several
    tally, bad = run(options.kills, options.seed, say=say)
    sys.stdout.write(met(tally) + report(tally) + ("FAIL\n" if bad else "PASS\n"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
