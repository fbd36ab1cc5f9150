"""Every crash of the log store, counted: `python -m tests.crash.enumerate --states 50000`.

Runs the workloads again and again, each time from another seed, until so many different images
have come out of recovery; then leaves out each sync of one run in turn. The same arguments give
the same lines, whatever the number of processes. Exits 1 if anything is wrong, or if fewer states
were reached.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol, TypeVar

from api.sim.trace import Sync, SyncDirectory
from tests.crash.explore import Explorer, Seen, Violation, leave_out, some_cuts
from tests.crash.models import MODELS, coarse
from tests.crash.redundant import REDUNDANT, REDUNDANT_MAX, site
from tests.crash.store import Store, record
from tests.crash.workloads import DISK_FULL, SWEPT, WORKLOADS
from tests.small_reads import small_reads

ROUNDS_MAX: Final = 2_000
"""Seeds tried at most to reach a number of states."""
SHOWN_MAX: Final = 5
CUTS: Final = {"weak": 4, "ext4-ordered": 24, "drawn": 24}
"""Of each run so many cuts are drawn; every seed draws others, and other states at each."""
WHOLE_EVERY: Final = 16
"""One seed in so many is looked at under the models that try most, and in its costly runs."""
COSTLY: Final = ("many_partitions", "recycle", "every_sync")
"""A state of these costs ten times that of the others: many partitions, or a full journal."""
BLOCK: Final = 16
"""Units that are begun before it is asked whether there are enough states; syncs between two lines
of progress."""
ALL: Final = (*WORKLOADS, *(f"{name}, {DISK_FULL}" for name in WORKLOADS))

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Mapped(Protocol):
    """`map`, over one process or several."""

    def __call__(
        self, function: Callable[[Asked], Answer], asked: Iterable[Asked], /
    ) -> Iterator[Answer]:
        """Yield the answers in the order of what is asked."""
        ...


class Unit(NamedTuple):
    """One run of one workload, crashed in some places under one model."""

    name: str
    seed: int
    model: str


class LeftOut(NamedTuple):
    """One sync of a recorded run."""

    name: str
    seed: int
    at: int
    where: str
    noticed: bool
    anyway: str | None = None
    """What is wrong although the sync is done."""


@contextmanager
def processes(jobs: int) -> Iterator["Mapped"]:
    """Have a `map` that keeps the order of what it is given, over so many processes."""
    if jobs == 1:
        yield map
        return
    pool = ProcessPoolExecutor(jobs)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


@small_reads()
def crash(unit: Unit) -> Seen:
    """Crash one run, recover, judge."""
    recording = record(unit.name, unit.seed)
    explorer = Explorer(Store(), seed=unit.seed)
    cuts = some_cuts(recording.steps, CUTS[unit.model], unit.seed)
    return explorer.explore(recording, MODELS[unit.model], cuts=cuts)


def units(names: Sequence[str], seed: int) -> Iterator[Unit]:
    """Yield what is tried, in order."""
    for number in range(ROUNDS_MAX):
        whole = number % WHOLE_EVERY == 0
        for name in names:
            if whole or not name.startswith(COSTLY):
                for model in MODELS if whole else ("drawn",):
                    yield Unit(name, seed + number, model)


def show_states(names: Sequence[str], states: int, seed: int, *, jobs: int) -> tuple[Seen, bool]:
    """Print a line for each workload and model; return all of it, and whether it is enough."""
    table: dict[str, Seen] = {}
    total = Seen()
    with processes(jobs) as mapped:
        every = list(units(names, seed))
        for at in range(0, len(every), BLOCK):
            block = every[at : at + BLOCK]
            for unit, seen in zip(block, mapped(crash, block), strict=True):
                table.setdefault(f"{unit.name}, {unit.model}", Seen()).add(seen)
                total.add(seen)
            tell_progress(f"{len(total.recovered):,} of {states:,} states")
            if len(total.recovered) >= states or total.violations:
                break
    say(f"{'workload, model':40}{'crashed':>10}{'again':>10}{'recovered':>10}{'wrong':>7}")
    for row, seen in table.items():
        counts = (seen.crashed, seen.second, seen.recovered)
        say(f"{row:40}{''.join(f'{len(each):>10,}' for each in counts)}{len(seen.violations):>7}")
    return total, len(total.recovered) >= states and not total.violations


@small_reads()
def leave_one_out(asked: tuple[str, int, int]) -> LeftOut:
    """Leave out one sync of a recorded run, and look for a crash that tells."""
    name, seed, at = asked
    recording = record(name, seed)
    dropped = leave_out(Store(), recording, [coarse], index=at, seed=seed)
    where = site(recording.steps, at)
    anyway = dropped.anyway and dropped.anyway.what
    return LeftOut(name, seed, at, where, dropped.caught is not None, anyway)


def syncs_of(name: str, seed: int) -> list[int]:
    """Return which steps of a recorded run are syncs."""
    steps = record(name, seed).steps
    return [at for at, step in enumerate(steps) if isinstance(step, Sync | SyncDirectory)]


def show_syncs(names: Sequence[str], seed: int, *, jobs: int) -> bool:
    """Print what happens without each sync; tell whether each one was missed by some crash."""
    asked = [(name, seed, at) for name in names for at in syncs_of(name, seed)]
    found: list[LeftOut] = []
    with processes(jobs) as mapped:
        for each in mapped(leave_one_out, asked):
            found.append(each)
            if len(found) % BLOCK == 0:
                tell_progress(f"{len(found)} of {len(asked)} syncs left out")
    missed, all_of = Counter[str](), Counter[str]()
    good = len(REDUNDANT) <= REDUNDANT_MAX
    for each in found:
        all_of[each.where] += 1
        missed[each.where] += each.noticed
        if each.anyway is not None:
            good = False
            say(f"  WRONG WITH step {each.at} of {each.name}, too ({each.where}): {each.anyway}")
        elif not each.noticed and each.where not in REDUNDANT:
            good = False
            say(f"  NOTHING MISSES step {each.at} of {each.name}: {each.where}")
    say(f"syncs left out in turn: {all_of.total()}; a crash told of {missed.total()}")
    for where, count in sorted(all_of.items()):
        say(f"  {where:40}{missed[where]:>5} of {count:<5} {REDUNDANT.get(where, '')}".rstrip())
    return good


def say(line: str) -> None:
    """Print one line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tell_progress(text: str) -> None:
    """Say how far it is, on stderr: this takes long."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


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
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--workload", choices=ALL, action="append")
    parser.add_argument("--no-sweep", action="store_true", help="leave no sync out")
    options = parser.parse_args(arguments)
    names = options.workload or list(ALL)
    total, enough = show_states(names, options.states, options.seed, jobs=options.jobs)
    for violation in total.violations[:SHOWN_MAX]:
        show(violation)
    swept = [name for name in options.workload or SWEPT if not name.endswith(DISK_FULL)]
    good = enough and (options.no_sweep or show_syncs(swept, options.seed, jobs=options.jobs))
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
