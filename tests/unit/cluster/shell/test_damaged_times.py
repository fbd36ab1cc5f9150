"""Append times are data: what one replica has made up for itself, no other one is given (P37).

Unless nobody else can have the row that is lost: then the guess is what there is.
"""

from dataclasses import replace
from typing import Any, Final

import pytest

from api.sim.disk import SimDisk
from cluster.shell.replica_read import FileRead, Sent, read_batches
from logstore import segment_view
from logstore.partition_log import PartitionLog
from logstore.paths import LOG, TIMES
from logstore.replacement import Replacement
from logstore.segment_loader import Loaded, load
from logstore.settings import PartitionSettings
from logstore.times import ROW_BYTES
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.unit.logstore.test_log_directory import (
    SMALL,
    TIME,
    append,
    checkpoint,
    opened,
    pid,
    settle,
)
from tests.unit.logstore.test_replacement import sent as batches_of
from tests.unit.logstore.test_replacement import swap
from tests.unit.logstore.test_scrub import RECORDS, closed, name

LOST: Final = Offset(1)
"""Whose row is spoilt."""
SPOILT: Final = Position(2 * ROW_BYTES + 14)
"""Behind the head and the row of the first batch."""


def given(log: PartitionLog, offset: int, *, guesses: bool = False) -> Sent:
    found = read_batches(log, Offset(offset), 1 << 20)
    if isinstance(found, Sent):
        return found
    return found.sent(found.job(), guesses=guesses)


def bases(sent: Sent) -> list[int]:
    assert sent.size_bytes == sum(len(batch.raw) for batch in sent.batches)
    return [batch.base_offset for batch in sent.batches]


def test_made_up_append_times_go_to_no_other_replica() -> None:
    disk = SimDisk()
    _, log = closed(disk)
    whole = batches_of(log)
    disk.flip_bit(name(TIMES), SPOILT, 1)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    found = given(log, 0)
    assert (bases(found), found.end) == ([0], LOST)
    with pytest.raises(RequestError) as refused:
        given(log, LOST)
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert refused.value.metadata["file"] == name(TIMES)
    found = given(log, LOST + 1)
    assert (bases(found), found.end) == ([2, 3], RECORDS)
    assert [batch.append_time for batch in found.batches] == [TIME + 20, TIME + 30]
    assert any("guessed" in finding.why for finding in log.segment_list[0].damage)
    assert {finding.file for finding in log.segment_list[0].damage} == {name(TIMES)}
    new = Replacement(disk, log.segment_list[0], log.leader_epochs)
    new.add(whole)()
    swap(new)
    new.settle(log.log_end)
    times = [batch.append_time for batch in given(log, 0).batches]
    assert times == [TIME + 10 * number for number in range(RECORDS)]


def test_nor_do_they_from_behind_damage_to_the_log_itself() -> None:
    """The second batch is said to be longer than it is: the index file leads to those behind it."""
    disk = SimDisk()
    directory = opened(disk, replace(SMALL, index_interval_bytes=1)).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 << 20))
    for number in range(RECORDS):
        append(log, 100, TIME + 10 * number)
    log.roll()
    settle(directory)
    checkpoint(directory)
    size = log.segment_list[0].size_bytes // RECORDS
    disk.flip_bit(name(LOG), Position(size + 11), 1)
    disk.flip_bit(name(TIMES), Position(3 * ROW_BYTES + 14), 1)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    with pytest.raises(RequestError, match="append time"):
        given(log, 2)
    (batch,) = given(log, 3).batches
    assert batch.append_time == TIME + 30
    told = [one.why for one in log.segment_list[0].damage if one.file == name(TIMES)]
    assert any(why.endswith("from offset 2 to 2 have a guessed append time") for why in told)


