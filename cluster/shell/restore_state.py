"""What a thread does for the machines of a node: read snapshots, replay logs, keep what is sent.

Until a job has ended nobody else has its machine.
"""

from typing import Any, Final, Generic, NamedTuple, TypeVar

from cluster.state_partition.machine import Machine
from cluster.state_partition.snapshot import (
    Loaded,
    decode,
    discard_above,
    load,
    save,
)
from cluster.state_partition.standby import Standby, refused
from logstore.read_plan import ReadPlan
from logstore.recovery_report import Finding
from logstore.tail import ReadResult
from model.errors import (
    DirectoryExit,
    DirectoryRefused,
    MalformedError,
    RequestError,
    StorageFailed,
)
from model.ids import Offset, PartitionId
from model.ports import Disk

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])

READ_BYTES: Final = 1 << 20
"""Of the log in memory at once."""


class Extent(NamedTuple):
    """A partition, and where its log begins and ends."""

    partition: PartitionId
    log_start: Offset
    log_end: Offset


class Opened(NamedTuple, Generic[MachineT, RecordT]):
    """A machine as the newest snapshot tells it."""

    standby: Standby[MachineT, RecordT]
    kept: tuple[Offset, ...] = ()
    """The snapshots that are there, oldest first."""
    held: int = 0
    """Records in the newest of them."""
    damaged: tuple[Finding, ...] = ()
    lacks: str | None = None
    """Why the state cannot be had from here: it is to be fetched from another replica."""


def open_state(
    standby: Standby[MachineT, RecordT], extent: Extent, *, disk: Disk
) -> Opened[MachineT, RecordT]:
    """Take the newest snapshot over, on a node whose log is the only one.

    Raises:
        DirectoryRefused: records are missing (exit 11), or are of a newer release (exit 13).
        StorageFailed: the disk refused.
    """
    try:
        loaded = load(disk, extent.partition, log_start=extent.log_start, log_end=extent.log_end)
    except OSError as error:
        raise failed_to("read state of", error) from error
    return _taken(standby, loaded)


def open_replica(
    standby: Standby[MachineT, RecordT], extent: Extent, *, disk: Disk, begun_anew: bool
) -> Opened[MachineT, RecordT]:
    """Take the newest snapshot over, on a node whose log is one of several.

    A snapshot above the log's end is of records that the log may not get again, and goes; so do all
    where the log has begun anew. What is missing then another replica has.

    Raises:
        DirectoryRefused: of a newer release (exit 13).
        StorageFailed: the disk refused.
    """
    partition, _, end = extent
    try:
        discard_above(disk, partition, Offset(-1) if begun_anew else end)
    except OSError as error:
        raise failed_to("remove state of", error) from error
    try:
        return open_state(standby, extent, disk=disk)
    except DirectoryRefused as missing:
        if missing.exit_code is not DirectoryExit.FAILED:
            raise
        return Opened(standby, lacks=missing.detail)


def adopt(
    standby: Standby[MachineT, RecordT], extent: Extent, file: bytes, *, disk: Disk
) -> Opened[MachineT, RecordT] | None:
    """Keep a snapshot that another replica sent, and take it over; None: it is none.

    Raises:
        DirectoryRefused: of a newer release (exit 13).
        StorageFailed: the disk refused.
    """
    try:
        snapshot = decode(file)
    except MalformedError:
        return None
    if snapshot.partition != extent.partition or snapshot.offset < extent.log_start:
        return None
    try:
        opened = _taken(standby, Loaded(snapshot, (snapshot.offset,), ()))
    except DirectoryRefused as unreadable:
        if unreadable.exit_code is not DirectoryExit.FAILED:
            raise
        return None
    try:
        save(disk, snapshot.outgoing, keep=None)
    except OSError as error:
        raise failed_to("write", error) from error
    return opened


def replay(
    standby: Standby[MachineT, RecordT], found: ReadResult | ReadPlan, end: Offset
) -> Standby[MachineT, RecordT]:
    """Read a piece of the log and replay what the machine has not seen, below `end`.

    Raises:
        DirectoryRefused: it is damaged (exit 11), or of a newer release (exit 13).
        StorageFailed: the disk refused.
    """
    try:
        result = found.blocking() if isinstance(found, ReadPlan) else found
    except RequestError as damage:
        raise refused(damage.detail) from damage
    standby.replay(result.buffers, end=end)
    return standby


def failed_to(operation: str, error: OSError) -> StorageFailed:
    """Return what ends a node: the disk has refused something about a state."""
    return StorageFailed(str(error.filename or "state snapshot"), error.errno or 0, operation)


def _taken(standby: Standby[MachineT, RecordT], loaded: Loaded) -> Opened[MachineT, RecordT]:
    if loaded.snapshot is None:
        return Opened(standby, damaged=loaded.damaged)
    standby.take(loaded.snapshot)
    return Opened(standby, loaded.kept, len(loaded.snapshot.records), loaded.damaged)
