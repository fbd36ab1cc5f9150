"""What a stopped node was in the middle of, as Linux tells of each of its threads.

A thread that is stopped inside a system call, or on the way back from it, still shows the call and
its arguments; descriptors lead to names. Nothing of the node is changed for it.
"""

import os
import platform
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from logstore.paths import CHECKPOINT, EPOCHS, JOURNAL, LOG, PARTITIONS, PRODUCERS, TEMPORARY, TIMES


class Phase(Enum):
    """What a kill can fall into."""

    WRITE = "write"
    """The journal or a partition's file is written."""
    SYNC = "sync"
    """A round waits for its journal, or for a run that goes past it, to be on disk."""
    CHECKPOINT = "checkpoint"
    """The checkpointer writes, syncs, renames or removes a file."""
    ROLL = "roll"
    """A new segment's first file is made, or written for the first time."""


class Call(Enum):
    """Kinds of system calls."""

    WRITE = "write"
    SYNC = "sync"
    OPEN = "open"
    RENAME = "rename"
    REMOVE = "remove"
    CUT = "cut"


CALLS: Final[dict[str, dict[int, Call]]] = {
    "x86_64": {
        18: Call.WRITE,
        296: Call.WRITE,
        328: Call.WRITE,
        74: Call.SYNC,
        75: Call.SYNC,
        257: Call.OPEN,
        82: Call.RENAME,
        264: Call.RENAME,
        87: Call.REMOVE,
        77: Call.CUT,
    },
    "aarch64": {
        68: Call.WRITE,
        70: Call.WRITE,
        287: Call.WRITE,
        82: Call.SYNC,
        83: Call.SYNC,
        56: Call.OPEN,
        38: Call.RENAME,
        276: Call.RENAME,
        35: Call.REMOVE,
        46: Call.CUT,
    },
}
"""pwrite64, pwritev, pwritev2; fsync, fdatasync; openat; rename(at); unlink(at); ftruncate."""
AT_CALLS: Final = {"x86_64": {257, 264}, "aarch64": {56, 38, 276, 35}}
"""Those whose first argument is a directory, the name being the second."""
NAME_BYTES_MAX: Final = 512
STOP_S_MAX: Final = 30.0
STOPPED: Final = frozenset("TtDZX")
"""Stopped; or waiting for the disk, which no signal shortens."""
LOOK_S: Final = 0.000_2


class Doing(NamedTuple):
    """What one thread is in the middle of."""

    thread: int
    call: Call
    name: str
    """Within the log directory."""
    position: int
    """Where it writes; 0 for other calls."""


@dataclass(slots=True)
class Observer:
    """Looks at one process; learns which of its threads does what."""

    pid: int
    directory: Path
    checkpointers: set[int] = field(default_factory=set)
    writers: set[int] = field(default_factory=set)
    calls: dict[int, Call] = field(default_factory=lambda: CALLS[platform.machine()])

    def settle(self) -> None:
        """Return once every thread stands still after a SIGSTOP.

        Raises:
            TimeoutError: one goes on.
        """
        until = monotonic() + STOP_S_MAX
        while not all(_state(task) in STOPPED for task in self._tasks()):
            if monotonic() > until:
                raise TimeoutError(f"process {self.pid} does not stop")
            sleep(LOOK_S)

    def look(self) -> list[Doing]:
        """Return what the threads of the stopped process do to files of the log directory."""
        found = []
        for task in self._tasks():
            doing = self._doing(task)
            if doing is not None:
                found.append(doing)
                if _is_checkpoint_file(doing.name):
                    self.checkpointers.add(doing.thread)
                    self.writers.discard(doing.thread)
                elif doing.call is Call.SYNC and doing.name.startswith(f"{JOURNAL}/"):
                    self.writers.add(doing.thread)
        return found

    def phases(self, found: list[Doing]) -> set[Phase]:
        """Return what a kill would fall into now."""
        return {phase for doing in found for phase in self._phases(doing)}

    def _phases(self, doing: Doing) -> set[Phase]:
        if doing.thread in self.checkpointers:
            return {Phase.CHECKPOINT}
        in_partition = doing.name.startswith(f"{PARTITIONS}/")
        is_segment = in_partition and doing.name.endswith((LOG, TIMES))
        if not is_segment and not doing.name.startswith(f"{JOURNAL}/"):
            return set()
        later = is_segment and _is_later(doing.name)
        found = set()
        match doing.call:
            case Call.WRITE:
                found = {Phase.WRITE, Phase.ROLL} if later and not doing.position else {Phase.WRITE}
            case Call.SYNC if not is_segment or doing.thread in self.writers:
                found = {Phase.SYNC}
            case Call.OPEN if later and self._is_new(doing.name):
                found = {Phase.ROLL}
            case _:
                pass
        return found

    def _is_new(self, name: str) -> bool:
        """Tell whether a file that is being opened holds nothing yet."""
        path = self.directory / name
        return not path.exists() or path.stat().st_size == 0

    def _tasks(self) -> list[Path]:
        return sorted(Path(f"/proc/{self.pid}/task").iterdir())

    def _doing(self, task: Path) -> Doing | None:
        try:
            number, *rest = (task / "syscall").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None  # the thread has gone
        call = self.calls.get(int(number)) if number.isdecimal() else None
        if call is None:
            return None
        arguments = [int(word, 16) for word in rest[:6]]
        path = self._path(int(number), call, arguments)
        try:
            name = str(Path(path).relative_to(self.directory))
        except ValueError:
            return None
        position = arguments[3] if call is Call.WRITE else 0
        return Doing(int(task.name), call, name, position)

    def _path(self, number: int, call: Call, arguments: list[int]) -> str:
        """Return the file that a call is about."""
        if call in {Call.WRITE, Call.SYNC, Call.CUT}:
            try:
                return os.readlink(f"/proc/{self.pid}/fd/{arguments[0]}")
            except OSError:
                return ""
        where = arguments[1 if number in AT_CALLS[platform.machine()] else 0]
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            try:
                memory.seek(where)
                text = memory.read(NAME_BYTES_MAX)
            except OSError:
                return ""
        return text.partition(b"\0")[0].decode(errors="replace")


def supported() -> bool:
    """Tell whether this machine lets one process look at another so."""
    return platform.machine() in CALLS and Path("/proc/self/syscall").exists()


def _state(task: Path) -> str:
    """Return the state letter of a thread; X if it has gone."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _is_later(name: str) -> bool:
    """Tell whether a segment's file is not of a partition's first segment."""
    return name.rpartition("/")[2].partition(".")[0].strip("0") != ""


def _is_checkpoint_file(name: str) -> bool:
    """Tell whether only the checkpointer has to do with a file."""
    last = name.rpartition("/")[2].removesuffix(TEMPORARY)
    return last in {CHECKPOINT, EPOCHS} or last.endswith(PRODUCERS)
