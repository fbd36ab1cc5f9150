"""The files of the commit journal: which round goes where, and what a checkpoint frees.

Format: docs/formats/journal.md, version 1. The plan belongs to the loop and knows no file; the
writer thread writes where it is told. Files are made by the opening of the directory and by the
checkpointer thread, never in the way of a round.

Invariants:
    JOURNAL_ROUND_FITS_FILE    a round is never larger than the room that there is.
"""

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from logstore.journal_entry import SALT_BYTES
from logstore.paths import journal_file
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Position
from model.ports import Disk

MAGIC: Final = b"TLJOURNL"
VERSION: Final = 1
HEADER_BYTES: Final = 64
_HEADER: Final = struct.Struct(">8sH6sQ8sQ20sI")
_CRC_AT: Final = 60
_FILL_BYTES: Final = 1 << 20
LEAST_FILES: Final = 2
"""One is filled while the other is freed by a checkpoint."""


class JournalHeader(NamedTuple):
    """What stands at both ends of a journal file."""

    file_bytes: int
    salt: bytes
    first_sequence: int


def encode_header(header: JournalHeader) -> bytes:
    """Return the 64 bytes."""
    size, salt, first = header
    body = _HEADER.pack(MAGIC, VERSION, bytes(6), size, salt, first, bytes(20), 0)[:_CRC_AT]
    return body + crc32c(body).to_bytes(4, "big")


def decode_header(block: bytes) -> JournalHeader:
    """Return the header that 64 bytes hold.

    Raises:
        MalformedError: they are none: never written, torn or damaged.
        DirectoryRefused: its format is newer than this program.
    """
    if len(block) != HEADER_BYTES:
        raise MalformedError("journal header", 0, f"{len(block)} bytes")
    magic, version, zero, size, salt, first, zeros, crc = _HEADER.unpack(block)
    if magic != MAGIC or crc32c(block[:_CRC_AT]) != crc:
        raise MalformedError("journal header", 0, "magic or checksum")
    if version != VERSION:
        raise DirectoryRefused(
            DirectoryExit.NEWER_FORMAT,
            f"the journal has format {version}, this program reads {VERSION}: "
            "start a newer Tidelog",
        )
    if any(zero) or any(zeros):
        raise MalformedError("journal header", 10, "reserved bytes")
    return JournalHeader(size, salt, first)


class Slot(NamedTuple):
    """Where a round goes."""

    number: int
    position: Position
    salt: bytes
    header: bytes
    """Not empty: the round takes the file into use, and writes this at both of its ends."""


@dataclass(slots=True)
class _File:
    """A file in use; `end_sequence`: the first that it does not hold."""

    number: int
    salt: bytes
    end_sequence: int


class Journal:
    """Where the next round goes. Loop only."""

    __slots__ = (
        "_file_bytes",
        "_files_max",
        "_free",
        "_numbers",
        "_position",
        "_randbytes",
        "_used",
        "next_sequence",
        "synced_sequence",
    )

    def __init__(
        self,
        *,
        file_bytes: int,
        files_max: int,
        free: list[int],
        next_sequence: int,
        randbytes: Callable[[int], bytes],
    ) -> None:
        """Begin with files that nobody needs; the next entry gets `next_sequence`."""
        self._file_bytes = file_bytes
        self._files_max = files_max
        self._free = deque(free)
        self._used: deque[_File] = deque()
        self._numbers = max(free, default=0)
        self._position = file_bytes
        self._randbytes = randbytes
        self.next_sequence = next_sequence
        self.synced_sequence = next_sequence
        """Everything below it is durable: the rounds that hold it have ended."""

    @property
    def capacity_bytes(self) -> int:
        """What an empty file takes: no round is larger."""
        return self._file_bytes - 2 * HEADER_BYTES

    @property
    def room_bytes(self) -> int:
        """What a round may take now, before a checkpoint frees a file or makes one."""
        if self._free:
            return self.capacity_bytes
        return max(0, self._file_bytes - HEADER_BYTES - self._position)

    def place(self, size_bytes: int, entries: int) -> Slot:
        """Return where a round of at most `room_bytes` goes, and count its entries."""
        assert size_bytes <= self.room_bytes, "JOURNAL_ROUND_FITS_FILE"
        header = b""
        if self._position + size_bytes > self._file_bytes - HEADER_BYTES:
            salt = self._randbytes(SALT_BYTES)
            self._used.append(_File(self._free.popleft(), salt, self.next_sequence))
            self._position = HEADER_BYTES
            header = encode_header(JournalHeader(self._file_bytes, salt, self.next_sequence))
        file = self._used[-1]
        slot = Slot(file.number, Position(self._position), file.salt, header)
        self._position += size_bytes
        self.next_sequence += entries
        file.end_sequence = self.next_sequence
        return slot

    def release(self, covered: int) -> None:
        """Free the files that hold nothing at or above `covered`, but for the one in use."""
        while len(self._used) > 1 and self._used[0].end_sequence <= covered:
            self._free.append(self._used.popleft().number)

    @property
    def is_lone(self) -> bool:
        """There is one file: nothing could be written once it is full, whatever is checkpointed."""
        return len(self._free) + len(self._used) < LEAST_FILES

    def spare_wanted(self) -> int | None:
        """Return the number of a file to be made, for the file in use is half full; else None."""
        files = len(self._free) + len(self._used)
        if self._free or self._position < self._file_bytes // 2 or files >= self._files_max:
            return None
        return self._numbers + 1

    def spare_made(self, number: int) -> None:
        """Use a file that was made."""
        self._numbers = number
        self._free.append(number)


def make_file(disk: Disk, number: int, file_bytes: int) -> None:
    """Make a journal file full of zeros. Blocks; raises OSError.

    Its name is durable only after a sync of the journal's directory.
    """
    file = disk.open(journal_file(number), create=True)
    try:
        file.truncate(0)
        for position in range(0, file_bytes, _FILL_BYTES):
            file.pwrite([bytes(min(_FILL_BYTES, file_bytes - position))], Position(position))
        # SYNC (redundant: the first round's sync would do it): so that this round does not wait
        # for the whole file of zeros to reach the disk.
        file.fdatasync()
    finally:
        file.close()  # what is removed while it is open keeps its room
