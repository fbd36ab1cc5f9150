"""Snapshots of a state partition: one file each, which stands for every record below its offset.

Format: docs/formats/state_snapshot.md, version 1. The two newest are kept, and the log from the
older one on: of one damaged file nothing is lost.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from logstore.paths import STATE, by_offset, parse_offset, partition_directory
from logstore.recovery_report import Finding
from logstore.replace_file import CRC_BYTES, read_file, replace_file, unseal
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Offset, PartitionId, Position, TopicId
from model.ports import Disk

MAGIC: Final = b"TLSTATES"
VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sH2x16siqI")  # magic, version, topic, partition, offset, records
_LENGTH: Final = struct.Struct(">I")
_WHAT: Final = "state snapshot"
PIECE_BYTES: Final = 64 << 10
"""Written at once, about: what encodes it holds the interpreter for less than a millisecond."""


class Framed(NamedTuple):
    """A record as the log and the snapshot hold it."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """The state of one partition before the record at `offset`."""

    partition: PartitionId
    offset: Offset
    records: tuple[Framed, ...]
    """They bring an empty machine to that state."""

    @property
    def outgoing(self) -> "Outgoing":
        """The same, to be written."""
        return Outgoing(self.partition, self.offset, self.records, len(self.records))


class Outgoing(NamedTuple):
    """A snapshot on its way to the disk; its records are encoded as they are written."""

    partition: PartitionId
    offset: Offset
    records: Iterable[tuple[bytes, bytes]]
    """Key and value of each."""
    total: int


class Loaded(NamedTuple):
    """What was found at a start."""

    snapshot: StateSnapshot | None
    """The newest that is sound; None: the log reaches back to its beginning."""
    kept: tuple[Offset, ...]
    """Of it and of the one below it, if there is one: oldest first."""
    damaged: tuple[Finding, ...]
    """Files that were passed over."""


def pieces(outgoing: Outgoing) -> Iterator[bytes]:
    """Yield the file's bytes, piece by piece: no step takes long, whatever the state's size."""
    partition = outgoing.partition
    piece = bytearray(
        _HEAD.pack(
            MAGIC,
            VERSION,
            partition.topic,
            partition.number,
            outgoing.offset,
            outgoing.total,
        )
    )
    checksum = 0
    for key, value in outgoing.records:
        piece += _LENGTH.pack(len(key)) + key + _LENGTH.pack(len(value)) + value
        if len(piece) >= PIECE_BYTES:
            checksum = crc32c(piece, checksum)
            yield bytes(piece)
            piece.clear()
    checksum = crc32c(piece, checksum)
    yield bytes(piece) + checksum.to_bytes(CRC_BYTES, "big")


def encode(snapshot: StateSnapshot) -> bytes:
    """Return the file's bytes."""
    return b"".join(pieces(snapshot.outgoing))


def decode(file: bytes) -> StateSnapshot:
    """Return what a file holds.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, the checksum holds and the version is a newer one.
    """
    content = unseal(file, _WHAT, magic=MAGIC, version=VERSION)
    if len(content) < _HEAD.size:
        raise MalformedError(_WHAT, 0, f"{len(content)} bytes")
    _, _, topic, number, offset, count = _HEAD.unpack_from(content)
    at = _HEAD.size
    records: list[Framed] = []
    for _ in range(count):
        key, at = _field(content, at)
        value, at = _field(content, at)
        records.append(Framed(key, value))
    if at != len(content) or number < 0 or offset < 0:
        raise MalformedError(_WHAT, at, f"offset {offset} of {number}, {count} records")
    return StateSnapshot(
        partition=PartitionId(TopicId(topic), number), offset=Offset(offset), records=tuple(records)
    )


def _field(content: memoryview, at: int) -> tuple[bytes, int]:
    """Return the bytes that a length announces, and where they end."""
    if at + _LENGTH.size > len(content):
        raise MalformedError(_WHAT, at, "ends before a length")
    start = at + _LENGTH.size
    end = start + _LENGTH.unpack_from(content, at)[0]
    if end > len(content):
        raise MalformedError(_WHAT, at, f"a length of {end - start}")
    return bytes(content[start:end]), end


