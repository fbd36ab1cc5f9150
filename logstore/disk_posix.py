"""The disk of a real node: files of one directory on a Linux file system.

The only module that touches `os` and `fcntl`. What it promises to the store is the contract of
`model.ports`; what it relies on is written in docs/ASSUMPTIONS.md.

Invariants:
    DISK_NAME_STAYS_INSIDE    a name is relative, `/`-separated, without empty, `.` or `..` parts:
                              no caller can reach a file outside the log directory (P65).
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from typing import Final

from logstore.early_write import begin_writing
from logstore.unfilled import unfilled
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Position

FILE_MODE: Final = 0o640
"""Records are for the node's user and whom its group lets in."""
IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
"""Buffers that one `pwritev` takes: 1,024 on Linux."""

LOCK_NAME: Final = "lock"
"""The file that `lock` holds; it is the disk's own and appears in no listing."""

_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class _Descriptor:
    """A descriptor that is closed when the last call that uses it has returned.

    A read in the pool may overlap `close`. Were the number closed at once, the kernel could give
    it to another file and the read would return that file's bytes.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        """Own an open descriptor."""
        self.number = number

    def __del__(self) -> None:
        """Close it; nobody can be using it."""
        os.close(self.number)


class PosixFile:
    """One open file of a `PosixDisk`. Any thread may call it, also while another closes it."""

    __slots__ = ("_cached_reads", "_descriptor", "_path")

    def __init__(self, path: str, flags: int) -> None:
        """Open it; FileNotFoundError if the flags do not make it."""
        self._path = path
        self._descriptor: _Descriptor | None = _Descriptor(
            os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
        )
        self._cached_reads = True

    def pread(self, size: int, position: Position) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file. May wait for the disk."""
        descriptor = self._open()
        parts: list[bytes] = []
        try:
            while size > 0 and (part := os.pread(descriptor.number, size, position)):
                if len(part) == size and not parts:
                    return part
                parts.append(part)
                size -= len(part)
                position = Position(position + len(part))
        except OSError as error:
            error.filename = self._path
            raise
        return b"".join(parts)

    def pread_cached(self, size: int, position: Position) -> bytes | bytearray | None:
        """Return what `pread` would if the page cache has all of it, else None.

        Some file systems have no such read; there the answer is always None. So None means "let
        the read pool do it with `pread`" and never "ask again": asking again may never end.
        """
        if not self._cached_reads:
            return None
        descriptor = self._open()
        read = unfilled(size)
        try:
            got = os.preadv(descriptor.number, [read], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self._cached_reads = False
                return None
            error.filename = self._path
            raise
        # Short: either the file ends here, or the next page is not cached.
        if got < size:
            if position + got < os.fstat(descriptor.number).st_size:
                return None
            del read[got:]  # nobody has filled it
        return read

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Write all of it, one buffer after the other, or raise. Durable only after a sync."""
        descriptor = self._open()
        try:
            if len(buffers) == 1:  # most writes are: a batch for the file of its partition
                written = os.pwritev(descriptor.number, buffers, position)
                if written == len(buffers[0]):
                    return
                buffers, position = _after(buffers, written), Position(position + written)
            for first in range(0, len(buffers), IOV_MAX):
                position = _write_all(
                    descriptor.number, buffers[first : first + IOV_MAX], position=position
                )
        except OSError as error:
            error.filename = self._path
            raise

    def begin_sync(self, size: int, position: Position) -> None:
        """Let the disk begin with bytes that were written; where it cannot, nothing happens."""
        descriptor = self._open()
        if number := begin_writing(descriptor.number, position, size):
            raise OSError(number, os.strerror(number), self._path)

    def fdatasync(self) -> None:
        """Return once every byte written before, and the size, is durable. Never on the loop."""
        descriptor = self._open()
        try:
            os.fdatasync(descriptor.number)
        except OSError as error:
            error.filename = self._path
            raise

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros. Durable only after `fdatasync`."""
        descriptor = self._open()
        try:
            os.ftruncate(descriptor.number, size)
        except OSError as error:
            error.filename = self._path
            raise

    def size(self) -> int:
        """Return the length in bytes."""
        return os.fstat(self._open().number).st_size

    def drop_cache(self) -> None:
        """Forget cached pages that are clean, so that the next read shows what the disk has.

        After a failed sync Linux calls the pages clean that were never written (P44): they go too.
        """
        descriptor = self._open()
        os.posix_fadvise(descriptor.number, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Let go of the descriptor; calls under way end first, nothing is synced by it."""
        self._descriptor = None

    def _open(self) -> _Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(errno.EBADF, "the file was closed", self._path)
        return descriptor


class PosixDisk:
    """One log directory of a Linux file system.

    Renames stay inside one directory (EXDEV otherwise): one `sync_directory` makes one durable.
    """

    def __init__(self, root: str, *, create: bool = False, read_only: bool = False) -> None:
        """Take an existing directory; with `create`, make it and the parents that are missing.

        Raises:
            OSError: it is absent, no directory, or cannot be made.
        """
        self._root = os.path.abspath(root)
        self._read_only = read_only
        self._lock: _Descriptor | None = None
        if create:
            _make_with_parents(self._root)
        os.close(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def open(self, name: str, *, create: bool = False) -> PosixFile:
        """Open for reading and writing; with `create` an absent file is made, empty.

        The new name is durable only after `sync_directory` of its directory.
        """
        if self._read_only:
            return PosixFile(self._path(name), os.O_RDONLY)
        return PosixFile(self._path(name), os.O_RDWR | (os.O_CREAT if create else 0))

    def make_directory(self, name: str) -> bool:
        """Make one directory; tell whether it was absent. Durable after a sync of its parent."""
        path = self._changing(name)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return False
        return True

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory. Durable only after a sync of its parent."""
        os.rmdir(self._changing(name))

    def rename(self, old: str, new: str) -> None:
        """Replace `new` in one step. Durable only after `sync_directory`."""
        if old.rpartition("/")[0] != new.rpartition("/")[0]:
            raise OSError(errno.EXDEV, "a rename stays in its directory", old, None, new)
        os.rename(self._changing(old), self._changing(new))

    def unlink(self, name: str) -> None:
        """Remove a file. Durable only after `sync_directory`."""
        os.unlink(self._changing(name))

    def sync_directory(self, name: str) -> None:
        """Make creations, renames and removals in a directory durable."""
        path = self._path(name) if name else self._root
        descriptor = _Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            os.fsync(descriptor.number)
        except OSError as error:
            error.filename = path
            raise

    def list(self, name: str) -> Sequence[str]:
        """Return the names in a directory, sorted; FileNotFoundError if there is none."""
        if name:
            return sorted(os.listdir(self._path(name)))
        return sorted(entry for entry in os.listdir(self._root) if entry != LOCK_NAME)

    def free_bytes(self) -> int:
        """Return the space that an ordinary user may still take (statvfs, f_bavail)."""
        state = os.statvfs(self._root)
        return state.f_bavail * state.f_frsize

    def total_bytes(self) -> int:
        """Return the size of the file system."""
        state = os.statvfs(self._root)
        return state.f_blocks * state.f_frsize

    def lock(self) -> None:
        """Take the directory for this process until it ends, however it ends (flock).

        Raises:
            DirectoryRefused: another process has it; the message names that process.
        """
        path = f"{self._root}/{LOCK_NAME}"
        writing = not self._read_only
        flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
        try:
            descriptor = _Descriptor(os.open(path, flags | os.O_CLOEXEC, FILE_MODE))
        except FileNotFoundError:
            return  # read-only, and no node ever took this directory
        how = fcntl.LOCK_EX if writing else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor.number, how | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor.number, 20, 0).decode("ascii", "replace").strip()
            raise DirectoryRefused(
                DirectoryExit.FENCED,
                f"{self._root} is in use by process {holder or 'unknown'}: "
                "stop it, or give this one another directory",
            ) from None
        self._lock = descriptor
        if writing:
            os.ftruncate(descriptor.number, 0)
            os.pwrite(descriptor.number, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let somebody else take the directory: for a process that goes on without its node."""
        self._lock = None  # the descriptor is closed with it, and with that the lock is gone

    def _path(self, name: str) -> str:
        parts = name.split("/")
        inside = not {"", ".", ".."} & set(parts) and "\0" not in name
        assert inside, "DISK_NAME_STAYS_INSIDE"
        return f"{self._root}/{name}"

    def _changing(self, name: str) -> str:
        path = self._path(name)
        if self._read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return path


def _write_all(
    descriptor: int, buffers: Sequence[bytes | bytearray | memoryview], *, position: Position
) -> Position:
    """Write up to IOV_MAX buffers, however often the kernel stops early; return where they end."""
    missing = sum(map(len, buffers))
    while missing > 0:
        written = os.pwritev(descriptor, buffers, position)
        if written == 0:
            raise OSError(errno.EIO, "the kernel took no byte of a write")
        position = Position(position + written)
        missing -= written
        if missing > 0:
            buffers = _after(buffers, written)
    return position


def _after(
    buffers: Sequence[bytes | bytearray | memoryview], written: int
) -> Sequence[bytes | bytearray | memoryview]:
    """Return what is left to write: a stop may fall inside a buffer."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []


def _make_with_parents(path: str) -> None:
    """Make a directory and its missing parents, each durable in its parent (P8)."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_with_parents(parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    descriptor = _Descriptor(os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    os.fsync(descriptor.number)
