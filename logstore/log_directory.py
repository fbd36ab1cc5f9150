"""The partition logs of one directory: rounds, checkpoints, creation and deletion.

The loop takes a round and hands it to the writer thread, takes a checkpoint and hands it to the
checkpointer thread, and gets both back to move positions. One round and one checkpoint at a time;
a checkpoint may run beside rounds, and covers only those that had ended when it was taken.

Invariants:
    CLEAN_MEANS_SAVED    a clean stop is marked only when nothing is left to write or to sync.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, TypeVar

from logstore.checkpoint import encode_row
from logstore.checkpoint_planner import CheckpointPlanner
from logstore.checkpointer import Checkpointer
from logstore.directory_state import DirectoryState
from logstore.free_space import Claim, FreeSpace, Mark
from logstore.identity import CleanMark, Identity, encode, encode_clean
from logstore.journal import Journal
from logstore.partition_log import PartitionLog
from logstore.partition_open import open_partition
from logstore.paths import CLEAN, IDENTITY
from logstore.recovery import recover
from logstore.recovery_report import RecoveryReport
from logstore.replace_file import replace_file, write_cache
from logstore.round import CheckpointJob, CheckpointResult, Round, RoundResult
from logstore.round_planner import RoundPlanner
from logstore.round_writer import RoundWriter
from logstore.settings import LogSettings, PartitionSettings
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import AppendTimeMs, MonotonicMs, Offset, PartitionId, WallMs
from model.ports import Disk, Rand

GivenT = TypeVar("GivenT")
DoneT = TypeVar("DoneT")

_FIRST: Final = Offset(0)


class Opened(NamedTuple):
    """A log directory that was opened, and what was found."""

    directory: "LogDirectory"
    report: RecoveryReport
    clock_floor: AppendTimeMs
    """The append clock begins above it: nothing was appended later, nor told closed."""
    clock_reserved: AppendTimeMs
    """What the disk has of the clock's reservations, to begin with."""
    clean: bool
    """The last stop was clean."""
    stray: tuple[PartitionId, ...]
    """Directories that neither checkpoint nor journal knows; left alone."""
    identity: Identity
    """As the directory has it: its own uuid, its highest registration epoch."""


