"""A client's program as a process: what it prints, line by line, and what became of it."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.kill.node_process import ENDS_WITH_US

WAIT_S: Final = 90.0
"""Whatever a program is to do, it has done by then, also on a machine that is busy."""
TAIL_CHARACTERS: Final = 2_000
CHUNK_BYTES: Final = 1 << 16

MALFORMED: Final = "malformed"
"""The name under which a line stands that is no event."""
Event = dict[str, Any]
"""What one line says; its name is under `event`."""
T = TypeVar("T")


class ProgramFailed(Exception):  # noqa: N818 - says what happened
    """A program did not do what it was started for."""


class Program:
    """One run of a program. Its events are read as they come, in the order of its printing."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        news: asyncio.Event,
        lines: str = "",
    ) -> None:
        """Start it; `lines` is its standard input, `news` is set when it has printed something."""
        self.name = name
        self.events: list[Event] = []
        self._half = b""
        self._ended = False
        self._news = news
        self._errors = folder / f"{name}.err"
        said = folder / f"{name}.in"
        said.write_text(lines)
        with said.open("rb") as stdin, self._errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*ENDS_WITH_US, *command],
                env={**os.environ, **environment},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None, "its standard output is a pipe"
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._out, self.drain)

    def drain(self) -> None:
        """Take in everything that it has printed up to now."""
        while not self._ended:
            try:
                chunk = os.read(self._out, CHUNK_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                self._ended = True
                self._loop.remove_reader(self._out)
            *lines, self._half = (self._half + chunk).split(b"\n")
            self.events += [_event(line) for line in lines]
        self._news.set()

    def named(self, *names: str) -> list[Event]:
        """Return its events of these names."""
        return [event for event in self.events if event["event"] in names]

    async def until(self, what: str, found: Callable[[], T | None]) -> T:
        """Return what `found` finds once it finds something.

        Raises:
            ProgramFailed: it never did; the program ended, or took too long.
        """
        deadline = self._loop.time() + WAIT_S
        while not (result := found()):
            if self._ended:
                raise ProgramFailed(f"{self.name} ended before {what}: {self._last_words()}")
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                raise ProgramFailed(
                    f"{self.name}: no {what} in {WAIT_S:.0f} s: {self._last_words()}"
                ) from None
        return result

    async def end(self, *, codes: Collection[int] = (0,)) -> None:
        """Wait until it ends by itself, with one of these exit codes."""
        try:
            ended = await asyncio.to_thread(self._process.wait, WAIT_S)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"{self.name} does not end: {self._last_words()}") from None
        self.drain()
        if ended not in codes:
            raise ProgramFailed(f"{self.name} ended with {ended}: {self._last_words()}")

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self._errors.read_text(errors="replace")

    async def leave(self) -> None:
        """Ask it to end (SIGTERM), and wait. A JVM ends with 143 however well it has left."""
        self._process.terminate()
        await self.end(codes=(0, 128 + signal.SIGTERM))

    def close(self) -> None:
        """Leave no process behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._loop.remove_reader(self._out)
        assert self._process.stdout is not None, "its standard output is a pipe"
        self._process.stdout.close()

    def _last_words(self) -> str:
        errors = self.errors[-TAIL_CHARACTERS:].strip()
        printed = "\n".join(json.dumps(event) for event in self.events[-5:])
        return f"printed last:\n{printed}\nstandard error:\n{errors}"


def _event(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and "event" in event:
        return event
    return {"event": MALFORMED, "line": repr(line[:200])}
