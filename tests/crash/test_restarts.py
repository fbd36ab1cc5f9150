"""What a partition remembers over a crash besides its batches: epochs, producers, times."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from api.sim.disk import SimDisk
from api.sim.power_cut import Pending, Survivors
from logstore import partition_checkpoint
from logstore.leader_epochs import EpochStart
from logstore.log_directory import LogDirectory
from logstore.partition_checkpoint import SNAPSHOTS_KEPT
from logstore.partition_log import PartitionLog
from logstore.paths import EPOCHS, partition_directory
from logstore.producer_state import WINDOW_BATCHES
from logstore.recovery_report import RecoveryReport
from model.ids import LeaderEpoch, Offset, Position
from tests.crash.driver import IDENTITY, SMALL, START, WIDE, Driver, partition
from tests.crash.reading import producers_of

P = partition(0)
PRODUCER_ID_AT = 43
"""In a batch header, the lowest of eight bytes is the last."""


class Power:
    """A directory on a disk that a test takes the power from."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.on = Driver(self.disk, lambda _: None, random.Random(1))
        self.on.create(P)

    @property
    def log(self) -> PartitionLog:
        return self.on.log(P)

    def committed(self, *sizes: int, epoch: int) -> None:
        self.on.epoch = LeaderEpoch(epoch)
        self.on.append(P, *sizes)
        self.on.file()

    def cut(
        self,
        *,
        keeping_all: bool = False,
        choose: Callable[[Pending], Survivors] | None = None,
    ) -> RecoveryReport:
        """Cut the power: only what was synced is left, or all of it, or what is chosen."""
        self.disk.power_cut(
            choose or (lambda pending: pending.everything if keeping_all else pending.nothing)
        )
        opened = LogDirectory.open(
            self.disk, SMALL, rand=random.Random(2), now_wall=START, identity=IDENTITY
        )
        self.on.directory = opened.directory
        return opened.report


def epochs(log: PartitionLog) -> Sequence[EpochStart]:
    return log.leader_epochs.rows


@pytest.mark.parametrize("keeping_all", [False, True])
@pytest.mark.parametrize("segments", [1, 2])
def test_an_emptied_log_remembers_the_epoch_of_its_last_record(
    segments: int, *, keeping_all: bool
) -> None:
    power = Power()
    power.committed(10, epoch=3)
    power.on.checkpoint()
    if segments == 2:  # the last records lie in a segment that goes with them
        power.committed(10, epoch=3)
        power.on.truncate(P, 1)
        power.on.settle(P)
        power.on.checkpoint()
    power.on.trim(P, power.log.log_end)
    power.on.checkpoint()
    power.cut(keeping_all=keeping_all)
    assert power.log.log_start == power.log.log_end == 1
    assert power.log.leader_epochs.latest == 3


def test_an_emptied_log_finds_its_epoch_in_the_segment_that_is_left() -> None:
    power = Power()
    power.committed(10, epoch=3)
    power.on.trim(P, power.log.log_end)
    power.on.checkpoint()
    power.disk.unlink(f"{partition_directory(P)}/{EPOCHS}")
    power.cut(keeping_all=True)
    assert power.log.log_start == power.log.log_end == 1
    assert power.log.leader_epochs.latest == 3


def test_an_emptied_log_remembers_its_epoch_although_a_later_one_was_on_its_way() -> None:
    power = Power()
    power.committed(10, epoch=3)
    power.log.roll()
    power.on.trim(P, power.log.log_end)
    power.on.checkpoint()
    power.on.epoch = LeaderEpoch(4)
    power.on.append(P, 10)
    power.log.roll()  # it wants a checkpoint
    power.on.checkpoint(every=False)
    power.cut(choose=names_alone)
    assert power.log.log_start == power.log.log_end == 1
    assert power.log.leader_epochs.latest == 3


def test_an_epoch_that_was_cut_off_does_not_come_back_once_the_log_is_longer() -> None:
    power = Power()
    power.committed(10, 10, epoch=1)
    power.committed(10, 10, epoch=5)
    power.on.checkpoint()
    power.disk.open(f"{partition_directory(P)}/{EPOCHS}").fdatasync()
    power.disk.sync_directory(partition_directory(P))
    power.on.truncate(P, 2)
    power.on.settle(P)
    power.on.checkpoint()
    power.committed(10, 10, 10, 10, epoch=6)
    power.cut()
    assert epochs(power.log) == ((1, 0), (6, 2))


def test_an_epoch_that_a_crash_took_does_not_come_back_once_the_log_is_longer() -> None:
    power = Power()
    power.committed(10, 10, epoch=1)
    power.on.checkpoint()
    power.on.epoch = LeaderEpoch(5)
    power.on.append(P, 10)
    power.on.checkpoint()  # the table speaks of what is accepted and in no round
    power.disk.sync_directory(partition_directory(P))
    power.cut(keeping_all=True)
    assert power.log.log_end == 2
    power.committed(10, 10, 10, epoch=6)
    power.cut()
    assert epochs(power.log) == ((1, 0), (6, 2))


