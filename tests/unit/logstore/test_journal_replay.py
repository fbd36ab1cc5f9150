"""What the journal says behind the last checkpoint is done again when the power comes back."""

import random

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, LogSettings, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

IDENTITY = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
SETTINGS = LogSettings(journal_file_bytes=16 * KIB, journal_files_max=2, reserve_bytes=0)
PARTITION = PartitionId(TopicId(bytes(16)), 0)
TIME = AppendTimeMs(1_700_000_000_000)


class Power:
    """A directory with one partition, on a disk that keeps only what was synced."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.open()
        self.directory.create(PARTITION, PartitionSettings())

    def open(self) -> None:
        self.directory = LogDirectory.open(
            self.disk, SETTINGS, rand=random.Random(1), now_wall=WallMs(0), identity=IDENTITY
        ).directory

    @property
    def log(self) -> PartitionLog:
        return self.directory.partitions[PARTITION]

    def append(self) -> None:
        """Append one record and let the rounds that carry it end."""
        batch = encode_batch([NewRecord(TIME, None, b"x")])
        self.log.append([batch], leader_epoch=LeaderEpoch(3), append_time=TIME)
        self.commit()

    def commit(self) -> None:
        while (work := self.directory.take_round(MonotonicMs(0))) is not None:
            self.directory.finish_round(self.directory.run_round(work))

    def checkpoint(self) -> None:
        job = self.directory.take_checkpoint(MonotonicMs(0), all=True)
        assert job is not None
        self.directory.finish_checkpoint(self.directory.run_checkpoint(job))

    def cut(self) -> None:
        """Lose what was not synced, and open the directory again."""
        self.disk.power_cut(lambda pending: pending.nothing)
        self.open()


def test_the_first_entry_behind_a_checkpoint_is_replayed() -> None:
    power = Power()
    power.append()
    power.checkpoint()
    power.append()
    power.cut()
    assert power.log.log_end == 2


def test_a_truncation_behind_a_checkpoint_is_done_again() -> None:
    power = Power()
    for _ in range(3):
        power.append()
    power.checkpoint()
    power.log.truncate(Offset(1))
    power.commit()
    power.cut()
    assert power.log.log_end == 1


def test_a_truncation_is_done_again_in_a_file_that_was_cut_below_the_checkpoint() -> None:
    power = Power()
    for _ in range(5):
        power.append()
    power.checkpoint()
    for _ in range(2):
        power.append()
    power.log.truncate(Offset(3))
    power.commit()
    kept = power.log.segment_list[0].size_bytes
    power.disk.kill()
    power.open()
    segment = power.log.segment_list[0]
    assert (segment.end_offset, segment.size_bytes) == (3, kept)
    assert power.disk.open(segment.log_name).size() == kept


def test_a_deletion_behind_a_checkpoint_is_done_again() -> None:
    power = Power()
    power.append()
    power.checkpoint()
    power.directory.delete(PARTITION)
    power.commit()
    power.cut()
    assert PARTITION not in power.directory.partitions
