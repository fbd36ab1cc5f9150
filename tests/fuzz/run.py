"""`make fuzz SECONDS=600`: every parser reads damaged input; only our own errors may come of it.

A target is a module tests/fuzz/fuzz_*.py with `samples()`, valid inputs, and `fuzz(data)`, which
lets nothing escape but what is wrong. Each runs in processes of its own; a hang, an abort or a
blow-up of memory ends such a process and is a finding. The canary has one fault of each kind, and
the run fails unless all of them are found.

SECONDS are for all targets together, spread over the processes that run at once. A target that has
not read its least number of inputs in its share goes on until it has, so that a run on a busy
machine is longer, not weaker; one that does not come to it in twenty shares of CPU time has failed.

`python -m tests.fuzz.run --seconds N [--target NAME] [--seed N] [--jobs N]`;
`python -m tests.fuzz.run --target NAME --input HEX` reads one input again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.fuzz.trace import Progress, Trace

ROOT: Final = Path(__file__).parent.parent.parent
CANARY: Final = "fuzz_canary"
LEAST: Final = 100_000
"""Inputs that each target reads in ten minutes."""
FULL_SECONDS: Final = 600
LATE_FACTOR: Final = 20
"""Until it has done its least number of inputs, a target may take so many shares of CPU time."""
LONGEST: Final = ("fuzz_log_directory", "fuzz_settings", "fuzz_verify", "fuzz_metadata_directory")
"""A whole recovery each: begun first, since they end last."""
HANG_SECONDS: Final = 60.0
START_SECONDS: Final = 120.0
"""Of a process, until its first input is read: imports and samples."""
HANG_SECONDS_OF: Final = {CANARY: 3.0}
DEATHS_MAX: Final = 8
"""After so many the target is left alone: it has failed."""
CANARY_DEATHS_MAX: Final = 64
"""Three of its faults end its process: it goes on until one of each kind was found."""
SHOWN_BYTES: Final = 400
NOTHING: Final = Progress()


@dataclass(slots=True)
class Outcome:
    """What came of one target."""

    name: str
    least: int
    progress: Progress = NOTHING
    findings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    """From the first process's start to the last one's end."""

    @property
    def is_short(self) -> bool:
        """It has not read as many inputs as it must."""
        return self.progress.executions < self.least


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing was found but the canary's faults, all of them."""
    options = _options(arguments)
    if options.input is not None:
        import_module(f"tests.fuzz.{options.target}").fuzz(bytes.fromhex(options.input))
        return 0
    names = [options.target] if options.target else targets()
    jobs: int = options.jobs
    share = options.seconds * jobs / len(names)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        runs = [
            pool.submit(_Run(name, Path(scratch), options.seed).complete, share, options.seconds)
            for name in sorted(names, key=lambda name: name not in LONGEST)
        ]
        outcomes = sorted((run.result() for run in runs), key=lambda outcome: outcome.name)
    return _report(outcomes)


def targets() -> list[str]:
    """Return the names of all targets, the canary among them."""
    return sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))


def least_in(seconds: float) -> int:
    """Return how many inputs a target reads at least in a run of that length."""
    return int(LEAST * min(1.0, seconds / FULL_SECONDS))


