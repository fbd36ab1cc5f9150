"""The checks of `tidelog verify`: every file of a data directory, by a second checksum.

The node's own recovery is run over an overlay, so that what it would cut is told exactly. What is
left is read again from the first byte to the last.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from api.cli.no_directory import look_without_identity
from api.cli.overlay_disk import OverlayDisk
from api.node.lone_metadata import check_is_there, check_reaches
from api.node.system_rand import SystemRand
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import NAME
from cluster.raft.voters import Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_opening import ALONE, EITHER, read_member
from cluster.state_partition.snapshot import decode as decode_state
from logstore.checkpoint import CheckpointRow, SegmentRow
from logstore.dump import read_batch
from logstore.identity import Identity
from logstore.identity import decode as decode_identity
from logstore.leader_epochs import decode as decode_epochs
from logstore.offset_index import OffsetIndex
from logstore.paths import (
    EPOCHS,
    IDENTITY,
    INDEX,
    LOG,
    PRODUCERS,
    STATE,
    TIMES,
    by_offset,
    parse_offset,
    partition_directory,
)
from logstore.producer_snapshot import decode as decode_producers
from logstore.recovery import recover
from logstore.recovery_report import Finding
from logstore.replace_file import read_file
from logstore.times import decode as decode_times
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Offset, Position
from model.ports import Disk
from model.record import COVERED_FROM, BatchHeader

Checksum = Callable[[memoryview], int]


@dataclass(slots=True)
class PartitionCheck:
    """One partition, as it would be after a start."""

    topic_id: str
    partition: int
    log_start: int
    log_end: int
    high_watermark: int
    segments: int = 0
    size_bytes: int = 0
    batches: int = 0
    epochs: list[tuple[int, int]] = field(default_factory=list)
    producers: int = 0
    faults: list[Finding] = field(default_factory=list)
    """Damage of data: records that cannot be trusted, append times that are lost."""
    caches: list[Finding] = field(default_factory=list)
    """Files that a start would make anew; no answer changes."""


@dataclass(slots=True)
class DirectoryCheck:
    """The whole directory."""

    identity: Identity
    clean: bool
    cut: list[Finding]
    """What recovery would drop, and why: never anything that was acknowledged and synced."""
    mended: list[Finding]
    partitions: list[PartitionCheck]
    stray: list[str]
    metadata: DirectoryRefused | None
    """Why a start would refuse the metadata of the cluster that lie beside the partitions."""

    @property
    def is_sound(self) -> bool:
        """No data is damaged, nor the metadata."""
        return self.metadata is None and not any(one.faults for one in self.partitions)


def check_directory(disk: OverlayDisk, checksum: Checksum, *, journal_bytes: int) -> DirectoryCheck:
    """Check everything. Blocks; changes nothing.

    Raises:
        DirectoryRefused: a node is using it, it is damaged beyond a start, or newer.
        NoDataDirectory: there is nothing of a node to check.
    """
    file = read_file(disk, IDENTITY)
    if file is None:
        raise look_without_identity(disk)
    try:
        identity = decode_identity(file)
    except MalformedError as malformed:
        raise DirectoryRefused(DirectoryExit.FAILED, str(malformed)) from malformed
    recovered = recover(disk, identity, journal_bytes=journal_bytes)
    cut = recovered.report.dropped
    metadata = _metadata_fault(disk, identity, cut)
    partitions = [_check_partition(disk, row, checksum) for row in recovered.rows]
    return DirectoryCheck(
        identity=identity,
        clean=recovered.clean,
        cut=cut,
        mended=recovered.report.repaired,
        partitions=partitions,
        stray=[partition_directory(one) for one in recovered.stray],
        metadata=metadata,
    )


def _metadata_fault(disk: Disk, identity: Identity, cut: list[Finding]) -> DirectoryRefused | None:
    """Open what the directory holds of the quorum as a start would; return why it is refused.

    Damaged or not all there, an older copy, another directory's, or newer. `cut` gets what the
    start would drop.
    """
    voters_known = read_file(disk, f"{DIRECTORY}/{NAME}") is not None
    remedy = ALONE if voters_known else EITHER
    is_there = partial(check_is_there, disk, identity, remedy=remedy)
    missing = _refusal(is_there)  # before anything is written

    def check() -> None:
        me = Voter(identity.node, identity.directory)
        found = read_member(disk, SystemRand(), ClusterSettings(), me=me)
        cut.extend(Finding(*dropped) for dropped in found.dropped)
        if found.image is None:
            return  # the other members have it too
        if missing is not None:
            raise missing
        check_reaches(found.image, identity)

    return _refusal(check)


def _refusal(check: Callable[[], None]) -> DirectoryRefused | None:
    try:
        check()
    except DirectoryRefused as refused:
        return refused
    return None


def _check_partition(disk: Disk, row: CheckpointRow, checksum: Checksum) -> PartitionCheck:
    directory = partition_directory(row.partition)
    check = PartitionCheck(
        topic_id=row.partition.topic.hex(),
        partition=row.partition.number,
        log_start=row.log_start,
        log_end=row.end_offset,
        high_watermark=row.high_watermark,
        segments=len(row.segments),
    )
    ends = [segment.base_offset for segment in row.segments[1:]] + [row.end_offset]
    for segment, end in zip(row.segments, ends, strict=True):
        name = f"{directory}/{by_offset(segment.base_offset, LOG)}"
        if not segment.size_bytes:
            continue
        check.size_bytes += segment.size_bytes
        _check_batches(disk, name, segment, end=end, check=check, checksum=checksum)
        _check_times(disk, directory, segment, check=check)
        _check_index(disk, directory, segment, check=check)
    _check_epochs(disk, directory, check)
    _check_producers(disk, directory, check)
    _check_states(disk, directory, check)
    return check


def _check_batches(
    disk: Disk,
    name: str,
    segment: SegmentRow,
    *,
    end: Offset,
    check: PartitionCheck,
    checksum: Checksum,
) -> None:
    """Read a segment: every batch whole, its checksum right, offsets and epochs rising."""
    try:
        file = disk.open(name)
    except FileNotFoundError:
        check.faults.append(Finding(name, 0, segment.size_bytes, "the segment is missing"))
        return
    position, offset = Position(0), segment.base_offset
    while position < segment.size_bytes:
        try:
            batch = read_batch(file, position)
        except MalformedError as malformed:
            left = segment.size_bytes - position
            check.faults.append(Finding(name, position, left, malformed.why))
            return
        header = BatchHeader(batch)
        check.batches += 1
        for why in _batch_faults(header, batch, offset, check=check, checksum=checksum):
            check.faults.append(Finding(name, position, len(batch), why))
        offset = Offset(header.base_offset + header.last_offset_delta + 1)
        position = Position(position + len(batch))
    if offset != end:
        why = f"it ends at offset {offset}, the log goes on at {end}"
        check.faults.append(Finding(name, position, 0, why))


def _batch_faults(
    header: BatchHeader,
    batch: memoryview,
    offset: Offset,
    *,
    check: PartitionCheck,
    checksum: Checksum,
) -> Iterator[str]:
    found = checksum(batch[COVERED_FROM:])
    if found != header.crc32c:
        yield f"checksum {header.crc32c:08x}, the bytes have {found:08x}"
    if header.base_offset != offset:
        yield f"offset {header.base_offset} follows {offset - 1}"
    if not check.epochs or header.leader_epoch != check.epochs[-1][0]:
        if check.epochs and header.leader_epoch < check.epochs[-1][0]:
            yield f"leader epoch {header.leader_epoch} follows {check.epochs[-1][0]}"
        check.epochs.append((header.leader_epoch, header.base_offset))


def _check_times(disk: Disk, directory: str, segment: SegmentRow, *, check: PartitionCheck) -> None:
    """Data: a lost row is a fault, though a bound can be made up for it (P37)."""
    name = f"{directory}/{by_offset(segment.base_offset, TIMES)}"
    file = read_file(disk, name)
    if file is None:
        check.faults.append(Finding(name, 0, segment.times_bytes, "append times are missing"))
        return
    try:
        decoded = decode_times(file, segment.base_offset)
    except MalformedError as malformed:
        check.faults.append(Finding(name, 0, len(file), malformed.why))
        return
    for number in decoded.damaged:
        check.faults.append(Finding(name, 24 * (number + 1), 24, "row damaged or out of order"))
    lost = segment.times_bytes - len(file)
    if lost > 0:
        check.faults.append(Finding(name, len(file), lost, "the file ends: append times are lost"))


def _check_index(disk: Disk, directory: str, segment: SegmentRow, *, check: PartitionCheck) -> None:
    """A cache: absent or stale is worth a word, never a fault."""
    name = f"{directory}/{by_offset(segment.base_offset, INDEX)}"
    file = read_file(disk, name)
    if file is None:
        return
    try:
        index = OffsetIndex.decode(file, segment.base_offset)
    except MalformedError as malformed:
        check.caches.append(Finding(name, 0, len(file), malformed.why))
        return
    if index.end > segment.size_bytes:
        check.caches.append(Finding(name, 0, len(file), "it describes more than there is"))


def _check_epochs(disk: Disk, directory: str, check: PartitionCheck) -> None:
    """Compare the table with the batches: it can be made anew from them."""
    name = f"{directory}/{EPOCHS}"
    file = read_file(disk, name)
    if file is None:
        return
    try:
        rows = decode_epochs(file).rows
    except MalformedError as malformed:
        check.caches.append(Finding(name, 0, len(file), malformed.why))
        return
    told = [row for row in rows if row.start < check.log_end]
    known = {epoch for epoch, _ in check.epochs}
    if any(row.epoch not in known for row in told):
        check.caches.append(Finding(name, 0, len(file), "it names an epoch that no batch has"))


def _check_producers(disk: Disk, directory: str, check: PartitionCheck) -> None:
    """Read every snapshot; the newest one that is whole tells how many producers are known."""
    for entry in disk.list(directory):
        offset = parse_offset(entry, PRODUCERS)
        if offset is None:
            continue
        file = read_file(disk, f"{directory}/{entry}") or b""
        try:
            check.producers = len(decode_producers(file)[1])
        except MalformedError as malformed:
            check.caches.append(Finding(f"{directory}/{entry}", 0, len(file), malformed.why))


def _check_states(disk: Disk, directory: str, check: PartitionCheck) -> None:
    """Read every snapshot of state: data, for what is below the log start is nowhere else.

    One that is damaged while the log reaches back to another, or to 0, is done without.
    """
    reach: set[int] = {0}
    damaged: list[Finding] = []
    for entry in disk.list(directory):
        offset = parse_offset(entry, STATE)
        if offset is None:
            continue
        name = f"{directory}/{entry}"
        file = read_file(disk, name) or b""
        why = _state_fault(file, offset, check)
        if offset > check.log_end:
            why = f"the log ends at offset {check.log_end} already: records are missing"
            check.faults.append(Finding(name, 0, len(file), why))
        elif why is None:
            reach.add(offset)
        else:
            damaged.append(Finding(name, 0, len(file), why))
    needless = max(reach) >= check.log_start
    (check.caches if needless else check.faults).extend(damaged)


def _state_fault(file: bytes, offset: Offset, check: PartitionCheck) -> str | None:
    """Return what is wrong with a snapshot of state."""
    try:
        found = decode_state(file)
    except MalformedError as malformed:
        return malformed.why
    partition = found.partition
    place = (check.topic_id, check.partition, offset)
    if (partition.topic.hex(), partition.number, found.offset) != place:
        return f"holds offset {found.offset} of {partition.topic.hex()}-{partition.number}"
    return None
