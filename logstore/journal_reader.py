"""Reading the commit journal after a crash: in order, to its end, and whether that end is honest.

Rules: docs/formats/journal.md, "Reading". Blocks on the disk; changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from logstore.journal import HEADER_BYTES, JournalHeader, decode_header
from logstore.journal_entry import Decoded, decode, was_synced
from logstore.paths import JOURNAL, journal_file, parse_journal
from logstore.recovery_report import Finding, RecoveryReport
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Position
from model.ports import Disk

SEQUENCE_STEP: Final = 1 << 20
"""Left free after a recovery: more entries than a round of 16 MiB can hold were perhaps dropped."""

Intact: TypeAlias = Callable[[Decoded], bool]
"""Tells whether an entry is what it says: whether a direct run's bytes are in the segment file."""


class JournalFile(NamedTuple):
    """A file that was in use."""

    number: int
    header: JournalHeader


@dataclass(slots=True)
class _Missing:
    """Where the journal ended: the entry with this sequence does not parse."""

    sequence: int
    file: JournalFile | None
    content: bytes
    position: Position


class JournalReader:
    """The journal of one directory, from `covered` on."""

    def __init__(self, disk: Disk, covered: int) -> None:
        """Look at the headers; raises DirectoryRefused if one is of a newer format."""
        self._disk = disk
        self._covered = covered
        self.numbers = [
            number for name in disk.list(JOURNAL) if (number := parse_journal(name)) is not None
        ]
        used = (_read_header(disk, number) for number in self.numbers)
        self._files = sorted(filter(None, used), key=lambda file: file.header.first_sequence)
        self.end = covered
        """First sequence that is not in the journal, once `check` was called."""

    @property
    def used(self) -> frozenset[int]:
        """Numbers of the files that hold, or held, entries."""
        return frozenset(file.number for file in self._files)

    def check(self, intact: Intact, report: RecoveryReport) -> None:
        """Find the end of the journal and report what lies behind it.

        Raises:
            DirectoryRefused: an entry that had been durable is damaged or missing.
        """
        missing = _Missing(self._covered, None, b"", Position(0))
        for _ in self._walk(intact, missing, report):
            pass
        self.end = missing.sequence
        self._judge(missing, report)

    def entries(self) -> Iterator[Decoded]:
        """Yield what `check` found, in order; the batches are views, valid until the next entry."""
        missing = _Missing(self._covered, None, b"", Position(0))
        for decoded in self._walk(_believe, missing, RecoveryReport()):
            if decoded.stamp.sequence >= self.end:
                return
            yield decoded

    def _walk(self, intact: Intact, missing: _Missing, report: RecoveryReport) -> Iterator[Decoded]:
        """Yield entries from `covered` on; leave in `missing` where they end."""
        file = self._file_with(self._covered)
        walked: list[JournalFile] = []  # two damaged ones may name each other as the next
        while file is not None:
            walked.append(file)
            missing.file = file
            missing.content = _read(self._disk, file)
            missing.position = Position(HEADER_BYTES)
            broken = False
            for decoded in _entries_of(file, missing, report):
                if not intact(decoded):
                    broken = True
                    break
                yield decoded
                missing.sequence = decoded.stamp.sequence + 1
            following = missing.sequence
            later = (f for f in self._files if f.header.first_sequence == following)
            unread = (f for f in later if f not in walked)
            file = None if broken else next(unread, None)

    def _file_with(self, sequence: int) -> JournalFile | None:
        """Return the file in which a sequence lies, or would lie."""
        below = [file for file in self._files if file.header.first_sequence <= sequence]
        return below[-1] if below else None

    def _judge(self, missing: _Missing, report: RecoveryReport) -> None:
        """Refuse the directory if the missing entry had been durable, else report the rest."""
        for file in self._files:
            if file.header.first_sequence > missing.sequence:
                # The round before it had ended, or the file would not have been taken into use.
                raise _rot(missing, f"{journal_file(file.number)} goes on behind it")
        if missing.file is None:
            return
        salt = missing.file.header.salt
        content, position = missing.content, missing.position
        if was_synced(content, position, missing.sequence, salt=salt):
            raise _rot(missing, "a later entry says that it was synced")
        size, count = 0, 0
        while (at := content.find(salt, position)) >= 0:
            position = Position(at + 1)
            try:
                later = decode(content, Position(at), salt=salt)
            except MalformedError:
                continue
            if later.stamp.sequence >= missing.sequence:
                size, count = size + later.size_bytes, count + 1
        torn = not count and content[missing.position : missing.position + len(salt)] == salt
        if count or torn:
            what = f"{count} whole" if count else "a torn"
            report.dropped.append(
                Finding(
                    journal_file(missing.file.number),
                    missing.position,
                    size,
                    f"{what} journal entries from sequence {missing.sequence} on, never synced",
                )
            )


