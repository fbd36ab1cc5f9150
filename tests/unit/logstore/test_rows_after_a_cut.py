"""What is left of a segment that was cut short: no batch below the cut is lost, nor its row."""

import pytest

from api.sim.disk import SimDisk
from logstore.settings import PartitionSettings
from model.ids import Offset
from tests.unit.logstore.test_log_directory import (
    TIME,
    append,
    checkpoint,
    commit,
    opened,
    pid,
    read,
    settle,
)

BATCHES = 5


def test_reading_what_is_left_finds_no_damage() -> None:
    """P37: a follower's log that ended elsewhere than its leader's is whole after it was cut."""
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 20))
    for number in range(BATCHES):
        append(log, 100, TIME + 10 * number)
    settle(directory)
    checkpoint(directory)
    log.truncate(Offset(BATCHES - 1))
    settle(directory)
    (segment, *_) = log.segment_list
    for offset in range(BATCHES - 1):
        assert read(log, offset, 1).next_offset == offset + 1
    segment.adopt()
    assert (segment.damage, segment.guessed) == ((), None)
    rows = [segment.times_at(Offset(offset)) for offset in range(BATCHES - 1)]
    times = [None if row is None else row.append_time for row in rows]
    assert times == [TIME + 10 * number for number in range(BATCHES - 1)]


@pytest.mark.parametrize(("batches", "size"), [(2, 200_000), (2, 300_000), (58, 9_000)])
def test_a_cut_that_a_start_does_again_takes_no_more(batches: int, size: int) -> None:
    """The file was cut already: the last batch ends it, and may end beyond what is read at once."""
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=1 << 22))
    for _ in range(batches):
        append(log, size)
    append(log, time=TIME + 10)
    settle(directory)
    checkpoint(directory)
    log.truncate(Offset(batches))
    commit(directory)
    kept = log.segment_list[0].size_bytes
    disk.kill()
    log = opened(disk).directory.partitions[pid(0)]
    segment = log.segment_list[0]
    assert (log.log_end, segment.size_bytes) == (batches, kept)
    assert disk.open(segment.log_name).size() == kept
    assert read(log, batches - 1).next_offset == batches
