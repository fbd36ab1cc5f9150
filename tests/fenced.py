"""Fenced blocks of a document, and a node beside which they are run as a reader would run them.

Of a block `console`, lines behind `$ ` are commands (a here-document belongs to its command), the
others are what is printed then: `…` stands for anything, alone on a line for any lines. A block
`python` whose first line is `# NAME.py` is that file.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT: Final = "$ "
READY_S: Final = 60


@dataclass(frozen=True)
class Command:
    """One command of a block, and what it is said to print."""

    line: str
    printed: str


def blocks(text: str) -> list[tuple[str, str]]:
    """Return every fenced block of a document: its language, its text."""
    return [(found[1], found[2]) for found in FENCE.finditer(text)]


def commands(block: str) -> list[Command]:
    """Return what a console block runs."""
    found: list[tuple[list[str], list[str]]] = []
    until: str | None = None
    for line in block.splitlines(keepends=True):
        if until is not None:
            found[-1][0].append(line)
            until = None if line.strip() == until else until
        elif line.startswith(PROMPT):
            found.append(([line.removeprefix(PROMPT)], []))
            here = re.search(r"<<'(\w+)'", line)
            until = here[1] if here else None
        else:
            assert found, f"printed by no command: {line}"
            found[-1][1].append(line)
    return [Command("".join(line), "".join(printed)) for line, printed in found]


def file_of(program: str) -> str | None:
    """Return the name under which a reader keeps a program."""
    named = re.match(r"# (\w+\.py)\n", program)
    return named[1] if named else None


def matches(said: str, printed: str) -> bool:
    """Tell whether a document says what was printed."""
    parts = [
        r"(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*")
        for line in said.splitlines(keepends=True)
    ]
    return re.fullmatch("".join(parts), printed) is not None


@dataclass
class Reader:
    """Somebody who does what a document says: a folder, a node, `tidelog` on the path."""

    folder: Path
    ports: dict[str, int]
    banner: Path
    """What the node has printed."""

    def placed(self, text: str) -> str:
        """Return a text with the node's own addresses in place of the usual ones."""
        return re.sub(
            r"(?:localhost|127\.0\.0\.1):9095", f"127.0.0.1:{self.ports['grpc']}", text
        ).replace("127.0.0.1:9092", f"127.0.0.1:{self.ports['kafka']}")

    def keep(self, program: str) -> str:
        """Write a program where its first line says; return its name."""
        name = file_of(program) or "program.py"
        (self.folder / name).write_text(self.placed(program))
        return name

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command; what it prints to either stream comes as one text, as in a terminal."""
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TIDELOG_CLIENT__ADDRESS": f"127.0.0.1:{self.ports['grpc']}",
        }
        environment.pop("PYTHONUNBUFFERED", None)  # as most have it
        return subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", self.placed(command)],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=READY_S,
        )


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    """Run `tidelog dev` on free ports; yield a reader beside it. It must end in order."""
    told, tell = os.pipe()
    bin_ = folder / "bin"
    bin_.mkdir()
    for name, words in {
        "tidelog": "-m tidelog", "pytest": "-m pytest", "python3": "",
    }.items():  # fmt: skip
        (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (bin_ / name).chmod(0o755)
    banner = folder / "banner"
    with banner.open("wb") as printed:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tidelog", "dev", "--ready-fd", str(tell)),
                *("--kafka-port", "0", "--grpc-port", "0", "--http-port", "0"),
            ],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            pass_fds=(tell,),
            stdout=printed,
        )
    os.close(tell)
    with os.fdopen(told) as ready:
        document = json.loads(ready.read() or "{}")
    ports = {door: int(str(where).rpartition(":")[2]) for door, where in document.items()}
    try:
        yield Reader(folder, ports, banner)
    finally:
        process.terminate()
        code = process.wait(READY_S)
    assert code == 0
