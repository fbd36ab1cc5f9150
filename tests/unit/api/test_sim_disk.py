"""The fault model of the simulated disk, sentence by sentence."""

import random
import tracemalloc
from itertools import product

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from api.sim.image import Image
from api.sim.platter import Platter
from api.sim.power_cut import GARBAGE, Pending, Survivors
from api.sim.trace import Replay
from model.ids import Position

START = Position(0)
SECTOR = 512


def durable_file(content: bytes, name: str = "f") -> SimDisk:
    """Return a disk with one file, all of it durable."""
    return SimDisk(Image({name: content}))


def survivors(disk: SimDisk) -> set[bytes | None]:
    """Return every content that the file `f` may have after a power cut now; None: absent."""
    pending = Pending(disk.platter)
    prefixes = product(*(range(len(each.pending) + 1) for each in pending.directories))
    return {
        pending.image(Survivors(units, names)).files.get("f")
        for names in prefixes
        for units in range(1 << len(pending.units))
    }


def test_a_write_is_read_but_not_durable() -> None:
    disk = durable_file(b"old")
    disk.open("f").pwrite([b"new"], START)
    assert disk.open("f").pread(9, START) == b"new"
    assert survivors(disk) == {b"old", b"new"}


def test_a_synced_write_is_durable_but_its_new_name_is_not() -> None:
    disk = SimDisk()
    file = disk.open("f", create=True)
    file.pwrite([b"new"], START)
    file.fdatasync()
    assert survivors(disk) == {None, b"new"}
    disk.sync_directory("")
    assert survivors(disk) == {b"new"}


def test_a_synced_name_without_a_synced_file_may_be_empty() -> None:
    disk = SimDisk()
    disk.open("f", create=True).pwrite([b"new"], START)
    disk.sync_directory("")
    # nothing; the length without the bytes; the bytes
    assert survivors(disk) == {b"", b"\0\0\0", b"new"}


def test_any_subset_of_sectors_survives() -> None:
    disk = durable_file(b"a" * 3 * SECTOR)
    disk.open("f").pwrite([b"b" * 3 * SECTOR], START)
    expected = {b"".join(c * SECTOR for c in each) for each in product((b"a", b"b"), repeat=3)}
    assert survivors(disk) == expected


def test_every_version_of_a_sector_survives() -> None:
    disk = durable_file(b"0")
    file = disk.open("f")
    for version in (b"1", b"2"):
        file.pwrite([version], START)
    assert survivors(disk) == {b"0", b"1", b"2"}


def test_an_extension_without_its_data_shows_zeros_or_garbage() -> None:
    disk = durable_file(b"a" * SECTOR)
    disk.open("f").pwrite([b"b" * 2 * SECTOR], Position(SECTOR))
    pending = Pending(disk.platter)
    length, first, second = range(3)  # the units, in their order
    lost = pending.image(Survivors(1 << length | 1 << second, ())).files["f"]
    assert lost == b"a" * SECTOR + b"\0" * SECTOR + b"b" * SECTOR
    garbage = pending.image(Survivors(1 << length | 1 << first, (), fill=GARBAGE)).files["f"]
    assert len(garbage) == 3 * SECTOR
    assert garbage[: 2 * SECTOR] == b"a" * SECTOR + b"b" * SECTOR
    assert garbage[2 * SECTOR :] == (GARBAGE * 17)[SECTOR : 2 * SECTOR]


def test_a_skipped_range_is_a_hole_and_reads_zeros_for_ever() -> None:
    disk = durable_file(b"a")
    disk.open("f").pwrite([b"b"], Position(700))
    pending = Pending(disk.platter)
    everything = pending.everything
    kept = Survivors(everything.units, everything.names, fill=GARBAGE)
    assert pending.image(kept).files["f"] == b"a" + bytes(699) + b"b"


def test_a_cut_is_pending_until_a_sync() -> None:
    disk = durable_file(b"abcdef")
    disk.open("f").truncate(2)
    assert survivors(disk) == {b"abcdef", b"ab"}
    disk.open("f").fdatasync()
    assert survivors(disk) == {b"ab"}


def test_a_sector_is_torn_at_a_byte() -> None:
    disk = durable_file(b"a" * SECTOR)
    disk.open("f").pwrite([b"b" * SECTOR], START)
    pending = Pending(disk.platter)
    assert pending.image(Survivors(1, (), torn=(0, 100))).files["f"] == b"b" * 100 + b"a" * 412


