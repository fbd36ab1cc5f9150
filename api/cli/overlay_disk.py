"""A disk that changes nothing: what is written to it stays in memory, above the real files.

`tidelog verify` runs the node's own recovery over it: so it tells exactly what a start would cut
and mend, and the directory stays as it is, byte for byte.
"""

from collections.abc import Sequence

from logstore.disk_posix import PosixDisk, PosixFile
from model.ids import Position


class OverlayFile:
    """One file: the real bytes, as far as they still show, and what was written above them."""

    def __init__(self, real: PosixFile | None) -> None:
        """Begin with a real file, or with an empty one."""
        self._real = real
        self._shown = 0 if real is None else real.size()  # of the real file, from its begin
        self._size = self._shown
        self._writes: list[tuple[int, bytes]] = []

    def pread(self, size: int, position: Position) -> bytes:
        """Return up to `size` bytes."""
        size = max(0, min(size, self._size - position))
        taken = bytearray(size)
        if self._real is not None and position < self._shown:
            base = self._real.pread(min(size, self._shown - position), position)
            taken[: len(base)] = base
        end = position + size
        for start, content in self._writes:
            first, last = max(start, position), min(start + len(content), end)
            if first < last:
                taken[first - position : last - position] = content[first - start : last - start]
        return bytes(taken)

    def pread_cached(self, size: int, position: Position) -> bytes | None:
        """Return what `pread` does."""
        return self.pread(size, position)

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Keep the bytes in memory."""
        content = b"".join(buffers)
        self._writes.append((position, content))
        self._size = max(self._size, position + len(content))

    def begin_sync(self, size: int, position: Position) -> None:
        """Nothing is to be synced."""

    def fdatasync(self) -> None:
        """Nothing is to be synced."""

    def truncate(self, size: int) -> None:
        """Show less, or zeros behind the end."""
        self._shown = min(self._shown, size)
        self._writes = [
            (start, content[: size - start]) for start, content in self._writes if start < size
        ]
        self._size = size

    def size(self) -> int:
        """Return the length in bytes."""
        return self._size

    def drop_cache(self) -> None:
        """Nothing is cached here."""

    def close(self) -> None:
        """Nothing is held: the file may be opened again."""


class OverlayDisk:
    """A `model.ports.Disk` over a directory that it only reads."""

    def __init__(self, real: PosixDisk) -> None:
        """Take a directory that was opened for reading."""
        self._real = real
        self._files: dict[str, OverlayFile] = {}
        self._removed: set[str] = set()
        self._directories: set[str] = set()

    def open(self, name: str, *, create: bool = False) -> OverlayFile:
        """Open a real file, or one that was made here."""
        file = self._files.get(name)
        if file is None:
            file = OverlayFile(self._open_real(name, create=create))
            self._files[name] = file
        return file

    def make_directory(self, name: str) -> bool:
        """Make a directory here."""
        try:
            self.list(name)
        except FileNotFoundError:
            self._directories.add(name)
            self._removed.discard(name)
            return True
        return False

    def remove_directory(self, name: str) -> None:
        """Show a directory no more."""
        self._removed.add(name)
        self._directories.discard(name)

    def rename(self, old: str, new: str) -> None:
        """Show a file under another name."""
        self._files[new] = self.open(old)
        self._removed.discard(new)
        self.unlink(old)

    def unlink(self, name: str) -> None:
        """Show a file no more."""
        self.open(name)
        del self._files[name]
        self._removed.add(name)

    def sync_directory(self, name: str) -> None:
        """Nothing is to be synced."""

    def list(self, name: str) -> Sequence[str]:
        """Return the names in a directory as it would be."""
        if name in self._removed:
            raise FileNotFoundError(name)
        prefix = f"{name}/" if name else ""
        try:
            found = set(self._real.list(name))
        except FileNotFoundError:
            if name not in self._directories:
                raise
            found = set()
        made = (*self._files, *self._directories)
        found |= {
            path.removeprefix(prefix)
            for path in made
            if path.startswith(prefix) and "/" not in path.removeprefix(prefix)
        }
        return sorted(one for one in found if prefix + one not in self._removed)

    def free_bytes(self) -> int:
        """Return the space left on the real file system."""
        return self._real.free_bytes()

    def total_bytes(self) -> int:
        """Return the size of the real file system."""
        return self._real.total_bytes()

    def lock(self) -> None:
        """Refuse a directory that a node is using; raises DirectoryRefused."""
        self._real.lock()

    def _open_real(self, name: str, *, create: bool) -> PosixFile | None:
        if name not in self._removed:
            try:
                return self._real.open(name)
            except FileNotFoundError:
                if not create:
                    raise
        elif not create:
            raise FileNotFoundError(name)
        self._removed.discard(name)
        return None
