"""Journal files: their header, where rounds go, what a checkpoint frees, and how they are read."""

from pathlib import Path

import pytest

from api.sim.disk import SimDisk
from logstore.crc32c import crc32c
from logstore.journal import (
    HEADER_BYTES,
    Journal,
    JournalHeader,
    Slot,
    decode_header,
    encode_header,
    make_file,
)
from logstore.journal_entry import ClockReserved, Decoded, Stamp, encode
from logstore.journal_reader import JournalReader
from logstore.paths import JOURNAL, journal_file
from logstore.recovery_report import RecoveryReport
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, Position
from tests.datadriven import Command, run_script

FILE_BYTES = 1024
CAPACITY = FILE_BYTES - 2 * HEADER_BYTES
ENTRY_BYTES = 64
HEADER = JournalHeader(64 << 20, bytes.fromhex("a1b2c3d4e5f60718"), 7)


def test_vectors(scripts: Path, rewrite: bool) -> None:
    def execute(command: Command) -> str:
        assert command.name == "header"
        return encode_header(HEADER).hex(" ", 4)

    run_script(scripts / "journal/header.txt", execute, rewrite=rewrite)


def test_every_changed_byte_of_a_header_is_noticed() -> None:
    header = encode_header(HEADER)
    assert decode_header(header) == HEADER
    for at in range(len(header)):
        with pytest.raises(MalformedError):
            decode_header(bytes([*header[:at], header[at] ^ 1, *header[at + 1 :]]))
    for filler in (b"\x00", b"\xff"):
        with pytest.raises(MalformedError):
            decode_header(filler * HEADER_BYTES)


def test_a_newer_header_is_refused() -> None:
    newer = encode_header(HEADER)[:8] + b"\x00\x02" + encode_header(HEADER)[10:60]
    with pytest.raises(DirectoryRefused) as refused:
        decode_header(newer + crc32c(newer).to_bytes(4, "big"))
    assert refused.value.exit_code is DirectoryExit.NEWER_FORMAT


class Journals:
    """A plan, and the files that it speaks of."""

    def __init__(self, free: int = 2) -> None:
        self.disk = SimDisk()
        self.disk.make_directory(JOURNAL)
        for number in range(1, free + 1):
            make_file(self.disk, number, FILE_BYTES)
        self.salts = 0
        self.plan = Journal(
            file_bytes=FILE_BYTES,
            files_max=3,
            free=list(range(1, free + 1)),
            next_sequence=1,
            randbytes=self.salt,
        )

    def salt(self, size: int) -> bytes:
        self.salts += 1
        return bytes([self.salts]) * size

    def round(self, entries: int, *, synced: bool = True, damage: int | None = None) -> Slot:
        """Write a round; leave one entry of it out."""
        first = self.plan.next_sequence
        slot = self.plan.place(entries * ENTRY_BYTES, entries)
        file = self.disk.open(journal_file(slot.number))
        if slot.header:
            file.pwrite([slot.header], Position(0))
            file.pwrite([slot.header], Position(FILE_BYTES - HEADER_BYTES))
        for number in range(entries):
            entry = ClockReserved(AppendTimeMs(first + number))
            stamp = Stamp(first + number, self.plan.synced_sequence)
            if number != damage:
                at = Position(slot.position + number * ENTRY_BYTES)
                file.pwrite(encode(entry, stamp, salt=slot.salt), at)
        if synced:
            self.plan.synced_sequence = self.plan.next_sequence
        return slot

    def read(self, covered: int = 1) -> tuple[list[int], RecoveryReport]:
        """Return the sequences that recovery sees."""
        report = RecoveryReport()
        reader = JournalReader(self.disk, covered)
        reader.check(lambda _: True, report)
        found = [decoded.stamp.sequence for decoded in reader.entries()]
        assert reader.end == (found[-1] + 1 if found else covered)
        return found, report

    def overwrite(self, number: int, position: int, content: bytes) -> None:
        self.disk.open(journal_file(number)).pwrite([content], Position(position))


def test_rounds_follow_each_other_and_go_on_in_the_next_file() -> None:
    journal = Journals()
    for _ in range(5):
        journal.round(4)
    assert journal.read()[0] == list(range(1, 21))
    assert journal.read(covered=15)[0] == list(range(15, 21))


