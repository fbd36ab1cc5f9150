"""Every crash of the log store, counted: `python -m tests.crash.enumerate --states 50000`.

Runs the workloads again and again, each time from another seed, until so many different images
have come out of recovery; then leaves out each sync of one run in turn. The same arguments give
the same lines. Exits 1 if anything is wrong, or if fewer states were reached.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.crash.explore import Dropped, Explorer, Seen, Violation, some_cuts, sweep
from tests.crash.models import MODELS, coarse
from tests.crash.redundant import REDUNDANT, site
from tests.crash.store import Store, record
from tests.crash.workloads import DISK_FULL, WORKLOADS

ROUNDS_MAX: Final = 200
"""Seeds tried at most to reach a number of states."""
SHOWN_MAX: Final = 5
CUTS_MAX: Final = 200
"""Of a longer run so many cuts are drawn; every round draws others."""
ALL: Final = (*WORKLOADS, *(f"{name}, {DISK_FULL}" for name in WORKLOADS))


def enumerate_states(names: Sequence[str], states: int, seed: int) -> Iterator[tuple[str, Seen]]:
    """Yield what each workload showed under each model, until there are enough states."""
    reached: set[bytes] = set()
    for number in range(ROUNDS_MAX):
        for name in names:
            recording = record(name, seed + number)
            for model in MODELS:
                explorer = Explorer(Store(), seed=seed + number)
                cuts = some_cuts(recording.steps, CUTS_MAX, seed + number)
                seen = explorer.explore(recording, MODELS[model], cuts=cuts)
                reached |= seen.recovered
                yield f"{name}, {model}", seen
                if len(reached) >= states or seen.violations:
                    return


def leave_out_each_sync(names: Sequence[str], seed: int) -> Iterator[tuple[str, Dropped]]:
    """Yield each sync of one run of each workload, and whether anything noticed its absence."""
    for name in (each for each in names if not each.endswith(DISK_FULL)):
        for dropped in sweep(Store(), record(name, seed), [coarse], seed=seed):
            yield name, dropped


def say(line: str) -> None:
    """Print one line."""
    sys.stdout.write(f"{line}\n")


def show_states(names: Sequence[str], states: int, seed: int) -> tuple[Seen, bool]:
    """Print a line for each workload and model; return all of it, and whether it is enough."""
    table: dict[str, Seen] = {}
    for row, seen in enumerate_states(names, states, seed):
        table.setdefault(row, Seen()).add(seen)
    say(f"{'workload, model':40}{'crashed':>10}{'again':>10}{'recovered':>10}{'wrong':>7}")
    total = Seen()
    for row, seen in table.items():
        counts = (seen.crashed, seen.second, seen.recovered)
        say(f"{row:40}{''.join(f'{len(each):>10,}' for each in counts)}{len(seen.violations):>7}")
        total.add(seen)
    return total, len(total.recovered) >= states and not total.violations


def show_syncs(names: Sequence[str], seed: int) -> bool:
    """Print what happens without each sync; tell whether each kind was missed by some crash.

    One that no crash misses may stand before the end of its run, or before another of its kind.
    """
    missed, all_of = Counter[str](), Counter[str]()
    for _, dropped in leave_out_each_sync(names, seed):
        where = site(dropped.step)
        all_of[where] += 1
        missed[where] += dropped.caught is not None
    say(f"syncs left out in turn: {all_of.total()}; a crash told of {missed.total()}")
    good = True
    for where, count in sorted(all_of.items()):
        note = ""
        if not missed[where]:
            good = good and where in REDUNDANT
            note = REDUNDANT.get(where, "NOTHING MISSES IT")
        say(f"  {where:40}{missed[where]:>5} of {count:<5} {note}")
    return good


def show(violation: Violation) -> None:
    """Print one violation with what it takes to see it again."""
    where = "a second crash inside recovery" if violation.second else "a crash"
    say(f"after {where}, {violation.cut} steps into the run: {violation.what}")
    for name, content in sorted(violation.image.files.items()):
        say(f"  {name}: {len(content)} bytes")


def main(arguments: Sequence[str]) -> int:
    """Parse, enumerate, sweep, report."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--states", type=int, default=50_000, help="different recovered images")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workload", choices=ALL, action="append")
    parser.add_argument("--no-sweep", action="store_true", help="leave no sync out")
    options = parser.parse_args(arguments)
    names = options.workload or list(ALL)
    total, enough = show_states(names, options.states, options.seed)
    for violation in total.violations[:SHOWN_MAX]:
        show(violation)
    good = enough and (options.no_sweep or show_syncs(names, options.seed))
    again = 100 * len(total.cut_again) // max(1, len(total.crashed))
    say(
        f"{'PASS' if good else 'FAIL'}: {len(total.recovered):,} different recovered images of "
        f"{len(total.crashed):,} different crashes, {again} % of them crashed again inside "
        f"recovery ({len(total.second):,} images); {len(total.violations)} violations, "
        f"seed {options.seed}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
