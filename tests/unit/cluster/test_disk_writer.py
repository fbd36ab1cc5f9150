"""Rounds and checkpoints between the loop and its two threads."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from threading import Event, current_thread

import pytest

from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.shell.disk_writer import AWAY_MS, CHECK_MS, DETAIN_MS, DiskWriter
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.round import (
    LIGHT_BYTES_MAX,
    CheckpointJob,
    CheckpointResult,
    Round,
    RoundResult,
)
from logstore.settings import Flush, LogSettings, PartitionSettings
from model.errors import ErrorCode, RequestError, StorageFailed
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
from model.ports import Disk
from model.record import NewRecord

PLACE = PartitionId(TopicId(bytes(range(16))), 0)
FLOOR = AppendTimeMs(5_000)
FLUSH_MS = 5_000
WAIT_S_MAX = 30.0


def opened(disk: Disk) -> Opened:
    return LogDirectory.open(
        disk,
        LogSettings(journal_file_bytes=64 << 10),
        rand=Random(7),
        now_wall=WallMs(0),
        identity=Identity(bytes(16), "c", NodeId(0), RegistrationEpoch(0)),
    )


@dataclass(slots=True)
class Bench:
    """A directory with one partition, and its writer."""

    disk: Disk
    directory: LogDirectory
    writer: DiskWriter
    log: PartitionLog
    clock: SimClock
    ended: asyncio.Event
    """Set by every round that ends."""
    rounds: list[RoundResult] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def append(self, value: bytes = b"v") -> None:
        """Accept one record, as a handler does."""
        batch = bytearray(encode_batch([NewRecord(0, None, value)]))
        self.log.append([batch], leader_epoch=LeaderEpoch(0), append_time=AppendTimeMs(1_000))
        self.writer.ask()

    async def came(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()`, without asking the writer for anything."""
        while not holds():
            self.ended.clear()
            await asyncio.wait_for(self.ended.wait(), WAIT_S_MAX)


@asynccontextmanager
async def bench(disk: Disk, *, floor: AppendTimeMs | None = FLOOR) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    directory = opened(disk).directory
    log = directory.partitions.get(PLACE) or directory.create(PLACE, PartitionSettings())
    rounds: list[RoundResult] = []
    failures: list[Exception] = []
    clock = SimClock(wall=WallMs(0), monotonic=MonotonicMs(0))
    came = asyncio.Event()

    def ended(result: RoundResult | None, logs: Sequence[PartitionLog]) -> None:
        del logs
        if result is not None:
            rounds.append(result)
        came.set()

    writer = DiskWriter(
        directory,
        clock=clock,
        tick=Tick(loop.call_soon),
        worker=lambda name: Worker(name, loop.call_soon_threadsafe),
        ended=ended,
        failed=failures.append,
    )
    try:
        yield Bench(disk, directory, writer, log, clock, came, rounds, failures)
    finally:
        if not failures:
            await writer.flushed()
            await writer.at_rest()
        writer.close(None if failures else floor)


async def test_what_one_tick_accepts_is_one_round() -> None:
    async with bench(SimDisk()) as one:
        await one.writer.flushed()
        del one.rounds[:]
        for _ in range(50):
            one.append()
        await one.writer.until(lambda: one.log.flushed_end == 50)
        assert len(one.rounds) == 1


async def test_an_answer_does_not_wait_for_the_files_which_have_it_soon_after() -> None:
    async with bench(SimDisk()) as one:
        await one.writer.flushed()
        for _ in range(3):
            one.append()
        await one.came(lambda: one.log.flushed_end == 3)
        assert one.log.filed_end == 0
        one.clock.advance(CHECK_MS)
        await one.came(lambda: one.log.filed_end == 3)


async def test_whoever_waits_for_the_files_need_not_wait_for_that_time() -> None:
    async with bench(SimDisk()) as one:
        await one.writer.flushed()
        one.append()
        await one.came(lambda: one.log.flushed_end == 1)
        assert one.log.filed_end == 0
        await one.writer.until(lambda: one.log.filed_end == 1)


async def test_what_arrives_while_a_round_is_written_goes_with_the_next() -> None:
    async with bench(SimDisk()) as one:
        one.append()
        await one.writer.until(lambda: one.log.flushed_end == 1)
        one.append()
        one.append()
        await one.writer.flushed()
        assert one.log.flushed_end == 3
        assert not one.directory.has_pending()


async def test_a_clean_stop_needs_no_recovery_and_any_other_does() -> None:
    disk = SimDisk()
    async with bench(disk) as one:
        one.append()
    disk.kill()
    found = opened(disk)
    assert found.clean
    assert found.clock_floor == FLOOR
    assert found.directory.partitions[PLACE].log_end == 1
    disk.kill()
    async with bench(disk, floor=None) as one:
        one.append()
    disk.kill()
    found = opened(disk)
    assert not found.clean
    assert found.directory.partitions[PLACE].log_end == 2


async def test_a_stop_waits_for_the_checkpoint_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SimDisk()
    begun, go_on = Event(), Event()
    run = LogDirectory.run_checkpoint

    def slowly(directory: LogDirectory, job: CheckpointJob) -> CheckpointResult:
        begun.set()
        go_on.wait(WAIT_S_MAX)
        return run(directory, job)

    async with bench(disk) as one:
        one.append()
        one.append()
        await one.writer.flushed()
        monkeypatch.setattr(LogDirectory, "run_checkpoint", slowly)
        one.log.trim(Offset(1))
        asked = asyncio.ensure_future(one.writer.checkpointed())
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, begun.wait, WAIT_S_MAX)
        go_on.set()
        await one.writer.flushed()
    await asked
    disk.kill()
    assert opened(disk).clean


