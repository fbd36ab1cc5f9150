"""Which accepted batches the next round takes, and what follows when it has ended. Loop only.

A round that only commits is the rule under load: its batches are durable in the journal, and their
files are written by a filing round later, several rounds' bytes of a partition with one call. That
one goes when there is nothing to commit, or when too much waits for it.

Invariants:
    ROUND_ONE_AT_A_TIME    positions come back in the order in which rounds were taken.
"""

from itertools import chain, islice
from typing import Final

from logstore.directory_state import DirectoryState
from logstore.flush import (
    Room,
    entries_placed,
    finish_filing,
    finish_part,
    take_part,
    take_plain,
    written_part,
)
from logstore.journal_entry import APPEND_BYTES
from logstore.partition_log import PartitionLog
from logstore.round import Part, Round, RoundResult, Run
from logstore.settings import Flush
from model.ids import MonotonicMs

CLOCK_ENTRY_BYTES: Final = 64
FILING_PARTITIONS: Final = 256
"""Of one filing round: what came in meanwhile waits 1 ms for it, or 2."""
UNFILED_BYTES_WORTH: Final = 1 << 20
"""Filing may wait for so much: one call to the kernel is as dear as copying 10 KiB."""
UNFILED_BYTES_MAX: Final = 8 << 20
"""With more than this nothing is committed before some is filed: it is held in memory."""


class RoundPlanner:
    """Takes rounds, one after the other."""

    def __init__(self, state: DirectoryState) -> None:
        """Plan on the directory's state."""
        self._state = state
        self._taken: list[tuple[PartitionLog, Part]] | None = None
        self._filing: list[tuple[PartitionLog, list[Run]]] = []
        self._has_filed = False
        self._now = MonotonicMs(0)

    @property
    def in_flight(self) -> bool:
        """A round was taken and has not come back."""
        return self._taken is not None

    def unwritten_bytes(self) -> int:
        """Return how much of what was accepted takes no room in the files yet, or may not."""
        state = self._state
        waiting = [log.pending for log in (*state.dirties, *state.waiting)]
        under_way = [part.runs for _, part in self._taken or ()]
        filing = [runs for _, runs in self._filing]
        runs = chain.from_iterable((*waiting, *under_way, *filing))
        return state.unfiled_bytes + sum(run.size_bytes for run in runs)

    def take(self, now: MonotonicMs, *, filing_may_wait: bool) -> Round | None:
        """Return the next round; None: nothing can be written now, or is worth it.

        Unless it may wait, filing takes turns with committing: it ends, and delays nobody for long.
        """
        assert self._taken is None, "ROUND_ONE_AT_A_TIME"
        state = self._state
        turn = not filing_may_wait and not self._has_filed
        if state.unfiled_bytes > UNFILED_BYTES_MAX or (state.unfiled and turn):
            return self._take_filing()
        self._has_filed = False
        work = self._take_commit(now)
        if work is None and state.unfiled:
            # What waits for a checkpoint, or for room, may wait for one that covers these.
            stuck = state.dirties or state.waiting or state.wanted or state.clock is not None
            if stuck or not filing_may_wait or state.unfiled_bytes >= UNFILED_BYTES_WORTH:
                return self._take_filing()
        if work is None and state.forget:
            return self._take_filing()  # of nothing: files that went keep their space while open
        return work

    def _take_filing(self) -> Round:
        """Take the partitions whose batches have waited longest, with all that they have."""
        unfiled, sequence = self._state.unfiled, self._state.journal.next_sequence
        for log in list(islice(unfiled, FILING_PARTITIONS)):
            self._take_unfiled(log)
        self._taken, self._has_filed = [], True
        filing = [runs for _, runs in self._filing]
        return Round(filing, [], None, sequence, sequence, sequence, None, self._forget())

    def _take_unfiled(self, log: PartitionLog) -> None:
        """Let this round write what the files of a partition lack; nothing of a deleted one."""
        runs = self._state.unfiled.pop(log, None)
        if runs is not None:
            self._state.unfiled_bytes -= sum(run.size_bytes for run in runs)
            if not log.deleted:
                self._filing.append((log, runs))

    def _forget(self) -> list[str]:
        forget, self._state.forget = self._state.forget, []
        return forget

    def _take_commit(self, now: MonotonicMs) -> Round | None:
        """Take what was accepted, as far as it may go now."""
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
            if part.at_once:
                self._take_unfiled(log)
        self._taken, self._now = taken, now
        filing = [runs for _, runs in self._filing]
        parts = [part for _, part in taken]
        synced, end = journal.synced_sequence, journal.next_sequence
        return Round(filing, parts, slot, first, end, synced, clock, self._forget())

    def written(self) -> list[PartitionLog]:
        """Move written ends to where the round has brought them that is being synced."""
        moved = self._taken or ()
        return [log for log, part in moved if written_part(log, part) and not log.deleted]

    def finish(self, result: RoundResult) -> list[PartitionLog]:
        """Move the positions that a round has brought forward; return whose they are."""
        taken = self._taken
        assert taken is not None, "ROUND_ONE_AT_A_TIME"
        self._taken = None
        state, work = self._state, result.round
        state.journal.synced_sequence = work.end_sequence
        if work.clock is not None:
            state.clock_floor = max(state.clock_floor, work.clock)
        filing, self._filing = self._filing, []
        for log, runs in filing:
            finish_filing(log, runs)
            self._release(log)
        moved: list[PartitionLog] = []
        for log, part in taken:
            if part.delete:
                state.unsaved.pop(log, None)
                state.wanted.pop(log, None)
                state.deleted[log.id] = log.directory_name
                continue
            done = result.cuts.get(part.partition) if part.cut else None
            finish_part(log, part, done, now=self._now)
            if part.at_once or part.make_directory:
                self._look_after(log, part)
            if part.runs and not part.at_once:
                self._put_off(log, part.runs)
            if not log.deleted:
                moved.append(log)
        return moved

    def _put_off(self, log: PartitionLog, runs: list[Run]) -> None:
        state = self._state
        waiting = state.unfiled.get(log)
        if waiting is None:
            waiting = state.unfiled[log] = []
        for run in runs:
            waiting.append(run)
            state.unfiled_bytes += run.size_bytes

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
            log.taken()
            plain_max = min(direct_bytes_min, all_left)
            plain = take_plain(log, journal_left - journal_bytes, run_bytes=plain_max)
            if plain is not None:
                size_bytes = plain.runs[0].size_bytes
                all_left -= size_bytes
                if not plain.at_once:
                    journal_bytes += APPEND_BYTES + size_bytes
                    entries += 1
                taken.append((log, plain))
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
        if part.at_once:
            self._release(log)

    def _release(self, log: PartitionLog) -> None:
        """Give back memory: what is in the files need not be held."""
        if not log.deleted:
            cache, tail = self._state.cache, log.tail
            tail.release(log.filed_end, cache.tail_allowance)
            cache.tails_bytes += tail.size_bytes - log.upkeep.tail_counted
            log.upkeep.tail_counted = tail.size_bytes
