"""Journal entries: the vectors of docs/formats/journal.md, and what recovery may conclude."""

from pathlib import Path

import pytest

from logstore.journal_entry import (
    Append,
    AppendDirect,
    ClockReserved,
    Delete,
    Entry,
    Place,
    Stamp,
    Truncate,
    decode,
    encode,
    size_bytes,
    was_synced,
)
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId, Position, TopicId
from tests.datadriven import Command, run_script

SALT = bytes.fromhex("a1b2c3d4e5f60718")
STAMP = Stamp(7, 5)
PARTITION = PartitionId(TopicId(bytes(range(16))), 3)
WHERE = (
    PARTITION,
    Place(Offset(42), Offset(40), Position(200)),
    LeaderEpoch(5),
    AppendTimeMs(1_700_000_000_120),
)
ENTRIES: dict[str, Entry] = {
    "append": Append(*WHERE, batches=[b"bat", bytearray(b"ches!")]),
    "append_direct": AppendDirect(*WHERE, size_bytes=1 << 20, crc32c=0xE3069283),
    "truncate": Truncate(PARTITION, Offset(40)),
    "delete": Delete(PARTITION),
    "clock": ClockReserved(AppendTimeMs(1_700_000_010_000)),
}


def encoded(entry: Entry, stamp: Stamp = STAMP, salt: bytes = SALT) -> bytes:
    """Return an entry's bytes in one piece."""
    return b"".join(encode(entry, stamp, salt=salt))


def read(entry: Entry) -> Entry:
    """Return an entry as it is after reading: its batches in one piece."""
    if isinstance(entry, Append):
        return Append(*WHERE, batches=[b"".join(entry.batches)])
    return entry


def test_vectors(scripts: Path, rewrite: bool) -> None:
    def execute(command: Command) -> str:
        stamp = Stamp(command.integer("sequence"), command.integer("synced"))
        return encoded(ENTRIES[command.name], stamp).hex(" ", 4)

    run_script(scripts / "journal/entries.txt", execute, rewrite=rewrite)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_what_is_written_is_read(entry: Entry) -> None:
    written = encoded(entry)
    assert len(written) == size_bytes(entry)
    found = decode(b"before" + written, Position(6), salt=SALT)
    assert found == (Stamp(7, 5), read(entry), len(written))


def test_batches_are_handed_through_not_copied() -> None:
    batch = bytearray(b"a batch")
    assert encode(Append(*WHERE, batches=[batch]), Stamp(7, 5), salt=SALT)[1] is batch


@pytest.mark.parametrize(
    ("stamp", "salt", "invariant"),
    [
        (Stamp(7, 8), SALT, "JOURNAL_SYNCED_IS_PAST"),
        (Stamp(7, 5), SALT[1:], "JOURNAL_SALT_IS_8_BYTES"),
    ],
)
def test_a_false_stamp_is_a_bug(stamp: Stamp, salt: bytes, invariant: str) -> None:
    with pytest.raises(AssertionError, match=invariant):
        encode(ENTRIES["delete"], stamp, salt=salt)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_changed_byte_is_noticed(entry: Entry) -> None:
    written = encoded(entry)
    for at in range(len(written)):
        changed = bytes([*written[:at], written[at] ^ 0x40, *written[at + 1 :]])
        with pytest.raises(MalformedError):
            decode(changed, Position(0), salt=SALT)


@pytest.mark.parametrize("filler", [b"\x00", b"\xff"])
def test_unwritten_space_is_no_entry(filler: bytes) -> None:
    with pytest.raises(MalformedError, match="unwritten"):
        decode(filler * 4096, Position(0), salt=SALT)


def test_recycled_space_is_no_entry() -> None:
    old = encoded(ENTRIES["delete"], salt=b"old salt")
    with pytest.raises(MalformedError, match="unwritten"):
        decode(old, Position(0), salt=SALT)


def test_a_torn_tail_is_told_from_rot() -> None:
    entry = ENTRIES["append"]
    lost = bytes(len(encoded(entry)))
    same_round = encoded(entry, Stamp(8, 5))
    next_round = encoded(entry, Stamp(9, 9))
    assert not was_synced(lost + same_round, Position(0), 7, salt=SALT)
    assert was_synced(lost + same_round + next_round, Position(0), 7, salt=SALT)
    synced_just_that = encoded(entry, Stamp(9, 8))
    assert was_synced(lost + same_round + synced_just_that, Position(0), 7, salt=SALT)
