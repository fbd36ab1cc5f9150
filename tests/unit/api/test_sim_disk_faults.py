"""What a simulated disk is told to do wrong: errors, a lack of room, lies."""

import errno

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Lie, LyingWrite, Operation
from model.ids import Position
from tests.unit.api.test_sim_disk import SECTOR, START, durable_file, survivors


def test_faults_strike_where_and_as_often_as_asked() -> None:
    disk = durable_file(b"0123456789")
    file = disk.open("f")
    disk.faults.add(Fault(Operation.READ, "f", start=4, end=6))
    assert file.pread(4, START) == b"0123"
    assert file.pread(4, Position(6)) == b"6789"
    with pytest.raises(OSError, match="'f'"):
        file.pread(5, START)
    assert file.pread(5, START) == b"01234"
    disk.faults.add(Fault(Operation.WRITE, "f", errno.ENOSPC, skip=1, times=None, arrived=2))
    file.pwrite([b"AB"], START)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            file.pwrite([b"C", b"DEF"], Position(2))
    assert file.pread(10, START) == b"ABCD456789"
    disk.faults.clear()
    disk.faults.add(Fault(Operation.SYNC_DIRECTORY, ""))
    disk.faults.add(Fault(Operation.NAMES, "new"))
    disk.faults.add(Fault(Operation.OPEN, "f"))
    disk.faults.add(Fault(Operation.LIST))
    disk.faults.add(Fault(Operation.RESIZE))
    for call in (
        lambda: disk.sync_directory(""),
        lambda: disk.open("new", create=True),
        lambda: disk.open("f"),
        lambda: disk.list(""),
        lambda: file.truncate(0),
    ):
        with pytest.raises(OSError, match="Input/output"):
            call()
    assert disk.list("") == ["f"]
    assert disk.faults.struck == 8


def test_a_full_disk_takes_what_fits_and_has_room_again() -> None:
    disk = SimDisk(capacity_bytes=1000)
    file = disk.open("f", create=True)
    file.pwrite([bytes(600)], START)
    disk.open("g", create=True).pwrite([bytes(300)], START)
    with pytest.raises(OSError, match="No space left"):
        file.pwrite([b"x" * 50, b"y" * 100], Position(600))
    assert (file.size(), disk.free_bytes()) == (700, 0)
    assert file.pread(200, Position(600)) == b"x" * 50 + b"y" * 50
    file.pwrite([b"z" * 700], START)  # nothing grows
    with pytest.raises(OSError, match="No space left"):
        file.truncate(701)
    disk.unlink("g")
    assert disk.free_bytes() == 300
    file.pwrite([bytes(300)], Position(700))
    file.truncate(100)
    assert disk.free_bytes() == 900
    disk.open("new", create=True).pwrite([bytes(50)], START)
    disk.rename("new", "f")
    assert disk.free_bytes() == 950


def test_a_read_only_disk_refuses_changes() -> None:
    disk = durable_file(b"old")
    file = disk.open("f")
    disk.read_only = True
    for call in (
        lambda: file.pwrite([b"x"], START),
        lambda: file.truncate(0),
        lambda: disk.open("new", create=True),
        lambda: disk.make_directory("d"),
        lambda: disk.unlink("f"),
        lambda: disk.rename("f", "g"),
    ):
        with pytest.raises(OSError, match="Read-only"):
            call()
    assert file.pread(3, START) == b"old"


def test_a_flipped_bit_is_read() -> None:
    disk = durable_file(b"a" * 1000)
    disk.flip_bit("f", Position(600), 1)
    assert disk.open("f").pread(1000, START) == b"a" * 600 + b"c" + b"a" * 399
    assert survivors(disk) == {b"a" * 600 + b"c" + b"a" * 399}


def test_a_lost_write_is_seen_until_the_cache_is_gone() -> None:
    disk = durable_file(b"old")
    disk.faults.lie(LyingWrite("f", Lie.LOST))
    file = disk.open("f")
    file.pwrite([b"new"], START)
    file.fdatasync()
    assert file.pread(3, START) == b"new"
    file.drop_cache()
    assert file.pread(3, START) == b"old"
    file.pwrite([b"new"], START)
    file.fdatasync()
    file.drop_cache()
    assert file.pread(3, START) == b"new"


def test_a_misdirected_write_lands_elsewhere() -> None:
    disk = durable_file(b"a" * 3 * SECTOR)
    disk.faults.lie(LyingWrite("f", Lie.MISDIRECTED, sectors_off=1))
    file = disk.open("f")
    file.pwrite([b"b" * SECTOR], START)
    file.fdatasync()
    disk.power_cut(lambda pending: pending.nothing)
    assert disk.open("f").pread(3 * SECTOR, START) == b"a" * 512 + b"b" * 512 + b"a" * 512
