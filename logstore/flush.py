"""The plan of a commit round: what is written and synced, and whose positions move (pure).

Which run may go now is decided by `logstore.carriage`; what may not, waits for a checkpoint, which
is asked for. The bounds of a round keep the latency of everyone in it, and its journal part always
fits one journal file.

A round is acknowledged when the journal has it. Files follow in a later round, but for a part that
touches them anyway (direct runs, flush=async, a truncation): that one writes them at once.

Invariants:
    FILES_GROW_IN_ORDER     runs reach a partition's files in the order of their offsets.
    ROUND_SEGMENT_EXISTS    a run belongs to a segment of its partition.
"""

from typing import Final, NamedTuple

from logstore.journal_entry import APPEND_BYTES, HEAD_BYTES
from logstore.partition_log import PartitionLog
from logstore.producer_replay import Replay, Stretch
from logstore.read_plan import source
from logstore.round import Carrier, Cut, CutDone, FileWrite, Part, Run
from logstore.segment import Segment
from logstore.times import TimesRow, encode_row
from model.ids import Offset

SNAPSHOT_BYTES: Final = 1 << 20
"""Of the log, between two producer snapshots: what recovery reads headers of beyond the rest."""
SMALL_ENTRY_BYTES: Final = HEAD_BYTES + 8
# Bound here, for Python 3.11 looks a member of an Enum up in 0.2 us, once for each partition.
_JOURNAL: Final = Carrier.JOURNAL
_DIRECT: Final = Carrier.DIRECT
_FILES: Final = Carrier.FILES


class Room(NamedTuple):
    """What a round still takes."""

    journal_bytes: int
    all_bytes: int
    first: bool
    """It is empty: it takes one run, however large."""


class Taken(NamedTuple):
    """One partition's part of a round."""

    part: Part | None
    journal_bytes: int
    all_bytes: int
    entries: int
    waits: bool
    """A checkpoint must come first."""
    left: bool
    """The round is full: the rest goes with the next one."""


class _Taking:
    """Gathers one partition's part."""

    def __init__(self, log: PartitionLog, room: Room, direct_bytes_min: int) -> None:
        self.log = log
        self.room = room
        self.direct_bytes_min = direct_bytes_min
        self.part = Part(log.id, log.filed_end, [])
        self._times: list[FileWrite] = []
        self.part.times = self._times
        self.journal_bytes = self.all_bytes = self.entries = 0
        self.carriers: set[Carrier] = set()
        self.waits = self.left = False

    def runs(self) -> None:
        """Take runs as long as the carriage allows and the round has room."""
        pending = self.log.pending
        while pending:
            run = pending[0]
            if run.carrier is Carrier.JOURNAL and run.size_bytes >= self.direct_bytes_min:
                run.carrier = Carrier.DIRECT
            if not self._may_go(run.carrier):
                self.waits = True
                return
            cost = 0 if run.carrier is Carrier.FILES else APPEND_BYTES + 8
            if run.carrier is Carrier.JOURNAL:
                cost = APPEND_BYTES + run.size_bytes
            if not self._fits(cost, run.size_bytes):
                self.left = True
                return
            pending.popleft()
            # Asked only now: it may have waited for the checkpoint that made the name durable.
            run.named = _segment_at(self.log, run).durable_bytes > 0
            self._take(run, cost)

    def cut(self) -> None:
        """Take the truncation, as the last thing that is done for the partition in this round."""
        log = self.log
        if log.cut is None or log.cutting or log.pending:
            return
        carriage = log.carriage
        free = carriage.may_cut and log.upkeep.checkpointing is None
        if not free or self.carriers - {Carrier.JOURNAL}:
            self.waits = self.waits or carriage.unsaved or log.upkeep.checkpointing is not None
            self.left = not self.waits
            return
        if not self._fits(SMALL_ENTRY_BYTES, 0):
            self.left = True
            return
        kept = [segment for segment in log.segment_list if segment.base_offset < log.cut]
        gone = log.segment_list[len(kept) :]
        self.part.cut = Cut(
            log.directory_name,
            log.cut,
            kept[-1].base_offset if kept else None,
            tuple(segment.base_offset for segment in gone),
            _replay_of(log, log.cut, kept),
        )
        log.cutting = True
        self._entry(SMALL_ENTRY_BYTES)

    def delete(self) -> None:
        """Take the deletion."""
        log = self.log
        if not log.carriage.may_cut or log.upkeep.checkpointing is not None:
            self.waits = True
        elif not self._fits(HEAD_BYTES, 0):
            self.left = True
        else:
            self.part.delete = True
            self._entry(HEAD_BYTES)

    def _may_go(self, carrier: Carrier) -> bool:
        carriage = self.log.carriage
        others = self.carriers - {carrier}
        match carrier:
            case Carrier.JOURNAL:
                return carriage.may_journal and Carrier.FILES not in others
            case Carrier.DIRECT:
                return carriage.may_direct and Carrier.FILES not in others
            case Carrier.FILES:
                return carriage.may_file and not others

    def _fits(self, journal_bytes: int, size_bytes: int) -> bool:
        if self.journal_bytes + journal_bytes > self.room.journal_bytes:
            return False
        fits = self.all_bytes + size_bytes <= self.room.all_bytes
        return fits or (self.room.first and not self.part.runs)

    def _take(self, run: Run, cost: int) -> None:
        self.carriers.add(run.carrier)
        self.part.runs.append(run)
        self.part.end_offset = run.end_offset
        self.all_bytes += run.size_bytes
        if run.carrier is Carrier.FILES:
            self._times.append(_times_of(self.log, run))
        else:
            self._entry(cost)

    def _entry(self, cost: int) -> None:
        self.journal_bytes += cost
        self.entries += 1


