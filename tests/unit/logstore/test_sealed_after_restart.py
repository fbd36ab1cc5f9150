"""What a start finds behind the active segment is closed for good, as it was before the stop."""

from api.sim.disk import SimDisk
from logstore import retention
from logstore.settings import KIB, PartitionSettings
from model.ids import AppendTimeMs
from tests.unit.logstore.test_log_directory import QUORUM, TIME, append, opened, pid, settle


def test_retention_removes_segments_that_an_earlier_start_has_written() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), QUORUM)
    for _ in range(8):
        append(log, 3 * KIB)
        settle(directory)
    before = log.segments()
    assert len(before) > 4
    disk.kill()
    again = opened(disk).directory.partitions[pid(0)]
    assert [one.sealed for one in again.segments()] == [one.sealed for one in before]
    assert [one.sealed for one in before] == [True] * (len(before) - 1) + [False]
    start = retention.plan(
        again.segments(),
        PartitionSettings(retention_bytes=7 * KIB, retention_ms=-1),
        log_start=again.log_start,
        now=AppendTimeMs(TIME),
        high_watermark=again.log_end,
        in_doubt=False,
    )
    assert start > before[1].base_offset
