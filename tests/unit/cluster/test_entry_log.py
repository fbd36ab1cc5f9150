"""The quorum's log over a simulated disk: append, read, roll, discard; torn tails and rot."""

import errno
from random import Random

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.entry_log import DIRECTORY, Dropped, EntryLog
from cluster.raft.log_file import HEAD_BYTES, name_of
from model.errors import DirectoryRefused
from model.ids import Index, Position, Term

NOTHING = (Index(0), Term(0))
FIRST = f"{DIRECTORY}/{name_of(Index(1))}"


def disk() -> SimDisk:
    made = SimDisk()
    made.make_directory(DIRECTORY)
    made.sync_directory("")
    return made


def reopen(
    on: SimDisk, *, after: tuple[Index, Term] = NOTHING, file_bytes_max: int = 1 << 20
) -> tuple[EntryLog, tuple[Dropped, ...]]:
    return EntryLog.open(on, Random(1), after=after, file_bytes_max=file_bytes_max)


def entry(index: int, *, term: int = 1, payload: bytes = b"") -> Entry:
    return Entry(Term(term), Index(index), EntryKind.RECORDS, payload or b"%d" % index)


def read(log: EntryLog) -> list[Entry]:
    return log.read(log.first_index, Index(log.last_index + 1))


def rounds(log: EntryLog, *sizes: int) -> None:
    """Append rounds of so many entries."""
    for size in sizes:
        log.append([entry(log.last_index + 1 + i) for i in range(size)])


def damage(on: SimDisk, name: str, at: int) -> None:
    on.flip_bit(name, Position(at), 3)


def entry_at(number: int) -> int:
    """Return where the entry of a number, from 0, begins in a file of short entries."""
    return HEAD_BYTES + number * 45


def test_an_empty_log_holds_nothing() -> None:
    log, dropped = reopen(disk())
    assert (log.first_index, log.last_index, log.last_term) == (1, 0, 0)
    assert not dropped
    assert read(log) == []


def test_what_was_appended_survives_a_power_cut_at_once() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 3)
    on.power_cut(lambda pending: pending.nothing)
    again, dropped = reopen(on)
    assert read(again) == [entry(1), entry(2), entry(3), entry(4)]
    assert (again.last_index, again.last_term) == (4, 1)
    assert not dropped


def test_a_round_is_one_write_and_one_sync() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1)
    done: list[Operation] = []
    on.before = lambda operation, _name, _size: done.append(operation)
    rounds(log, 5)
    assert done == [Operation.WRITE, Operation.SYNC]


def test_files_roll_and_the_front_is_dropped_by_the_file() -> None:
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)
    rounds(log, 2, 2, 2, 1)
    names = [name_of(Index(first)) for first in (1, 3, 5, 7)]
    assert on.list(DIRECTORY) == names
    log.discard(Index(3))
    assert on.list(DIRECTORY) == names[1:]
    assert read(log) == [entry(index) for index in (3, 4, 5, 6, 7)]
    log.discard(Index(7))
    assert on.list(DIRECTORY) == []
    log.append([entry(8)])
    again, _ = reopen(on, after=(Index(7), Term(1)))
    assert read(again) == [entry(8)]


def test_a_gap_an_older_term_and_a_wild_discard_are_bugs() -> None:
    log, _ = reopen(disk())
    log.append([entry(1, term=2)])
    with pytest.raises(AssertionError, match="RAFT_INDEX_IS_NEXT"):
        log.append([entry(3, term=2)])
    with pytest.raises(AssertionError, match="RAFT_TERM_NEVER_FALLS"):
        log.append([entry(2, term=1)])
    with pytest.raises(AssertionError, match="RAFT_DISCARD_IS_DURABLE"):
        log.discard(Index(2))


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.SYNC])
def test_a_failed_write_is_the_end_of_it(operation: Operation) -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1)
    on.faults.add(Fault(operation, DIRECTORY, error=errno.EIO))
    with pytest.raises(OSError, match=r"EIO|error"):
        rounds(log, 1)
    with pytest.raises(AssertionError, match="RAFT_FAILED_IS_FINAL"):
        rounds(log, 1)


def test_a_torn_tail_is_cut_and_reported() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 1)
    damage(on, FIRST, entry_at(1) + 20)
    again, dropped = reopen(on)
    assert read(again) == [entry(1)]
    assert dropped == (
        Dropped(
            FIRST,
            HEAD_BYTES + 45,
            45,
            f"torn tail: log entry at byte {HEAD_BYTES + 45}: checksum",
        ),
    )
    again.append([entry(2, payload=b"another")])
    on.power_cut(lambda pending: pending.nothing)
    assert read(reopen(on)[0]) == [entry(1), entry(2, payload=b"another")]
    assert reopen(on)[1] == ()


def test_rot_below_what_was_durable_refuses_the_directory() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 1, 1)
    damage(on, FIRST, entry_at(1) + 20)
    before = on.open(FIRST).pread(1_000, Position(0))
    with pytest.raises(DirectoryRefused, match="nothing was cut") as refused:
        reopen(on)
    assert refused.value.exit_code == 11
    assert on.open(FIRST).pread(1_000, Position(0)) == before