def test_a_table_of_epochs_for_a_log_start_that_was_lost_is_not_believed() -> None:
    power = Power()
    power.committed(10, 10, epoch=1)
    power.log.roll()
    power.committed(10, 10, epoch=2)
    power.on.checkpoint()
    name = f"{partition_directory(P)}/{EPOCHS}"
    power.on.trim(P, 3)
    job = power.on.directory.take_checkpoint(power.on.monotonic, all=True)
    assert job is not None
    ((_, table),) = [small for part in job.parts for small in part.caches if small[0] == name]
    file = power.disk.open(name, create=True)
    file.truncate(0)
    file.pwrite([table], Position(0))
    power.cut(keeping_all=True)
    assert power.log.log_start == 0
    assert epochs(power.log) == ((1, 0), (2, 2))


def test_a_table_that_a_clean_stop_left_behind_its_snapshot_is_not_believed() -> None:
    """The mark of a clean stop may be on the disk, and caches from before it may not."""
    power = Power()
    for _ in range(3):
        power.committed(600, epoch=1)
    power.on.trim(P, 2)
    power.on.checkpoint()
    power.cut(keeping_all=True)
    power.committed(10, epoch=2)
    power.on.committed(P)
    power.on.checkpoint()  # a snapshot that is synced, and behind it a table that is not
    power.on.stop()
    pending = Pending(power.disk.platter)
    whole = pending.everything
    starts = Counter[bool]()
    for place, count in enumerate(whole.names):
        for kept in range(count + 1):
            names = (*whole.names[:place], kept, *whole.names[place + 1 :])
            image = pending.image(Survivors(whole.units, names))
            opened = LogDirectory.open(
                SimDisk(image), SMALL, rand=random.Random(2), now_wall=START, identity=IDENTITY
            )
            starts[opened.clean] += 1
            assert epochs(opened.directory.partitions[P]) == ((1, 2), (2, 3)), (place, kept)
    assert min(starts[True], starts[False]) > 0


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("filed", [False, True])
def test_a_cut_segment_ends_when_its_last_batch_was_appended(
    *, replayed: bool, filed: bool
) -> None:
    power = Power()
    power.committed(10, epoch=1)
    last = power.on.now
    power.on.tick(500)
    power.committed(10, epoch=1)
    if filed:
        power.on.checkpoint()
    power.on.truncate(P, 1)
    power.on.settle(P)
    if replayed:
        power.cut(keeping_all=True)
    assert power.log.segment_list[0].last_append_time == last
    assert power.log.segment_list[0].end_offset == 1


def test_a_producer_wholly_below_the_log_start_is_remembered() -> None:
    power = Power()
    power.committed(10, epoch=1)
    power.committed(10, epoch=1)
    before = producers_of(power.log)
    power.on.trim(P, power.log.log_end)
    power.on.checkpoint(every=False)
    power.cut()
    assert producers_of(power.log) == before
    assert len(before) == 2


def test_a_producer_whose_segments_are_gone_is_remembered_although_more_was_accepted() -> None:
    power = Power()
    for _ in range(4):
        power.committed(600, epoch=1)
    before = producers_of(power.log)
    power.on.trim(P, power.log.log_end)
    power.on.append(P, 600)
    power.on.checkpoint(every=False)
    assert len(power.log.segment_list) == 1
    power.cut()
    assert power.log.log_end == 4
    assert producers_of(power.log) == before


def names_alone(pending: Pending) -> Survivors:
    """Keep what directories were told, and of files only what was synced."""
    return Survivors(0, pending.everything.names)


def known(log: PartitionLog) -> dict[object, object]:
    """Return of each producer what it sends next."""
    return {name: producer.next_sequence for name, producer in log.producers.items()}


def test_the_only_copy_of_a_producer_is_not_written_over() -> None:
    power = Power()
    for _ in range(3):
        power.committed(600, epoch=1)
    before = known(power.log)
    power.on.trim(P, power.log.log_end)
    power.on.checkpoint(every=False)
    for _ in range(2):  # the first time it trims, and is synced
        power.committed(10, epoch=1)
        power.on.truncate(P, 3)  # a checkpoint ends where the last one did, and more was filed
        power.on.settle(P)
        power.on.checkpoint()
    power.cut(choose=names_alone)
    assert known(power.log) == before
    assert len(before) == 3


