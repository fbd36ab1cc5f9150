"""Small files: written whole under a temporary name, synced, renamed into place, read whole."""

from typing import Final

from logstore.crc32c import crc32c
from logstore.paths import TEMPORARY
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Position
from model.ports import Disk

_MAGIC_BYTES: Final = 8
_VERSION_FROM: Final = 8
CRC_BYTES: Final = 4
_BYTES_MIN: Final = 16


def replace_file(disk: Disk, name: str, *content: bytes) -> None:
    """Put a file in the place of the one before it, in one step: the pieces of `content` in order.

    What it holds is durable before it has its name; that it has its name is durable only once the
    caller has synced the directory. Raises OSError. Not on the loop.
    """
    write_cache(disk, name, *content, sync=True)


def write_cache(disk: Disk, name: str, *content: bytes, sync: bool = False) -> None:
    """Put a file in place that nobody misses if a crash takes it: not synced. Raises OSError."""
    temporary = name + TEMPORARY
    file = disk.open(temporary, create=True)
    file.truncate(0)  # a crash may have left a longer one
    file.pwrite(content, Position(0))
    if sync:
        # SYNC: the new name must never stand for content that is not there yet.
        file.fdatasync()
    file.close()
    disk.rename(temporary, name)


def read_file(disk: Disk, name: str) -> bytes | None:
    """Return a file's content; None if there is none. Raises OSError if it cannot be read."""
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return None
    try:
        return file.pread(file.size(), Position(0))
    finally:
        file.close()


def seal(content: bytes) -> bytes:
    """Append the checksum that `unseal` looks at."""
    return content + crc32c(content).to_bytes(CRC_BYTES, "big")


def unseal(file: bytes, what: str, *, magic: bytes, version: int) -> memoryview:
    """Return a sealed file's content, magic and version included.

    Raises:
        MalformedError: another magic, or a wrong checksum.
        DirectoryRefused: the format is newer than this program.
    """
    if len(file) < _BYTES_MIN or file[:_MAGIC_BYTES] != magic:
        raise MalformedError(what, 0, "magic")
    content = memoryview(file)[:-CRC_BYTES]
    if crc32c(content) != int.from_bytes(file[-CRC_BYTES:], "big"):
        raise MalformedError(what, 0, "checksum")
    found = int.from_bytes(file[_VERSION_FROM : _VERSION_FROM + 2], "big")
    if found != version:
        raise DirectoryRefused(
            DirectoryExit.NEWER_FORMAT,
            f"{what} has format {found}, this program reads {version}: start a newer Tidelog",
        )
    return content
