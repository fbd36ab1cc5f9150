"""Any bytes as the files of a commit journal: found, checked and read to its end as after a crash.

Whatever stands there, the directory is refused or the entries that are replayed have no gap.
"""

from contextlib import suppress
from typing import Final

from api.sim.image import Image
from logstore.dump import journal_rows
from logstore.journal import HEADER_BYTES, JournalHeader, encode_header
from logstore.journal_entry import SALT_BYTES, Stamp, encode
from logstore.journal_reader import JournalReader
from logstore.paths import JOURNAL, journal_file
from logstore.recovery_report import RecoveryReport
from model.errors import DirectoryRefused, MalformedError
from tests.fuzz.fuzz_journal_entry import ENTRIES
from tests.fuzz.memory_disk import MemoryDisk
from tests.fuzz.sealing import sealed_at

FILE_BYTES: Final = 1024
READS: Final = 5
"""Twice checked and read, once shown."""
SALTS: Final = (b"saltsalt", b"otherone")


def samples() -> list[bytes]:
    """Return two files in a row: in use, one of them, and recycled over older entries."""
    first, second = _file(SALTS[0], 1, count=8), _file(SALTS[1], 9, count=5)
    torn = second[:700] + bytes(FILE_BYTES - 764) + second[-HEADER_BYTES:]
    recycled = second[:400] + first[400:-HEADER_BYTES] + second[-HEADER_BYTES:]
    return [first + second, first + bytes(FILE_BYTES), second + first, first + torn,
            first + recycled]  # fmt: skip


def _file(salt: bytes, first: int, *, count: int) -> bytes:
    header = encode_header(JournalHeader(FILE_BYTES, salt, first))
    entries = b"".join(
        buffer
        for sequence in range(first, first + count)
        for buffer in encode(
            ENTRIES[sequence % len(ENTRIES)], Stamp(sequence, max(1, sequence - 2)), salt=salt
        )
    )
    return (header + entries).ljust(FILE_BYTES - HEADER_BYTES, b"\0")[
        : -HEADER_BYTES or None
    ].ljust(FILE_BYTES - HEADER_BYTES, b"\0") + header


def fuzz(data: bytes) -> None:
    """Read the journal from its beginning and from its middle."""
    cut = FILE_BYTES if len(data) > FILE_BYTES else len(data) // 2
    files = [data[:cut], data[cut:]]
    _read(files, covered=1)
    _read([_resealed(file) for file in files], covered=4)
    with suppress(DirectoryRefused, MalformedError):
        list(journal_rows(files[0]))


def _resealed(file: bytes) -> bytes:
    """Make the checksums of the header and of the first entry right again."""
    file = sealed_at(file, 60, file[:60])
    length = int.from_bytes(file[HEADER_BYTES + 12 : HEADER_BYTES + 16], "big")
    salt = file[24 : 24 + SALT_BYTES]
    file = file[:HEADER_BYTES] + salt + file[HEADER_BYTES + SALT_BYTES :]
    covered = file[HEADER_BYTES + 12 : HEADER_BYTES + length]
    return sealed_at(file, HEADER_BYTES + 8, covered)


def _read(files: list[bytes], *, covered: int) -> None:
    names = {journal_file(number): content for number, content in enumerate(files, 1)}
    disk = MemoryDisk(Image(names, (JOURNAL,)))
    report = RecoveryReport()
    try:
        reader = JournalReader(disk, covered)
        reader.check(lambda _: True, report)
    except DirectoryRefused:
        return
    sequences = [decoded.stamp.sequence for decoded in reader.entries()]
    assert sequences == list(range(covered, reader.end)), "a gap"
    assert report.dropped_bytes <= sum(map(len, files)), "more was dropped than there is"
