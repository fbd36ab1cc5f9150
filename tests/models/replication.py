"""The explicit-state model of data replication: three replicas, and everything that may happen.

`python -m tests.models.replication --states N` looks at N states, nearest first, and prints the
shortest way to one in which something does not hold (tests/models/replication_check.py). With
`--min-insync 1` it must find one: a power cut of all loses what one disk had.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from functools import partial
from time import process_time

from tests.models.explore import Found, explore, wander
from tests.models.replication_check import check
from tests.models.replication_next import steps
from tests.models.replication_state import Limits, World, first

BEGIN = """
    learn(1) begin(1) learn(2) learn(3) deliver(2,1) deliver(3,1)
    send(1,2) send(1,3) deliver(1,2) deliver(1,3)
""".split()
"""What every partition begins with: one leads, the others follow."""


def begun(limits: Limits, script: str = "") -> World:
    """Return the partition as it is when the first record comes, or after more steps, by name.

    Raises:
        KeyError: a step of the script is not possible where it stands.
    """
    world = first()
    for name in (*BEGIN, *script.split()):
        world = dict(steps(world, limits=limits, check=check))[name]()
    return world


def search(limits: Limits, *, states: int, script: str = "") -> Found:
    """Look at so many states, nearest first, from where a script ends."""
    one = partial(steps, limits=limits, check=check)
    return explore(begun(limits, script), one, states_max=states)


def roam(limits: Limits, *, states: int, seed: int) -> Found:
    """Look at so many states on walks at random."""
    one = partial(steps, limits=limits, check=check)
    return wander(begun(limits), one, states_max=states, seed=seed, weigh=_weigh)


def _weigh(kind: str) -> tuple[float, ...]:
    """Return weights: what goes wrong is rarer than what goes on, else nothing ever goes on."""
    if kind in {"kill", "power_cut", "fence", "lag", "reset"}:
        return (0.01, 0.05, 0.3)
    return (1, 3, 10)


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.replication", description=__doc__)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--min-insync", type=int, default=2)
    parser.add_argument("--appends", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--faults", type=int, default=2)
    parser.add_argument("--shrinks", type=int, default=1)
    parser.add_argument("--walk", type=int, metavar="SEED", help="walk at random instead")
    options = parser.parse_args(arguments)
    limits = Limits(
        min_insync_replicas=options.min_insync,
        appends=options.appends,
        epochs=options.epochs,
        faults=options.faults,
        shrinks=options.shrinks,
    )
    began = process_time()
    gc.disable()  # millions of values, no cycle among them
    if options.walk is None:
        found = search(limits, states=options.states)
    else:
        found = roam(limits, states=options.states, seed=options.walk)
    seconds = process_time() - began
    every = ", which are all" if found.complete else ""
    sys.stdout.write(
        f"{found.states} states{every}, {found.transitions} steps, depth {found.depth}: "
        f"{seconds:.1f} s of CPU, {found.states / seconds:.0f} states/s\n"
    )
    if found.broken is None:
        return 0
    lines = "\n".join(f"{number:3} {name}" for number, name in enumerate(found.path, 1))
    sys.stdout.write(f"{lines}\nbroken: {found.broken}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
