"""The end of a tick, and the threads that hand results back to the loop."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from cluster.shell.tick import Tick
from cluster.shell.worker import Worker


async def test_what_arrived_together_ends_together_and_in_order() -> None:
    loop = asyncio.get_running_loop()
    tick = Tick(loop.call_soon)
    happened: list[str] = []

    def first() -> None:
        happened.append("first")
        tick.at_end(lambda: happened.append("of the next tick"))

    def arrive(what: str, at_end: Callable[[], None]) -> None:
        happened.append(what)
        tick.at_end(at_end)

    loop.call_soon(arrive, "a", first)
    loop.call_soon(arrive, "b", lambda: happened.append("second"))
    ended = asyncio.Event()
    loop.call_soon(
        lambda: loop.call_soon(lambda: loop.call_soon(lambda: loop.call_soon(ended.set)))
    )
    await ended.wait()
    assert happened == ["a", "b", "first", "second", "of the next tick"]


async def test_a_call_that_raises_takes_no_other_with_it() -> None:
    loop = asyncio.get_running_loop()
    tick = Tick(loop.call_soon)
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    happened: list[str] = []
    ended = asyncio.Event()

    def breaks() -> None:
        tick.at_end(lambda: happened.append("of the next tick"))
        tick.at_end(ended.set)
        raise ZeroDivisionError

    tick.at_end(breaks)
    tick.at_end(lambda: happened.append("beside it"))
    await ended.wait()
    assert happened == ["beside it", "of the next tick"]
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_a_worker_hands_results_and_errors_to_the_loop() -> None:
    worker = Worker("test", asyncio.get_running_loop().call_soon_threadsafe)
    here = threading.get_ident()
    assert await worker.run(threading.get_ident) != here
    seen: asyncio.Future[int] = asyncio.Future()
    worker.submit(lambda: 1, lambda _: seen.set_result(threading.get_ident()), seen.set_exception)
    assert await seen == here
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    worker.close()


async def test_jobs_of_one_thread_run_in_order_and_closing_finishes_them() -> None:
    worker = Worker("test", asyncio.get_running_loop().call_soon_threadsafe)
    ran: list[int] = []
    for number in range(100):
        worker.submit(partial(ran.append, number), lambda _: None, lambda _: None)
    worker.close()
    assert ran == list(range(100))


async def test_a_result_nobody_waits_for_any_more_is_dropped() -> None:
    worker = Worker("test", asyncio.get_running_loop().call_soon_threadsafe)
    may_end = threading.Event()
    task = asyncio.ensure_future(worker.run(may_end.wait))
    await asyncio.wait([task], timeout=0)
    task.cancel()
    may_end.set()
    assert await worker.run(lambda: "next") == "next"
    with pytest.raises(asyncio.CancelledError):
        await task
    worker.close()


class Given:
    """What a job is given."""

    def read(self) -> None:
        """Be used."""


def test_a_thread_that_waits_for_a_job_holds_nothing_of_the_last_one() -> None:
    gone = threading.Event()
    worker = Worker("test", lambda call, *given: call(*given))
    given = Given()
    weakref.finalize(given, gone.set)
    worker.submit(given.read, lambda _: None, lambda _: None)
    del given
    assert gone.wait(30)
    worker.close()
