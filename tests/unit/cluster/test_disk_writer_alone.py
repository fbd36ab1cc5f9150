"""A job that changes files runs while neither a round nor a checkpoint does, or not at all."""

import asyncio
from threading import Event

import pytest

from api.sim.disk import SimDisk
from model.errors import ErrorCode, RequestError, StorageFailed
from tests.unit.cluster.test_disk_writer import WAIT_S_MAX, Bench, bench


def always() -> bool:
    return True


async def test_rounds_and_checkpoints_wait_for_it() -> None:
    async with bench(SimDisk()) as at:
        at.append()
        await at.writer.flushed()
        rounds, begun, goes_on = len(at.rounds), asyncio.Event(), Event()
        loop = asyncio.get_running_loop()

        def job() -> None:
            loop.call_soon_threadsafe(begun.set)
            assert goes_on.wait(WAIT_S_MAX)

        alone = asyncio.ensure_future(at.writer.alone(job, still=always))
        await asyncio.wait_for(begun.wait(), WAIT_S_MAX)
        at.append(b"later")
        saved = asyncio.ensure_future(at.writer.checkpointed())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(at.rounds) == rounds
        assert not saved.done()
        goes_on.set()
        assert await alone
        await saved
        assert at.log.flushed_end == 2


async def test_it_waits_for_a_round_that_is_under_way() -> None:
    disk, goes_on = SimDisk(), Event()
    async with bench(disk) as at:
        at.append()
        await at.writer.flushed()
        order: list[str] = []
        hold_the_next_sync(disk, goes_on)
        at.append(b"under way")
        for _ in range(5):
            await asyncio.sleep(0)
        alone = asyncio.ensure_future(
            at.writer.alone(lambda: order.append(f"{len(at.rounds)}"), still=always)
        )
        before = len(at.rounds)
        goes_on.set()
        assert await asyncio.wait_for(alone, WAIT_S_MAX)
        assert order == [str(before + 1)]


def hold_the_next_sync(disk: SimDisk, goes_on: Event) -> None:
    """Let the next operation of the writer wait."""

    def before(operation: object, name: str, size: int) -> None:
        del operation, name, size
        assert goes_on.wait(WAIT_S_MAX)

    disk.before = before


async def test_what_does_not_hold_any_more_when_its_turn_comes_is_not_done() -> None:
    done: list[bool] = []
    async with bench(SimDisk()) as at:
        assert not await at.writer.alone(lambda: done.append(True), still=lambda: False)
        at.append()
        await at.writer.flushed()
    assert not done


async def test_a_job_that_fails_takes_the_directory_offline() -> None:
    def fails() -> None:
        raise StorageFailed("f", 5, "replace")

    async with bench(SimDisk(), floor=None) as at:
        first = asyncio.ensure_future(at.writer.alone(fails, still=always))
        second = asyncio.ensure_future(at.writer.alone(lambda: None, still=always))
        for waiting in (first, second):
            with pytest.raises(RequestError) as told:
                await asyncio.wait_for(waiting, WAIT_S_MAX)
            assert told.value.code is ErrorCode.STORAGE_ERROR
        assert at.writer.offline
        assert len(at.failures) == 1


async def test_a_node_that_ends_begins_none_and_ends_those_that_were_begun() -> None:
    done: list[int] = []
    async with bench(SimDisk()) as at:
        waiting = [
            asyncio.ensure_future(at.writer.alone(lambda: done.append(1), still=always))
            for _ in range(3)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        await at.writer.at_rest()
        assert len(done) == 3
        assert all([await one for one in waiting])
        with pytest.raises(RequestError, match="the node ends"):
            await at.writer.alone(lambda: None, still=always)


async def test_a_node_that_ends_keeps_nobody_waiting_for_a_checkpoint() -> None:
    async with bench(SimDisk()) as at:
        await at.writer.flushed()
        await at.writer.at_rest()
        with pytest.raises(RequestError) as told:
            await asyncio.wait_for(at.writer.checkpointed(), WAIT_S_MAX)
        assert told.value.code is ErrorCode.SHUTTING_DOWN


async def test_a_checkpoint_that_the_end_has_overtaken_is_not_waited_for() -> None:
    disk, goes_on = SimDisk(), Event()
    async with bench(disk) as at:
        hold_the_next_sync(disk, goes_on)
        at.append()
        for _ in range(5):
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(at.writer.checkpointed())
        await asyncio.sleep(0)
        rest = asyncio.ensure_future(at.writer.at_rest())
        await asyncio.sleep(0)
        goes_on.set()
        with pytest.raises(RequestError, match="the node ends"):
            await asyncio.wait_for(waiting, WAIT_S_MAX)
        await asyncio.wait_for(rest, WAIT_S_MAX)


async def test_who_was_cancelled_holds_nobody_up() -> None:
    done: list[int] = []
    async with bench(SimDisk()) as at:
        gone = asyncio.ensure_future(at.writer.alone(lambda: done.append(1), still=always))
        await asyncio.sleep(0)
        gone.cancel()
        await see_that_it_goes_on(at)
    assert len(done) <= 1


async def see_that_it_goes_on(at: Bench) -> None:
    at.append()
    await asyncio.wait_for(at.writer.flushed(), WAIT_S_MAX)
    assert at.log.flushed_end == 1