def take_part(log: PartitionLog, room: Room, *, direct_bytes_min: int) -> Taken:
    """Take from a partition what the next round does for it. Loop only."""
    taking = _Taking(log, room, direct_bytes_min)
    part = taking.part
    if not log.upkeep.directory_made and not log.deleted:
        part.make_directory = log.directory_name
        log.upkeep.directory_made = True
    if log.deleted:
        taking.delete()
    else:
        taking.runs()
        taking.cut()
    part.at_once = part.cut is not None or bool(taking.carriers - {_JOURNAL})
    wanted = part.runs or part.cut or part.delete or part.make_directory
    return Taken(
        part if wanted else None,
        taking.journal_bytes,
        taking.all_bytes,
        taking.entries,
        taking.waits,
        taking.left,
    )


def take_plain(log: PartitionLog, journal_bytes: int, *, run_bytes: int) -> Part | None:
    """Take one run, which is what most partitions have; None: `take_part`.

    It is shorter than `run_bytes`; if the journal carries it, it fits `journal_bytes`. Loop only.
    """
    pending = log.pending
    if len(pending) != 1 or log.cut is not None or not log.upkeep.directory_made:
        return None
    run, carriage = pending[0], log.carriage
    if run.size_bytes >= run_bytes:
        return None
    if run.carrier is _FILES and carriage.may_file:
        pending.clear()
        times = [_times_of(log, run)]
        return Part(log.id, run.end_offset, [run], times=times, at_once=True)
    fits = APPEND_BYTES + run.size_bytes <= journal_bytes
    if run.carrier is _JOURNAL and carriage.may_journal and fits:
        pending.clear()
        return Part(log.id, run.end_offset, [run])
    return None


def entries_placed(log: PartitionLog, part: Part, *, first: int) -> int:
    """Note the journal sequences that a part got, from `first` on; return the next one."""
    carriage = log.carriage
    if not part.at_once and not part.delete:
        end = first + len(part.runs)
        if end > first:
            carriage.put_off(first, end)
        return end
    end, direct = first, False
    for run in part.runs:
        if run.carrier is not _FILES:
            end += 1
            direct = direct or run.carrier is _DIRECT
    if direct:
        carriage.direct_end = end
    if part.cut is not None or part.delete:
        end += 1
    if part.cut is not None:
        carriage.cut_end = end
    if end > first:
        carriage.entries_placed(first, end)
    elif part.runs:
        carriage.files_end = part.end_offset
    return end


def written_part(log: PartitionLog, part: Part) -> bool:
    """Move the written end to where a round has brought it that is being synced; tell if it moved.

    Not of what goes to the files once the journal is synced, nor of a cut. Loop only.
    """
    if not part.runs or part.cut is not None or part.runs[-1].carrier is _FILES:
        return False
    reached = part.end_offset if log.cut is None else min(part.end_offset, log.cut)
    if reached <= log.written_end:
        return False
    log.written_end = reached
    return True