def save(disk: Disk, snapshot: Outgoing, *, keep: Offset | None) -> None:
    """Write a snapshot; only then remove all others but `keep`. Durable when this returns. Blocks.

    Raises:
        OSError: the node must stop.
    """
    directory = partition_directory(snapshot.partition)
    name = by_offset(snapshot.offset, STATE)
    replace_file(disk, f"{directory}/{name}", *pieces(snapshot))
    # SYNC: what the others stand for is still in the log; they go only when this one stays.
    disk.sync_directory(directory)
    stay = {name} if keep is None else {name, by_offset(keep, STATE)}
    gone = [by_offset(old, STATE) for old in offsets(disk, snapshot.partition)]
    gone = [old for old in gone if old not in stay]
    for old in gone:
        disk.unlink(f"{directory}/{old}")
    if gone:
        disk.sync_directory(directory)


def load(disk: Disk, partition: PartitionId, *, log_start: Offset, log_end: Offset) -> Loaded:
    """Return the newest snapshot that is sound and from which the log goes on. Blocks.

    Raises:
        DirectoryRefused: none is (exit 11): records are missing between it and the log; one is of
            a newer format (exit 13).
        OSError: the disk refused.
    """
    directory = partition_directory(partition)
    damaged: list[Finding] = []
    found: StateSnapshot | None = None
    below: list[Offset] = []
    for offset in reversed(offsets(disk, partition)):
        if found is not None:
            below.append(offset)
            continue
        name = f"{directory}/{by_offset(offset, STATE)}"
        if offset > log_end:
            detail = f"{name}: the log ends at offset {log_end} already"
            raise DirectoryRefused(DirectoryExit.FAILED, f"{detail}: {_MISSING}")
        file = read_file(disk, name) or b""
        try:
            found = _checked(decode(file), partition, offset)
        except MalformedError as damage:
            damaged.append(Finding(name, damage.at, len(file), f"{damage.why}: passed over"))
    reach = Offset(0) if found is None else found.offset
    if reach < log_start:
        why = "; ".join(map(str, damaged)) or "no snapshot is there"
        detail = f"{directory}: the log begins at offset {log_start}, and of what is below: {why}"
        raise DirectoryRefused(DirectoryExit.FAILED, f"{detail}: {_MISSING}")
    kept = (*below[:1], reach) if found is not None else ()
    return Loaded(found, kept, tuple(damaged))


def discard_above(disk: Disk, partition: PartitionId, end: Offset) -> None:
    """Remove the snapshots of more than the log holds. Durable when this returns. Blocks.

    Raises:
        OSError: the node must stop.
    """
    directory = partition_directory(partition)
    gone = [offset for offset in offsets(disk, partition) if offset > end]
    for offset in gone:
        disk.unlink(f"{directory}/{by_offset(offset, STATE)}")
    if gone:
        # SYNC: the log may grow past them again, with other records.
        disk.sync_directory(directory)


def read_part(
    disk: Disk, partition: PartitionId, offset: Offset, *, position: int, bytes_max: int
) -> tuple[int, bytes] | None:
    """Return a snapshot file's size and a range of its bytes; None: it is not there. Blocks.

    Raises:
        OSError: the node must stop.
    """
    try:
        file = disk.open(f"{partition_directory(partition)}/{by_offset(offset, STATE)}")
    except FileNotFoundError:
        return None
    try:
        size = file.size()
        return size, file.pread(max(0, min(bytes_max, size - position)), Position(position))
    finally:
        file.close()


def offsets(disk: Disk, partition: PartitionId) -> list[Offset]:
    """Return the offsets of the snapshots that a partition has, oldest first. Blocks."""
    try:
        names = disk.list(partition_directory(partition))
    except FileNotFoundError:
        return []
    found = (parse_offset(name, STATE) for name in names)
    return sorted(offset for offset in found if offset is not None)


def _checked(snapshot: StateSnapshot, partition: PartitionId, offset: Offset) -> StateSnapshot:
    """Refuse a sound snapshot of another place."""
    if (snapshot.partition, snapshot.offset) != (partition, offset):
        other = snapshot.partition
        why = f"holds offset {snapshot.offset} of {other.topic.hex()}-{other.number}"
        raise MalformedError(_WHAT, 0, why)
    return snapshot


_MISSING: Final = (
    "records are missing, and with them what they say; copy the partition from an intact replica "
    "or backup"
)
