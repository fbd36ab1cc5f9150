"""What the real disk does beyond the contract that both disks share."""

import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from logstore.disk_posix import PosixDisk
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Position
from tests.held_files import held

START = Position(0)


@pytest.fixture
def disk(tmp_path: Path) -> PosixDisk:
    return PosixDisk(str(tmp_path))


def test_a_write_that_the_kernel_cuts_short_goes_on(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = os.pwritev, []

    def at_most_seven(descriptor: int, buffers: Sequence[bytes], position: int) -> int:
        calls.append(position)
        return whole(descriptor, [b"".join(buffers)[:7]], position)

    monkeypatch.setattr(os, "pwritev", at_most_seven)
    file = disk.open("a", create=True)
    file.pwrite([b"0123456789", b"", b"abc", b"defghijklmnop"], Position(3))
    assert file.pread(100, START) == b"\0\0\0" + b"0123456789abcdefghijklmnop"
    assert calls == [3, 10, 17, 24]


def test_a_write_of_which_nothing_arrives_is_an_error(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(OSError, match="took no byte") as refused:
        disk.open("a", create=True).pwrite([b"x"], START)
    assert refused.value.errno == errno.EIO
    assert refused.value.filename.endswith("/a")


def test_a_read_that_the_kernel_cuts_short_goes_on(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, whole = disk.open("a", create=True), os.pread
    file.pwrite([bytes(range(100))], START)
    monkeypatch.setattr(os, "pread", lambda fd, size, at: whole(fd, min(size, 7), at))
    assert file.pread(50, Position(3)) == bytes(range(3, 53))
    assert file.pread(1000, Position(90)) == bytes(range(90, 100))


def _has_cached_reads(folder: Path) -> bool:
    """Tell whether a file of a folder can be read on the condition that nothing waits."""
    path = folder / "probe"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def test_a_cached_read_of_pages_that_are_not_there_is_none(disk: PosixDisk, tmp_path: Path) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"x" * (1 << 20)], START)
    if not _has_cached_reads(tmp_path):
        pytest.skip("this file system cannot be asked what the page cache holds")
    assert file.pread_cached(100, Position(5000)) == b"x" * 100
    assert file.pread_cached(100, Position((1 << 20) - 10)) == b"x" * 10
    file.fdatasync()
    file.drop_cache()
    # Asking may make the kernel read ahead: only the first question is certain to find nothing.
    if file.pread_cached(4096, Position(1 << 19)) is not None:
        pytest.skip("this file system keeps pages that it was asked to drop")
    assert file.pread(4096, Position(1 << 19)) == b"x" * 4096
    assert file.pread_cached(4096, Position(1 << 19)) == b"x" * 4096


def test_a_cached_read_that_is_cut_by_a_missing_page_is_none(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"x" * 8192], START)
    monkeypatch.setattr(os, "preadv", lambda *_: 4096)
    assert file.pread_cached(8192, START) is None
    assert len(file.pread_cached(8192, Position(4096)) or b"") == 4096  # there the file ends