def test_without_a_free_file_only_the_rest_of_this_one_is_room() -> None:
    journal = Journals(free=1)
    assert journal.plan.room_bytes == CAPACITY
    journal.round(10)
    assert journal.plan.room_bytes == CAPACITY - 10 * ENTRY_BYTES
    with pytest.raises(AssertionError, match="JOURNAL_ROUND_FITS_FILE"):
        journal.plan.place(CAPACITY, 1)


def test_a_file_is_free_once_all_of_it_is_covered() -> None:
    journal = Journals()
    first = journal.round(14)
    journal.round(14)
    journal.plan.release(14)
    assert journal.plan.room_bytes == 0
    journal.plan.release(15)
    assert journal.round(1).number == first.number


def test_a_spare_is_wanted_when_the_last_file_is_half_full() -> None:
    journal = Journals(free=1)
    journal.round(1)
    assert journal.plan.spare_wanted() is None
    journal.round(8)
    assert journal.plan.spare_wanted() == 2
    journal.plan.spare_made(2)
    assert journal.plan.spare_wanted() is None
    assert journal.plan.room_bytes == CAPACITY


def test_old_entries_of_a_file_that_came_round_are_not_read() -> None:
    journal = Journals()
    journal.round(14)
    journal.round(14)
    journal.plan.release(15)
    journal.round(2)
    assert journal.read(covered=15)[0] == list(range(15, 31))


@pytest.mark.parametrize("stale", [0, FILE_BYTES - HEADER_BYTES])
def test_of_two_headers_the_newer_counts(stale: int) -> None:
    journal = Journals()
    journal.round(14)
    before = journal.disk.open(journal_file(1)).pread(HEADER_BYTES, Position(0))
    journal.round(14)
    journal.plan.release(15)
    journal.round(2)
    journal.overwrite(1, stale, before)
    assert journal.read(covered=15)[0] == list(range(15, 31))


def test_a_full_file_keeps_its_second_header() -> None:
    journal = Journals()
    slot = journal.plan.place(journal.plan.capacity_bytes, 1)
    assert slot.position + journal.plan.capacity_bytes == FILE_BYTES - HEADER_BYTES


def test_a_torn_round_is_dropped_and_reported() -> None:
    journal = Journals()
    journal.round(3)
    journal.round(3, damage=1)
    found, report = journal.read()
    assert found == [1, 2, 3, 4]
    assert report.dropped_bytes == ENTRY_BYTES
    assert "sequence 5" in str(report.dropped[0])


def test_damage_to_what_was_synced_refuses_the_directory() -> None:
    journal = Journals()
    journal.round(3, damage=1)
    journal.round(1)
    with pytest.raises(DirectoryRefused, match="journal entry 2 is damaged") as refused:
        journal.read()
    assert refused.value.exit_code is DirectoryExit.FAILED


def test_damage_at_the_end_of_a_file_shows_in_the_next() -> None:
    journal = Journals()
    journal.round(14, damage=13)
    journal.round(1)
    with pytest.raises(DirectoryRefused, match="goes on behind it"):
        journal.read()


def test_damage_that_a_checkpoint_covers_is_stepped_over() -> None:
    journal = Journals()
    journal.round(6, damage=2)
    journal.round(1)
    found, report = journal.read(covered=5)
    assert found == [5, 6, 7]
    assert len(report.repaired) == 1


@pytest.mark.parametrize("copy", [0, FILE_BYTES - HEADER_BYTES])
def test_one_copy_of_the_header_is_enough(copy: int) -> None:
    journal = Journals()
    journal.round(3)
    journal.overwrite(1, copy, bytes(HEADER_BYTES))
    assert journal.read()[0] == [1, 2, 3]


def test_a_damaged_first_sector_does_not_hide_what_was_synced() -> None:
    journal = Journals()
    journal.round(3)
    journal.round(3)
    journal.round(3)
    journal.overwrite(1, 0, bytes(256))
    with pytest.raises(DirectoryRefused, match="journal entry 1 is damaged"):
        journal.read()


def test_a_direct_run_that_is_not_in_its_file_ends_the_journal() -> None:
    journal = Journals()
    journal.round(3)

    def intact(decoded: Decoded) -> bool:
        return decoded.stamp.sequence != 3

    report = RecoveryReport()
    reader = JournalReader(journal.disk, 1)
    reader.check(intact, report)
    assert reader.end == 3
    journal.round(1)
    with pytest.raises(DirectoryRefused, match="journal entry 3"):
        JournalReader(journal.disk, 1).check(intact, report)
