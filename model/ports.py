"""The doors to the world: time, chance, disk, network, tasks.

Everything that is not decided by our own state comes in through one of these. The real ones live
in `api/node` and `logstore/disk_posix.py`; the simulator has its own. There is no default.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

from model.ids import MonotonicMs, Position, WallMs


class Clock(Protocol):
    """Two clocks that are never mixed: one measures, one tells the date."""

    def monotonic_ms(self) -> MonotonicMs:
        """Never falls, also when the machine's date is set. For every timeout and session."""
        ...

    def wall_ms(self) -> WallMs:
        """For stamps that people read, and as the anchor of append time."""
        ...

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        """Call once at or after `when`; return what cancels it."""
        ...


class Rand(Protocol):
    """Chance from one seed."""

    def randrange(self, stop: int, /) -> int:
        """Return an integer in [0, stop)."""
        ...

    def randbytes(self, size: int, /) -> bytes:
        """Return that many bytes."""
        ...


class File(Protocol):
    """One open file. A failed write or sync takes the log directory offline; nobody retries it.

    Every method may be called from any thread. Errors are OSError with errno and file name.
    """

    def pread(self, size: int, position: Position) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file. May wait for the disk."""
        ...

    def pread_cached(self, size: int, position: Position) -> bytes | bytearray | None:
        """Return what `pread` would if no disk is needed, else None: the loop's only read.

        It is the caller's: nobody else has it, or changes it.
        """
        ...

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Write all of it, one buffer after the other, or raise. Durable only after a sync."""
        ...

    def begin_sync(self, size: int, position: Position) -> None:
        """Let the disk begin with bytes that were written: a later sync waits for less.

        Nothing is durable by it.
        """
        ...

    def fdatasync(self) -> None:
        """Return once every byte written before, and the size, is durable. Never on the loop."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros. Durable only after `fdatasync`."""
        ...

    def size(self) -> int:
        """Return the length in bytes."""
        ...

    def drop_cache(self) -> None:
        """Forget cached pages, so that the next read shows what the disk has."""
        ...

    def close(self) -> None:
        """Let go of the descriptor; nothing is synced by it."""
        ...


class Disk(Protocol):
    """One log directory. Names are relative to it; `/` separates; `""` is the directory itself.

    Errors are OSError with errno and name; a missing file is FileNotFoundError.
    """

    def open(self, name: str, *, create: bool = False) -> File:
        """Open for reading and writing; with `create` an absent file is made, empty.

        The new name is durable only after `sync_directory` of its directory.
        """
        ...

    def make_directory(self, name: str) -> bool:
        """Make one directory; tell whether it was absent. Durable after a sync of its parent."""
        ...

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory. Durable only after a sync of its parent."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Replace `new` in one step. Durable only after `sync_directory`."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a file. Durable only after `sync_directory`."""
        ...

    def sync_directory(self, name: str) -> None:
        """Make creations, renames and removals in a directory durable."""
        ...

    def list(self, name: str) -> Sequence[str]:
        """Return the names in a directory, sorted; FileNotFoundError if there is none."""
        ...

    def free_bytes(self) -> int:
        """Return the space left to us; appends are refused before it is used up."""
        ...

    def total_bytes(self) -> int:
        """Return the size of the file system."""
        ...

    def lock(self) -> None:
        """Take the directory for this process until it ends.

        Raises:
            DirectoryRefused: another process has it.
        """
        ...


class Stream(Protocol):
    """One connection: bytes in order, or its end."""

    def write(self, data: bytes | memoryview) -> None:
        """Send; the owner counts what is not yet written and stops reading above its limit."""
        ...

    def close(self) -> None:
        """Hang up; what was not sent is lost."""
        ...


class Net(Protocol):
    """Connections between nodes and from clients."""

    def listen(self, address: str, accept: Callable[[Stream], None]) -> Awaitable[None]:
        """Take connections until cancelled."""
        ...

    def connect(self, address: str) -> Awaitable[Stream]:
        """Reach a peer or raise OSError."""
        ...


class Spawn(Protocol):
    """Tasks of the node. Each has an owner; one that fails ends the node."""

    def start(self, task: Coroutine[object, object, None], name: str) -> None:
        """Run a task until it returns or the node stops."""
        ...
