"""Append times are data: what one replica has made up for itself, no other one is given (P37)."""

import pytest

from api.sim.disk import SimDisk
from cluster.shell.replica_read import FileRead, read_batches
from logstore.paths import TIMES
from logstore.replacement import Replacement
from logstore.times import ROW_BYTES
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.unit.logstore.test_log_directory import SMALL, TIME, opened
from tests.unit.logstore.test_replacement import sent as batches_of
from tests.unit.logstore.test_scrub import RECORDS, closed, name


def test_made_up_append_times_go_to_no_other_replica() -> None:
    disk = SimDisk()
    _, log = closed(disk)
    whole = batches_of(log)
    disk.flip_bit(name(TIMES), Position(2 * ROW_BYTES + 14), 1)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    found = read_batches(log, Offset(0), 1 << 20)
    assert isinstance(found, FileRead)
    read = found.job()
    with pytest.raises(RequestError) as refused:
        found.sent(read)
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert any("guessed" in finding.why for finding in log.segment_list[0].damage)
    new = Replacement(disk, log.segment_list[0], log.leader_epochs)
    new.add(whole)()
    new.swap()
    new.settle()
    again = read_batches(log, Offset(0), 1 << 20)
    assert isinstance(again, FileRead)
    times = [batch.append_time for batch in again.sent(again.job()).batches]
    assert times == [TIME + 10 * number for number in range(RECORDS)]