class LogDirectory:
    """Loop only, but for what says otherwise."""

    def __init__(
        self, disk: Disk, settings: LogSettings, journal: Journal, *, clock_floor: AppendTimeMs
    ) -> None:
        """Begin with no partition; `open` makes one of these."""
        self._disk = disk
        self._settings = settings
        self._state = DirectoryState(settings, journal, clock_floor=clock_floor)
        self._rounds = RoundPlanner(self._state)
        journal_bytes = settings.journal_file_bytes
        self._writer = RoundWriter(
            disk, journal_bytes=journal_bytes, open_files_max=settings.open_files_max
        )
        self._checkpointer = Checkpointer(disk, journal_bytes=journal_bytes)
        self._free = FreeSpace(disk, settings)
        self._checkpoints = CheckpointPlanner(self._state, self._free)
        self._offline: StorageFailed | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        settings: LogSettings,
        *,
        rand: Rand,
        now_wall: WallMs,
        identity: Identity,
    ) -> Opened:
        """Recover a directory and take it for this process. Blocks.

        `identity`: whom the directory must belong to; an empty one takes it over whole. Partitions
        have default settings until `configure`.

        Raises:
            DirectoryRefused: with the exit code; nothing was changed.
            StorageFailed: the disk refused.
        """
        del now_wall  # the append clock's business: nothing here depends on the date
        try:
            found = recover(disk, identity, journal_bytes=settings.journal_file_bytes)
            journal = Journal(
                file_bytes=settings.journal_file_bytes,
                files_max=settings.journal_files_max,
                free=found.free_files,
                next_sequence=found.next_sequence,
                randbytes=rand.randbytes,
            )
            reserved = max(found.clock_floor, found.clock_reserved)
            directory = cls(disk, settings, journal, clock_floor=reserved)
            state = directory._state
            for row in found.rows:
                log = open_partition(disk, row, settings, owner=state, report=found.report)
                state.add(log)
                state.rows[row.partition] = encode_row(row)
            directory.poll_free(directory.mark_space())
        except OSError as error:
            name = str(error.filename or "log directory")
            raise StorageFailed(name, error.errno or 0, "open") from error
        return Opened(
            directory,
            found.report,
            found.clock_floor,
            found.clock_reserved,
            found.clean,
            found.stray,
            found.identity,
        )

    @property
    def partitions(self) -> Mapping[PartitionId, PartitionLog]:
        """The partitions that exist; always the same object. Read only."""
        return self._state.partitions

    @property
    def removing(self) -> Collection[PartitionId]:
        """The partitions that were deleted and whose files may still be there."""
        return self._state.deleting.keys()

    @property
    def offline(self) -> StorageFailed | None:
        """What took the directory offline; nothing is written any more."""
        return self._offline

    def create(
        self, partition: PartitionId, settings: PartitionSettings, *, begin: Offset = _FIRST
    ) -> PartitionLog:
        """Make a partition, empty; the next round makes its directory and reports it created.

        Its first offset will be `begin`.

        Appending need not wait for that. That it exists is durable with its first journaled append
        or its first checkpoint: whoever owns the metadata creates it again if it is gone.
        """
        state = self._state
        log = PartitionLog(
            partition,
            settings,
            disk=self._disk,
            log_settings=self._settings,
            owner=state,
            begin=begin,
        )
        state.add(log)
        log.touch()
        return log

    def begin_anew(self, partition: PartitionId, begin: Offset) -> PartitionLog:
        """Forget all of a partition's log; return the empty one that takes its place.

        Its directory exists (`upkeep.exists`) not before nothing of the old one can come back: a
        start in between finds the one or the other, or a partition that nobody knows.
        """
        settings = self._state.partitions[partition].settings
        self._state.delete(partition)
        return self.create(partition, settings, begin=begin)

    def delete(self, partition: PartitionId) -> None:
        """Forget a partition: a round makes that durable, a checkpoint removes its files."""
        self._state.delete(partition)

    def delete_stray(self, partition: PartitionId) -> None:
        """Have a directory removed that neither checkpoint nor journal knows, with all in it.

        Only for who knows that its partition was deleted.
        """
        log = self.create(partition, PartitionSettings())
        log.upkeep.directory_made = True  # none is made for it
        self._state.delete(partition)

    def reserve_clock(self, until: AppendTimeMs) -> None:
        """Let the next round make durable that append times below `until` may be told as closed."""
        state = self._state
        state.clock = until if state.clock is None else max(until, state.clock)

    def accepts(self, size_bytes: int, *, into_reserve: bool = False) -> None:
        """Count an append, or refuse it below the reserve line (P48).

        `into_reserve`: what a node must be able to write when its producers cannot.

        Raises:
            RequestError: DISK_FULL, or STORAGE_ERROR once the directory is offline.
        """
        self._check_accepting()
        self._free.accepts(
            size_bytes, into_reserve=into_reserve, journal_bytes=self._journal_to_come
        )

    def claim(self, size_bytes: int) -> Claim:
        """Count what will be written beside the log over a long time, or refuse it.

        Raises:
            RequestError: DISK_FULL, or STORAGE_ERROR once the directory is offline.
        """
        self._check_accepting()
        return self._free.claim(size_bytes, journal_bytes=self._journal_to_come)

    def _check_accepting(self) -> None:
        if self._offline is not None:
            raise RequestError(ErrorCode.STORAGE_ERROR, str(self._offline))

    @property
    def _journal_to_come(self) -> int:
        """Bytes of a journal file that is still to be made."""
        return self._settings.journal_file_bytes if self._state.journal.is_lone else 0

    @property
    def disk_bytes(self) -> int:
        """Size of the file system that holds the directory, when last looked at."""
        return self._free.total_bytes

    def mark_space(self) -> Mark:
        """Return what `poll_free` is to be told."""
        return self._free.mark(self._rounds.unwritten_bytes())

    def poll_free(self, mark: Mark) -> None:
        """Look at the free space. CHECKPOINTER THREAD; raises OSError."""
        self._free.poll(mark)

    def has_unsynced(self) -> bool:
        """Tell whether a checkpoint will be due, if only time passes."""
        state = self._state
        return bool(state.unsaved or state.wanted or state.deleted)

    def has_pending(self) -> bool:
        """Tell whether something accepted is not in the files: a clean stop would lose it."""
        state = self._state
        waits = state.dirties or state.waiting or state.deleting or state.clock is not None
        return bool(waits or state.unfiled) or self._rounds.in_flight

    @property
    def waits_for_room(self) -> bool:
        """Something accepted cannot be written: the one journal file there is, is full (P48)."""
        state = self._state
        waits = bool(state.dirties) or state.clock is not None
        return waits and state.journal_full and state.journal.is_lone

    def take_round(self, now: MonotonicMs, *, filing_may_wait: bool = False) -> Round | None:
        """Return what was accepted since the last round, as much as one may hold; None: nothing.

        None also when all that is left waits for a checkpoint, which is due then, or for more of
        its kind, if `filing_may_wait`: `has_pending` tells.

        Raises:
            StorageFailed: the directory is offline.
        """
        self._check_online()
        return self._rounds.take(now, filing_may_wait=filing_may_wait)

    def run_round(self, work: Round) -> RoundResult:
        """Write and sync a round. WRITER THREAD; the loop too, if it is light and the thread idle.

        Raises:
            StorageFailed: the directory is offline from now on; nothing is tried again.
        """
        return self.sync_round(self.write_round(work))

    def write_round(self, work: Round) -> RoundResult:
        """Do the first half of `run_round`: from here on a kill loses nothing of the round.

        The next thing that is done to the directory's rounds is `sync_round`. WRITER THREAD.

        Raises:
            StorageFailed: as `run_round` does.
        """
        return self._run(self._writer.write, work)

    def sync_round(self, written: RoundResult) -> RoundResult:
        """Do the other half: from here on a power cut loses nothing of it either. WRITER THREAD.

        Raises:
            StorageFailed: as `run_round` does.
        """
        return self._run(self._writer.sync, written)

    def round_written(self) -> list[PartitionLog]:
        """Move the written ends of a round that is being synced; return whose have moved.

        `flushed_end` moves with `finish_round`, as does all else. None have if the sync has failed.
        """
        return self._rounds.written() if self._offline is None else []

    def finish_round(self, result: RoundResult) -> list[PartitionLog]:
        """Move the positions that a round has brought forward; return whose they are."""
        return self._rounds.finish(result)

    def checkpoint_due(self, now: MonotonicMs) -> bool:
        """Tell whether a checkpoint should be taken now."""
        return self._offline is None and self._checkpoints.is_due(now)

    def take_checkpoint(
        self,
        now: MonotonicMs,
        *,
        all: bool = False,
    ) -> CheckpointJob | None:
        """Return what a checkpoint does now; None: nothing.

        `all`: every partition that has something to save, caches included: for a stop.

        Raises:
            StorageFailed: the directory is offline.
        """
        self._check_online()
        return self._checkpoints.take(now, stopping=all)

    def run_checkpoint(self, job: CheckpointJob) -> CheckpointResult:
        """Make files durable. CHECKPOINTER THREAD; may run beside a round.

        Raises:
            StorageFailed: the directory is offline from now on; nothing is tried again.
        """
        return self._run(self._checkpointer.run, job)

    def finish_checkpoint(self, result: CheckpointResult) -> list[PartitionLog]:
        """Note what is durable, reuse journal files, let go on what waited for it; return whose.

        A checkpoint moves `flushed_end` of what the journal does not carry.
        """
        return self._checkpoints.finish(result)

    def mark_clean(self, clock_floor: AppendTimeMs) -> None:
        """Say that everything is in the files. CHECKPOINTER THREAD, after the last checkpoint.

        `clock_floor`: above it nothing was appended, nor told closed; what was reserved beyond it
        is not needed any more.

        The mark is not synced: if a power cut takes it, the next start recovers, and loses nothing.

        Raises:
            StorageFailed: the disk refused, or the directory is offline.
        """
        self._check_online()
        assert not self._state.unsaved and not self.has_pending(), "CLEAN_MEANS_SAVED"
        mark = CleanMark(self._state.journal.next_sequence, clock_floor)
        try:
            write_cache(self._disk, CLEAN, encode_clean(mark))
        except OSError as error:
            raise StorageFailed(CLEAN, error.errno or 0, "write") from error

    def store_identity(self, identity: Identity) -> None:
        """Remember a registration epoch. CHECKPOINTER THREAD.

        Raises:
            StorageFailed: the disk refused, or the directory is offline.
        """
        self._check_online()
        try:
            replace_file(self._disk, IDENTITY, encode(identity))
            # SYNC: a restored old image is known by a lower epoch than the controller's (P47).
            self._disk.sync_directory("")
        except OSError as error:
            self._offline = StorageFailed(IDENTITY, error.errno or 0, "write")
            raise self._offline from error

    def _run(self, work: Callable[[GivenT], DoneT], given: GivenT) -> DoneT:
        """Do what changes files, unless something has failed before. WRITER, CHECKPOINTER THREAD.

        Raises:
            StorageFailed: the directory is offline from now on.
        """
        self._check_online()
        try:
            return work(given)
        except StorageFailed as failed:
            self._offline = failed
            raise

    def _check_online(self) -> None:
        if self._offline is not None:
            raise self._offline