def test_a_new_sector_is_torn_at_a_byte() -> None:
    disk = durable_file(b"")
    disk.open("f").pwrite([b"b" * 300], START)
    pending = Pending(disk.platter)
    sector = 1
    assert pending.image(Survivors(1 << sector, (), torn=(sector, 9))).files["f"] == b"b" * 9


def test_a_first_part_of_the_changes_of_a_directory_survives() -> None:
    disk = durable_file(b"old")
    disk.open("new", create=True).pwrite([b"new"], START)
    disk.open("new").fdatasync()
    disk.rename("new", "f")
    disk.unlink("f")
    pending = Pending(disk.platter)
    kept = [dict(pending.image(Survivors(0, (count,))).files) for count in range(4)]
    assert kept == [{"f": b"old"}, {"f": b"old", "new": b"new"}, {"f": b"new"}, {}]


def test_directories_know_nothing_of_each_other() -> None:
    disk = SimDisk(Image({}, ("d", "e")))
    disk.open("d/x", create=True)
    disk.open("e/x", create=True)
    pending = Pending(disk.platter)
    kept = {frozenset(pending.image(Survivors(0, each)).files) for each in product((0, 1), (0, 1))}
    assert kept == {frozenset(), frozenset({"d/x"}), frozenset({"e/x"}), frozenset({"d/x", "e/x"})}


def test_a_directory_whose_parent_was_not_synced_goes_with_all_it_holds() -> None:
    disk = SimDisk()
    disk.make_directory("d")
    disk.open("d/x", create=True).fdatasync()
    disk.sync_directory("d")
    pending = Pending(disk.platter)
    assert pending.image(pending.nothing) == Image({})
    disk.sync_directory("")
    pending = Pending(disk.platter)
    assert pending.image(pending.nothing) == Image({"d/x": b""}, ("d",))


def test_a_removed_file_may_come_back_with_what_was_written_to_it() -> None:
    disk = durable_file(b"old")
    disk.open("f").pwrite([b"new"], START)
    disk.unlink("f")
    assert survivors(disk) == {None, b"old", b"new"}


def test_after_every_sync_the_device_has_what_programs_see() -> None:
    rand, disk = random.Random(7), SimDisk()
    for name in "abc":
        disk.open(name, create=True)
    for _ in range(400):
        file = disk.open("abc"[rand.randrange(3)])
        if rand.randrange(4):
            file.pwrite([rand.randbytes(rand.randrange(1500))], Position(rand.randrange(4000)))
        else:
            file.truncate(rand.randrange(5000))
        if rand.randrange(10) == 0:
            file.fdatasync()
    pending = Pending(disk.platter)
    assert pending.count() > 20
    disk.sync_directory("")
    pending = Pending(disk.platter)
    for fill in (b"\0", GARBAGE):
        everything = Survivors(pending.everything.units, pending.everything.names, fill=fill)
        assert pending.image(everything) == disk.platter.image()
    for name in "abc":
        disk.open(name).fdatasync()
    assert disk.platter.image(durable=True) == disk.platter.image()


def test_a_kill_keeps_the_page_cache_and_refuses_old_handles() -> None:
    disk = durable_file(b"old")
    disk.lock()
    file = disk.open("f")
    file.pwrite([b"new"], START)
    disk.kill()
    for call in (lambda: file.pread(1, START), lambda: file.pwrite([b"x"], START), file.size):
        with pytest.raises(OSError, match="closed"):
            call()
    disk.lock()
    assert disk.open("f").pread(9, START) == b"new"
    assert survivors(disk) == {b"old", b"new"}


def test_a_power_cut_leaves_what_was_chosen_and_all_of_it_is_durable() -> None:
    disk = durable_file(b"a" * 2 * SECTOR)
    disk.lock()
    disk.open("f").pwrite([b"b" * 2 * SECTOR], START)
    disk.power_cut(lambda pending: Survivors(0b10, pending.nothing.names))
    disk.lock()
    assert disk.open("f").pread(2 * SECTOR, START) == b"a" * SECTOR + b"b" * SECTOR
    assert len(survivors(disk)) == 1