class _Run:
    """One target, in one process after the other."""

    def __init__(self, name: str, scratch: Path, seed: int) -> None:
        self._name = name
        self._trace_path = scratch / name
        self._trace = Trace(self._trace_path)
        self._seed = seed

    def complete(self, share: float, seconds: float) -> Outcome:
        """Give the target its share of the time, in seconds, in a run that lasts so many."""
        outcome = Outcome(self._name, least_in(seconds))
        begun = time.monotonic()
        canary = self._name == CANARY
        for life in range(CANARY_DEATHS_MAX if canary else DEATHS_MAX):
            taken = outcome.seconds
            spans = max(0.2, share - taken), max(0.2, LATE_FACTOR * share - taken)
            death = self._live(life, spans, outcome)
            outcome.progress = self._trace.progress
            outcome.seconds = time.monotonic() - begun
            if death is None:
                break
            if not outcome.progress.executions:
                outcome.findings.append({"target": self._name, "what": death, "input": ""})
                break
            outcome.findings.append(
                {"target": self._name, "what": death, "input": self._trace.input.hex()}
            )
            if canary and not _missed(outcome):
                break
        return outcome

    def _live(self, life: int, spans: tuple[float, float], outcome: Outcome) -> str | None:
        """Run one process to its end, at the soonest and at the latest; return what killed it."""
        command = [
            sys.executable, "-m", "tests.fuzz.child", self._name, str(self._seed + life),
            *map(str, spans), str(outcome.least), str(self._trace_path),
        ]  # fmt: skip
        errors_path = self._trace_path.with_suffix(".errors")
        found_path = self._trace_path.with_suffix(".found")
        with found_path.open("wb") as found, errors_path.open("wb") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=found, stderr=errors)
            hung = self._watch(process)
        outcome.findings += map(json.loads, found_path.read_text().splitlines())
        if hung:
            return f"hang: no end after {HANG_SECONDS} s"
        if process.returncode:
            last = errors_path.read_text(errors="replace").strip().splitlines()[-1:]
            return f"the process ended with {process.returncode}: {' '.join(last)}"
        return None

    def _watch(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait for the end; kill a process that reads one input for too long, and tell so."""
        limit = HANG_SECONDS_OF.get(self._name, HANG_SECONDS)
        seen, since = -1, time.monotonic()
        while True:
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                executions = self._trace.progress.executions
                if executions != seen:
                    seen, since = executions, time.monotonic()
                elif time.monotonic() - since > (limit if executions else START_SECONDS):
                    process.kill()
                    process.wait()
                    return True
            else:
                return False


def _report(outcomes: Sequence[Outcome]) -> int:
    """Print the table and the findings; return the exit code."""
    sys.stdout.write(
        f"{'target':24} {'executions':>10} {'seconds':>7} {'each s':>7} {'paths':>6} {'kept':>4} "
        f"{'slowest ms':>10} {'growth MiB':>10} {'findings':>8} verdict\n"
    )
    failed = []
    for outcome in outcomes:
        faults = list(_faults(outcome))
        failed += faults
        sys.stdout.write(f"{_row(outcome)} {'failed' if faults else 'ok'}\n")
    for line in failed:
        sys.stdout.write(f"FAILED {line}\n")
    sys.stdout.write("failed\n" if failed else "ok\n")
    return 1 if failed else 0


def _row(outcome: Outcome) -> str:
    one = outcome.progress
    rate = one.executions / outcome.seconds if outcome.seconds else 0.0
    return (
        f"{outcome.name:24} {one.executions:10,} {outcome.seconds:7.0f} {rate:7,.0f} "
        f"{one.paths:6,} {one.kept:4} {one.slowest_ns / 1e6:10.1f} "
        f"{one.growth_bytes / (1 << 20):10.1f} {len(outcome.findings):8}"
    )


def _faults(outcome: Outcome) -> Iterator[str]:
    """Yield what fails the run: of the canary, each planted fault that was not found."""
    if outcome.name == CANARY:
        yield from (f"the canary's {kind} was not found" for kind in _missed(outcome))
        return
    if outcome.is_short:
        yield f"{outcome.name}: {outcome.progress.executions} executions, not {outcome.least}"
    for finding in outcome.findings:
        shown = finding["input"][:SHOWN_BYTES]
        yield f"{outcome.name}: {finding['what']}\n    input {shown}"


def _missed(canary: Outcome) -> list[str]:
    """Return the kinds of fault that were planted and not found."""
    kinds: dict[str, str] = import_module(f"tests.fuzz.{CANARY}").FAULTS
    told = [finding["what"] for finding in canary.findings]
    return [kind for kind, sign in kinds.items() if not any(sign in what for what in told)]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of all together, at the least")
    parser.add_argument("--target", help="one target, such as fuzz_checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--input", metavar="HEX", help="read one input with --target, and end")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
