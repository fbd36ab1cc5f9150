"""Which accepted batches the next round takes, and what follows when it has ended. Loop only.

Invariants:
    ROUND_ONE_AT_A_TIME    positions come back in the order in which rounds were taken.
"""

from typing import Final

from logstore.directory_state import DirectoryState
from logstore.flush import Room, entries_placed, finish_part, take_part
from logstore.partition_log import PartitionLog
from logstore.round import Part, Round, RoundResult
from logstore.settings import Flush
from model.ids import MonotonicMs

CLOCK_ENTRY_BYTES: Final = 64


class RoundPlanner:
    """Takes rounds, one after the other."""

    def __init__(self, state: DirectoryState) -> None:
        """Plan on the directory's state."""
        self._state = state
        self._taken: list[tuple[PartitionLog, Part]] | None = None
        self._now = MonotonicMs(0)

    @property
    def in_flight(self) -> bool:
        """A round was taken and has not come back."""
        return self._taken is not None

    def take(self, now: MonotonicMs) -> Round | None:
        """Return the next round; None: nothing can be written now."""
        assert self._taken is None, "ROUND_ONE_AT_A_TIME"
        state = self._state
        journal = state.journal
        if not state.dirties and state.clock is None:
            return None
        taken, journal_bytes, entries = self._take_parts()
        clock = None
        if state.clock is not None and journal_bytes + CLOCK_ENTRY_BYTES <= journal.room_bytes:
            clock, state.clock = state.clock, None
            journal_bytes += CLOCK_ENTRY_BYTES
            entries += 1
        if not taken and clock is None:
            state.journal_full = bool(state.dirties) or state.clock is not None
            return None
        first = sequence = journal.next_sequence
        slot = None
        if entries:
            slot = journal.place(journal_bytes, entries)
            state.journal_bytes += journal_bytes
            if state.journaled_since is None:
                state.journaled_since = now
        for log, part in taken:
            sequence = entries_placed(log, part, first=sequence)
            state.unsaved[log] = None
        self._taken, self._now = taken, now
        forget, state.forget = state.forget, []
        parts = [part for _, part in taken]
        synced = journal.synced_sequence
        return Round(parts, slot, first, journal.next_sequence, synced, clock, forget)

    def finish(self, result: RoundResult) -> list[PartitionLog]:
        """Move the positions that a round has brought forward; return whose they are."""
        taken = self._taken
        assert taken is not None, "ROUND_ONE_AT_A_TIME"
        self._taken = None
        state, work = self._state, result.round
        state.journal.synced_sequence = work.end_sequence
        if work.clock is not None:
            state.clock_floor = max(state.clock_floor, work.clock)
        moved: list[PartitionLog] = []
        for log, part in taken:
            if part.delete:
                state.unsaved.pop(log, None)
                state.wanted.pop(log, None)
                state.deleted[log.id] = log.directory_name
                continue
            done = result.cuts.get(part.partition)
            finish_part(log, part, done, now=self._now)
            self._look_after(log, part)
            if not log.deleted:
                moved.append(log)
        return moved

    def _take_parts(self) -> tuple[list[tuple[PartitionLog, Part]], int, int]:
        """Take from each dirty partition what may go; the rest stays dirty, or waits."""
        state, settings = self._state, self._state.settings
        journal_left = min(settings.round_journal_bytes_max, state.journal.room_bytes)
        journal_left -= CLOCK_ENTRY_BYTES
        all_left, direct_bytes_min = settings.round_bytes_max, settings.direct_bytes_min
        taken: list[tuple[PartitionLog, Part]] = []
        journal_bytes = entries = 0
        dirties, state.dirties = state.dirties, []
        for log in dirties:
            if (log.deleted or state.deleting) and (
                state.is_blocked(log) or state.is_forgotten(log)
            ):
                log.taken()  # the former is touched again when the one before it is gone
                continue
            room = Room(journal_left - journal_bytes, all_left, not taken)
            got = take_part(log, room, direct_bytes_min=direct_bytes_min)
            journal_bytes += got.journal_bytes
            all_left -= got.all_bytes
            entries += got.entries
            if got.part is not None:
                taken.append((log, got.part))
            if got.left:
                log.touch()
            elif got.waits:
                state.waiting[log] = None
                state.wanted[log] = None
        return taken, journal_bytes, entries

    def _look_after(self, log: PartitionLog, part: Part) -> None:
        """Ask for what a partition needs after a round; give back memory."""
        state = self._state
        if part.make_directory:
            log.upkeep.exists = True
            state.directories_changed = True
            if log.settings.flush is Flush.ASYNC:
                state.wanted[log] = None  # files may carry nothing before there is a row
        if part.cut is not None:
            state.wanted[log] = None  # nothing may be appended before it
        if log.upkeep.unsynced_since is not None:
            due = MonotonicMs(log.upkeep.unsynced_since + log.settings.flush_ms)
            state.async_due = due if state.async_due is None else min(due, state.async_due)
        if not log.deleted:
            cache, tail = state.cache, log.tail
            tail.release(log.written_end, cache.tail_allowance)
            cache.tails_bytes += tail.size_bytes - log.upkeep.tail_counted
            log.upkeep.tail_counted = tail.size_bytes
