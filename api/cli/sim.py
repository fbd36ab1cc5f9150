"""`tidelog sim`: three whole nodes on simulated disks, network and clocks, from one seed."""

from pathlib import Path
from typing import Final

import click

from api.sim.plan import Plan, TapeRefused, make_plan, read_tape
from api.sim.run import LINES_KEPT, Outcome, run_plan, shrink
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.output import Column, Kind
from tidelog.cli.run import Run
from tidelog.cli.verb import Noun, Verb

COLUMNS: Final = (
    Column("seed", Kind.INTEGER),
    Column("trace_hash", about="The same for the same seed, anywhere."),
    Column("steps", Kind.INTEGER, about="Turns of processes."),
    Column("virtual_ms", Kind.INTEGER, "VIRTUAL-MS", about="Time that passed in the run."),
    Column("faults", Kind.INTEGER),
    Column("acked", Kind.INTEGER, about="Records that were acknowledged."),
    Column("failure", about="The invariant that did not hold; empty: all did."),
)


@click.group(cls=Noun, examples=("tidelog sim run --seed 7", "tidelog sim run --tape failed.json"))
def sim() -> None:
    """Run three nodes in simulated weather: the same seed is the same run."""


@sim.command(
    cls=Verb,
    columns=COLUMNS,
    examples=(
        "tidelog sim run --seed 7",
        "tidelog sim run --seed 0 --seeds 40 --save failed.json",
        "tidelog sim run --tape failed.json --until 5000",
    ),
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, metavar="N", help="The seed, or the first of some."
)
@click.option(
    "--seeds", type=click.IntRange(1), default=1, metavar="N", help="So many seeds, one by one."
)
@click.option("--tape", metavar="FILE", help="Run what a tape says instead.")
@click.option("--until", type=click.IntRange(1), metavar="STEP", help="Stop after so many steps.")
@click.option("--save", metavar="FILE", help="Where the tape of a failure goes, made smaller.")
@click.option("--trace", is_flag=True, help="Show the whole trace on stderr, not only its end.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
def run(  # noqa: PLR0913 - one for each option
    run: Run,
    *,
    seed: int,
    seeds: int,
    tape: str | None,
    until: int | None,
    save: str | None,
    trace: bool,
    as_json: bool,
) -> int:
    """Let nodes work while disks, wires and processes fail, and hold them to their promises.

    Exit 0 if everything held, in all runs; else 1, with the first run that failed.
    """
    if as_json:
        run.format = "json"
    plans = [make_plan(one) for one in range(seed, seed + seeds)] if tape is None else [_read(tape)]
    outcomes = []
    for plan in plans:
        outcomes.append(run_plan(plan, until=until))
        _show(run, outcomes[-1], whole=trace)
        if not outcomes[-1].is_good:
            break
    failed = [one for one in outcomes if not one.is_good]
    if failed and save is not None:
        _save(run, failed[0], save)
    return run.items(COLUMNS, [_item(one) for one in outcomes], [_failure(one) for one in failed])


def _read(path: str) -> Plan:
    try:
        return read_tape(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}", hint="check the path") from error
    except (TapeRefused, UnicodeDecodeError) as refused:
        raise Usage(f"{path} is no tape: {refused}", hint="write one with --save") from refused


def _save(run: Run, failed: Outcome, path: str) -> None:
    small = shrink(failed)
    try:
        Path(path).write_text(small.plan.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}", hint="check the path") from error
    count, kept = len(failed.plan.faults), len(small.plan.faults)
    run.tell(f"{path}: {kept} of {count} faults are enough for {small.failure}")


def _show(run: Run, outcome: Outcome, *, whole: bool) -> None:
    """Write the trace on stderr: of a failure its end, or all of it if it is asked for."""
    if whole or not outcome.is_good:
        for line in outcome.lines if whole else outcome.lines[-LINES_KEPT:]:
            run.tell(line)


def _item(outcome: Outcome) -> dict[str, object]:
    return {
        "seed": outcome.plan.seed,
        "trace_hash": outcome.trace_hash,
        "steps": outcome.steps,
        "virtual_ms": outcome.virtual_ms,
        "faults": len(outcome.plan.faults),
        "acked": outcome.acked,
        "failure": outcome.failure,
    }


def _failure(outcome: Outcome) -> CommandFailed:
    return CommandFailed(
        f"seed {outcome.plan.seed}: {outcome.seen}",
        hint=f"see it again: tidelog sim run --seed {outcome.plan.seed} --trace",
    )