def test_what_is_not_in_the_files_yet_makes_no_snapshot_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_checkpoint, "SNAPSHOT_BYTES", 500)
    power = Power()
    power.committed(10, epoch=1)
    power.on.checkpoint()
    for _ in range(2):
        power.on.append(P, 300)
        power.on.commit()
    assert (power.log.flushed_end, power.log.filed_end) == (3, 1)
    power.log.roll()  # it wants a checkpoint
    power.on.checkpoint(every=False)
    assert power.log.upkeep.snapshots == [1]
    power.committed(10, epoch=1)
    power.log.roll()
    power.on.checkpoint(every=False)
    assert power.log.upkeep.snapshots == [1, 4]


def test_a_producer_that_wrote_much_since_the_checkpoint_is_remembered_without_its_segment() -> (
    None
):
    """More than its window holds is lost with the power: what is left of it lies nowhere else."""
    power = Power()
    for _ in range(3):
        power.committed(600, epoch=1)
    power.on.trim(P, 1)
    power.on.append(P, *[1] * WINDOW_BATCHES)  # of the first of the three
    power.on.checkpoint(every=False)
    power.cut()
    assert known(power.log)[1000] == 1
    for _ in range(2 * SNAPSHOTS_KEPT):
        power.committed(600, epoch=2)
        power.on.checkpoint()
    power.cut(choose=names_alone)
    assert 1000 in known(power.log)


def test_a_rotted_batch_speaks_for_no_producer() -> None:
    power = Power()
    power.on.create(partition(1), settings=WIDE)
    for _ in range(3):
        power.on.append(partition(1), 20)
    power.on.file()
    power.on.checkpoint(every=False)
    (name,) = [segment.log_name for segment in power.on.log(partition(1)).segment_list]
    before = {each[0] for each in producers_of(power.on.log(partition(1)))}
    power.on.checkpoint()
    size = power.on.log(partition(1)).segment_list[0].size_bytes
    for file in power.disk.list(partition_directory(partition(1))):
        if file.endswith(".producers"):
            power.disk.unlink(f"{partition_directory(partition(1))}/{file}")
    power.disk.sync_directory(partition_directory(partition(1)))
    power.disk.flip_bit(name, Position(size // 3 + PRODUCER_ID_AT + 7), 6)
    report = power.cut(keeping_all=True)
    found = {each[0] for each in producers_of(power.on.log(partition(1)))}
    assert found < before
    assert [each.file for each in report.repaired] == [name]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_a_producer_that_was_cut_deeper_than_its_window_is_known_as_the_log_has_it(
    *, saved: bool, restarted: bool
) -> None:
    """A repetition of what was cut off is new: it must not be answered as stored (P21)."""
    power = Power()
    for _ in range(3):  # three producers
        power.on.append(P, 1)
    power.on.file()
    before = producers_of(power.log)
    for _ in range(3 * 8):  # eight batches more of each
        power.on.append(P, 1)
    power.on.file()
    if saved:
        power.on.checkpoint()
    if restarted:
        power.cut(keeping_all=True)
    power.on.truncate(P, 3)
    power.on.settle(P)
    assert power.log.log_end == Offset(3)
    assert producers_of(power.log) == before
    power.cut()
    assert producers_of(power.log) == before


def test_a_snapshot_knows_a_producer_that_wrote_more_than_its_window_since() -> None:
    power = Power()
    for _ in range(3):
        power.committed(10, epoch=1)
    before = producers_of(power.log)
    power.on.append(P, *[1] * (2 * WINDOW_BATCHES))  # of the first; in no round: it is lost
    power.on.checkpoint()
    assert power.log.upkeep.snapshots == [3]
    power.cut(keeping_all=True)
    assert power.log.log_end == 3
    assert producers_of(power.log) == before


def test_a_cut_below_the_only_copy_of_a_producer_keeps_what_it_says() -> None:
    power = Power()
    for _ in range(3):
        power.committed(600, epoch=1)
    before = producers_of(power.log)
    power.committed(10, epoch=1)  # of the first
    power.on.trim(P, 2)  # the first two have no other batch
    power.on.checkpoint(every=False)
    power.cut(keeping_all=True)
    assert (power.log.segment_list[0].base_offset, power.log.upkeep.snapshots) == (2, [4])
    power.on.truncate(P, 3)
    power.on.settle(P)
    assert producers_of(power.log) == before
    power.on.checkpoint()
    power.cut()
    assert producers_of(power.log) == before


def test_a_snapshot_is_kept_from_which_a_cut_of_what_is_not_committed_begins() -> None:
    power = Power()
    for end in range(1, 7):
        power.committed(10, epoch=1)
        power.on.checkpoint()
        power.log.high_watermark = Offset(min(end, 2))
    assert power.log.upkeep.snapshots == [2, 5, 6]
    power.log.high_watermark = Offset(4)
    power.committed(10, epoch=1)
    power.on.checkpoint()
    assert power.log.upkeep.snapshots == [2, 6, 7]
