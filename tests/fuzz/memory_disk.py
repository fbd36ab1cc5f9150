"""A log directory in memory that does nothing but keep bytes: fifteen times faster to open a file
on than the simulated disk, which knows what a crash leaves. A fuzzer opens millions.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from api.sim.image import Image
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Position

CAPACITY_BYTES: Final = 1 << 40


class MemoryFile:
    """An open file: the bytes themselves."""

    __slots__ = ("_content",)

    def __init__(self, content: bytearray) -> None:
        """Open."""
        self._content = content

    def pread(self, size: int, position: Position) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file."""
        return bytes(self._content[position : position + size])

    def pread_cached(self, size: int, position: Position) -> bytes | None:
        """Return the same: everything is in memory."""
        return bytes(self._content[position : position + size])

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Write; a gap reads as zeros."""
        content = self._content
        if position > len(content):
            content.extend(bytes(position - len(content)))
        at: int = position
        for buffer in buffers:
            content[at : at + len(buffer)] = buffer
            at += len(buffer)

    def begin_sync(self, size: int, position: Position) -> None:
        """Nothing is pending."""

    def fdatasync(self) -> None:
        """Nothing is pending."""

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros."""
        del self._content[size:]
        self._content.extend(bytes(size - len(self._content)))

    def size(self) -> int:
        """Return the length in bytes."""
        return len(self._content)

    def drop_cache(self) -> None:
        """There is no cache."""

    def close(self) -> None:
        """Nothing is held."""


class MemoryDisk:
    """Names and bytes; a copy of an image, made of only the files that are written."""

    def __init__(self, image: Image, changed: Mapping[str, bytes] | None = None) -> None:
        """Begin with what an image holds, and with other content of some files."""
        self._held: dict[str, bytes | bytearray] = {**image.files, **(changed or {})}
        self._directories = {"", *image.directories}
        self._names: dict[str, set[str]] = {name: set() for name in self._directories}
        for name in (*self._held, *image.directories):
            self._appears(name)
        self._locked = False

    def open(self, name: str, *, create: bool = False) -> MemoryFile:
        """Open; with `create` an absent file is made, empty."""
        content = self._held.get(name)
        if content is None:
            if not create:
                raise FileNotFoundError(2, "no such file", name)
            self._directory(name.rpartition("/")[0])
            self._appears(name)
            content = bytearray()
        if isinstance(content, bytes):
            content = bytearray(content)
        self._held[name] = content
        return MemoryFile(content)

    def make_directory(self, name: str) -> bool:
        """Make one directory; tell whether it was absent."""
        if name in self._directories:
            return False
        self._directories.add(name)
        self._names[name] = set()
        self._appears(name)
        return True

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        self._directory(name)
        if self._names[name]:
            raise OSError(39, "directory not empty", name)
        self._directories.remove(name)
        self._goes(name)

    def rename(self, old: str, new: str) -> None:
        """Replace `new` in one step."""
        if old not in self._held:
            raise FileNotFoundError(2, "no such file", old)
        self._held[new] = self._held.pop(old)
        self._goes(old)
        self._appears(new)

    def unlink(self, name: str) -> None:
        """Remove a file."""
        if self._held.pop(name, None) is None:
            raise FileNotFoundError(2, "no such file", name)
        self._goes(name)

    def sync_directory(self, name: str) -> None:
        """Nothing is pending."""
        self._directory(name)

    def list(self, name: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        self._directory(name)
        return sorted(self._names[name])

    def free_bytes(self) -> int:
        """Return as much as never runs out."""
        return CAPACITY_BYTES

    def total_bytes(self) -> int:
        """Return the same."""
        return CAPACITY_BYTES

    def lock(self) -> None:
        """Take the directory until `kill`."""
        if self._locked:
            raise DirectoryRefused(DirectoryExit.FENCED, "the directory in memory is in use")
        self._locked = True

    def kill(self) -> None:
        """End the process that has the directory; everything stays."""
        self._locked = False

    def content(self, name: str) -> bytes:
        """Return what a file holds now."""
        return bytes(self._held[name])

    def _appears(self, name: str) -> None:
        parent, _, last = name.rpartition("/")
        self._names[parent].add(last)

    def _goes(self, name: str) -> None:
        parent, _, last = name.rpartition("/")
        self._names[parent].discard(last)

    def _directory(self, name: str) -> None:
        if name not in self._directories:
            raise FileNotFoundError(2, "no such directory", name)
