"""P48: what waits for room in the journal goes on by itself; at the end of a node, not for ever."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.shell.disk_writer import CHECK_MS, ROOM_MS_MAX
from logstore.paths import JOURNAL
from logstore.settings import KIB
from model.errors import StorageFailed
from tests.unit.cluster.test_disk_writer import Bench, bench, opened

RESUME_MS_MAX = 30_000
AGED_MS = 120_000
"""By then every checkpoint that falls due by age has been made."""
RECORD = 4 * KIB
RECORDS = 17
"""More than the journal's one file takes."""
ROOM = 90 * KIB
"""For what one journal file holds, and not for another file."""


async def idle(at: Bench) -> None:
    """Return once both threads have done what they were given, and what follows from it."""
    for _ in range(4):
        await at.writer._checkpointer.run(lambda: None)
        await at.writer._writer.run(lambda: None)


async def passes(at: Bench, ms: int) -> None:
    """Let time pass, timer by timer."""
    for _ in range(0, ms, CHECK_MS):
        at.clock.advance(CHECK_MS)
        await idle(at)


@asynccontextmanager
async def stuck(disk: SimDisk) -> AsyncIterator[Bench]:
    """Yield a bench whose one journal file is full, and whose disk has no room for another."""
    async with bench(disk) as at:
        try:
            await fill(at, disk)
            yield at
        except BaseException as error:  # whoever waits for what never comes is not left waiting
            at.writer.fail(StorageFailed(JOURNAL, errno.EIO, str(error)))
            raise


async def fill(at: Bench, disk: SimDisk) -> None:
    at.append()
    await at.writer.flushed()
    await at.writer.checkpointed()
    disk.capacity_bytes = disk.used_bytes + ROOM
    for _ in range(RECORDS):
        at.writer.look_at_space()
        await idle(at)
        at.append(bytes(RECORD - 100))
        await idle(at)
    await passes(at, AGED_MS)
    assert len(disk.list(JOURNAL)) == 1
    assert at.log.flushed_end < at.log.log_end
    assert not at.directory.has_unsynced(), "a checkpoint has saved all but what waits"


async def test_a_full_journal_goes_on_by_itself_once_somebody_has_made_room() -> None:
    disk = SimDisk()
    capacity = disk.capacity_bytes
    async with stuck(disk) as at:
        disk.capacity_bytes = capacity
        await passes(at, RESUME_MS_MAX)
        assert at.log.flushed_end == at.log.log_end == RECORDS + 1
        assert not at.directory.has_pending()
    disk.kill()
    assert opened(disk).clean


async def test_room_that_is_not_there_after_all_is_asked_for_again() -> None:
    """A quota may refuse what the file system has, and be raised."""
    disk = SimDisk()
    capacity = disk.capacity_bytes
    async with stuck(disk) as at:
        disk.faults.add(Fault(Operation.WRITE, JOURNAL, errno.EDQUOT, times=3))
        disk.capacity_bytes = capacity
        await passes(at, RESUME_MS_MAX)
        assert disk.faults.struck == 3
        assert at.log.flushed_end == at.log.log_end


async def test_whoever_looks_at_the_space_begins_what_waited_for_it() -> None:
    disk = SimDisk()
    capacity = disk.capacity_bytes
    async with stuck(disk) as at:
        disk.capacity_bytes = capacity
        at.writer.look_at_space()
        await idle(at)
        assert at.log.flushed_end == at.log.log_end


async def test_a_node_that_ends_does_not_wait_for_room_for_ever() -> None:
    disk = SimDisk()
    async with stuck(disk) as at:
        await passes(at, ROOM_MS_MAX)
        assert not at.writer.offline, "as long as it does not end, it waits"
        at.writer.end_soon()
        flushed = asyncio.ensure_future(at.writer.flushed())
        await passes(at, ROOM_MS_MAX - CHECK_MS)
        assert not flushed.done()
        await passes(at, CHECK_MS)
        assert flushed.done()
        assert at.writer.offline
        (failure,) = at.failures
        assert isinstance(failure, StorageFailed)
        assert failure.errno == errno.ENOSPC
        acknowledged = at.log.flushed_end
    disk.kill()
    found = opened(disk)
    assert not found.clean
    (log,) = found.directory.partitions.values()
    assert log.log_end >= acknowledged


async def test_a_node_that_ends_goes_on_with_the_room_that_comes_in_time() -> None:
    disk = SimDisk()
    capacity = disk.capacity_bytes
    async with stuck(disk) as at:
        at.writer.end_soon()
        flushed = asyncio.ensure_future(at.writer.flushed())
        await passes(at, ROOM_MS_MAX // 2)
        disk.capacity_bytes = capacity
        await passes(at, 2 * CHECK_MS)
        assert flushed.done()
        assert at.log.flushed_end == at.log.log_end
        await passes(at, 2 * ROOM_MS_MAX)
        assert not at.writer.offline
