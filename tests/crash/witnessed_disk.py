"""The real disk, with a list of everything that changed it through the port.

Run as a program it does a small workload of the log store on a directory and prints that list:
`tests/crash/test_port_is_the_only_way.py` compares it with what the kernel saw.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from logstore.disk_posix import PosixDisk
from model.ids import Position
from model.ports import File
from tests.crash.store import run_on


class Change(NamedTuple):
    """One change: what, of which name, how many bytes at which position."""

    what: str
    name: str
    size: int = 0
    at: int = 0


class WitnessedFile:
    """An open file whose changes are noted."""

    def __init__(self, file: File, name: str, changes: list[Change]) -> None:
        """Note under this name, whatever the file is called later."""
        self._file = file
        self._name = name
        self._changes = changes
        self.pread = file.pread
        self.pread_cached = file.pread_cached
        self.size = file.size
        self.drop_cache = file.drop_cache
        self.close = file.close

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Write, and note it."""
        self._file.pwrite(buffers, position)
        self._changes.append(Change("write", self._name, sum(map(len, buffers)), position))

    def begin_sync(self, size: int, position: Position) -> None:
        """Let the disk begin, and note it."""
        self._file.begin_sync(size, position)
        self._changes.append(Change("begin", self._name, size, position))

    def fdatasync(self) -> None:
        """Sync, and note it."""
        self._file.fdatasync()
        self._changes.append(Change("sync", self._name))

    def truncate(self, size: int) -> None:
        """Cut, and note it."""
        self._file.truncate(size)
        self._changes.append(Change("truncate", self._name, size))


class WitnessedDisk(PosixDisk):
    """A real directory whose changes are noted."""

    def __init__(self, root: str) -> None:
        """Open an existing directory."""
        super().__init__(root)
        self.changes: list[Change] = []

    def open(self, name: str, *, create: bool = False) -> File:  # type: ignore[override]
        """Open, and note what happens to the file."""
        return WitnessedFile(super().open(name, create=create), name, self.changes)

    def make_directory(self, name: str) -> bool:
        """Make, and note it."""
        made = super().make_directory(name)
        if made:
            self.changes.append(Change("make_directory", name))
        return made

    def remove_directory(self, name: str) -> None:
        """Remove, and note it."""
        super().remove_directory(name)
        self.changes.append(Change("remove", name))

    def rename(self, old: str, new: str) -> None:
        """Rename, and note it."""
        super().rename(old, new)
        self.changes.append(Change("rename", new))

    def unlink(self, name: str) -> None:
        """Remove, and note it."""
        super().unlink(name)
        self.changes.append(Change("remove", name))

    def sync_directory(self, name: str) -> None:
        """Sync, and note it."""
        super().sync_directory(name)
        self.changes.append(Change("sync", name))


def main(root: str) -> None:
    """Do every workload that fits one directory; print the changes, one a line."""
    disk = WitnessedDisk(root)
    run_on(disk)
    for change in disk.changes:
        sys.stdout.write("\t".join(map(str, change)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
