"""Where other nodes wait for it, a round is told to be written while its sync takes long."""

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import pytest

from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from api.sim.workers import DeferredWorker
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.long_sync import LONG_MS
from cluster.shell.tick import Tick
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.round import RoundResult
from logstore.settings import Flush, LogSettings, PartitionSettings
from model.errors import StorageFailed
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
from model.record import NewRecord

TOPIC: Final = TopicId(bytes(range(16)))
DIRECT_BYTES: Final = 4_096


def opened(disk: SimDisk) -> LogDirectory:
    settings = LogSettings(journal_file_bytes=64 << 10, direct_append_bytes_min=DIRECT_BYTES)
    whose = Identity(bytes(16), "c", NodeId(0), RegistrationEpoch(0))
    return LogDirectory.open(
        disk, settings, rand=Random(7), now_wall=WallMs(0), identity=whose
    ).directory


class Node:
    """A directory, and its writer, whose threads do one half of a job when they are told to."""

    def __init__(self, *, has_peers: bool = True) -> None:
        self.disk = SimDisk()
        self.clock = SimClock(wall=WallMs(0), monotonic=MonotonicMs(0))
        self.directory = opened(self.disk)
        self.jobs: deque[Callable[[], None]] = deque()
        self.later: deque[Callable[[], object]] = deque()
        self.told: list[tuple[RoundResult | None, list[PartitionLog]]] = []
        self.failures: list[Exception] = []
        self.writer = DiskWriter(
            self.directory,
            clock=self.clock,
            tick=Tick(self.later.append),
            worker=lambda _: DeferredWorker(self._hand_over, self.jobs.append),
            ended=lambda result, logs: self.told.append((result, list(logs))),
            failed=self.failures.append,
        )
        if has_peers:
            self.writer.tell_written()
        self.log = self.create(0)
        self.rest()

    def create(self, number: int, flush: Flush = Flush.QUORUM) -> PartitionLog:
        return self.directory.create(PartitionId(TOPIC, number), PartitionSettings(flush=flush))

    def append(self, log: PartitionLog | None = None, value: bytes = b"v") -> None:
        """Accept a record, and let the tick end: a round begins if none is under way."""
        batch = bytearray(encode_batch([NewRecord(0, None, value)]))
        one = self.log if log is None else log
        one.append([batch], leader_epoch=LeaderEpoch(0), append_time=AppendTimeMs(1_000))
        self.tick()

    def tick(self) -> None:
        self.writer.ask()
        while self.later:
            self.later.popleft()()

    def _hand_over(self, call: Callable[..., object], *given: object) -> None:
        self.later.append(partial(call, *given))

    def job(self, *, heard: bool = True) -> None:
        """Let a thread do what is next, the write of a round or its sync; and the loop hear of it.

        While it has not heard of it, it does nothing else.
        """
        self.jobs.popleft()()
        while heard and self.later:
            self.later.popleft()()

    def rest(self) -> None:
        """Let everything be done that is to be done, and forget what was told of it."""
        self.tick()
        while self.jobs:
            self.job()
        self.told.clear()

    @property
    def ends(self) -> tuple[int, int]:
        return self.log.written_end, self.log.flushed_end


def test_of_a_short_round_only_its_end_is_told() -> None:
    node = Node()
    node.append()
    node.job()
    node.clock.advance(LONG_MS - 1)
    node.job()
    node.clock.advance(10 * LONG_MS)
    ((result, logs),) = node.told
    assert result is not None and logs == [node.log]
    assert node.ends == (1, 1)


def test_while_a_sync_takes_long_what_is_written_is_told_once() -> None:
    node = Node()
    node.append()
    node.job()
    assert node.ends == (0, 0)
    node.clock.advance(LONG_MS)
    assert node.ends == (1, 0)
    assert node.told == [(None, [node.log])]
    node.clock.advance(10 * LONG_MS)
    assert len(node.told) == 1
    node.job()
    assert node.ends == (1, 1)
    ((_, _), (result, logs)) = node.told
    assert result is not None and logs == [node.log]


def test_nothing_is_told_before_it_is_written() -> None:
    node = Node()
    node.append()
    node.clock.advance(LONG_MS)
    assert (node.ends, node.told) == ((0, 0), [])
    node.job()
    node.clock.advance(LONG_MS)
    assert node.ends == (1, 0)


def test_a_round_behind_a_short_one_has_its_own_time() -> None:
    node = Node()
    node.append()
    node.clock.advance(LONG_MS - 1)
    node.job()
    node.job()
    node.append()
    node.job()
    node.clock.advance(LONG_MS - 1)
    assert node.ends == (1, 1)
    node.clock.advance(1)
    assert node.ends == (2, 1)


def test_every_long_round_is_told() -> None:
    node = Node()
    for count in range(1, 4):
        node.append()
        node.job()
        node.clock.advance(LONG_MS)
        assert node.ends == (count, count - 1)
        node.job()
        assert node.ends == (count, count)


def test_a_node_that_is_alone_hears_of_the_end_only_and_sets_no_timer() -> None:
    node = Node(has_peers=False)
    before = node.clock.next_timer()
    node.append()
    assert node.clock.next_timer() == before
    node.clock.advance(10 * LONG_MS)
    assert node.told == []
    node.job()  # written and synced
    assert node.ends == (1, 1)
    beside = Node()
    beside.append()
    assert beside.clock.next_timer() == LONG_MS