def test_what_was_read_of_the_old_file_is_not_kept_once_it_is_mended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pool may bring it after the new file has taken its place."""
    disk = SimDisk()
    _, log = closed(disk)
    whole = batches_of(log)
    disk.flip_bit(name(TIMES), SPOILT, 1)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    segment = log.segment_list[0]
    (view, *_) = log.segments()

    def slow(*given: Any, **more: Any) -> Loaded:
        found = load(*given, **more)
        new = Replacement(disk, segment, log.leader_epochs)
        new.add(whole)()
        swap(new)
        new.settle(log.log_end)
        return found

    monkeypatch.setattr(segment_view, "load", slow)
    view.load_times()
    assert view.times() is None, "it is read again"
    assert not segment.guesses(LOST)
    assert segment.damage == ()


def test_a_guess_is_given_where_that_is_all_there_is() -> None:
    disk = SimDisk()
    _, log = closed(disk)
    disk.flip_bit(name(TIMES), SPOILT, 1)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    found = given(log, 0, guesses=True)
    assert (bases(found), found.end) == ([0, 1, 2, 3], RECORDS)
    times = [batch.append_time for batch in found.batches]
    assert times == sorted(times)
    assert (times[0], times[2:]) == (TIME, [TIME + 20, TIME + 30])


def in_memory(disk: SimDisk) -> PartitionLog:
    """Return a log whose batches are in memory still, and the append times in the file alone."""
    settings = replace(SMALL, tail_bytes=1 << 20, tails_bytes_max=1 << 20)
    directory = opened(disk, settings).directory
    log = directory.create(pid(0), PartitionSettings())
    for number in range(RECORDS):
        append(log, 100, TIME + 10 * number)
    settle(directory)
    log.roll()
    append(log, 100, TIME + 1_000)  # a log that is written to keeps its batches in memory
    checkpoint(directory)
    log.segment_list[0].forget_rows()
    return log


def test_batches_in_memory_get_no_guess_either() -> None:
    disk = SimDisk()
    log = in_memory(disk)
    assert log.tail.start == 0
    disk.flip_bit(name(TIMES), SPOILT, 1)
    assert bases(given(log, 0)) == [0]
    assert isinstance(read_batches(log, Offset(0), 1 << 20), Sent), "the rows are in memory now"
    assert bases(given(log, 0)) == [0]
    with pytest.raises(RequestError, match="lost"):
        given(log, LOST)


def with_a_lost_row(*replicas: int) -> Cluster:
    """Return nodes of which the leader has lost a row, and node 2 everything."""
    world = Cluster(replicas=tuple(node for node in (ONE, TWO, THREE) if node in replicas))
    one = world.nodes[ONE]
    for number in range(RECORDS):
        one.append(b"%d" % number)
        world.run()
        world.pass_time(100)
    one.log.roll()
    world.pass_time(3_000)
    one.log.sync()
    one.writer.ask()
    world.run()
    segment = one.log.segment_list[0]
    world.kill(TWO)
    world.disks[TWO] = SimDisk()
    world.disks[ONE].flip_bit(segment.times_name, SPOILT, 1)
    segment.forget_rows()
    segment.reader = None
    world.elect(ONE, *(node for node in world.row.replicas if node != TWO))
    world.start(TWO)
    world.pass_time(3_000)
    return world


def test_a_follower_gets_past_a_row_that_nobody_in_sync_can_have() -> None:
    """Else it would never be in sync again, and the partition read-only for good."""
    world = with_a_lost_row(ONE, TWO)
    one, two = world.nodes[ONE], world.nodes[TWO]
    assert two.log.log_end == RECORDS
    assert two.stored() == one.stored()
    assert world.isr == {ONE, TWO}


def test_a_follower_waits_for_a_row_that_another_one_in_sync_may_have() -> None:
    world = with_a_lost_row(ONE, TWO, THREE)
    assert world.isr == {ONE, THREE}
    assert world.nodes[TWO].log.log_end == LOST
    assert world.nodes[ONE].damaged, "and it is told, for whoever repairs"


def test_the_read_of_a_file_says_whether_guesses_are_taken() -> None:
    """Nobody gets them because a caller forgot to say so."""
    disk = SimDisk()
    _, log = closed(disk)
    found = read_batches(log, Offset(0), 1 << 20)
    assert isinstance(found, FileRead)
    with pytest.raises(TypeError):
        found.sent(found.job())  # type: ignore[call-arg]