def test_power_cuts_by_chance_repeat_from_their_seed() -> None:
    def left(seed: int) -> Image:
        disk = SimDisk()
        for name in ("a", "b"):
            disk.open(name, create=True).pwrite([bytes(5000)], START)
        disk.power_cut(lambda pending: pending.some(random.Random(seed)))
        return disk.platter.image()

    assert left(3) == left(3)
    assert len({left(seed).digest() for seed in range(20)}) > 5


def test_a_failed_sync_loses_what_was_pending_and_the_next_one_lies() -> None:
    disk = durable_file(b"old")
    file = disk.open("f")
    file.pwrite([b"new"], START)
    disk.faults.add(Fault(Operation.SYNC, "f"))
    with pytest.raises(OSError, match="Input/output error: 'f'"):
        file.fdatasync()
    file.fdatasync()
    assert file.pread(3, START) == b"new"
    assert survivors(disk) == {b"old"}
    file.drop_cache()
    assert file.pread(3, START) == b"old"


def test_dropping_the_cache_keeps_what_is_pending() -> None:
    disk = durable_file(b"old")
    file = disk.open("f")
    file.pwrite([b"new"], START)
    file.drop_cache()
    assert file.pread(3, START) == b"new"


def test_a_cached_read_waits_for_nobody() -> None:
    disk = durable_file(b"old")
    file = disk.open("f")
    assert file.pread_cached(3, START) is None
    file.pread(1, START)
    assert file.pread_cached(3, START) == b"old"
    file.drop_cache()
    assert file.pread_cached(3, START) is None


def test_the_hook_sees_every_operation_before_it_happens() -> None:
    disk = durable_file(b"old")
    seen: list[tuple[str, str, int]] = []
    disk.before = lambda operation, name, size: seen.append((operation.value, name, size))
    file = disk.open("f")
    file.pread(3, START)
    file.pwrite([b"ab", b"c"], START)
    file.fdatasync()
    disk.sync_directory("")
    assert seen == [
        ("open", "f", 0),
        ("read", "f", 3),
        ("write", "f", 3),
        ("fdatasync", "f", 0),
        ("sync_directory", "", 0),
    ]

    def stop(*_: object) -> None:
        raise TimeoutError

    disk.before = stop
    with pytest.raises(TimeoutError):
        file.pwrite([b"xyz"], START)
    disk.before = None
    assert file.pread(3, START) == b"abc"


def test_a_recorded_run_is_replayed_with_and_without_its_syncs() -> None:
    disk = durable_file(b"old")
    disk.trace = []
    disk.make_directory("d")
    file = disk.open("d/new", create=True)
    file.pwrite([b"some", b"thing"], START)
    file.fdatasync()
    disk.mark("acknowledged")
    disk.rename("d/new", "d/named")
    disk.open("f").truncate(1)
    disk.sync_directory("d")
    disk.sync_directory("")
    disk.unlink("f")
    replay = Replay(Platter(Image({"f": b"old"})))
    for step in disk.trace:
        replay.do(step)
    assert replay.platter.image() == disk.platter.image()
    assert replay.platter.image(durable=True) == disk.platter.image(durable=True)
    assert replay.platter.image(durable=True) == Image(
        {"f": b"old", "d/named": b"something"}, ("d",)
    )


def test_without_tracking_nothing_is_kept_twice() -> None:
    disk, size, block = SimDisk(crashable=False), 32 << 20, bytes(256 << 10)
    tracemalloc.start()
    try:
        file = disk.open("f", create=True)
        for position in range(0, size, len(block)):
            file.pwrite([block], Position(position))
            file.fdatasync()
        used, most = tracemalloc.get_traced_memory()
        assert used < size * 1.2
        assert most < size * 2.5  # while a growing buffer moves, two of them are there
        file.close()
        disk.unlink("f")
        del file
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(AssertionError, match="SIM_DISK_TRACKS_WHAT_IT_LOSES"):
        disk.power_cut(lambda pending: pending.nothing)


def test_an_image_has_one_hash_whatever_the_order_of_its_names() -> None:
    first = Image({"a": b"1", "b": b"2"}, ("d", "e"))
    assert first.digest() == Image({"b": b"2", "a": b"1"}, ("e", "d")).digest()
    others = [
        Image({"a": b"1", "b": b"3"}, ("d", "e")),
        Image({"a": b"1", "b": b"2"}, ("d",)),
        Image({"a": b"1", "d": b"2"}, ("e",)),
    ]
    assert len({first.digest(), *(other.digest() for other in others)}) == 4
