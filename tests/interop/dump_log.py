"""Segment files before the eyes of Apache's own `kafka-dump-log --deep-iteration`."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.interop.fetched import java_classes

TOOL: Final = "org.apache.kafka.tools.DumpLogSegments"
FILE: Final = re.compile(r"Dumping (\S+)")
BATCH: Final = re.compile(r"baseOffset: (\d+) lastOffset: (\d+) count: (\d+) .* size: (\d+) .*")
RECORD: Final = re.compile(r"\| offset: (\d+) ")
VALID: Final = "isvalid: true"
WAIT_S: Final = 120
TAIL_CHARACTERS: Final = 300


class Dumped(NamedTuple):
    """What the tool has seen."""

    files: int
    batches: int
    records: int
    wrong: list[str]
    """Why a file is not as it should be."""


def dump(files: Sequence[Path]) -> Dumped:
    """Let the tool walk over every record of these `.log` files."""
    command = ["java", "-Xmx256m", "-cp", java_classes(), TOOL, "--deep-iteration", "--files"]
    command.append(",".join(map(str, files)))
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    found = judge(run.stdout.splitlines(), {str(file): file.stat().st_size for file in files})
    if run.returncode:
        found.wrong.append(f"exit code {run.returncode}: {run.stderr.strip()[-TAIL_CHARACTERS:]}")
    return found


def judge(lines: Sequence[str], sizes: dict[str, int]) -> Dumped:
    """Read the tool's report on files of these sizes, in bytes.

    Every byte of a file must lie in a batch that is valid, and a file's records must be those that
    its batches claim, with offsets that go on by one from the file's name.
    """
    wrong: list[str] = []
    left = dict(sizes)
    batches = records = expected = claimed = 0
    file = ""
    for line in lines:
        if match := FILE.match(line):
            wrong += _cut(file, expected, claimed)
            file = match[1]
            expected = claimed = int(Path(file).stem)
        elif match := BATCH.match(line):
            batches += 1
            base, last, count, size = map(int, match.groups())
            left[file] = left.get(file, 0) - size
            if not line.endswith(VALID) or (base, last) != (claimed, claimed + count - 1):
                wrong.append(f"{file}: {line}")
            claimed = last + 1
        elif match := RECORD.match(line):
            records += 1
            if int(match[1]) != expected:
                wrong.append(f"{file}: offset {match[1]}, not {expected}")
            expected = int(match[1]) + 1
    wrong += _cut(file, expected, claimed)
    wrong += [f"{name}: {size} bytes are in no batch" for name, size in left.items() if size]
    return Dumped(len(sizes), batches, records, wrong)


def _cut(file: str, expected: int, claimed: int) -> list[str]:
    """Return what a file lacks whose batches claim records up to `claimed`."""
    return [] if expected == claimed else [f"{file}: records to {expected}, not to {claimed}"]
