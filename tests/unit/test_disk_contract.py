"""The Disk port's contract, the same for the real file system and for the simulated one."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from api.sim.disk import SimDisk
from logstore.disk_posix import IOV_MAX, PosixDisk
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Position
from model.ports import Disk

START = Position(0)


@pytest.fixture(params=["posix", "sim", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    made: dict[str, Callable[[], Disk]] = {
        "posix": lambda: PosixDisk(str(tmp_path)),
        "sim": SimDisk,
        "memory": lambda: SimDisk(crashable=False),
    }
    return made[request.param]()


def test_what_was_written_is_read(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"one", bytearray(b"two"), memoryview(b"xthreex")[1:-1], b""], START)
    assert file.pread(100, START) == b"onetwothree"
    assert file.pread(4, Position(2)) == b"etwo"
    assert (file.size(), file.pread(5, Position(11)), file.pread(0, START)) == (11, b"", b"")
    assert disk.open("a").pread(3, Position(3)) == b"two"


def test_a_write_goes_over_what_was_there_and_past_the_end(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"abcdef"], START)
    file.pwrite([b"XYZ"], Position(1))
    file.pwrite([b"ghij"], Position(4))
    assert file.pread(100, START) == b"aXYZghij"
    file.pwrite([b"end"], Position(12))
    assert file.pread(100, START) == b"aXYZghij\0\0\0\0end"


def test_more_buffers_than_one_system_call_takes(disk: Disk) -> None:
    buffers = [bytes([number % 251]) * (number % 3) for number in range(2 * IOV_MAX + 7)]
    file = disk.open("a", create=True)
    file.pwrite(buffers, Position(5))
    assert file.pread(1 << 20, Position(5)) == b"".join(buffers)


def test_truncate_cuts_and_extends_with_zeros(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"abcdef"], START)
    file.truncate(2)
    file.truncate(5)
    assert (file.size(), file.pread(10, START)) == (5, b"ab\0\0\0")


def test_a_cached_read_gives_what_a_read_gives_or_nothing(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"x" * 10_000], START)
    for size, position in ((100, 0), (9_000, 500), (100, 9_950), (10, 20_000)):
        expected = file.pread(size, Position(position))
        assert file.pread_cached(size, Position(position)) in (expected, None)


def test_a_handle_outlives_its_name(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"kept"], START)
    disk.rename("a", "b")
    file.pwrite([b"+"], Position(4))
    assert disk.open("b").pread(10, START) == b"kept+"
    disk.unlink("b")
    file.fdatasync()
    assert file.pread(10, START) == b"kept+"
    with pytest.raises(FileNotFoundError) as refused:
        disk.open("b")
    assert str(refused.value.filename).endswith("b")


def test_rename_replaces(disk: Disk) -> None:
    for name in ("new", "old"):
        disk.open(name, create=True).pwrite([name.encode()], START)
    disk.rename("new", "old")
    assert list(disk.list("")) == ["old"]
    assert disk.open("old").pread(10, START) == b"new"
    disk.rename("old", "old")
    assert list(disk.list("")) == ["old"]


def test_rename_stays_in_its_directory(disk: Disk) -> None:
    disk.make_directory("d")
    disk.open("a", create=True)
    with pytest.raises(OSError, match="a") as refused:
        disk.rename("a", "d/a")
    assert refused.value.errno == errno.EXDEV
    assert (list(disk.list("")), list(disk.list("d"))) == (["a", "d"], [])


def test_rename_refuses_what_linux_refuses(disk: Disk) -> None:
    disk.make_directory("d")
    disk.make_directory("e")
    disk.open("e/full", create=True)
    disk.open("f", create=True)
    for old, new in (("f", "d"), ("d", "f"), ("d", "e"), ("absent", "f")):
        with pytest.raises(OSError):
            disk.rename(old, new)
    assert list(disk.list("")) == ["d", "e", "f"]
    disk.rename("e", "d")
    assert (list(disk.list("")), list(disk.list("d"))) == (["d", "f"], ["full"])


def test_directories(disk: Disk) -> None:
    assert disk.make_directory("d")
    assert not disk.make_directory("d")
    assert disk.make_directory("d/e")
    disk.open("d/e/x", create=True).pwrite([b"deep"], START)
    disk.open("d/b", create=True)
    assert list(disk.list("d")) == ["b", "e"]
    assert list(disk.list("d/e")) == ["x"]
    with pytest.raises(OSError) as refused:
        disk.remove_directory("d/e")
    assert refused.value.errno == errno.ENOTEMPTY
    disk.unlink("d/e/x")
    disk.remove_directory("d/e")
    for name in ("d/e", ""):
        if name:
            with pytest.raises(FileNotFoundError):
                disk.list(name)
    for name in ("d", ""):
        disk.sync_directory(name)
    disk.rename("d", "moved")
    assert list(disk.list("moved")) == ["b"]


def test_kinds_are_not_mixed_up(disk: Disk) -> None:
    disk.make_directory("d")
    disk.open("f", create=True)
    with pytest.raises(IsADirectoryError):
        disk.open("d")
    with pytest.raises(IsADirectoryError):
        disk.unlink("d")
    with pytest.raises(FileExistsError):
        disk.make_directory("f")
    with pytest.raises(NotADirectoryError):
        disk.list("f")
    with pytest.raises(FileNotFoundError):
        disk.make_directory("absent/d")
    with pytest.raises(FileNotFoundError):
        disk.unlink("absent")
    with pytest.raises(FileNotFoundError):
        disk.sync_directory("absent")


def test_a_closed_file_is_refused_by_name(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.close()
    file.close()
    for call in (
        lambda: file.pread(1, START),
        lambda: file.pwrite([b"x"], START),
        file.fdatasync,
        file.size,
    ):
        with pytest.raises(OSError, match="a'") as refused:
            call()
        assert refused.value.errno == errno.EBADF


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a//b", "a/./b", "a/..", ".", "a/"])
def test_no_name_leaves_the_directory(disk: Disk, name: str) -> None:
    with pytest.raises(AssertionError, match="DISK_NAME_STAYS_INSIDE"):
        disk.open(name, create=True)
    with pytest.raises(AssertionError, match="DISK_NAME_STAYS_INSIDE"):
        disk.unlink(name)


def test_a_directory_has_one_owner(disk: Disk) -> None:
    disk.lock()
    with pytest.raises(DirectoryRefused, match="in use") as refused:
        disk.lock()
    assert refused.value.exit_code is DirectoryExit.FENCED
    assert list(disk.list("")) == []


def test_space(disk: Disk) -> None:
    assert 0 < disk.free_bytes() <= disk.total_bytes()
