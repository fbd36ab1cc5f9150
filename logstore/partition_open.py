"""A partition as it is after recovery: its log, its leader epochs, its idempotent producers.

The latter two are functions of the batches; snapshots save reading all of them. Blocks.
"""

from collections.abc import Iterable

from logstore.checkpoint import CheckpointRow
from logstore.leader_epochs import UNBOUNDED, EpochBounds, LeaderEpochs, bounds_of
from logstore.leader_epochs import decode as decode_epochs
from logstore.owner import Owner
from logstore.partition_log import PartitionLog
from logstore.paths import EPOCHS, PRODUCERS, TEMPORARY, parse_offset
from logstore.producer_replay import is_sound, newest_snapshot, note_found
from logstore.read_plan import source
from logstore.recovery_report import Finding, RecoveryReport
from logstore.replace_file import read_file
from logstore.replicated import whole_from
from logstore.scanned import row_before
from logstore.segment import Segment
from logstore.segment_loader import Loaded, contiguous, iter_headers, load, load_times, start_of
from logstore.settings import LogSettings, PartitionSettings
from logstore.times import decode as decode_times
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset, Position
from model.ports import Disk


def open_partition(
    disk: Disk,
    row: CheckpointRow,
    settings: LogSettings,
    *,
    owner: Owner[PartitionLog],
    report: RecoveryReport,
) -> PartitionLog:
    """Return the log that a recovered row describes. Raises OSError.

    Append times that had to be made up are reported.
    """
    log = PartitionLog(
        row.partition,
        PartitionSettings(),
        disk=disk,
        log_settings=settings,
        owner=owner,
        begin=row.log_start,
    )
    ends = [segment.base_offset for segment in row.segments[1:]] + [row.end_offset]
    segments = [
        Segment.opened(log.directory_name, segment, end)
        for segment, end in zip(row.segments, ends, strict=True)
    ]
    log.begin_at(segments, log_start=row.log_start, sequence=row.sequence)
    log.high_watermark = row.high_watermark
    log.removed = row.removed
    names = disk.list(log.directory_name)
    for name in names:
        if name.endswith(TEMPORARY):  # a repair that a stop has ended; another one begins anew
            disk.unlink(f"{log.directory_name}/{name}")
    found = [parse_offset(name, PRODUCERS) for name in names]
    log.upkeep.snapshots = sorted(offset for offset in found if offset is not None)
    start = _restore_producers(disk, log)
    log.producers.begin_at(max(start, min(log.high_watermark, log.log_end)))
    lost = _restore_epochs(disk, log, believed=report.clean)
    _follow_batches(disk, log, start, report=report)
    log.leader_epochs.trim(min(whole_from(log), Offset(max(0, log.log_end - 1))))
    log.drop_front()
    for segment in segments:
        report.repaired += segment.damage
        segment.damage = ()
    _report_lost(lost, report)
    return log


def _restore_producers(disk: Disk, log: PartitionLog) -> Offset:
    """Take over the newest snapshot that can be read; return from where batches are to be read.

    One of what is committed, if there is any: the next leader may cut what is not, and a cut below
    the snapshot would have the log read again while every commit of the node waits. What lies below
    the log start in a segment that is still there counts as well (P20).
    """
    first, directory = log.segment_list[0].base_offset, log.directory_name
    for end in (min(log.high_watermark, log.log_end), log.log_end):
        found = newest_snapshot(disk, directory, log.upkeep.snapshots, first=first, end=end)
        if found is not None:
            log.producers.restore(iter(found.producers))
            return found.reflected
    return first


def _restore_epochs(disk: Disk, log: PartitionLog, *, believed: bool) -> list[Segment]:
    """Take over the table of leader epochs, or make it from the append times, which name them.

    The file is a cache: after a crash (not `believed`) it may be an old one, that lacks the newest,
    or be written for a log start that did not become durable. Behind a clean stop it may be an old
    one as well: the power can take it and leave the mark, whose directory is another. Whether it
    is, the last append time tells: epochs rise along the log, and none is above the last record's.

    Returns the segments that have lost batches at their end, and append times of them.
    """
    file = read_file(disk, f"{log.directory_name}/{EPOCHS}")
    try:
        log.leader_epochs = decode_epochs(file or b"")
        log.leader_epochs.roll_back(log.log_end)
    except MalformedError:
        log.leader_epochs = LeaderEpochs()
        believed = False
    lost: list[Segment] = []
    if believed and _names_newest(disk, log):
        return lost
    rows = log.leader_epochs.rows
    if rows and rows[0].start > whole_from(log):
        log.leader_epochs, rows = LeaderEpochs(), ()
    # Of a log without a record the segment may still be there that tells its last epoch.
    known = rows[-1].start if rows else log.segment_list[0].base_offset
    rising = _Rising(disk, log)
    for number, segment in enumerate(log.segment_list):
        if segment.size_bytes and segment.end_offset > known:
            loaded = rising.load(number)
            segment.damage = loaded.damage
            # What is made up counts too: the least that it can be. Of nothing less could be told
            # that a batch there is of another epoch. A row that closes the file begins nothing.
            for row in loaded.times.rows():
                if row.offset < segment.end_offset:
                    _note_epoch(log, row.leader_epoch, row.offset)
            if loaded.lost_from is None:
                log.leader_epochs.lost_from = None
            else:
                lost.append(segment)
                if log.leader_epochs.lost_from is None:
                    log.leader_epochs.lost_from = loaded.lost_from
    return lost


