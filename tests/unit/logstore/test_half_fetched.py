"""What a repair has half fetched goes with its segment, or with the next start."""

from collections.abc import Callable

import pytest

from api.sim.disk import SimDisk
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import TEMPORARY
from logstore.replacement import Replacement
from model.ids import Offset
from tests.unit.logstore.test_log_directory import TIME, checkpoint, commit, opened, settle
from tests.unit.logstore.test_replacement import damaged
from tests.unit.logstore.test_scrub import DIRECTORY, RECORDS


def left(disk: SimDisk) -> list[str]:
    return [one for one in disk.list(DIRECTORY) if one.endswith(TEMPORARY)]


def half_fetched() -> tuple[SimDisk, LogDirectory, PartitionLog]:
    disk, directory, log, whole, _ = damaged()
    new = Replacement(disk, log.segment_list[0], log.leader_epochs)
    new.add(whole)()
    new.write_times(new.encoded_times())
    assert len(left(disk)) == 2
    return disk, directory, log


def cut(log: PartitionLog) -> None:
    log.truncate(Offset(0))


def trim(log: PartitionLog) -> None:
    log.trim(Offset(RECORDS))


@pytest.mark.parametrize("act", [cut, trim])
def test_it_goes_with_the_segment(act: Callable[[PartitionLog], None]) -> None:
    disk, directory, log = half_fetched()
    act(log)
    while commit(directory) or log.cut is not None:
        checkpoint(directory)
    checkpoint(directory)
    assert not left(disk)


def test_it_goes_with_the_next_start_after_a_clean_stop() -> None:
    disk, directory, log = half_fetched()
    settle(directory)
    checkpoint(directory)
    directory.mark_clean(TIME)
    disk.kill()
    found = opened(disk)
    assert found.report.clean
    assert found.directory.partitions[log.id].log_end == RECORDS
    assert not left(disk)
