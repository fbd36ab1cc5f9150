"""When a checkpoint is due, what it covers, and what follows once it is durable. Loop only.

Invariants:
    CHECKPOINT_ONE_AT_A_TIME   rows become durable in the order in which they were taken.
"""

from collections.abc import Iterator
from typing import Final

from logstore.checkpoint import encode_file
from logstore.directory_state import DirectoryState
from logstore.free_space import FreeSpace
from logstore.partition_checkpoint import finish, has_small_files, plan
from logstore.partition_log import PartitionLog
from logstore.round import CheckpointJob, CheckpointResult, PartitionCheckpoint
from model.ids import MonotonicMs

SPARE_AGAIN_MS: Final = 1_000
"""A journal file that the file system had no room for, though it said so, is tried again then."""
SPARE_AGAIN_MS_MAX: Final = 16_000
"""Each further time after twice as long, up to this: while it is tried, others find the disk full,
and it writes megabytes of zeros. Less than the time in which all goes on once there is room."""


class CheckpointPlanner:
    """Takes checkpoints, one after the other; each may run beside rounds."""

    def __init__(self, state: DirectoryState, free: FreeSpace) -> None:
        """Plan on the directory's state."""
        self._state = state
        self._free = free
        self._spare_refused = False
        self._spare_from = MonotonicMs(0)
        self._spare_wait_ms = SPARE_AGAIN_MS
        self._logs: list[PartitionLog] | None = None

    @property
    def in_flight(self) -> bool:
        """A checkpoint was taken and has not come back."""
        return self._logs is not None

    def is_due(self, now: MonotonicMs) -> bool:
        """Tell whether a checkpoint should be taken now."""
        state = self._state
        if self._logs is not None:
            return False
        return (
            bool(state.deleted)
            or self._is_full_due(now)
            or (state.async_due is not None and now >= state.async_due)
            or self._spare(now) is not None
            or any(map(_is_eligible, state.wanted))
        )

    def _spare(self, now: MonotonicMs) -> int | None:
        """Return the number of the journal file to make, if there is need and room for it.

        The second one may take of the reserve: without it no checkpoint makes room in the journal.
        """
        if self._spare_refused:
            self._spare_refused, self._spare_from = False, MonotonicMs(now + self._spare_wait_ms)
            self._spare_wait_ms = min(2 * self._spare_wait_ms, SPARE_AGAIN_MS_MAX)
        journal = self._state.journal
        number = journal.spare_wanted()
        if number is None or now < self._spare_from:
            return None
        size_bytes, is_needed = self._state.settings.journal_file_bytes, journal.is_lone
        return number if self._free.has_room(size_bytes, into_reserve=is_needed) else None

    def take(self, now: MonotonicMs, *, stopping: bool) -> CheckpointJob | None:
        """Return what a checkpoint does now; None: nothing."""
        assert self._logs is None, "CHECKPOINT_ONE_AT_A_TIME"
        state = self._state
        full = stopping or self._is_full_due(now)
        sequence = state.journal.synced_sequence
        logs = [log for log in self._candidates(now, full=full, stopping=stopping)]
        for log in logs:
            state.wanted.pop(log, None)
        parts = [plan(log, sequence, stopping=stopping) for log in logs]
        for part in parts:
            state.rows[part.partition] = part.row
            state.forget += part.unlink
        deletions = list(state.deleted.items())
        for partition, _ in deletions:
            state.rows.pop(partition, None)
            state.tombstones[partition] = sequence
        spare = self._spare(now)
        new_file = bool(parts or deletions or full)
        if not new_file and spare is None:
            return None
        self._logs = logs
        covered = self._covered(sequence, logs, parts)
        changed = state.directories_changed or bool(deletions)
        state.directories_changed = False
        self._restart_timers(now, full=full)
        file = self._file(covered) if new_file else None
        return CheckpointJob(parts, deletions, changed, file, covered, spare)

    def finish(self, result: CheckpointResult) -> list[PartitionLog]:
        """Note what is durable, free journal files, let go on what waited; return whose it is."""
        logs, job = self._logs, result.job
        assert logs is not None, "CHECKPOINT_ONE_AT_A_TIME"
        self._logs = None
        state = self._state
        for log, part in zip(logs, job.parts, strict=True):
            finish(log, part)
            if not log.carriage.unsaved:
                state.unsaved.pop(log, None)
            if not log.deleted:
                self._give_back(log)
        for partition, _ in job.deletions:
            del state.deleted[partition]
            del state.deleting[partition]
            if partition in state.partitions:
                state.partitions[partition].touch()
        if job.file is not None:
            state.journal.release(job.covered)
        self._spare_refused = result.spare != job.spare
        if result.spare is not None:
            state.journal.spare_made(result.spare)
            self._spare_wait_ms = SPARE_AGAIN_MS
        waiting, state.waiting = state.waiting, {}
        for log in waiting:
            log.touch()
        return [log for log in logs if not log.deleted]

    def _is_full_due(self, now: MonotonicMs) -> bool:
        """Tell whether everything must be covered, to bound recovery or for want of room."""
        state, settings = self._state, self._state.settings
        since = state.journaled_since
        aged = since is not None and now - since >= settings.checkpoint_ms
        # Of one file nothing is freed: without room for another, one checkpoint would follow the
        # other, and none would help.
        full = state.journal_full and (not state.journal.is_lone or self._spare(now) is not None)
        return full or state.journal_bytes >= settings.checkpoint_bytes or aged

    def _candidates(
        self, now: MonotonicMs, *, full: bool, stopping: bool
    ) -> Iterator[PartitionLog]:
        """Yield the partitions of this checkpoint, each once."""
        state = self._state
        chosen = dict(state.wanted)
        if stopping:
            chosen |= {log: None for log in state.partitions.values() if has_small_files(log)}
        for log in state.unsaved:
            due = log.upkeep.unsynced_since is not None and (
                now >= log.upkeep.unsynced_since + log.settings.flush_ms
            )
            if full or due:
                chosen[log] = None
        return filter(_is_eligible, chosen)

    def _covered(
        self, sequence: int, logs: list[PartitionLog], parts: list[PartitionCheckpoint]
    ) -> int:
        """Return the sequence below which no entry is needed once this checkpoint is durable."""
        chosen = dict.fromkeys(logs)
        others = (log.carriage.first_entry for log in self._state.unsaved if log not in chosen)
        needed = [first for first in others if first is not None]
        return min([sequence, *needed, *(part.sequence for part in parts)])

    def _file(self, covered: int) -> bytes:
        state = self._state
        state.tombstones = {
            partition: sequence
            for partition, sequence in state.tombstones.items()
            if sequence > covered
        }
        return encode_file(
            list(state.rows.values()),
            list(state.tombstones.items()),
            covered=covered,
            clock_floor=state.clock_floor,
        )

    def _restart_timers(self, now: MonotonicMs, *, full: bool) -> None:
        state = self._state
        if full:
            state.journal_bytes, state.journal_full = 0, False
            # Entries of a round in flight, or not filed yet, are not covered: look again in time.
            journal = state.journal
            later = bool(state.unfiled) or journal.next_sequence > journal.synced_sequence
            state.journaled_since = now if later else None
        dues = [
            log.upkeep.unsynced_since + log.settings.flush_ms
            for log in state.unsaved
            if log.upkeep.unsynced_since is not None
        ]
        state.async_due = MonotonicMs(min(dues)) if dues else None

    def _give_back(self, log: PartitionLog) -> None:
        """Keep nothing in memory of a partition where nothing happens any more."""
        cache, tail = self._state.cache, log.tail
        if not log.carriage.unsaved and not log.pending:
            tail.release(log.filed_end, 0)
            cache.tails_bytes += tail.size_bytes - log.upkeep.tail_counted
            log.upkeep.tail_counted = tail.size_bytes
        for segment in log.segment_list[:-1]:
            if segment.times is not None or segment.index is not None:
                cache.sealed(segment)


def _is_eligible(log: PartitionLog) -> bool:
    """Tell whether a row can be written: the directory is there, and no cut is under way."""
    return log.upkeep.exists and not log.cutting and log.upkeep.checkpointing is None