def finish_part(log: PartitionLog, part: Part, done: CutDone | None, *, now: int) -> None:
    """Move a partition's positions to where a finished round has brought them. Loop only.

    `now`: monotonic ms when the round was taken.
    """
    if part.runs:
        if part.at_once:
            finish_filing(log, part.runs)
        reached = part.end_offset if log.cut is None else min(part.end_offset, log.cut)
        log.written_end = max(log.written_end, reached)
        if part.runs[-1].carrier is not _FILES:
            log.flushed_end = max(log.flushed_end, reached)
        elif log.upkeep.unsynced_since is None:
            log.upkeep.unsynced_since = now
    if part.cut is not None:
        _finish_cut(log, part.cut, done)


def finish_filing(log: PartitionLog, runs: list[Run]) -> None:
    """Note that the files of a partition have these runs, and all before them. Loop only."""
    assert runs[0].base_offset == log.filed_end, "FILES_GROW_IN_ORDER"
    for run in runs:
        segment = _segment_at(log, run)
        segment.written_bytes = run.position + run.size_bytes
        if run.carrier is _FILES:
            segment.written_times_bytes = segment.times_bytes
    log.filed_end = runs[-1].end_offset
    settle_producers(log)
    log.carriage.unfiled_entry = None
    log.drop_front()


def settle_producers(log: PartitionLog) -> None:
    """Let what is remembered of producers before their batches go, as far as no cut needs it."""
    filed = log.filed_end if log.cut is None else min(log.filed_end, log.cut)
    log.producers.settle(filed, log.high_watermark)


def _finish_cut(log: PartitionLog, cut: Cut, done: CutDone | None) -> None:
    """End the log where its files end now; what is appended next begins a segment of its own."""
    kept = len(log.segment_list) - len(cut.gone)
    for segment in log.segment_list[kept:]:
        segment.remove()
    del log.segment_list[kept:]
    if done is not None and done.producers is not None:
        log.producers = done.producers
    else:
        log.producers.roll_back(cut.offset)
    if done is not None and cut.kept is not None:
        log.segment_list[-1].cut(
            cut.offset, done.size_bytes, done.times_bytes, last_append_time=done.last_append_time
        )
    log.segment_list.append(Segment(log.directory_name, cut.offset))
    log.filed_end = log.written_end = log.flushed_end = cut.offset
    log.carriage.files_end = min(log.carriage.files_end, cut.offset)
    upkeep = log.upkeep
    upkeep.names_changed = True
    log.leader_epochs.changed = True  # the file went
    kept_snapshots = [offset for offset in upkeep.snapshots if offset <= cut.offset]
    if len(kept_snapshots) < len(upkeep.snapshots):
        upkeep.snapshots, upkeep.sound_snapshot = kept_snapshots, None
        upkeep.snapshot_bytes += SNAPSHOT_BYTES  # the next checkpoint makes another
    log.cut, log.cutting = None, False
    log.drop_front()


def _replay_of(log: PartitionLog, end: Offset, segments: list[Segment]) -> Replay | None:
    """Return how a log that ends at `end` is read for its producers; None: memory knows them."""
    if log.producers.reaches(end):
        return None
    stretches: list[Stretch] = []
    for segment in segments:
        segment.adopt()
        origin = source(segment, log.index_interval_bytes, log.leader_epochs)
        rows = (segment.times, segment.times_whole)
        stretches.append(Stretch(origin, segment.base_offset, segment.size_bytes, *rows))
    first = log.segment_list[0].base_offset
    return Replay(log.directory_name, first, end, tuple(stretches), log.producers.as_of(end))


def _times_of(log: PartitionLog, run: Run) -> FileWrite:
    """Return the rows that cover a run, closed at its end: they are written before it."""
    segment = _segment_at(log, run)
    position = segment.times_bytes
    rows = segment.unfiled_rows(run.end_offset)
    closing = encode_row(TimesRow(run.end_offset, run.leader_epoch, run.append_time))
    segment.times_bytes += len(closing)
    return FileWrite(segment.times_name, position, rows + closing)


def _segment_at(log: PartitionLog, run: Run) -> Segment:
    for segment in reversed(log.segment_list):
        if segment.base_offset == run.segment:
            return segment
    found = [segment for segment in log.upkeep.trimmed if segment.base_offset == run.segment]
    assert found, "ROUND_SEGMENT_EXISTS"
    return found[0]
