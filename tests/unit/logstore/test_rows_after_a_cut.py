"""What is known of a segment that was cut short while its rows were in memory: no row is lost."""

from api.sim.disk import SimDisk
from logstore.settings import PartitionSettings
from model.ids import Offset
from tests.unit.logstore.test_log_directory import (
    TIME,
    append,
    checkpoint,
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