def test_a_sync_that_fails_once_it_was_told_takes_nothing_back_and_ends_the_directory() -> None:
    node = Node()
    node.disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
    node.append()
    node.job()
    node.clock.advance(LONG_MS)
    node.job()
    assert node.ends == (1, 0)
    assert node.writer.offline
    (failure,) = node.failures
    assert isinstance(failure, StorageFailed)
    node.append()
    node.clock.advance(10 * LONG_MS)
    assert node.told == [(None, [node.log])]
    assert not node.jobs


def test_nothing_is_told_of_a_sync_that_has_failed() -> None:
    node = Node()
    node.disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
    node.append()
    node.job()
    node.job()
    node.clock.advance(LONG_MS)
    assert (node.ends, node.told) == ((0, 0), [])


def test_nor_while_the_loop_has_not_heard_that_it_has() -> None:
    node = Node()
    node.disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
    node.append()
    node.job()
    node.job(heard=False)
    node.clock.advance(LONG_MS)
    assert (node.ends, node.told) == ((0, 0), [])


def test_a_round_that_is_never_written_is_never_told() -> None:
    node = Node()
    told: list[bool] = []

    def before(operation: Operation, name: str, size: int) -> None:
        del name, size
        if operation is Operation.WRITE:
            node.disk.before = None
            node.clock.advance(LONG_MS)  # the loop goes on while the kernel takes its time
            told.append(bool(node.told))

    node.append()
    node.disk.before = before
    node.job()
    assert told == [False]
    node.clock.advance(LONG_MS)
    assert node.told


def test_a_write_that_fails_is_never_told() -> None:
    node = Node()
    node.disk.faults.add(Fault(Operation.WRITE, "journal", errno.EIO))
    node.append()
    node.job()
    node.clock.advance(LONG_MS)
    assert (node.ends, node.told, node.writer.offline) == ((0, 0), [], True)
    assert not node.jobs  # and nothing is synced


async def test_a_stop_waits_for_the_sync_of_what_was_told() -> None:
    node = Node()
    node.append()
    node.job()
    node.clock.advance(LONG_MS)
    flushed = asyncio.ensure_future(node.writer.flushed())
    resting = asyncio.ensure_future(node.writer.at_rest())
    await asyncio.sleep(0)
    node.tick()
    assert not flushed.done() and not resting.done()
    while node.jobs:
        node.job()
    await flushed
    await resting
    node.told.clear()
    node.writer.close(AppendTimeMs(2_000))
    node.clock.advance(10 * LONG_MS)
    assert node.told == []
    node.disk.kill()
    assert opened(node.disk).partitions[node.log.id].log_end == 1


def test_a_cut_that_is_asked_for_meanwhile_is_not_passed() -> None:
    node = Node()
    for _ in range(3):
        node.append()
    node.rest()
    node.append()
    node.job()
    node.log.truncate(Offset(2))
    node.clock.advance(LONG_MS)
    assert node.ends == (2, 2)
    node.rest()
    assert (node.log.log_end, *node.ends) == (2, 2, 2)


def test_of_a_partition_that_was_deleted_meanwhile_nothing_is_told() -> None:
    node = Node()
    node.append()
    node.job()
    node.directory.delete(node.log.id)
    node.clock.advance(LONG_MS)
    assert node.told == []


def test_what_goes_to_the_files_behind_the_sync_is_not_written_yet() -> None:
    node = Node()
    other = node.create(1, Flush.ASYNC)
    node.rest()
    node.append(other)
    node.rest()
    before = other.written_end
    node.tick()
    batch = bytearray(encode_batch([NewRecord(0, None, b"v")]))
    other.append([batch], leader_epoch=LeaderEpoch(0), append_time=AppendTimeMs(1_000))
    node.append()
    node.job()
    node.clock.advance(LONG_MS)
    assert node.told == [(None, [node.log])]
    assert other.written_end == before
    node.job()
    assert other.written_end == before + 1


def test_a_round_of_nothing_for_the_journal_is_told_at_its_end() -> None:
    node = Node()
    other = node.create(1, Flush.ASYNC)
    node.rest()
    node.append(other, bytes(100 << 10))
    node.clock.advance(10 * LONG_MS)
    node.job()
    assert [result is None for result, _ in node.told] == [False]


@pytest.mark.parametrize("size", [1, DIRECT_BYTES], ids=["in the journal", "in its own file"])
def test_what_is_told_survives_a_kill_and_perhaps_no_power_cut(size: int) -> None:
    for cut, left in ((False, 2), (True, 1)):
        node = Node()
        node.append()
        node.rest()
        node.log.sync()  # a row: runs may go to their files
        node.rest()
        node.append(value=bytes(size))
        node.job()
        assert (node.log.carriage.direct_end > 0) is (size == DIRECT_BYTES)
        node.clock.advance(LONG_MS)
        assert node.ends == (2, 1)
        if cut:
            node.disk.power_cut(lambda pending: pending.nothing)
        else:
            node.disk.kill()
        assert opened(node.disk).partitions[node.log.id].log_end == left


def test_a_log_does_not_begin_behind_what_a_power_cut_leaves() -> None:
    node = Node()
    node.append()
    node.rest()
    node.append()
    node.job()
    node.clock.advance(LONG_MS)
    assert node.ends == (2, 1)
    with pytest.raises(AssertionError, match="LOG_START_IS_WRITTEN"):
        node.log.trim(Offset(2))
    node.log.trim(Offset(1))
    node.job()
    node.log.trim(Offset(2))
