"""A kill takes nothing that was written (P1): files stand as they are, and their times cover all.

A directory is copied where the process would have been killed, and the copy is opened.
"""

import random
import shutil
from pathlib import Path

import pytest

from logstore.batch import encode_batch
from logstore.disk_posix import PosixDisk
from logstore.identity import Identity
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

START = 1_700_000_000_000
SETTINGS = LogSettings(journal_file_bytes=16 * KIB, journal_files_max=3, reserve_bytes=0)
PARTITION = PartitionId(TopicId(bytes(15) + b"\1"), 0)


def opened(root: Path) -> Opened:
    identity = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
    return LogDirectory.open(
        PosixDisk(str(root), create=True),
        SETTINGS,
        rand=random.Random(1),
        now_wall=WallMs(START),
        identity=identity,
    )


class Store:
    """One partition with flush=async and a checkpoint row; each batch is of a tick of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = opened(root).directory
        settings = PartitionSettings(flush=Flush.ASYNC, flush_ms=100)
        self.log: PartitionLog = self.directory.create(PARTITION, settings)
        self.ticks = 0
        self.round()
        self.checkpoint()

    def append(self) -> None:
        self.ticks += 1
        now = AppendTimeMs(START + 10 * self.ticks)
        batch = encode_batch([NewRecord(START, None, b"value")])
        self.log.append([batch], leader_epoch=LeaderEpoch(0), append_time=now)

    def round(self) -> None:
        work = self.directory.take_round(MonotonicMs(0))
        assert work is not None
        self.directory.finish_round(self.directory.run_round(work))

    def checkpoint(self) -> None:
        job = self.directory.take_checkpoint(MonotonicMs(1_000), all=True)
        assert job is not None
        self.directory.finish_checkpoint(self.directory.run_checkpoint(job))


@pytest.mark.parametrize("appends", [1, 2])
def test_what_was_written_beside_a_checkpoint_is_there_after_a_kill(
    tmp_path: Path, appends: int
) -> None:
    store = Store(tmp_path / "before")
    store.append()
    store.round()
    for _ in range(appends):
        store.append()
    under_way = store.directory.take_round(MonotonicMs(0))
    assert under_way is not None
    store.checkpoint()  # its row must not speak of what is under way
    store.directory.finish_round(store.directory.run_round(under_way))
    store.append()
    store.round()
    assert store.log.written_end == appends + 2

    shutil.copytree(store.root, tmp_path / "after")
    found = opened(tmp_path / "after")

    assert found.report.dropped == []
    assert found.directory.partitions[PARTITION].log_end == appends + 2


def test_what_was_under_way_when_the_kill_came_may_go_and_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "before")
    store.append()
    store.round()
    store.append()
    assert store.directory.take_round(MonotonicMs(0)) is not None
    store.checkpoint()

    shutil.copytree(store.root, tmp_path / "after")
    found = opened(tmp_path / "after")

    assert found.directory.partitions[PARTITION].log_end == 1
    assert found.report.repaired == []
