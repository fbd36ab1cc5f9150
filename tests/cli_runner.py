"""Runs the command line against a node in this process, and takes its output apart."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tidelog.cli.program import main
from tidelog.cli.run import Run

ROOT = Path(__file__).parent.parent


@dataclass
class Ran:
    """What a run of the command line left behind."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json["items"]
        return found


class Cli:
    """The command line, pointed at a node."""

    def __init__(self, target: str) -> None:
        self.environment = {"TIDELOG_CLIENT__ADDRESS": target, "HOME": "/nonexistent"}

    async def __call__(self, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run one command in a thread of its own: it has an event loop of its own."""
        return await asyncio.to_thread(run_here, arguments, self.environment, stdin)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start one command as a process, with a terminal's signals.

        Under `nohup` this process is deaf to SIGHUP, and whoever it starts would stay so.
        """
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tidelog", *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, cwd=ROOT,
                env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGHUP, before)


def run_here(arguments: tuple[str, ...], environment: Mapping[str, str], stdin: bytes) -> Ran:
    """Run one command in this thread."""
    out, err = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with patch.object(sys, "stdin", given):
        code = main(list(arguments), Run(environment=environment, stdout=stdout, stderr=err))
    stdout.flush()
    return Ran(int(code), out.getvalue(), err.getvalue())
