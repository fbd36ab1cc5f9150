"""Three nodes under every fault at once: `make chaos SEED=1`, or `python -m tests.chaos.nodes_run`.

Producers and members of groups, of the SDK and of librdkafka, go on while nodes are killed, stand
still, are cut off from each other, and all lose their power: in an order and in ways that the seed
decides. After each strike writes must be back in time, and all replicas in sync, by themselves.
Then everything is read, and what the clients wrote down is judged: nothing lost, nothing doubled,
nothing out of order, no commit back; the replicas' files are compared, and read by Apache's
`kafka-dump-log`. With `--controls` disks lie meanwhile, in numbers that must lose records, or must
not (`nodes_controls.py`).

Exit 0: all is well. 1: not. 2: this machine cannot do something that was not left out.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM, signal
from typing import Final

from tests.chaos import nodes_network
from tests.chaos.nodes_campaign import Campaign, Plan
from tests.chaos.nodes_controls import controls
from tests.chaos.nodes_outcome import Outcome, table
from tests.chaos.nodes_plan import Kind
from tests.interop.fetched import MissingError, java_classes
from tests.powercut import volume

INSIDE: Final = "TIDELOG_CHAOS_INSIDE"
"""Set in the process that has its mounts and its network to itself: they go with it."""
COUNTS: Final = {Kind.KILLS: 50, Kind.PAUSES: 20, Kind.CUTS: 20, Kind.POWER_CUTS: 20}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="make chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind}", type=int, default=count, dest=kind.name)
    parser.add_argument("--only", type=_kinds, help="kinds of faults: kills,pauses,cuts,power-cuts")
    parser.add_argument("--without", type=_kinds, default=(), help="likewise, left out")
    parser.add_argument("--pause-seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=5.0, help="records/s, producer and partition")
    parser.add_argument(
        "--without-dump-log", action="store_true", help="do not let kafka-dump-log read the files"
    )
    parser.add_argument("--controls", action="store_true", help="only: power cuts of lying disks")
    parser.add_argument("--keep", action="store_true", help="keep the folder also if all is well")
    return parser.parse_args(arguments)


def _kinds(text: str) -> tuple[Kind, ...]:
    return tuple(Kind(name) for name in text.split(","))


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what is to be done."""
    if options.controls:
        options.only = (Kind.POWER_CUTS,)
    counts = {kind: getattr(options, kind.name) for kind in COUNTS}
    for kind in COUNTS:
        if kind in options.without or (options.only and kind not in options.only):
            counts[kind] = 0
    return Plan(
        counts,
        options.seed,
        pause_s=options.pause_seconds,
        rate=options.rate,
        dump=not options.without_dump_log,
    )


def why_not(plan: Plan) -> list[str]:
    """Return why something that is wanted cannot be done here, with what leaves it out."""
    reasons = {Kind.CUTS: nodes_network.why_not(), Kind.POWER_CUTS: volume.why_not()}
    told = [
        f"--without {kind}: {reason}"
        for kind, reason in reasons.items()
        if plan.counts[kind] and reason is not None
    ]
    if plan.dump:
        try:
            java_classes()  # before anything is done: it is fetched once
        except MissingError as missing:
            told.append(f"--without-dump-log: {missing}")
    return told


def own_machine(*, has_network: bool) -> int:
    """Run this command again in a process that has its mounts, and maybe its network, to itself."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m"]
    if has_network:
        command.insert(1, "--net")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*command, "tests.chaos.nodes_run", *sys.argv[1:]])


def run(plan: Plan, *, keep: bool) -> Outcome:
    """Run a campaign in a folder that stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-chaos-"))
    outcome = Campaign(plan, folder, say=say).run()
    sys.stdout.write(table(outcome))
    if outcome.problems or keep:
        say(f"histories and log lines are in {folder}")
    else:
        shutil.rmtree(folder)
    return outcome


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Run as asked; report."""
    options = parse(arguments)
    plan = plan_of(options)
    if reasons := why_not(plan):
        sys.stderr.write(
            "this machine cannot do all that was asked for; leave out what it cannot:\n"
        )
        sys.stderr.write("".join(f"  {reason}\n" for reason in reasons))
        return 2
    if plan.needs_own_machine and not os.environ.get(INSIDE):
        return own_machine(has_network=plan.has_network)
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that everything is put back
    if options.controls:
        problems = controls(plan, say)
    else:
        problems = run(plan, keep=options.keep).problems
    say("FAIL" if problems else "PASS")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
