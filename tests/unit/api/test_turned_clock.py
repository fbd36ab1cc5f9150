"""The clock of `tidelog.testing`: timer by timer, and what each sets off comes before the next."""

import asyncio
from collections.abc import Callable

import pytest

from api.sim.clock import CANCELLED_KEPT
from api.testing.turned_clock import TurnedClock, TurnedSpawn
from model.ids import MonotonicMs, WallMs


def at(ms: int) -> MonotonicMs:
    return MonotonicMs(ms)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(wall=WallMs(1_000))


async def test_what_a_timer_sets_off_comes_before_the_next_timer(clock: TurnedClock) -> None:
    seen: list[tuple[str, int]] = []
    failures: list[BaseException] = []
    spawn = TurnedSpawn(failures.append)

    def note(what: str) -> None:
        seen.append((what, clock.wall_ms()))

    async def work(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        note(f"{name} done")

    def timer(name: str) -> Callable[[], None]:
        def wake() -> None:
            note(name)
            spawn.start(work(name), name)

        return wake

    clock.call_at(at(20), timer("b"))
    clock.call_at(at(10), timer("a"))
    clock.call_at(at(31), timer("late"))
    await clock.turn(30, spawn.rest)
    assert seen == [("a", 1_010), ("a done", 1_010), ("b", 1_020), ("b done", 1_020)]
    assert (clock.monotonic_ms(), failures) == (30, [])
    await clock.turn(1, spawn.rest)
    await spawn.close()
    assert seen[4:] == [("late", 1_031), ("late done", 1_031)]


async def test_a_task_that_waits_for_the_clock_is_not_waited_for(clock: TurnedClock) -> None:
    spawn, seen = TurnedSpawn(list[BaseException]().append), list[int]()

    async def work() -> None:
        over = asyncio.get_running_loop().create_future()
        clock.call_at(at(clock.monotonic_ms() + 5), lambda: over.set_result(None))
        await over
        seen.append(clock.monotonic_ms())

    clock.call_at(at(10), lambda: spawn.start(work(), "waits"))
    async with asyncio.timeout(10):
        await clock.turn(100, spawn.rest)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(seen) == 1
    await spawn.close()


async def test_tasks_that_no_timer_started_are_not_waited_for(clock: TurnedClock) -> None:
    spawn = TurnedSpawn(list[BaseException]().append)
    spawn.start(asyncio.Event().wait(), "waits for ever")  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await clock.turn(100, spawn.rest)
    assert len(spawn) == 1
    await spawn.close()


async def test_what_a_task_of_a_timer_fails_with_is_told(clock: TurnedClock) -> None:
    failures: list[BaseException] = []
    spawn = TurnedSpawn(failures.append)

    async def fails() -> None:
        raise RuntimeError("broken")

    clock.call_at(at(10), lambda: spawn.start(fails(), "fails"))
    await clock.turn(10, spawn.rest)
    await asyncio.sleep(0)
    assert [str(one) for one in failures] == ["broken"]


def test_timers_that_were_cancelled_leave_nothing_behind(clock: TurnedClock) -> None:
    seen: list[int] = []
    clock.call_at(at(7), lambda: seen.append(7))
    for _ in range(10 * CANCELLED_KEPT):
        clock.call_at(at(5), lambda: seen.append(5))()
    assert len(clock._timers) <= 2 * CANCELLED_KEPT
    assert clock.next_timer() == 7
    clock.advance(9)
    assert seen == [7]


async def test_what_goes_on_all_along_has_gone_on_until_a_timer(clock: TurnedClock) -> None:
    seen: list[tuple[str, int]] = []

    async def settled() -> None:
        seen.append(("settled", clock.monotonic_ms()))

    for when in (10, 30):
        clock.call_at(MonotonicMs(when), lambda: seen.append(("timer", clock.monotonic_ms())))
    await clock.turn(40, settled, ahead=lambda: seen.append(("ahead", clock.monotonic_ms())))
    assert seen == [
        ("ahead", 9), ("timer", 10), ("settled", 10),
        ("ahead", 29), ("timer", 30), ("settled", 30), ("settled", 40),
    ]  # fmt: skip
