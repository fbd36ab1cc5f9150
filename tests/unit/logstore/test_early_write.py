"""The disk begins with a file while the next one is written; who cannot, does without."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from api.sim.disk import SimDisk
from api.sim.file import SimFile
from logstore import disk_posix
from logstore.disk_posix import PosixDisk
from logstore.early_write import begin_by, begin_writing
from model.ids import Position
from tests.unit.logstore.test_log_directory import QUORUM, append, opened, pid, settle

LONG = 5_000
"""Of a record that goes straight to its partition's file, by the settings of these tests."""


def test_a_disk_begins_with_every_file_of_a_round_before_one_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = opened(SimDisk()).directory
    logs = [directory.create(pid(number), QUORUM) for number in range(3)]
    settle(directory)
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(SimFile, "begin_sync", lambda file, *_: done.append(("begin", file._name)))
    sync = SimFile.fdatasync

    def noted(file: SimFile) -> None:
        done.append(("sync", file._name))
        sync(file)

    monkeypatch.setattr(SimFile, "fdatasync", noted)
    for log in logs:
        append(log, LONG)
    settle(directory)
    seen = [row for row in done if row[1].endswith(".log")][: 2 * len(logs)]
    begun = [name for what, name in seen if what == "begin"]
    assert len(set(begun)) == len(logs)
    assert seen == [*(("begin", name) for name in begun), *(("sync", name) for name in begun)]


def test_bytes_are_what_they_were(tmp_path: Path) -> None:
    file = PosixDisk(str(tmp_path)).open("a", create=True)
    file.pwrite([b"abc" * 10_000], Position(0))
    file.begin_sync(30_000, Position(0))
    file.begin_sync(10, Position(1 << 40))  # there is nothing
    assert file.pread(6, Position(29_997)) == b"abc"


def test_what_cannot_begin_is_passed_over_and_an_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    try:
        assert begin_writing(writing, 0, 10) == 0, "a pipe: ESPIPE"
    finally:
        os.close(reading)
        os.close(writing)
    assert begin_writing(writing, 0, 10) == errno.EBADF, "whatever is not known to be harmless"
    monkeypatch.setattr(disk_posix, "begin_writing", lambda *_: errno.EIO)
    with pytest.raises(OSError, match="Input/output") as refused:
        PosixDisk(str(tmp_path)).open("a", create=True).begin_sync(10, Position(0))
    assert refused.value.errno == errno.EIO


def test_a_library_without_it_does_nothing() -> None:
    class Library(ctypes.CDLL):
        sync_file_range = None

        def __init__(self) -> None:
            """Load nothing."""

    assert begin_by(Library())(-1, 0, 10) == 0