class _Rising:
    """Reads append times, where some are lost within what the rows of other segments allow.

    Epochs rise along the log, and no checksum covers the one that a batch says. Believed, one that
    is too high would be that of all that follows, and nobody else's batches would fit.
    """

    def __init__(self, disk: Disk, log: PartitionLog) -> None:
        self._disk = disk
        self._log = log
        self._ceilings: list[LeaderEpoch] = []

    def load(self, number: int) -> Loaded:
        """Return the rows of a segment; the table has the epochs of those before it."""
        log, segment = self._log, self._log.segment_list[number]
        origin = source(segment, log.index_interval_bytes, None)
        loaded = load_times(self._disk, origin)
        if loaded.guessed is None:
            return loaded
        self._ceilings = self._ceilings or self._all_ceilings()
        floor, _ = bounds_of(log.leader_epochs, segment.base_offset, segment.end_offset)
        bounds = EpochBounds(floor, self._ceilings[number])
        return load_times(self._disk, origin._replace(epochs=bounds))

    def _all_ceilings(self) -> list[LeaderEpoch]:
        """Return for each segment the epoch of the first whole row behind it."""
        ceilings = [UNBOUNDED.ceiling]
        for segment in reversed(self._log.segment_list[1:]):
            file = read_file(self._disk, segment.times_name) or b""
            try:
                times = decode_times(file[: segment.times_bytes], segment.base_offset).times
            except MalformedError:
                ceilings.append(ceilings[-1])
            else:
                first = times.row(0).leader_epoch if len(times) else ceilings[-1]
                ceilings.append(min(first, ceilings[-1]))
        return ceilings[::-1]


def _names_newest(disk: Disk, log: PartitionLog) -> bool:
    """Tell whether the table has the epoch of the last record; of a log without one it has."""
    last = next((one for one in reversed(log.segment_list) if one.size_bytes), None)
    if last is None:
        return True
    try:
        file = disk.open(last.times_name)
    except FileNotFoundError:
        return False
    try:
        row = row_before(file, last.times_bytes)
    finally:
        file.close()
    return row is not None and row.leader_epoch == log.leader_epochs.latest


def _follow_batches(
    disk: Disk, log: PartitionLog, start: Offset, *, report: RecoveryReport
) -> None:
    """Tell epochs and producers of the batches that no snapshot reflects."""
    for segment in log.segment_list:
        if segment.end_offset <= start or not segment.size_bytes:
            continue
        origin = source(segment, log.index_interval_bytes, log.leader_epochs)
        try:
            file = disk.open(segment.log_name)
        except FileNotFoundError:
            continue  # reported; readers of it will be told
        times = load(disk, origin, with_index=False)
        segment.damage = times.damage
        position, begin = start_of(disk, file, origin, offset=start)
        headers = iter_headers(file, position, segment.size_bytes)
        for header in contiguous(headers, origin, begin=begin):
            offset, at = header.base_offset, position
            position = Position(position + header.size_bytes)
            if header.end_offset <= start:
                continue
            log.upkeep.snapshot_bytes += header.length
            # The checksum of a batch does not cover its leader epoch; that of a row does.
            row = times.times.at(offset)
            _note_epoch(log, row.leader_epoch, offset)
            if not is_sound(file, at, header.size_bytes):
                why = "a batch does not match its checksum; readers of it will be told"
                report.repaired.append(Finding(segment.log_name, at, header.size_bytes, why))
            elif header.producer_id >= 0 and not header.is_control:
                note_found(log.producers, header, row.append_time)
                # At once: what was known before each batch of a whole journal is too much to keep.
                log.producers.settle(header.end_offset, log.high_watermark)
        file.close()
        _report_rest(segment, position, report)


def _report_rest(segment: Segment, position: Position, report: RecoveryReport) -> None:
    """Report what lies behind the last batch that could be told apart, unless it was told."""
    name, size = segment.log_name, segment.size_bytes - position
    told = any(
        one.file == name and one.position + one.size_bytes >= segment.size_bytes
        for one in report.repaired
    )
    if size > 0 and not told:
        why = "no batch goes on there; readers will be told"
        report.repaired.append(Finding(name, position, size, why))


def _report_lost(segments: Iterable[Segment], report: RecoveryReport) -> None:
    """Report segments that have lost batches: this log does not hold what it should (P3)."""
    told = {one.file for one in report.repaired}
    for segment in segments:
        if segment.log_name not in told:
            why = "neither the last batches nor their append times are left; readers will be told"
            report.repaired.append(Finding(segment.log_name, 0, segment.size_bytes, why))


def _note_epoch(log: PartitionLog, epoch: LeaderEpoch, offset: Offset) -> None:
    """Add an epoch that the table does not have yet; batches below the log start count too."""
    rows = log.leader_epochs.rows
    if not rows or epoch > rows[-1].epoch:
        start = max(offset, Offset(rows[-1].start + 1)) if rows else offset
        log.leader_epochs.appended(epoch, start)
