"""What a member of the simulated quorum has on disk: what is durable, and what a crash leaves.

`ModelDisk` is a few fields and quick; `FilesDisk` has the project's own files on a simulated disk,
and holds them against the model after every crash.
"""

import random
from collections.abc import Callable, Sequence

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from cluster.raft.entry import Entry
from cluster.raft.log import SnapshotFile
from cluster.raft.ready import DiskWork, HardState
from cluster.raft.stable import open_member
from cluster.raft.start import Start
from cluster.raft.storage import RaftStorage, start_from
from cluster.raft.voters import Voter
from model.ids import Index, Term

FILE_BYTES = 400
"""A log file holds a handful of entries."""


class CutOffError(BaseException):
    """The power goes in the middle of a job."""


class ModelDisk:
    """One directory. Jobs are done in order; a crash leaves a first part of the one under way."""

    def __init__(self, me: Voter, voters: tuple[Voter, ...]) -> None:
        self.me = me
        self.hard = HardState(Term(0), None, voters)
        self.snapshot: SnapshotFile | None = None
        self.after: tuple[Index, Term] = (Index(0), Term(0))
        self.entries: list[Entry] = []

    @property
    def last_index(self) -> Index:
        return Index(self.after[0] + len(self.entries))

    def term_at(self, index: Index) -> Term | None:
        """Return the term of a durable entry; None: it is not there, or a snapshot has it."""
        if index <= self.after[0]:
            return self.after[1] if index == self.after[0] else None
        return self.entries[index - self.after[0] - 1].term if index <= self.last_index else None

    def holds(self, index: Index, term: Term) -> bool:
        """Tell whether an entry is durable here; whoever has it in a snapshot has the decided."""
        covered = self.snapshot.last_index if self.snapshot is not None else 0
        return index <= covered or self.term_at(index) == term

    def perform(self, work: DiskWork) -> None:
        """Have all of it durable."""
        for part in self._parts(work):
            part()

    def crash(self, choose: random.Random, work: DiskWork | None) -> None:
        """Let the power go while a job is under way."""
        if work is not None:
            parts = self._parts(work)
            for part in parts[: choose.randrange(len(parts) + 1)]:
                part()

    def start(self) -> Start:
        return Start(
            me=self.me,
            term=self.hard.term,
            voted_for=self.hard.voted_for,
            voters=self.hard.voters,
            snapshot=self.snapshot,
            entries=tuple(self.entries),
        )

    def compacted(self, snapshot: SnapshotFile) -> None:
        """Keep a snapshot of the member's own, durable."""
        if self.snapshot is None or snapshot.last_index > self.snapshot.last_index:
            self.snapshot = snapshot
            gone = snapshot.last_index - self.after[0]
            if gone > 0:
                del self.entries[:gone]
                self.after = (snapshot.last_index, snapshot.last_term)

    def _parts(self, work: DiskWork) -> list[Callable[[], None]]:
        parts: list[Callable[[], None]] = []
        if work.hard_state is not None:
            state = work.hard_state
            parts.append(lambda: self._save(state))
        if work.snapshot is not None:
            snapshot = work.snapshot
            parts.append(lambda: self._install(snapshot))
        if work.cut is not None:
            cut = work.cut
            parts.append(lambda: self._cut(cut))
        for entry in work.entries:
            parts.append(lambda entry=entry: self._append(entry))  # type: ignore[misc]
        return parts

    def _save(self, state: HardState) -> None:
        assert state.term >= self.hard.term, "TERM_ON_DISK_RISES"
        self.hard = state

    def _install(self, snapshot: SnapshotFile) -> None:
        self.snapshot = snapshot
        self.entries = []
        self.after = (snapshot.last_index, snapshot.last_term)

    def _cut(self, start: Index) -> None:
        assert self.after[0] < start <= self.last_index, "CUT_IS_ON_DISK"
        del self.entries[start - self.after[0] - 1 :]

    def _append(self, entry: Entry) -> None:
        assert entry.index == self.last_index + 1, "NO_GAP_ON_DISK"
        assert entry.term <= self.hard.term, "TERM_BEFORE_ENTRIES"
        self.entries.append(entry)


class FilesDisk(ModelDisk):
    """The same, with files; what a restart reads must be what the model says is possible."""

    def __init__(self, me: Voter, voters: tuple[Voter, ...], *, choose: random.Random) -> None:
        super().__init__(me, voters)
        self._choose = choose
        self._disk = SimDisk()
        self._founders = voters
        self._storage: RaftStorage | None = None
        self._cut_off: DiskWork | None = None

    def perform(self, work: DiskWork) -> None:
        super().perform(work)
        assert self._storage is not None
        self._storage.perform(work)

    def compacted(self, snapshot: SnapshotFile) -> None:
        super().compacted(snapshot)
        assert self._storage is not None
        self._storage.keep(snapshot)
        self._storage.discard(snapshot.last_index)

    def crash(self, choose: random.Random, work: DiskWork | None) -> None:
        """Cut a job off before one of its operations, then lose some of what was not synced."""
        left = choose.randrange(12)

        def cut_off(_operation: Operation, _name: str, _size: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise CutOffError

        self._cut_off = work
        if work is not None and self._storage is not None:
            self._disk.before = cut_off
            try:
                self._storage.perform(work)
            except CutOffError:
                pass
            self._disk.before = None
        if choose.randrange(2):
            self._disk.power_cut(lambda pending: pending.some(choose))
        else:
            self._disk.kill()
        self._storage = None

    def start(self) -> Start:
        """Open the files; a first part of the job that was cut off, or all of it, has come."""
        stable = open_member(
            self._disk,
            self._choose,
            me=self.me,
            voters=self._founders,
            file_bytes_max=FILE_BYTES,
        )
        self._storage = RaftStorage(stable, me=self.me)
        start = start_from(stable, me=self.me)
        self._settle(start)
        return start

    def _settle(self, start: Start) -> None:
        """Find out how much of the job has come: the model goes there."""
        parts = [] if self._cut_off is None else self._parts(self._cut_off)
        self._cut_off = None
        for part in [None, *parts]:
            if part is not None:
                part()
            if self._equals(start):
                return
        raise AssertionError("RESTART_READS_WHAT_WAS_DURABLE")

    def _equals(self, start: Start) -> bool:
        model = super().start()
        snapshot = model.snapshot.last_index if model.snapshot else 0
        found = start.snapshot.last_index if start.snapshot else 0
        return (model.term, model.voted_for, snapshot) == (
            start.term,
            start.voted_for,
            found,
        ) and _behind(model.entries, snapshot) == _behind(start.entries, found)


def _behind(entries: Sequence[Entry], index: int) -> list[Entry]:
    return [entry for entry in entries if entry.index > index]