def test_two_entries_of_one_torn_round_vouch_for_nobody() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 2)
    damage(on, FIRST, entry_at(1) + 20)
    assert read(reopen(on)[0]) == [entry(1)]


def test_what_was_cut_off_never_comes_back() -> None:
    """The second entry of the torn round is whole; a new first one of its length ends before it."""
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 2)
    damage(on, FIRST, entry_at(1) + 20)
    again, dropped = reopen(on)
    assert [one.size_bytes for one in dropped] == [90]
    again.append([entry(2, payload=b"x")])
    assert read(reopen(on)[0]) == [entry(1), entry(2, payload=b"x")]


def test_rot_of_a_closed_file_refuses_even_its_tail() -> None:
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)
    rounds(log, 2, 1)
    damage(on, FIRST, entry_at(1) + 20)
    with pytest.raises(DirectoryRefused, match="nothing was cut"):
        reopen(on)


def test_a_file_that_is_gone_is_missed() -> None:
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)
    rounds(log, 2, 2, 2)
    on.unlink(f"{DIRECTORY}/{name_of(Index(3))}")
    with pytest.raises(DirectoryRefused, match="a file is gone"):
        reopen(on)
    on.unlink(FIRST)
    with pytest.raises(DirectoryRefused, match="a file is gone"):
        reopen(on, after=(Index(3), Term(1)))


@pytest.mark.parametrize("rounds_before", [0, 1])
def test_the_head_of_the_last_file_may_be_torn(rounds_before: int) -> None:
    """The file was made and the power went before the first sync of it."""
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)
    rounds(log, *[2] * rounds_before)
    name = f"{DIRECTORY}/{name_of(Index(2 * rounds_before + 1))}"
    on.open(name, create=True).pwrite([b"TLRAFTLG\0\1"], Position(0))
    again, dropped = reopen(on, file_bytes_max=100)
    assert [(one.file, one.position, one.size_bytes) for one in dropped] == [(name, 0, 10)]
    assert again.last_index == 2 * rounds_before
    rounds(again, 1)
    assert read(reopen(on)[0]) == [entry(index) for index in range(1, 2 * rounds_before + 2)]


def test_a_rotten_head_over_durable_entries_refuses() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 1, 1)
    damage(on, FIRST, 13)
    with pytest.raises(DirectoryRefused, match="nothing was cut"):
        reopen(on)


def test_an_entry_of_a_newer_kind_is_refused() -> None:
    on = disk()
    log, _ = reopen(on)
    log.append([Entry(Term(1), Index(1), 9, b"")])
    with pytest.raises(DirectoryRefused, match="newer") as refused:
        reopen(on)
    assert refused.value.exit_code == 13


def test_a_foreign_file_is_named() -> None:
    on = disk()
    on.open(f"{DIRECTORY}/notes.raft", create=True)
    with pytest.raises(DirectoryRefused, match=r"notes\.raft"):
        reopen(on)


def test_what_only_the_page_cache_had_counts_once_it_was_opened() -> None:
    """Killed before a sync, restarted, then the power goes: nobody may see it come and go."""
    on = disk()
    log, _ = reopen(on)
    on.faults.add(Fault(Operation.SYNC_DIRECTORY, DIRECTORY))
    with pytest.raises(OSError, match=r"EIO|error"):
        rounds(log, 1)
    on.kill()
    seen = read(reopen(on)[0])
    on.power_cut(lambda pending: pending.nothing)
    assert read(reopen(on)[0]) == seen == [entry(1)]


def test_a_tail_that_was_never_synced_is_before_the_log_goes_on_in_another_file() -> None:
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)

    def end_before_the_sync(operation: Operation, _name: str, _size: int) -> None:
        if operation is Operation.SYNC:
            raise KeyboardInterrupt

    on.before = end_before_the_sync
    with pytest.raises(KeyboardInterrupt):
        rounds(log, 2)
    on.before = None
    on.kill()
    again, _ = reopen(on, file_bytes_max=100)
    rounds(again, 1)
    assert len(on.list(DIRECTORY)) == 2
    on.power_cut(lambda pending: pending.nothing)
    assert read(reopen(on)[0]) == [entry(1), entry(2), entry(3)]


def test_leftovers_of_a_crash_are_removed() -> None:
    on = disk()
    log, _ = reopen(on, file_bytes_max=100)
    rounds(log, 2, 2)
    on.open(f"{DIRECTORY}/x.snapshot.tmp", create=True)
    again, _ = reopen(on, after=(Index(4), Term(1)))
    assert on.list(DIRECTORY) == [name_of(Index(3))]
    assert (again.first_index, again.last_index) == (3, 4)


def test_a_log_that_ends_below_its_snapshot_begins_anew_behind_it() -> None:
    on = disk()
    log, _ = reopen(on)
    rounds(log, 2)
    again, _ = reopen(on, after=(Index(5), Term(3)))
    assert (again.first_index, again.last_index, again.last_term) == (6, 5, 3)
    again.append([entry(6, term=3)])
    assert on.list(DIRECTORY) == [name_of(Index(6))]
