"""Segment files are let go again: a log directory holds no more open than it may (P59)."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from logstore.disk_posix import PosixDisk
from logstore.log_directory import LogDirectory
from model.ids import WallMs
from tests.held_files import held
from tests.unit.logstore.test_log_directory import ASYNC, IDENTITY, SMALL, append, pid, read, settle

PARTITIONS = 30
AT_MOST = 4
"""For writing, and as many for reading."""


def open_segments(folder: Path) -> int:
    """Return how many of this process's descriptors are segment files of a directory."""
    return sum(name.endswith(".log") for name in held(folder).values())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_more_partitions_than_files_may_be_open(tmp_path: Path) -> None:
    settings = replace(SMALL, open_files_max=AT_MOST)
    directory = LogDirectory.open(
        PosixDisk(str(tmp_path)),
        settings,
        rand=random.Random(1),
        now_wall=WallMs(0),
        identity=IDENTITY,
    ).directory
    logs = [directory.create(pid(number), ASYNC) for number in range(PARTITIONS)]
    most = 0
    for _ in range(3):
        for number, log in enumerate(logs):
            append(log, 100 + number)
        settle(directory)
        for log in logs:
            read(log)
            most = max(most, open_segments(tmp_path))
    assert 0 < most <= 2 * AT_MOST
    for number, log in enumerate(logs):
        assert read(log).next_offset == 3, number
