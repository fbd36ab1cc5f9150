"""Controls of the power cuts: disks that lie, in numbers that must lose records, or must not.

A record is acknowledged once all who are in sync have written it, and two have synced it. If all
lie, the first cut takes what was acknowledged. If two do, and the third takes 50 ms for a sync, it
takes what they acknowledged while the third had written it and not synced it yet. If one lies, one
other has it in any case; what the liar remembers of itself may be older than what others know of
it, and then its directory is emptied (`nodes_world.py`).

What must be lost must be seen to be lost: another record stands in its place, or the log ends below
it. That something cannot be read is no loss. A disk that keeps its word has no damage, whatever the
others do.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos.nodes_campaign import Campaign, Plan
from tests.chaos.nodes_outcome import Outcome
from tests.chaos.nodes_plan import Kind

LIES: Final = Path(__file__).parents[1] / "powercut" / "unsynced.c"
SLOW: Final = Path(__file__).with_name("nodes_slow_sync.c")


class Control(NamedTuple):
    """Disks, and whether records must be lost."""

    what: str
    disks: Mapping[int, Path]
    """What is loaded into nodes, by their numbers."""
    cuts_max: int
    loses: bool

    @property
    def liars(self) -> frozenset[int]:
        """Return the nodes whose disks lie; a slow one keeps its word."""
        return frozenset(number for number, path in self.disks.items() if path == LIES)


CONTROLS: Final = (
    Control("no node syncs", {1: LIES, 2: LIES, 3: LIES}, cuts_max=1, loses=True),
    Control(
        "two do not sync, the third takes 50 ms longer",
        {1: LIES, 2: LIES, 3: SLOW},
        cuts_max=20,
        loses=True,
    ),
    Control("one node does not sync", {1: LIES}, cuts_max=20, loses=False),
)
CUTS_A_RUN: Final = 2
"""Cuts behind each other before it is looked whether records were lost; if they must be."""


def controls(asked: Plan, say: Callable[[str], None]) -> list[str]:
    """Run all controls; return what went another way than it must.

    `asked`: how many power cuts those are to have at most that are to have 20, the seed and the
    rate.
    """
    problems = []
    with tempfile.TemporaryDirectory(prefix="tidelog-chaos-disks-") as made:
        for control in CONTROLS:
            cuts = min(control.cuts_max, asked.counts[Kind.POWER_CUTS])
            shims = {path: str(_built(path, Path(made))) for path in set(control.disks.values())}
            disks = {n: {"LD_PRELOAD": shims[path]} for n, path in control.disks.items()}
            dump = asked.dump and not control.loses
            say(f"control: {control.what}; at most {cuts} power cuts")
            plan = replace(
                asked, environment=disks, liars=control.liars, dump=dump, lossy=control.loses
            )
            found = _run(control, plan, cuts=cuts, say=say)
            problems += found
            say(f"control: {control.what}: {'as it must be' if not found else found[0][:200]}")
    return problems


def _run(control: Control, asked: Plan, *, cuts: int, say: Callable[[str], None]) -> list[str]:
    """Run one control, in parts if it is to lose; return what went another way."""
    part = min(CUTS_A_RUN, cuts) if control.loses else cuts
    done = 0
    while done < cuts:
        folder = Path(tempfile.mkdtemp(prefix="tidelog-chaos-control-"))
        plan = replace(asked, counts={Kind.POWER_CUTS: part}, seed=asked.seed + done)
        outcome = Campaign(plan, folder, say=say).run()
        done += part
        say(f"control: {control.what}: {done} cuts, {outcome.fate}")
        if wrong := wrong_with(control, outcome):
            return [f"{control.what}: {wrong}; see {folder}"]
        shutil.rmtree(folder)
        if outcome.fate.lost:
            return []
    if control.loses:
        return [f"{control.what}: {done} cuts, and nothing was lost: the cuts prove nothing"]
    return []


def wrong_with(control: Control, outcome: Outcome) -> str:
    """Return what is wrong with a part of a control whatever comes of the rest; '': nothing."""
    problems = outcome.harmed if control.loses else outcome.problems
    return problems[0] if problems else ""


def _built(source: Path, folder: Path) -> Path:
    """Return a shared object that is made of a C file."""
    target = folder / f"{source.stem}.so"
    if not target.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-o", target, source], check=True)
    return target
