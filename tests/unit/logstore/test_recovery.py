"""Opening after a crash: what is kept, what is dropped and said, what damage does."""

import pytest

from api.sim.disk import SimDisk
from logstore.paths import INDEX, LOG, TIMES
from logstore.settings import KIB, PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, Position
from tests.unit.logstore.test_log_directory import (
    ASYNC,
    QUORUM,
    TIME,
    append,
    checkpoint,
    commit,
    opened,
    pid,
    read,
    settle,
)

DIRECTORY = f"partitions/{bytes(16).hex()}-0"


def name(offset: int, ending: str) -> str:
    """Return the name of a file of the partition."""
    return f"{DIRECTORY}/{offset:020d}{ending}"


def with_async_batches(disk: SimDisk) -> None:
    """Write batches of three ticks that only the files carry."""
    directory = opened(disk).directory
    log = directory.create(pid(0), ASYNC)
    commit(directory)
    checkpoint(directory)
    for tick in range(3):
        append(log, 600, TIME + 10 * tick)
        commit(directory)


def test_a_kill_loses_nothing_of_flush_async() -> None:
    disk = SimDisk()
    with_async_batches(disk)
    disk.kill()
    found = opened(disk)
    log = found.directory.partitions[pid(0)]
    assert (log.log_end, log.flushed_end) == (3, 3)
    assert found.report.dropped == []
    (view, *_) = log.segments()
    view.load_times()
    times = view.times()
    assert times is not None
    assert [row.append_time - TIME for row in times.rows()] == [0, 10, 20]


@pytest.mark.parametrize("kept_rows", [0, 1, 2, 3, 4, 5])
def test_a_batch_without_its_append_time_is_dropped_and_reported(kept_rows: int) -> None:
    disk = SimDisk()
    with_async_batches(disk)
    disk.kill()
    size = disk.open(name(0, LOG)).size()
    disk.open(name(0, TIMES)).truncate(24 * (1 + kept_rows))  # a head; a row and its close a tick
    found = opened(disk)
    kept = kept_rows // 2
    assert found.directory.partitions[pid(0)].log_end == kept
    assert found.report.dropped_bytes == size * (3 - kept) // 3


def test_what_a_killed_process_has_made_survives_a_power_cut_after_recovery() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), QUORUM))
    commit(directory)
    disk.kill()
    opened(disk)
    disk.power_cut(lambda pending: pending.nothing)
    assert read(opened(disk).directory.partitions[pid(0)]).next_offset == 1


@pytest.mark.parametrize("damage", ["deleted", "spoilt"])
def test_a_lost_index_changes_no_answer(damage: str) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 * KIB))
    for number in range(20):
        append(log, 300 + number)
    settle(directory)
    checkpoint(directory)
    before = [bytes(read(log, offset, 1).buffers[0]) for offset in range(20)]
    directory.mark_clean(TIME)
    indexes = [file for file in disk.list(DIRECTORY) if file.endswith(INDEX)]
    assert len(indexes) >= 2
    disk.kill()
    for file in indexes:
        if damage == "deleted":
            disk.unlink(f"{DIRECTORY}/{file}")
        else:
            disk.open(f"{DIRECTORY}/{file}").fdatasync()
            disk.flip_bit(f"{DIRECTORY}/{file}", Position(50), 1)
    log = opened(disk).directory.partitions[pid(0)]
    assert [bytes(read(log, offset, 1).buffers[0]) for offset in range(20)] == before


def test_a_damaged_append_time_is_guessed_and_reported() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), QUORUM)
    for tick in range(3):
        append(log, 10, TIME + 10 * tick)
    settle(directory)
    checkpoint(directory)
    disk.kill()
    disk.flip_bit(name(0, TIMES), Position(24 * 2 + 5), 1)
    found = opened(disk)
    (view, *_) = found.directory.partitions[pid(0)].segments()
    view.load_times()
    times = view.times()
    assert times is not None
    assert times.at(Offset(0)).append_time == TIME
    assert TIME <= times.at(Offset(1)).append_time <= TIME + 20
    assert times.at(Offset(2)).append_time == TIME + 20
    damage = [*found.report.repaired, *view.live.damage]
    assert any("guessed append time" in str(finding) for finding in damage)


