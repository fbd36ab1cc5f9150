"""The loop of a simulation: time that waits for work, and lanes that keep their order."""

import asyncio
from random import Random

import pytest

from api.sim.loop import US_PER_S, SimLoop


def simulated(seed: int = 1) -> SimLoop:
    return SimLoop.begin(Random(seed).randrange)


def all_of(loop: SimLoop) -> None:
    loop.run_until(lambda: False, steps=10_000)


def test_time_passes_only_where_nothing_is_ready() -> None:
    loop = simulated()
    seen: list[tuple[str, float]] = []

    async def work() -> None:
        seen.append(("begun", loop.time()))
        await asyncio.sleep(3_600)
        seen.append(("an hour later", loop.time()))

    loop.post(loop.outside, lambda: loop.create_task(work()))
    all_of(loop)
    assert seen == [("begun", 0.0), ("an hour later", 3_600.0)]


def test_a_lane_keeps_the_order_in_which_it_was_asked() -> None:
    for seed in range(20):
        loop = simulated(seed)
        done: dict[str, list[int]] = {"a": [], "b": []}
        for name, into in done.items():
            lane = loop.new_lane(name)
            for number in range(20):
                loop.post(lane, into.append, number)
        all_of(loop)
        assert done == {"a": list(range(20)), "b": list(range(20))}


def test_who_is_next_is_chosen_and_the_choice_repeats() -> None:
    def order(seed: int) -> list[str]:
        loop, done = simulated(seed), list[str]()
        for name in ("a", "b", "c"):
            lane = loop.new_lane(name)

            def again(left: int, name: str = name) -> None:
                done.append(name)
                if left:
                    loop.call_soon(again, left - 1)

            loop.post(lane, again, 5)
        all_of(loop)
        return done

    orders = [order(seed) for seed in range(10)]
    assert [order(seed) for seed in range(10)] == orders
    assert len({tuple(one) for one in orders}) > 5


def test_what_falls_due_while_a_lane_is_held_waits_for_it() -> None:
    loop, seen = simulated(), list[float]()
    lane = loop.new_lane("a")
    loop.post_at(lane, 1 * US_PER_S, lambda: seen.append(loop.time()))
    lane.held = True

    def go_on() -> None:
        lane.held = False

    loop.post_at(loop.outside, 5 * US_PER_S, go_on)
    all_of(loop)
    assert seen == [5.0]


def test_a_lane_that_is_over_does_nothing_any_more() -> None:
    loop, seen = simulated(), list[str]()
    lane = loop.new_lane("a")

    async def work() -> None:
        seen.append("begun")
        await asyncio.sleep(2)
        seen.append("not to be")

    loop.post(lane, lambda: loop.create_task(work()))
    loop.post_at(loop.outside, 1 * US_PER_S, loop.end_lane, lane)
    all_of(loop)
    assert seen == ["begun"]


def test_what_nobody_catches_ends_the_run() -> None:
    loop = simulated()

    def broken() -> None:
        raise ValueError("a bug")

    loop.post(loop.outside, broken)
    with pytest.raises(ValueError, match="a bug"):
        all_of(loop)


def test_a_timeout_of_asyncio_is_virtual() -> None:
    loop, seen = simulated(), list[float]()

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await loop.create_future()
        seen.append(loop.time())

    loop.post(loop.outside, lambda: loop.create_task(work()))
    all_of(loop)
    assert seen == [60.0]
