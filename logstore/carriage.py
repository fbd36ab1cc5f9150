"""What makes a partition durable above its checkpoint row: its files, or the journal; never both.

Why: docs/formats/journal.md, "Who carries what". Sequences are the journal's.
"""

from typing import Final

from model.ids import Offset

NEVER: Final = -1


class Carriage:
    """What was handed to the writer since the row that is durable. Loop only."""

    __slots__ = (
        "cut_end",
        "direct_end",
        "files_end",
        "first_entry",
        "journal_end",
        "row_end",
        "row_sequence",
        "unfiled_entry",
    )

    def __init__(self, end: Offset, *, row_sequence: int = NEVER) -> None:
        """Begin with everything below `end` reflected in a row, or, without one, with nothing."""
        self.row_sequence = row_sequence
        """Entries below it are reflected in the files; NEVER: there is no row yet."""
        self.row_end = end
        self.journal_end = NEVER
        """Behind the last entry; likewise the next two."""
        self.direct_end = NEVER
        self.cut_end = NEVER
        self.files_end = end
        """Behind the last batch that only its file carries."""
        self.first_entry: int | None = None
        """The oldest entry above the row."""
        self.unfiled_entry: int | None = None
        """The oldest entry whose batches are in the journal, and not in the files yet."""

    @property
    def has_row(self) -> bool:
        """The checkpoint knows the partition."""
        return self.row_sequence != NEVER

    @property
    def unsaved(self) -> bool:
        """Something lies above the row."""
        return self.journal_end > self.row_sequence or self.files_end > self.row_end

    @property
    def may_journal(self) -> bool:
        """Whether an entry may be written now."""
        return self.files_end <= self.row_end and self.cut_end <= self.row_sequence

    @property
    def may_direct(self) -> bool:
        """Whether bytes may go to the file, with an entry that speaks of them."""
        return self.has_row and self.may_journal

    @property
    def may_file(self) -> bool:
        """Whether bytes may go to the file alone."""
        return self.has_row and self.journal_end <= self.row_sequence

    @property
    def may_cut(self) -> bool:
        """Whether bytes may be taken away: no entry above the row speaks of them."""
        return self.may_journal and self.direct_end <= self.row_sequence

    def entries_placed(self, first: int, end: int) -> None:
        """Note entries first <= sequence < end."""
        self.journal_end = end
        if self.first_entry is None:
            self.first_entry = first

    def put_off(self, first: int, end: int) -> None:
        """Note entries whose batches a later round brings into the files."""
        self.journal_end = end
        if self.first_entry is None:
            self.first_entry = first
        if self.unfiled_entry is None:
            self.unfiled_entry = first

    def reflected(self, synced: int) -> int:
        """Return below which sequence the files have all of the entries, of those below `synced`.

        It may be too low: replaying what the files have already changes nothing.
        """
        return synced if self.unfiled_entry is None else min(synced, self.unfiled_entry)

    def row_durable(self, sequence: int, end: Offset) -> None:
        """Note that a checkpoint with this row is durable."""
        self.row_sequence, self.row_end = sequence, end
        self.first_entry = sequence if self.journal_end > sequence else None