def test_a_cached_read_takes_the_memory_of_its_answer_alone(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open("a", create=True)
    file.pwrite([b"x" * (1 << 20)], START)
    monkeypatch.setattr(os, "preadv", lambda *_: 1 << 20)
    tracemalloc.start()
    try:
        read = file.pread_cached(1 << 20, START)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read is not None
    assert len(read) <= most < len(read) * 1.1


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_cached_reads_always_answers_none(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    calls = []

    def unsupported(*_: object) -> int:
        calls.append(1)
        raise OSError(error, "no")

    file = disk.open("a", create=True)
    file.pwrite([b"x"], START)
    monkeypatch.setattr(os, "preadv", unsupported)
    assert [file.pread_cached(1, START) for _ in range(3)] == [None] * 3
    assert len(calls) == 1
    assert file.pread(1, START) == b"x"


def test_an_error_names_the_file(disk: PosixDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    file = disk.open("a", create=True)
    for name in ("pread", "preadv", "pwritev", "fdatasync", "ftruncate"):
        monkeypatch.setattr(os, name, broken)
    calls: list[Callable[[], object]] = [
        lambda: file.pread(1, START),
        lambda: file.pread_cached(1, START),
        lambda: file.pwrite([b"x"], START),
        file.fdatasync,
        lambda: file.truncate(0),
    ]
    for call in calls:
        with pytest.raises(OSError, match="/a'"):
            call()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error: '/"):
        disk.sync_directory("")


def test_closing_during_a_read_does_not_give_the_descriptor_away(
    disk: PosixDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.open("a", create=True).pwrite([b"mine"], START)
    file, whole = disk.open("a"), os.pread
    reading, closed = threading.Event(), threading.Event()

    def slow(descriptor: int, size: int, position: int) -> bytes:
        reading.set()
        assert closed.wait(10)
        return whole(descriptor, size, position)

    monkeypatch.setattr(os, "pread", slow)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(file.pread(4, START)))
    reader.start()
    assert reading.wait(10)
    file.close()
    other = disk.open("b", create=True)  # would take the number that was just freed
    other.pwrite([b"your"], START)
    closed.set()
    reader.join(10)
    assert got == [b"mine"]


def test_closing_frees_the_descriptor(disk: PosixDisk, tmp_path: Path) -> None:
    before = len(held(tmp_path))
    files = [disk.open(f"f{number}", create=True) for number in range(20)]
    assert len(held(tmp_path)) == before + 20
    for file in files:
        file.close()
    assert len(held(tmp_path)) == before


def test_no_descriptor_reaches_a_child(disk: PosixDisk, tmp_path: Path) -> None:
    disk.open("a", create=True)
    disk.lock()
    inherited = [os.get_inheritable(number) for number in held(tmp_path)]
    assert inherited
    assert not any(inherited)


def test_another_process_is_refused_and_told_who_has_it(disk: PosixDisk, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from logstore.disk_posix import PosixDisk; d = PosixDisk(sys.argv[1]);"
            "d.lock(); print('locked', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DirectoryRefused, match=f"in use by process {holder.pid}") as refused:
            disk.lock()
        assert refused.value.exit_code is DirectoryExit.FENCED
        with pytest.raises(DirectoryRefused):
            PosixDisk(str(tmp_path), read_only=True).lock()
        holder.stdin.close()
        assert holder.wait(10) == 0
    disk.lock()


def test_the_root_is_made_with_its_parents(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PosixDisk(str(tmp_path / "a/b"))
    disk = PosixDisk(str(tmp_path / "a/b"), create=True)
    disk.open("x", create=True)
    assert list(PosixDisk(str(tmp_path / "a/b"), create=True).list("")) == ["x"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        PosixDisk(str(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        PosixDisk(str(tmp_path / "file"), create=True)


def test_read_only_changes_nothing(tmp_path: Path) -> None:
    writable = PosixDisk(str(tmp_path))
    writable.open("a", create=True).pwrite([b"x"], START)
    disk = PosixDisk(str(tmp_path), read_only=True)
    disk.lock()
    assert disk.open("a").pread(1, START) == b"x"
    with pytest.raises(FileNotFoundError):
        disk.open("b", create=True)
    for call in (
        lambda: disk.make_directory("d"),
        lambda: disk.unlink("a"),
        lambda: disk.rename("a", "b"),
        lambda: disk.remove_directory("d"),
    ):
        with pytest.raises(OSError, match="Read-only") as refused:
            call()
        assert refused.value.errno == errno.EROFS
    with pytest.raises(OSError):
        disk.open("a").pwrite([b"y"], START)
    assert os.listdir(tmp_path) == ["a"]


def test_a_directory_that_was_released_can_be_taken(tmp_path: Path) -> None:
    first, second = PosixDisk(str(tmp_path)), PosixDisk(str(tmp_path))
    first.lock()
    with pytest.raises(DirectoryRefused):
        second.lock()
    first.release()
    second.lock()
