"""Snapshots of the metadata: one file each, which stands for every log entry up to its index.

Format: docs/formats/metadata_log.md, snapshot, version 1. Any range of the file's bytes is a chunk
that another node can be sent; the checksums are looked at when the last has arrived.
"""

import struct
from dataclasses import dataclass
from typing import Final

from cluster.raft.voters import (
    VOTER_BYTES,
    Configuration,
    Voter,
    decode_configuration,
    encode_configuration,
)
from logstore.crc32c import crc32c
from logstore.replace_file import read_file, replace_file
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Index, Term
from model.ports import Disk

MAGIC: Final = b"TLRAFTSN"
VERSION: Final = 1
SUFFIX: Final = ".snapshot"
_HEAD: Final = struct.Struct(">8sHHQQQI")  # magic, version, voters, index, term, bytes, their crc
_CRC: Final = struct.Struct(">I")
_INDEX_DIGITS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state after one entry, and the configuration that held then."""

    last_index: Index
    last_term: Term
    voters: tuple[Voter, ...]
    learners: tuple[Voter, ...] = ()
    payload: bytes
    """Records that bring an empty machine to that state."""

    @property
    def configuration(self) -> Configuration:
        """Who belonged to the quorum as of that entry."""
        return Configuration(self.voters, self.learners)


def name_of(last_index: Index) -> str:
    """Return the file's name within its directory."""
    return f"{last_index:0{_INDEX_DIGITS}}{SUFFIX}"


def encode(snapshot: Snapshot) -> bytes:
    """Return the file's bytes."""
    members = encode_configuration(snapshot.configuration)
    place = (snapshot.last_index, snapshot.last_term)
    seal = (len(snapshot.payload), crc32c(snapshot.payload))
    head = _HEAD.pack(MAGIC, VERSION, len(members) // VOTER_BYTES, *place, *seal) + members
    return b"".join((head, _CRC.pack(crc32c(head)), snapshot.payload))


def decode(file: bytes) -> Snapshot:
    """Return what a file holds.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, the checksum holds and the version is a newer one.
    """
    if len(file) < _HEAD.size or file[:8] != MAGIC:
        raise MalformedError("snapshot", 0, f"{len(file)} bytes, or another magic")
    _, version, count, index, term, size, crc = _HEAD.unpack_from(file)
    start = _HEAD.size + count * VOTER_BYTES
    if len(file) < start + _CRC.size or _CRC.unpack_from(file, start)[0] != crc32c(file[:start]):
        raise MalformedError("snapshot", 0, "checksum of the head")
    if version != VERSION:
        detail = f"a snapshot has format version {version}, this program knows {VERSION}"
        raise DirectoryRefused(DirectoryExit.NEWER_FORMAT, detail)
    payload = file[start + _CRC.size :]
    if len(payload) != size or crc32c(payload) != crc:
        raise MalformedError("snapshot", start, "length or checksum of the payload")
    configuration = decode_configuration(file[_HEAD.size : start], at=_HEAD.size)
    return Snapshot(
        last_index=Index(index),
        last_term=Term(term),
        voters=configuration.voters,
        learners=configuration.learners,
        payload=payload,
    )


def save(disk: Disk, directory: str, snapshot: Snapshot) -> None:
    """Write a snapshot; only then remove the older ones. Durable when this returns. Blocks.

    Raises:
        OSError: the node must stop.
    """
    save_file(disk, directory, encode(snapshot), last_index=snapshot.last_index)


def save_file(disk: Disk, directory: str, file: bytes, *, last_index: Index) -> None:
    """Do what `save` does, with a snapshot that is in bytes already: another node sent it.

    Raises:
        OSError: the node must stop.
    """
    name = name_of(last_index)
    replace_file(disk, f"{directory}/{name}", file)
    # SYNC: where a directory's changes reach the device in their order, the sync after the removals
    # would do; this one asks for no order.
    disk.sync_directory(directory)
    older = [old for old in disk.list(directory) if old.endswith(SUFFIX) and old < name]
    for old in older:
        disk.unlink(f"{directory}/{old}")
    if older:
        disk.sync_directory(directory)


def newest(disk: Disk, directory: str) -> Snapshot | None:
    """Return the newest snapshot, None if there is none. Blocks.

    Raises:
        DirectoryRefused: damaged (exit 11: the log before it may be gone, so no older one will
            do) or of a newer format (exit 13).
    """
    names = [name for name in disk.list(directory) if name.endswith(SUFFIX)]
    if not names:
        return None
    path = f"{directory}/{max(names)}"
    try:
        snapshot = decode(read_file(disk, path) or b"")
    except MalformedError as damage:
        detail = f"{path} is damaged: {damage}"
        raise DirectoryRefused(DirectoryExit.FAILED, detail) from damage
    if name_of(snapshot.last_index) != max(names):
        detail = f"{path} is the snapshot of index {snapshot.last_index}: it was renamed"
        raise DirectoryRefused(DirectoryExit.FAILED, detail)
    return snapshot