async def test_a_failed_write_is_told_once_and_nothing_is_tried_again() -> None:
    disk = SimDisk()
    async with bench(disk) as one:
        one.append()
        await one.writer.flushed()
        disk.faults.add(Fault(Operation.WRITE, "journal", errno.ENOSPC))
        one.append()
        with pytest.raises(RequestError) as lost:
            await one.writer.until(lambda: False)
        assert lost.value.code is ErrorCode.STORAGE_ERROR
        await one.writer.flushed()  # whoever ends the node goes on: `offline` tells
        assert one.writer.offline
        (failure,) = one.failures
        assert isinstance(failure, StorageFailed)
        with pytest.raises(RequestError):
            await one.writer.until(lambda: False)
        disk.faults.add(Fault(Operation.WRITE, times=None))
        one.writer.ask()
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0)
        assert disk.faults.struck == 1
        assert one.log.flushed_end == 1


def writing_threads(directory: LogDirectory, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where each round from here on is written: the names of threads, in order."""
    threads: list[str] = []
    run = directory.run_round

    def noted(work: Round) -> RoundResult:
        threads.append(current_thread().name)
        return run(work)

    monkeypatch.setattr(directory, "run_round", noted)
    return threads


HERE = current_thread().name
THERE = "tidelog-writer-0"


@asynccontextmanager
async def without_sync(disk: Disk) -> AsyncIterator[Bench]:
    """Yield a bench whose partition has its directory, and leaves syncing to checkpoints."""
    async with bench(disk) as one:
        one.log.configure(PartitionSettings(flush=Flush.ASYNC, flush_ms=FLUSH_MS))
        one.append()
        await one.writer.flushed()
        await one.writer.checkpoint_ended()
        yield one


async def test_the_loop_writes_a_few_bytes_itself_that_nobody_syncs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with without_sync(SimDisk()) as one:
        threads = writing_threads(one.directory, monkeypatch)
        one.append()
        await one.came(lambda: one.log.written_end == 2)
        one.append(bytes(LIGHT_BYTES_MAX))
        await one.came(lambda: one.log.written_end == 3)
        assert threads == [HERE, THERE]


async def test_what_is_synced_is_never_written_by_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench(SimDisk()) as one:
        await one.writer.flushed()
        threads = writing_threads(one.directory, monkeypatch)
        one.append()
        await one.came(lambda: one.log.flushed_end == 1)
        assert threads == [THERE]


async def test_a_loop_that_had_to_wait_leaves_the_writing_to_the_thread_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with without_sync(SimDisk()) as one:
        threads = writing_threads(one.directory, monkeypatch)
        noted = one.directory.run_round

        def slow(work: Round) -> RoundResult:
            one.clock.advance(DETAIN_MS + 1)
            return noted(work)

        monkeypatch.setattr(one.directory, "run_round", slow)
        one.append()
        await one.came(lambda: one.log.written_end == 2)
        monkeypatch.setattr(one.directory, "run_round", noted)
        one.clock.advance(AWAY_MS - 1)
        one.append()
        await one.came(lambda: one.log.written_end == 3)
        one.clock.advance(1)
        one.append()
        await one.came(lambda: one.log.written_end == 4)
        assert threads == [HERE, THERE, HERE]


async def test_a_write_that_fails_on_the_loop_takes_the_directory_offline_too() -> None:
    disk = SimDisk()
    async with without_sync(disk) as one:
        disk.faults.add(Fault(Operation.WRITE, "partitions", errno.EIO))
        one.append()
        await one.writer.flushed()
        assert one.writer.offline
        assert isinstance(one.failures[0], StorageFailed)


async def test_whatever_goes_wrong_in_a_write_on_the_loop_ends_the_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with without_sync(SimDisk()) as one:
        bug = AssertionError("ROUND_ENTRIES_COUNTED")

        def broken(_: Round) -> RoundResult:
            raise bug

        monkeypatch.setattr(one.directory, "run_round", broken)
        one.append()
        await one.writer.flushed()
        assert one.writer.offline
        assert one.failures == [bug]


async def test_a_checkpoint_that_is_asked_for_is_one_taken_afterwards() -> None:
    disk = SimDisk()
    async with bench(disk, floor=None) as one:
        for _ in range(3):
            one.append()
        await one.writer.flushed()
        one.log.trim(type(one.log.log_start)(2))
        await one.writer.checkpointed()
        disk.kill()
        assert opened(disk).directory.partitions[PLACE].log_start == 2
        disk.kill()


async def test_a_round_that_was_not_begun_does_not_end() -> None:
    async with bench(SimDisk()) as one:
        one.append()
        await one.writer.flushed()
        with pytest.raises(AssertionError, match="ONE_ROUND_AT_A_TIME"):
            one.writer._end_round(one.rounds[-1])


async def test_a_checkpoint_that_was_not_begun_does_not_end() -> None:
    async with bench(SimDisk()) as one:
        one.append()
        await one.writer.flushed()
        job = one.directory.take_checkpoint(MonotonicMs(0), all=True)
        assert job is not None
        result = one.directory.run_checkpoint(job)
        with pytest.raises(AssertionError, match="ONE_CHECKPOINT_AT_A_TIME"):
            one.writer._end_checkpoint(result)
        one.directory.finish_checkpoint(result)
