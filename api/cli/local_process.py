"""A process that outlives the command that starts it, and is never taken for another.

A process is known by its number and by when it began: numbers are used again. It is signalled and
waited for through a descriptor of the kernel's (pidfd, Linux 5.3), which goes on to mean the same
process whatever becomes of its number.

Nobody is left to hear how such a process ends, so a shell stands over it (`WATCH`), which writes
the exit code to a file. The shell passes nothing on: signals go to the process itself.
"""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

SHELL: Final = "/bin/sh"
WATCH: Final = (
    """sh -c 'echo "$$"; exec "$@" 3>&1 >&2' watched "$@"; echo "$?" >"$0.new"; mv "$0.new" "$0" """
)
"""$0 is the file for the exit code, "$@" the command. Its number is the first line on stdout; what
it writes to descriptor 3 follows there, and all that it prints goes to the log, our stderr."""
READY_FD: Final = 3
STAT_AFTER_NAME: Final = 2
"""Bytes of `) ` in /proc/PID/stat: the name before them may hold anything."""
STARTED_FIELD: Final = 19
"""Of the fields after the name: clock ticks from boot to the process's beginning (proc(5), 22)."""
LINE_BYTES_MAX: Final = 4_096
WATCHER_S: Final = 2.0
"""A shell that has lost its process writes one file and ends."""


class Standing(Enum):
    """What a process does."""

    RUNNING = "running"
    PAUSED = "paused"
    """It was sent SIGSTOP; it holds its ports and answers nobody."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, and no later one of the same number."""

    pid: int
    began: str
    """The boot of the machine, and ticks since then."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A process, and the shell that waits for its end."""

    process: Process
    watcher: Process


def identified(pid: int) -> Process | None:
    """Return the process that has a number now; None: there is none, or it has ended."""
    fields = _stat(pid)
    return None if fields is None else Process(pid, f"{_boot()}/{fields[STARTED_FIELD]}")


def standing(process: Process) -> Standing:
    """Tell what a process does."""
    fields = _stat(process.pid)
    if fields is None or f"{_boot()}/{fields[STARTED_FIELD]}" != process.began:
        return Standing.GONE
    return Standing.PAUSED if fields[0] in {"T", "t"} else Standing.RUNNING


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the name, of a process that has not ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + STAT_AFTER_NAME :].split()
    return None if fields[0] in {"Z", "X"} else fields


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@contextmanager
def held(process: Process) -> Iterator[int | None]:
    """Yield a descriptor that means this process, also once it has ended; None: it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Asked after the descriptor was had: from there on its number cannot become another's.
        yield None if standing(process) is Standing.GONE else descriptor
    finally:
        os.close(descriptor)


def send(process: Process, number: signal.Signals) -> bool:
    """Signal a process; False: it is gone."""
    with held(process) as descriptor:
        if descriptor is None:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True


async def ended(watched: Watched, timeout_s: float) -> bool:
    """Wait for the end of a process, and until its exit code is written; tell whether it came."""
    if not await _gone(watched.process, timeout_s):
        return False
    await _gone(watched.watcher, WATCHER_S)
    return True


async def _gone(process: Process, timeout_s: float) -> bool:
    with held(process) as descriptor:
        if descriptor is None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await _readable(descriptor)
        except TimeoutError:
            return False
        return True


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_reader(descriptor, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(descriptor)


class Launch:
    """One process from its start until it says that it is ready. Close it: the process goes on."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, log: Path, exit_file: Path
    ) -> None:
        """Start a command whose lines are added to `log`; its exit code will be in `exit_file`.

        It has a session of its own, so neither Ctrl-C nor the end of a terminal reaches it.
        """
        exit_file.unlink(missing_ok=True)
        self._told, theirs = os.pipe()
        os.set_blocking(self._told, False)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            self._watcher = os.posix_spawn(
                SHELL,
                [SHELL, "-c", WATCH, str(exit_file), *command],
                dict(environment),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs, 1),
                    (os.POSIX_SPAWN_OPEN, 2, str(log), append, 0o644),
                ],
                setsid=True,
            )
        finally:
            os.close(theirs)
        self._buffer = b""

    async def watched(self) -> Watched | None:
        """Return what was started; None: it has ended already."""
        line = await self.line()
        process = identified(int(line)) if line else None
        watcher = identified(self._watcher)
        return None if process is None or watcher is None else Watched(process, watcher)

    async def line(self) -> str | None:
        """Return the next line that the process tells; None: it has ended."""
        while b"\n" not in self._buffer:
            await _readable(self._told)
            chunk = os.read(self._told, LINE_BYTES_MAX)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace")

    def close(self) -> None:
        """Hear no more of it."""
        os.close(self._told)