def _entries_of(file: JournalFile, missing: _Missing, report: RecoveryReport) -> Iterator[Decoded]:
    """Yield the entries of one file from `missing.sequence` on; step over damage below it.

    `missing.position` is left at the entry that was yielded, at last at the one that is not there.
    """
    content, salt = missing.content, file.header.salt
    position, sequence = Position(HEADER_BYTES), file.header.first_sequence
    while True:
        missing.position = position
        try:
            decoded = decode(content, position, salt=salt)
        except MalformedError as malformed:
            if sequence >= missing.sequence:
                return
            found = _find_entry(content, position, salt, above=sequence)
            if found is None:
                missing.file = None  # what is missing was never meant to be in this file
                return
            if found[1] > missing.sequence:
                return
            report.repaired.append(
                Finding(
                    journal_file(file.number),
                    position,
                    found[0] - position,
                    f"{malformed.why}; entries {sequence} to {found[1] - 1} are no longer needed",
                )
            )
            position, sequence = found
            continue
        if decoded.stamp.sequence != sequence:
            return
        if sequence >= missing.sequence:
            yield decoded
        position = Position(position + decoded.size_bytes)
        sequence += 1


def _find_entry(
    content: bytes, position: Position, salt: bytes, *, above: int
) -> tuple[Position, int] | None:
    """Return the next whole entry of a higher sequence, and the sequence."""
    while (at := content.find(salt, position + 1)) >= 0:
        position = Position(at)
        try:
            decoded = decode(content, position, salt=salt)
        except MalformedError:
            continue
        if decoded.stamp.sequence > above:
            return position, decoded.stamp.sequence
    return None


def _read_header(disk: Disk, number: int) -> JournalFile | None:
    """Return a file with the newer of its two headers; None if it was never used."""
    file = disk.open(journal_file(number))
    try:
        size = file.size()
        found: list[JournalHeader] = []
        for position in (0, max(0, size - HEADER_BYTES)):
            try:
                found.append(decode_header(file.pread(HEADER_BYTES, Position(position))))
            except MalformedError:
                continue
    finally:
        file.close()
    newest = max(found, key=lambda header: header.first_sequence, default=None)
    return None if newest is None else JournalFile(number, newest)


def _read(disk: Disk, file: JournalFile) -> bytes:
    """Return a file without its second header."""
    handle = disk.open(journal_file(file.number))
    try:
        handle.drop_cache()  # after a failed sync memory may hold what the disk never got (P44)
        return handle.pread(file.header.file_bytes - HEADER_BYTES, Position(0))
    finally:
        handle.close()


def _rot(missing: _Missing, proof: str) -> DirectoryRefused:
    where = journal_file(missing.file.number) if missing.file else JOURNAL
    return DirectoryRefused(
        DirectoryExit.FAILED,
        f"{where} at byte {missing.position}: journal entry {missing.sequence} is damaged or "
        f"missing, and it had been acknowledged ({proof}); nothing was changed: restore the "
        "directory from a copy, or let this node join with an empty one",
    )


def _believe(_: Decoded) -> bool:
    """Take an entry as `check` has found it."""
    return True
