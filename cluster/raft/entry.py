"""Entries of the quorum's log: bytes out, bytes in, no file.

Format: docs/formats/metadata_log.md, log file, version 1.

Invariants:
    RAFT_SALT_IS_8_BYTES     what tells entries of this file from bytes that a client chose.
    RAFT_ENTRY_FITS          no decision takes more bytes than a reader accepts.
    RAFT_SYNCED_IS_PAST      an entry never claims that itself was durable when it was written.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import Index, Term

SALT_BYTES: Final = 8
ENTRY_BYTES_MAX: Final = 32 << 20
"""A longer one is damage: the widest topic's record takes a hundredth of it."""
_HEAD: Final = struct.Struct(">8sIIQQQB3s")  # salt, crc, length, term, index, synced, kind, zeros
_CRC_FROM: Final = 12
_ZEROS: Final = bytes(3)


class EntryKind(IntEnum):
    """What an entry's payload is."""

    LEADER = 1
    """Empty: a new leader's first entry, which commits all that stand before it (Raft 5.4.2)."""
    RECORDS = 2
    """Records of one decision: docs/formats/metadata_records.md."""
    VOTERS = 3
    """The quorum from here on: 20 bytes a voter."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the log."""

    term: Term
    index: Index
    kind: int
    """An `EntryKind`; a plain number, because a newer release may have written it."""
    payload: bytes


class Decoded(NamedTuple):
    """One entry, the durability that it knew of, and the bytes it takes."""

    entry: Entry
    synced: Index
    size_bytes: int


def encode(entry: Entry, *, synced: Index, salt: bytes) -> bytes:
    """Return the entry's bytes under its file's salt; all below `synced` was durable by now."""
    assert len(salt) == SALT_BYTES, "RAFT_SALT_IS_8_BYTES"
    assert synced <= entry.index, "RAFT_SYNCED_IS_PAST"
    length = _HEAD.size + len(entry.payload)
    assert length <= ENTRY_BYTES_MAX, "RAFT_ENTRY_FITS"
    head = _HEAD.pack(salt, 0, length, entry.term, entry.index, synced, entry.kind, _ZEROS)
    covered = head[_CRC_FROM:] + entry.payload
    return b"".join((salt, crc32c(covered).to_bytes(4, "big"), covered))


def decode(file: bytes, position: int, *, salt: bytes) -> Decoded:
    """Return the entry that begins at a position.

    Raises:
        MalformedError: nothing was written there under this salt, or it is not what was written.
    """
    if len(file) - position < _HEAD.size:
        raise MalformedError("log entry", position, "file ends")
    found, crc, length, term, index, synced, kind, zeros = _HEAD.unpack_from(file, position)
    if found != salt:
        raise MalformedError("log entry", position, "unwritten")
    if not _HEAD.size <= length <= min(ENTRY_BYTES_MAX, len(file) - position):
        raise MalformedError("log entry", position, f"length {length}")
    if zeros != _ZEROS or synced > index:  # first: what looks for an entry meets much that is none
        raise MalformedError("log entry", position, "reserved bytes or durability")
    if crc32c(memoryview(file)[position + _CRC_FROM : position + length]) != crc:
        raise MalformedError("log entry", position, "checksum")
    payload = file[position + _HEAD.size : position + length]
    return Decoded(Entry(Term(term), Index(index), kind, payload), Index(synced), length)


def was_synced(file: bytes, position: int, index: Index, *, salt: bytes) -> bool:
    """Tell whether the entry missing at a position had been durable: rot, not a torn tail.

    A later entry of the file that says so is the proof. The salt, which no client can know, finds
    it.
    """
    while (position := file.find(salt, position + 1)) >= 0:
        if not _claims_synced(file, position, index):
            continue
        try:
            decode(file, position, salt=salt)
        except MalformedError:
            continue
        return True
    return False


def _claims_synced(file: bytes, position: int, index: Index) -> bool:
    """Tell whether a head says that an entry was durable: cheap, for there may be thousands."""
    if len(file) - position < _HEAD.size:
        return False
    _, _, length, _, own, synced, _, zeros = _HEAD.unpack_from(file, position)
    plausible = _HEAD.size <= length <= len(file) - position and zeros == _ZEROS
    return bool(plausible and index < synced <= own)
