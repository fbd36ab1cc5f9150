"""How a story is told from the command line: its options, its folder, its lines, its exit code."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return the parser of a story whose module says so of itself."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the folder, whatever comes of it")
    return parser


def told(
    parser: argparse.ArgumentParser,
    tell: Callable[[Path, argparse.Namespace], Sequence[str]],
    *,
    arguments: Sequence[str] | None = None,
) -> int:
    """Tell a story as it is asked for; return 0 if nothing went wrong, else 1.

    `tell` is given a folder that is empty, and returns what went wrong. The folder stays if there
    is any of that. `arguments`: None for those of this process.
    """
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tidelog-story-"))
    problems = tell(folder, options)
    for problem in problems:
        say(f"PROBLEM: {problem}")
    if problems or options.keep:
        say(f"what the nodes have said is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if problems else 0
