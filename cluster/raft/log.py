"""The log as a member has it in memory: every entry above the last one that it let go.

Some of it is durable, some is on its way to the disk, some has not been handed over yet. What was
handed over and is cut off by another leader's entries makes a new generation: the disk's word on
an index counts only in the generation in which the entry was handed over, because an entry that
was cut and the one that took its place have the same index.

Invariants:
    RAFT_ENTRIES_FOLLOW           entries are numbered without a gap, terms never fall.
    RAFT_TRUNCATES_ABOVE_COMMIT   what was committed is never cut off.
    RAFT_COMMIT_IS_IN_THE_LOG     nothing is committed that is not there.
    RAFT_DURABLE_WAS_HANDED       the disk has nothing that it was not given.
    RAFT_SNAPSHOT_IS_NEWER        a snapshot never takes the log back.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from cluster.raft.entry import Entry, EntryKind
from cluster.raft.membership import Configurations
from cluster.raft.snapshot import Snapshot
from cluster.raft.voters import Configuration, decode_configuration
from model.ids import Index, Term

_TERM: Final = attrgetter("term")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """A snapshot as it is on disk and on the wire."""

    last_index: Index
    last_term: Term
    configuration: Configuration
    content: bytes
    """The whole file: docs/formats/metadata_log.md."""

    @classmethod
    def of(cls, snapshot: Snapshot, content: bytes) -> "SnapshotFile":
        """Return what `content` is, which was decoded to `snapshot`."""
        return cls(
            last_index=snapshot.last_index,
            last_term=snapshot.last_term,
            configuration=snapshot.configuration,
            content=content,
        )


class RaftLog:
    """Entries, what is committed, and how far the disk is known to follow."""

    __slots__ = (
        "_before",
        "_before_term",
        "_cut",
        "_entries",
        "committed",
        "configurations",
        "generation",
        "handed",
        "snapshot",
        "stable",
    )

    def __init__(
        self, base: Configuration, *, after: tuple[Index, Term], entries: Sequence[Entry] = ()
    ) -> None:
        """Begin with what the disk has: entries behind the one `after`, which is committed."""
        self._before, self._before_term = after
        self._entries: list[Entry] = []
        self._cut: Index | None = None
        self.configurations = Configurations(base, index=self._before)
        self.committed = self._before
        self.generation = 0
        self.handed = self._before
        """The newest entry of which the disk was told, in this generation."""
        self.snapshot: SnapshotFile | None = None
        """The newest one: what followers get that lack more than is in memory."""
        self.append(entries)
        self.handed = self.last_index
        self.stable = self.last_index
        """The newest entry that the disk is known to have, in this generation."""

    @property
    def first_index(self) -> Index:
        """The oldest entry in memory; one above the last if there is none."""
        return Index(self._before + 1)

    @property
    def last_index(self) -> Index:
        """The newest entry."""
        return Index(self._before + len(self._entries))

    @property
    def last_term(self) -> Term:
        """Its term."""
        return self._entries[-1].term if self._entries else self._before_term

    @property
    def has_work(self) -> bool:
        """Whether the disk was not told of everything yet."""
        return self._cut is not None or self.handed < self._before + len(self._entries)

    def term_at(self, index: Index) -> Term | None:
        """Return an entry's term; None if it is not in memory, or not there."""
        place = index - self._before - 1
        if place < 0:
            return self._before_term if place == -1 else None
        return self._entries[place].term if place < len(self._entries) else None

    def read(self, start: Index, end: Index) -> tuple[Entry, ...]:
        """Return the entries with start <= index < end; all of them are in memory."""
        first = self._before + 1
        return tuple(self._entries[start - first : end - first])

    def read_some(self, start: Index, *, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from `start` on, at least one if there is one, up to so much payload."""
        found: list[Entry] = []
        for place in range(start - self._before - 1, len(self._entries)):
            entry = self._entries[place]
            bytes_max -= len(entry.payload)
            if bytes_max < 0 and found:
                break
            found.append(entry)
        return tuple(found)

    def up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Tell whether a log that ends so lacks nothing that this one has (Raft 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def last_with_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """Return index and term of the newest entry up to `index` whose term is at most `term`.

        Terms never fall: whatever stands behind it up to `index` has a greater term. Entries that
        are not in memory are committed, so the answer never lies below them.
        """
        among = max(0, min(index - self._before, len(self._entries)))
        place = bisect_right(self._entries, term, hi=among, key=_TERM)
        found = self._entries[place - 1].term if place else self._before_term
        return Index(self._before + place), found

    def append(self, entries: Sequence[Entry]) -> None:
        """Take entries in behind the last one."""
        index, term = self.last_index, self.last_term
        for entry in entries:
            assert entry.index == index + 1 and entry.term >= term, "RAFT_ENTRIES_FOLLOW"
            index, term = entry.index, entry.term
            if entry.kind == EntryKind.VOTERS:
                configuration = decode_configuration(entry.payload, at=0)
                self.configurations.append(index, configuration)
        self._entries += entries

    def merge(self, prev: tuple[Index, Term], entries: Sequence[Entry]) -> bool:
        """Take in a leader's entries behind the one `prev`; False if that is not in the log.

        What is there already stays, also when an older request comes again: it cuts nothing off.
        Only an entry of another term at the same index does, with all that follows it.
        """
        prev_index, prev_term = prev
        if prev_index < self._before:  # below it, everything is committed, hence the same
            entries = entries[self._before - prev_index :]
        elif self.term_at(prev_index) != prev_term:
            return False
        for known, entry in enumerate(entries):
            term = self.term_at(entry.index)
            if term is None:
                self.append(entries[known:])
                break
            if term != entry.term:
                self._truncate(entry.index)
                self.append(entries[known:])
                break
        return True

    def commit(self, index: Index) -> bool:
        """Note that everything up to `index` is decided; tell whether that is news."""
        if index <= self.committed:
            return False
        assert index <= self.last_index, "RAFT_COMMIT_IS_IN_THE_LOG"
        self.committed = index
        return True

    def restore(self, snapshot: SnapshotFile) -> bool:
        """Let a snapshot stand for everything; False if the log had its last entry already.

        Then the log is a longer copy of the same, and keeps what comes behind.
        """
        place, term = snapshot.last_index, snapshot.last_term
        assert place > self.committed, "RAFT_SNAPSHOT_IS_NEWER"
        if self.term_at(place) == term:
            self.commit(place)
            return False
        self._entries.clear()
        self._before, self._before_term = place, term
        self.stable = min(self.stable, self.committed)
        self._cut = None
        self.configurations = Configurations(snapshot.configuration, index=place)
        self.committed = self.handed = place
        self.generation += 1
        self.snapshot = snapshot
        return True

    def compact(self, snapshot: SnapshotFile, *, kept_entries: int) -> None:
        """Let go of entries that a durable snapshot covers, but for the newest of them."""
        self.snapshot = snapshot
        through = Index(snapshot.last_index - kept_entries)
        term = self.term_at(through)
        if term is not None and through > self._before:
            del self._entries[: through - self._before]
            self._before, self._before_term = through, term
            self.configurations.compact(through)

    def hand_over(self) -> tuple[Index | None, tuple[Entry, ...]]:
        """Return what the disk has to do next: from where to cut (None: nowhere), and to append."""
        cut, self._cut = self._cut, None
        entries = self.read(Index(self.handed + 1), Index(self.last_index + 1))
        self.handed = self.last_index
        return cut, entries

    def persisted(self, generation: int, index: Index) -> None:
        """Take the disk's word; in another generation it is about entries that are gone."""
        if generation == self.generation:
            assert index <= self.handed, "RAFT_DURABLE_WAS_HANDED"
            self.stable = max(self.stable, index)

    def _truncate(self, start: Index) -> None:
        assert start > self.committed, "RAFT_TRUNCATES_ABOVE_COMMIT"
        del self._entries[start - self._before - 1 :]
        self.configurations.truncate(start)
        if start <= self.handed:
            self._cut = start if self._cut is None else min(self._cut, start)
            self.handed = Index(start - 1)
            self.stable = min(self.stable, self.handed)
            self.generation += 1
