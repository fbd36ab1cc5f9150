"""Cut the power of a real node again and again: `python -m tests.powercut.run --cuts 50 --seed 1`.

The node's directory lies on a file system of its own, which is shut down under load: what has not
reached the device is gone. The node is started again on what is left, and everything that was
acknowledged with flush=quorum is there, as after a kill.

Then the control: with syncs that do nothing the same run must lose records, or the cuts prove
nothing; the command fails if it does not. Needs root and loop devices.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from signal import SIGTERM, signal
from typing import Final

from tests.kill.campaign import SETTINGS, Campaign, Plan, Tally, report
from tests.kill.era import QUORUM_TOPICS, SENDERS, Era
from tests.kill.moment import Phase
from tests.kill.node_process import NodeFailed, NodeProcess
from tests.kill.run import say
from tests.kill.strike import Struck, enough_under_way
from tests.powercut.volume import Volume, volume, why_not

INSIDE: Final = "TIDELOG_POWERCUT_INSIDE"
"""Set in the process that has its mounts to itself: they go with it, however it ends."""
STORAGE_FAILED: Final = 11
CONTROL_CUTS_MAX: Final = 5
SHIM: Final = Path(__file__).with_name("unsynced.c")


@dataclass(slots=True)
class PowerCut:
    """Ends a node by taking its disk's power."""

    on: Volume

    def __call__(
        self, node: NodeProcess, era: Era, *, rand: Random, wanted: Phase | None
    ) -> Struck:
        """Cut; then kill the node, or let it find out by itself, and give the power back."""
        del wanted  # the disk's moments are not the node's
        struck = Struck(None, enough_under_way(era, fresh=False))
        era.answered_more(rand.randrange(1, 200))
        finds_out = rand.random() < 0.5
        self.on.cut()
        if not finds_out:
            node.kill()
        elif (code := node.wait()) != STORAGE_FAILED:  # P44
            raise NodeFailed(f"a dead disk ended it with {code}: {node.last_words()}")
        self.on.unmount()
        self.on.mount()
        return struck


def run(cuts: int, seed: int, *, environment: Mapping[str, str]) -> tuple[Tally, Path]:
    """Run a campaign; return what it saw, and where the node's log lines are."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-powercut-"))
    with volume(folder) as on:
        node = NodeProcess(on.path / "data", SETTINGS, folder, environment)
        # The topics are there in any case, so that the control loses records and not only those.
        plan = Plan(QUORUM_TOPICS, SENDERS, (None,), PowerCut(on), begun=on.sync)
        tally = Campaign(node, plan, seed=seed, say=say).run(cuts)
    (folder / "device").unlink()
    return tally, folder


def control(seed: int) -> bool:
    """Do the same without syncs; tell whether records were lost, as they must be."""
    with tempfile.TemporaryDirectory(prefix="tidelog-unsynced-") as made:
        shim = Path(made) / "unsynced.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, SHIM], check=True)
        environment = {"LD_PRELOAD": str(shim)}
        tally, folder = run(CONTROL_CUTS_MAX, seed, environment=environment)
    shutil.rmtree(folder)
    say(f"without syncs: {tally.ends} cuts, {tally.lost} acknowledged records lost")
    for problem in tally.problems[:3]:
        say(f"  {problem[:200]}")
    return tally.lost > 0


def own_mounts() -> int:
    """Run this command again in a process that has its mounts to itself."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m"]
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*command, "tests.powercut.run", *sys.argv[1:]])


def main(arguments: Sequence[str]) -> int:
    """Cut as often as asked; report."""
    parser = argparse.ArgumentParser(prog="make powercut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if (reason := why_not()) is not None:
        sys.stderr.write(f"no power can be cut here: {reason}\n")
        return 2
    if not os.environ.get(INSIDE):
        return own_mounts()
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind

    tally, folder = run(options.cuts, options.seed, environment={})
    bad = bool(tally.problems) or tally.ends < options.cuts
    say(f"power cuts: {tally.ends}; acknowledged records lost: {tally.lost}")
    sys.stdout.write(report(tally))
    if bad:
        say(f"log lines are in {folder}")
    else:
        shutil.rmtree(folder)
    noticed = control(options.seed)
    if not noticed:
        say("without syncs nothing was lost: the cuts prove nothing")
    say("FAIL" if bad or not noticed else "PASS")
    return 1 if bad or not noticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