@pytest.mark.parametrize(
    ("clean", "left_bytes"),
    [(True, None), (False, None), (False, 0), (False, 300)],  # None: the file is gone
)
def test_what_comes_behind_lost_bytes_is_found(*, clean: bool, left_bytes: int | None) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), QUORUM), 600)
    for number in range(3):
        settle(directory)
        checkpoint(directory)
        if clean:
            directory.mark_clean(TIME)
        disk.kill()
        if number == 0:
            if left_bytes is None:
                disk.unlink(name(0, LOG))
            else:
                disk.open(name(0, LOG)).truncate(left_bytes)
        directory = opened(disk).directory
        append(directory.partitions[pid(0)], 100, TIME + 10 * (number + 1))
    settle(directory)
    disk.kill()
    log = opened(disk).directory.partitions[pid(0)]
    assert [read(log, offset, 1).next_offset for offset in (1, 2, 3)] == [2, 3, 4]
    with pytest.raises(RequestError) as refused:
        read(log, 0)
    assert refused.value.code is ErrorCode.CORRUPT_LOG


@pytest.mark.parametrize("gone", [1, 2])  # 2: the one that is written to
@pytest.mark.parametrize("clean", [True, False])
def test_a_missing_segment_is_reported_and_its_readers_are_told(*, clean: bool, gone: int) -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=KIB))
    for _ in range(3):
        append(log, 700)
    settle(directory)
    checkpoint(directory)
    if clean:
        directory.mark_clean(TIME)
    disk.kill()
    disk.unlink(name(gone, LOG))
    found = opened(disk)
    (missing,) = found.report.repaired
    assert "the segment is missing" in str(missing)
    log = found.directory.partitions[pid(0)]
    for offset in {0, 1, 2} - {gone}:
        assert read(log, offset).next_offset == offset + 1
    with pytest.raises(RequestError) as refused:
        read(log, gone)
    assert refused.value.code is ErrorCode.CORRUPT_LOG


def test_leader_epochs_come_back_without_their_file() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), QUORUM))
    settle(directory)
    checkpoint(directory)
    epochs = directory.partitions[pid(0)].leader_epochs.rows
    disk.kill()
    disk.unlink(f"{DIRECTORY}/epochs")
    assert opened(disk).directory.partitions[pid(0)].leader_epochs.rows == epochs


def test_a_new_directory_is_called_new_once() -> None:
    """Nothing had to be recovered, and there was no stop that could have been clean."""
    disk = SimDisk()
    first = opened(disk).report
    assert (first.new, first.clean) == (True, False)
    disk.kill()
    crashed = opened(disk)
    assert (crashed.report.new, crashed.report.clean) == (False, False)
    crashed.directory.mark_clean(TIME)
    disk.kill()
    stopped = opened(disk).report
    assert (stopped.new, stopped.clean) == (False, True)


def test_a_clean_stop_gives_back_what_was_reserved_of_the_clock_and_a_crash_does_not() -> None:
    disk = SimDisk()
    directory = opened(disk).directory
    log = directory.create(pid(0), PartitionSettings())
    append(log, time=TIME + 200)
    directory.reserve_clock(AppendTimeMs(TIME + 2_000))
    settle(directory)
    checkpoint(directory)
    directory.mark_clean(AppendTimeMs(TIME + 300))
    disk.kill()
    after_stop = opened(disk)
    assert (after_stop.clock_floor, after_stop.clock_reserved) == (TIME + 300, TIME + 2_000)
    disk.kill()
    after_crash = opened(disk)
    assert after_crash.clock_floor == after_crash.clock_reserved == TIME + 2_000


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_clean_stop_says_no_time_reserved_that_a_crash_would_forget(checkpointed: bool) -> None:
    """The clock may have been read far above what was reserved, and the mark is there once."""
    disk = SimDisk()
    directory = opened(disk).directory
    append(directory.create(pid(0), PartitionSettings()), time=TIME)
    settle(directory)
    checkpoint(directory)
    directory.mark_clean(AppendTimeMs(TIME + 60_000))
    disk.kill()
    second = opened(disk)
    assert second.clock_floor == TIME + 60_000
    told = second.clock_reserved
    assert told < second.clock_floor
    if checkpointed:
        append(second.directory.partitions[pid(0)], time=TIME + 60_010)
        settle(second.directory)
        checkpoint(second.directory)
    disk.kill()
    assert opened(disk).clock_floor >= (TIME + 60_000 if checkpointed else told)
