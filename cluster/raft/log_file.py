"""One file of the quorum's log: its head, and what can be read behind it.

Format: docs/formats/metadata_log.md, log file, version 1. Pure: bytes in, findings out.
"""

import struct
from array import array
from dataclasses import dataclass, field
from typing import Final

from cluster.raft.entry import SALT_BYTES, Entry, EntryKind, decode, was_synced
from logstore.crc32c import crc32c
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Index, Term

MAGIC: Final = b"TLRAFTLG"
VERSION: Final = 1
SUFFIX: Final = ".raft"
_HEAD: Final = struct.Struct(">8sHHQQ8s")  # magic, version, zero, first index, term before, salt
_CRC: Final = struct.Struct(">I")
HEAD_BYTES: Final = _HEAD.size + _CRC.size
_INDEX_DIGITS: Final = 20
_KINDS: Final = frozenset(EntryKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """What a file says about itself."""

    first_index: Index
    term_before: Term
    """Term of the entry before the first; 0 if there is none."""
    salt: bytes


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a file holds, up to where it stops making sense."""

    head: FileHead
    positions: "array[int]" = field(default_factory=lambda: array("Q"))
    terms: "array[int]" = field(default_factory=lambda: array("Q"))
    end: int = HEAD_BYTES
    """Byte behind the last entry that parses."""
    why: MalformedError | None = None
    """What is wrong with the bytes behind it; None if there are none."""

    @property
    def next_index(self) -> Index:
        """The index of the entry that would come next."""
        return Index(self.head.first_index + len(self.positions))


def name_of(first_index: Index) -> str:
    """Return the file's name within its directory."""
    return f"{first_index:0{_INDEX_DIGITS}}{SUFFIX}"


def first_index_of(name: str) -> Index:
    """Return the first index of the file with a name.

    Raises:
        DirectoryRefused: exit 11, no log file is called so.
    """
    digits = name.removesuffix(SUFFIX)
    if len(digits) != _INDEX_DIGITS or not (digits.isascii() and digits.isdecimal()):
        detail = f"metadata/{name} has no name of a log file; move it away"
        raise DirectoryRefused(DirectoryExit.FAILED, detail)
    return Index(int(digits))


def encode_head(head: FileHead) -> bytes:
    """Return the first bytes of a file."""
    fixed = _HEAD.pack(MAGIC, VERSION, 0, head.first_index, head.term_before, head.salt)
    return fixed + _CRC.pack(crc32c(fixed))


def decode_head(file: bytes) -> FileHead:
    """Return what the first bytes of a file say.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, the checksum holds and the version is a newer one.
    """
    if len(file) < HEAD_BYTES:
        raise MalformedError("log file", 0, f"{len(file)} bytes, the head needs {HEAD_BYTES}")
    magic, version, zero, first_index, term_before, salt = _HEAD.unpack_from(file)
    if magic != MAGIC or _CRC.unpack_from(file, _HEAD.size)[0] != crc32c(file[: _HEAD.size]):
        raise MalformedError("log file", 0, "magic or checksum of the head")
    if version != VERSION:
        detail = f"a metadata log file has format version {version}, this program knows {VERSION}"
        raise DirectoryRefused(DirectoryExit.NEWER_FORMAT, detail)
    if zero:
        raise MalformedError("log file", 10, "reserved bytes")
    return FileHead(first_index=Index(first_index), term_before=Term(term_before), salt=salt)


def scan(file: bytes, head: FileHead) -> Scan:
    """Read entries as far as each continues the one before.

    Raises:
        DirectoryRefused: exit 13, an entry of a kind that only a newer release writes.
    """
    found = Scan(head=head)
    term_before = head.term_before
    while found.end < len(file):
        try:
            decoded = decode(file, found.end, salt=head.salt)
            _check_place(decoded.entry, found.next_index, term_before, at=found.end)
        except MalformedError as why:
            found.why = why
            break
        term_before = decoded.entry.term
        found.positions.append(found.end)
        found.terms.append(term_before)
        found.end += decoded.size_bytes
    return found


def rotted(file: bytes, found: Scan) -> bool:
    """Tell whether what does not parse had been durable once."""
    return was_synced(file, found.end - 1, found.next_index, salt=found.head.salt)


def rotted_head(file: bytes, first_index: Index) -> bool:
    """Tell whether a file whose head does not parse had been durable once.

    The salt is lost with the head, but each entry repeats it.
    """
    salt = file[HEAD_BYTES : HEAD_BYTES + SALT_BYTES]
    return len(salt) == SALT_BYTES and was_synced(file, 0, first_index, salt=salt)


def _check_place(entry: Entry, index: Index, term_before: Term, *, at: int) -> None:
    """Refuse an entry that does not continue the log, or that no release up to this one wrote."""
    if entry.index != index:
        raise MalformedError("log entry", at, f"index {entry.index} where {index} belongs")
    if entry.term < term_before:
        raise MalformedError("log entry", at, f"term {entry.term} after {term_before}")
    if entry.kind not in _KINDS:
        detail = f"entry {index} of the metadata log is of kind {entry.kind}, which is newer"
        raise DirectoryRefused(DirectoryExit.NEWER_FORMAT, detail)
