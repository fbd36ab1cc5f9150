"""What recovery takes from files and journal, and what it does not: damage planted by hand."""

import random

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from api.sim.trace import SyncDirectory
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import CHECKPOINT, LOG, TIMES, by_offset, partition_directory
from logstore.recovery_report import RecoveryReport
from logstore.settings import PartitionSettings
from logstore.times import ROW_BYTES
from model.errors import StorageFailed
from model.ids import Offset, Position
from tests.crash.driver import ASYNC, IDENTITY, SMALL, START, TOPIC, WIDE, Driver, partition
from tests.crash.reading import read_all

P, OTHER = partition(0), partition(1)


class Power:
    """A directory, and a disk that is looked at while nobody has it."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.on = Driver(self.disk, lambda _: None, random.Random(1))

    def cut(self, *, keeping_all: bool) -> None:
        self.disk.power_cut(lambda pending: pending.everything if keeping_all else pending.nothing)

    def start(self) -> tuple[PartitionLog, RecoveryReport]:
        opened = LogDirectory.open(
            self.disk, SMALL, rand=random.Random(2), now_wall=START, identity=IDENTITY
        )
        return opened.directory.partitions[P], opened.report

    def written_only(self) -> tuple[str, str]:
        """Leave two batches that only the files carry; return the names of the files."""
        self.on.create(P, settings=ASYNC)
        self.on.file()
        self.on.checkpoint()
        for _ in range(2):
            self.on.append(P, 100)
            self.on.file()
        (segment,) = self.on.log(P).segment_list
        self.cut(keeping_all=True)
        return segment.log_name, segment.times_name

    def size(self, name: str) -> int:
        return self.disk.open(name).size()


def test_a_batch_that_does_not_match_its_checksum_ends_the_log_and_goes() -> None:
    power = Power()
    log_name, _ = power.written_only()
    size = power.size(log_name)
    power.disk.flip_bit(log_name, Position(size - 3), 1)
    log, report = power.start()
    assert log.log_end == 1
    assert power.size(log_name) == log.size_bytes < size
    assert [(each.file, each.size_bytes) for each in report.dropped] == [
        (log_name, size - log.size_bytes)
    ]


def test_a_batch_without_its_append_time_ends_the_log() -> None:
    power = Power()
    log_name, times_name = power.written_only()
    power.disk.open(times_name).truncate(power.size(times_name) - ROW_BYTES)
    log, report = power.start()
    assert log.log_end == 1
    assert [each.file for each in report.dropped] == [log_name]


@pytest.mark.parametrize("torn_bytes", [0, 3])
def test_what_was_only_written_is_there_after_another_kill_in_recovery(torn_bytes: int) -> None:
    power = Power()
    power.on.create(P, settings=ASYNC)
    power.on.file()
    power.on.checkpoint()
    for _ in range(2):
        power.on.append(P, 100, 50)
        power.on.file()
    (segment,) = power.on.log(P).segment_list
    power.disk.kill()
    log = power.disk.open(segment.log_name)
    log.truncate(log.size() - torn_bytes)
    power.disk.faults.add(Fault(Operation.NAMES, CHECKPOINT))
    with pytest.raises(StorageFailed, match=CHECKPOINT):
        power.start()
    power.disk.kill()
    found, report = power.start()
    assert found.log_end == (3 if torn_bytes else 4)
    assert report.dropped == []  # of the first start there is no report
    times = power.size(segment.times_name)
    power.disk.kill()
    assert power.start()[0].log_end == found.log_end
    assert power.size(segment.times_name) == times


def test_a_direct_run_that_does_not_match_its_checksum_is_no_entry() -> None:
    power = Power()
    power.on.create(P, settings=WIDE)
    power.on.append(P, 10)
    power.on.file()
    power.on.checkpoint()
    power.on.append(P, 5000)
    power.on.file()
    (segment,) = power.on.log(P).segment_list
    power.cut(keeping_all=True)
    power.disk.flip_bit(segment.log_name, Position(segment.size_bytes - 3), 1)
    log, report = power.start()
    assert log.log_end == 1
    assert len(report.dropped) == 2  # the entry, and the bytes that it spoke of


def directory_syncs_of_a_start(power: Power) -> int:
    power.disk.trace = []
    power.start()
    return sum(
        isinstance(step, SyncDirectory) and step.name == partition_directory(P)
        for step in power.disk.trace
    )


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("settings", [TOPIC, ASYNC])
def test_a_start_syncs_the_names_that_it_goes_on_from_if_any_is_new(
    settings: PartitionSettings, *, rolled: bool
) -> None:
    power = Power()
    power.on.create(P, settings=settings)
    power.on.append(P, 10)
    power.on.file()
    power.on.checkpoint()
    if rolled:
        power.on.log(P).roll()
    power.on.append(P, 10)
    power.on.file()
    power.disk.kill()
    assert directory_syncs_of_a_start(power) == rolled


def test_a_start_that_takes_up_a_cut_syncs_the_names_that_went() -> None:
    power = Power()
    power.on.create(P, settings=WIDE)
    for _ in range(2):
        power.on.append(P, 10)
        power.on.file()
        power.on.checkpoint()
    power.on.truncate(P, 1)
    power.on.settle(P)
    power.disk.kill()
    assert directory_syncs_of_a_start(power) == 1


@pytest.mark.parametrize("ending", [LOG, TIMES])
def test_a_start_that_makes_a_missing_file_again_syncs_its_name(ending: str) -> None:
    power = Power()
    power.on.create(P, settings=WIDE)
    power.on.append(P, 10)
    power.on.file()
    power.on.checkpoint()
    power.on.append(P, 10)
    power.on.round()
    power.disk.kill()
    power.disk.unlink(f"{partition_directory(P)}/{by_offset(Offset(0), ending)}")
    assert directory_syncs_of_a_start(power) == 1


def test_a_checkpoint_of_one_partition_leaves_the_journal_to_the_others() -> None:
    power = Power()
    power.on.create(P, OTHER)
    power.on.append(OTHER, 10)
    power.on.file()
    power.on.checkpoint()
    power.on.append(P, 10)
    power.on.round()
    power.on.trim(OTHER, 1)
    power.on.checkpoint(every=False)
    power.cut(keeping_all=False)
    log, _ = power.start()
    assert [batch.base for batch in read_all(log).batches] == [0]
