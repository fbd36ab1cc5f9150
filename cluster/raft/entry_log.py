"""The controller quorum's log on disk: appended, synced, read back, cut and dropped from the front.

Format: docs/formats/metadata_log.md, version 1. Every call blocks; one at a time, in a thread that
may wait for the disk. An error of the disk is final: nothing is known about what it holds then, so
the log refuses every later append and the node stops.

Invariants:
    RAFT_INDEX_IS_NEXT         entries are appended without a gap.
    RAFT_TERM_NEVER_FALLS      along the log, terms rise or stay.
    RAFT_FAILED_IS_FINAL       nothing is appended after a write or sync that failed.
    RAFT_DISCARD_IS_DURABLE    only what a snapshot holds is dropped, never beyond the end.
    RAFT_CUT_IS_IN_THE_LOG     only entries that are there are cut off.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cluster.raft.entry import SALT_BYTES, Entry, decode, encode
from cluster.raft.log_file import (
    SUFFIX,
    FileHead,
    Scan,
    decode_head,
    encode_head,
    first_index_of,
    name_of,
    rotted,
    rotted_head,
    scan,
)
from logstore.paths import TEMPORARY
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Index, Position, Term
from model.ports import Disk, File, Rand

DIRECTORY: Final = "metadata"


class Dropped(NamedTuple):
    """Bytes that opening the log has cut off, and why: nobody had been told of them."""

    file: str
    position: int
    size_bytes: int
    why: str


@dataclass(slots=True, kw_only=True)
class _OpenFile:
    """One file: where each of its entries begins, and in which term it was written."""

    name: str
    head: FileHead
    file: File
    size_bytes: int
    positions: "array[int]" = field(default_factory=lambda: array("Q"))
    terms: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def end(self) -> Index:
        """The index after its last entry."""
        return Index(self.head.first_index + len(self.positions))


class EntryLog:
    """The entries behind the newest snapshot, and those before it that are still kept."""

    def __init__(
        self, disk: Disk, rand: Rand, *, after: tuple[Index, Term], file_bytes_max: int
    ) -> None:
        """Use `EntryLog.open`. An empty log goes on behind the entry `after`: a snapshot's last."""
        self._disk = disk
        self._rand = rand
        self._file_bytes_max = file_bytes_max
        self._files: list[_OpenFile] = []
        self._last_index, self._last_term = after
        self._failed = False

    @classmethod
    def open(
        cls, disk: Disk, rand: Rand, *, after: tuple[Index, Term], file_bytes_max: int
    ) -> "tuple[EntryLog, tuple[Dropped, ...]]":
        """Read the log behind a snapshot's last entry ((0, 0): there is none); cut a torn tail.

        A file that has grown to `file_bytes_max` is closed: files are what the front is dropped
        in. Opening twice is opening once: what it removes was promised to nobody.

        Raises:
            DirectoryRefused: an entry that had been durable is gone or damaged (exit 11), or a
                newer release wrote here (exit 13). Nothing was changed.
            OSError: the disk failed.
        """
        log = cls(disk, rand, after=after, file_bytes_max=file_bytes_max)
        dropped = log._load(after[0])
        if log._is_overruled(after):
            why = f"entries that the snapshot of {after[0]} in term {after[1]} has overruled"
            dropped += [Dropped(file.name, 0, file.size_bytes, why) for file in log._files]
            log.begin_anew(after)
        log._sweep()
        return log, tuple(dropped)

    @property
    def first_index(self) -> Index:
        """The oldest entry that can be read; one above `last_index` if there is none."""
        return self._files[0].head.first_index if self._files else Index(self._last_index + 1)

    @property
    def last_index(self) -> Index:
        """The newest entry, or the snapshot's last."""
        return self._last_index

    @property
    def last_term(self) -> Term:
        """Its term."""
        return self._last_term

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries behind the last one, as one write, and sync.

        Raises:
            OSError: the log is of no use any more; after a restart the entries are there or not.
        """
        assert not self._failed, "RAFT_FAILED_IS_FINAL"
        durable_below = Index(self._last_index + 1)
        index, term = self._last_index, self._last_term
        for entry in entries:
            assert entry.index == index + 1, "RAFT_INDEX_IS_NEXT"
            assert entry.term >= term, "RAFT_TERM_NEVER_FALLS"
            index, term = entry.index, entry.term
        self._failed = True  # until it has gone well
        self._write(entries, durable_below)
        self._failed = False
        self._last_index, self._last_term = index, term

    def read(self, start: Index, end: Index) -> list[Entry]:
        """Return the entries with start <= index < end; all of them are in the log.

        Raises:
            MalformedError: one was damaged since it was written.
        """
        entries: list[Entry] = []
        for file in self._files:
            for index in range(max(start, file.head.first_index), min(end, file.end)):
                entries.append(_read_entry(file, Index(index)))
        return entries

    def discard(self, through: Index) -> None:
        """Remove the files that hold nothing above `through`, which a durable snapshot covers."""
        assert through <= self._last_index, "RAFT_DISCARD_IS_DURABLE"
        gone = [file for file in self._files if file.end <= through + 1]
        for file in gone:  # oldest first: a crash in between leaves no gap
            file.file.close()
            self._disk.unlink(f"{DIRECTORY}/{file.name}")
        if gone:
            del self._files[: len(gone)]
            self._disk.sync_directory(DIRECTORY)

    def cut(self, start: Index) -> None:
        """Remove the entries from `start` on, which another leader's have overruled; synced.

        A crash in between leaves some of them, and no gap: whole files go first, the newest
        before the others. Nothing is written over what was cut off: that it is gone is durable
        before an entry takes its place, or the rest of it would vouch for what is not there.

        Raises:
            OSError: the log is of no use any more.
        """
        assert not self._failed, "RAFT_FAILED_IS_FINAL"
        assert self.first_index <= start <= self._last_index, "RAFT_CUT_IS_IN_THE_LOG"
        self._failed = True  # until it has gone well
        term = self._remove([file for file in self._files if file.head.first_index >= start])
        if self._files and self._files[-1].end > start:
            active = self._files[-1]
            slot = start - active.head.first_index
            active.size_bytes = active.positions[slot]
            del active.positions[slot:], active.terms[slot:]
            active.file.truncate(active.size_bytes)
            active.file.fdatasync()
        self._failed = False
        self._last_index = Index(start - 1)
        self._last_term = Term(self._files[-1].terms[-1]) if self._files else term

    def begin_anew(self, after: tuple[Index, Term]) -> None:
        """Remove everything: a durable snapshot that came from a leader stands for it.

        Raises:
            OSError: the log is of no use any more.
        """
        assert not self._failed, "RAFT_FAILED_IS_FINAL"
        self._failed = True  # until it has gone well
        self._remove(self._files[:])
        self._failed = False
        self._last_index, self._last_term = after

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.file.close()

    def _remove(self, gone: "list[_OpenFile]") -> Term:
        """Remove the last files, the newest first; return the term before them (0: none went)."""
        for file in reversed(gone):
            file.file.close()
            self._disk.unlink(f"{DIRECTORY}/{file.name}")
            self._files.pop()
        if gone:
            self._disk.sync_directory(DIRECTORY)
        return gone[0].head.term_before if gone else Term(0)

    def _write(self, entries: Sequence[Entry], durable_below: Index) -> None:
        fresh = not self._files or self._files[-1].size_bytes >= self._file_bytes_max
        buffers: list[bytes] = []
        if fresh:
            head = FileHead(
                first_index=durable_below,
                term_before=self._last_term,
                salt=self._rand.randbytes(SALT_BYTES),
            )
            name = name_of(durable_below)
            file = self._disk.open(f"{DIRECTORY}/{name}", create=True)
            self._files.append(_OpenFile(name=name, head=head, file=file, size_bytes=0))
            buffers.append(encode_head(head))
        active = self._files[-1]
        at = active.size_bytes + sum(map(len, buffers))
        for entry in entries:
            encoded = encode(entry, synced=durable_below, salt=active.head.salt)
            active.positions.append(at)
            active.terms.append(entry.term)
            at += len(encoded)
            buffers.append(encoded)
        active.file.pwrite(buffers, Position(active.size_bytes))
        active.size_bytes = at
        active.file.fdatasync()
        if fresh:
            self._disk.sync_directory(DIRECTORY)

    def _load(self, snapshot_index: Index) -> list[Dropped]:
        """Open every file that reaches behind the snapshot, oldest first."""
        names = [name for name in self._disk.list(DIRECTORY) if name.endswith(SUFFIX)]
        firsts = [first_index_of(name) for name in names]
        skip = sum(first <= snapshot_index + 1 for first in firsts[1:])
        dropped: list[Dropped] = []
        for name in names[skip:]:
            found = self._load_file(name, is_last=name == names[-1], dropped=dropped)
            if found is not None:
                self._join(name, found, snapshot_index)
        if self._files and not self._files[-1].terms:
            # A crash while it was begun: its head arrived, no entry did. The sweep removes it.
            self._files.pop().file.close()
        if self._files and self._files[-1].end > self._last_index:
            self._last_index = Index(self._files[-1].end - 1)
            self._last_term = Term(self._files[-1].terms[-1])
        else:  # all that parsed lies below the snapshot, which stands for it
            self.close()
            self._files.clear()
        return dropped

    def _load_file(self, name: str, *, is_last: bool, dropped: list[Dropped]) -> Scan | None:
        """Read one file and cut what is torn; None if its very head is."""
        path = f"{DIRECTORY}/{name}"
        content = _read(self._disk, path)
        try:
            head = decode_head(content)
        except MalformedError as damage:
            if not is_last or rotted_head(content, first_index_of(name)):
                raise _rot(path, damage) from damage
            self._disk.unlink(path)
            self._disk.sync_directory(DIRECTORY)
            dropped.append(Dropped(path, 0, len(content), str(damage)))
            return None
        found = scan(content, head)
        if found.why is not None:
            if not is_last or rotted(content, found):
                raise _rot(path, found.why) from found.why
            dropped.append(
                Dropped(path, found.end, len(content) - found.end, f"torn tail: {found.why}")
            )
        return found

    def _join(self, name: str, found: Scan, snapshot_index: Index) -> None:
        """Take a file in, if it continues the one before or the snapshot."""
        path = f"{DIRECTORY}/{name}"
        first = found.head.first_index
        wanted = self._files[-1].end if self._files else min(first, Index(snapshot_index + 1))
        if first != wanted or first != first_index_of(name):
            detail = f"{path} begins at entry {first}, the log goes on at {wanted}: a file is gone"
            raise DirectoryRefused(DirectoryExit.FAILED, detail)
        file = self._disk.open(path)
        if found.why is not None:
            file.truncate(found.end)
        file.fdatasync()  # what the page cache alone held was told to nobody; now it counts
        self._files.append(
            _OpenFile(
                name=name,
                head=found.head,
                file=file,
                size_bytes=found.end,
                positions=found.positions,
                terms=found.terms,
            )
        )

    def _is_overruled(self, after: tuple[Index, Term]) -> bool:
        """Tell whether the log goes on behind another entry than the snapshot's last.

        So it is when a leader's snapshot became durable and the crash came before the log was
        begun anew.
        """
        if not self._files:
            return False
        index, term = after
        first = self._files[0]
        if first.head.first_index > index:
            return first.head.term_before != term
        return first.terms[index - first.head.first_index] != term

    def _sweep(self) -> None:
        """Make what is there durable, then remove what crashes left behind.

        A process that was killed may have made or renamed files without syncing the directory.
        What is swept: files that a snapshot stands for, and temporary ones.
        """
        self._disk.sync_directory(DIRECTORY)
        kept = {file.name for file in self._files}
        leftovers = [
            name
            for name in self._disk.list(DIRECTORY)
            if name.endswith(TEMPORARY) or (name.endswith(SUFFIX) and name not in kept)
        ]
        for name in leftovers:
            self._disk.unlink(f"{DIRECTORY}/{name}")
        if leftovers:
            self._disk.sync_directory(DIRECTORY)


def _read_entry(file: _OpenFile, index: Index) -> Entry:
    slot = index - file.head.first_index
    start = file.positions[slot]
    behind = slot + 1
    end = file.positions[behind] if behind < len(file.positions) else file.size_bytes
    content = file.file.pread(end - start, Position(start))
    return decode(content, 0, salt=file.head.salt).entry


def _read(disk: Disk, path: str) -> bytes:
    """Return a file's bytes as the disk has them, not as a failed sync may have left the cache."""
    file = disk.open(path)
    try:
        file.drop_cache()
        return file.pread(file.size(), Position(0))
    finally:
        file.close()


def _rot(path: str, damage: MalformedError) -> DirectoryRefused:
    """Refuse to cut what somebody may have been told of."""
    detail = f"{path} is damaged where it had been durable, nothing was cut: {damage}"
    return DirectoryRefused(DirectoryExit.FAILED, detail)
