"""The simulated clock: time passes when it is told to."""

import pytest

from api.sim.clock import SimClock
from model.ids import MonotonicMs, WallMs


def test_timers_run_at_their_times_in_order() -> None:
    clock, seen = SimClock(wall=WallMs(1_000_000)), list[tuple[str, int]]()

    def note(name: str, then: int | None = None) -> None:
        seen.append((name, clock.monotonic_ms()))
        if then is not None:
            clock.call_at(MonotonicMs(then), lambda: note("later"))

    clock.call_at(MonotonicMs(30), lambda: note("c"))
    clock.call_at(MonotonicMs(10), lambda: note("a", 20))
    clock.call_at(MonotonicMs(10), lambda: note("b"))
    cancel = clock.call_at(MonotonicMs(15), lambda: note("never"))
    cancel()
    assert clock.next_timer() == 10
    clock.advance(29)
    assert seen == [("a", 10), ("b", 10), ("later", 20)]
    assert (clock.monotonic_ms(), clock.wall_ms(), clock.next_timer()) == (29, 1_000_029, 30)
    clock.advance(1)
    assert seen[-1] == ("c", 30)
    assert clock.next_timer() is None
    cancel()


def test_a_timer_in_the_past_runs_at_once_and_time_does_not_fall() -> None:
    clock, seen = SimClock(wall=WallMs(0), monotonic=MonotonicMs(500)), list[int]()
    clock.call_at(MonotonicMs(100), lambda: seen.append(clock.monotonic_ms()))
    clock.advance(0)
    assert seen == [500]


def test_the_date_jumps_and_drifts_and_the_monotonic_does_not() -> None:
    clock = SimClock(wall=WallMs(1_000_000), drift_ppm=1_000)
    clock.advance(10_000)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (10_000, 1_010_010)
    clock.set_wall(WallMs(5))
    assert (clock.monotonic_ms(), clock.wall_ms()) == (10_000, 5)
    clock.advance(1_000)
    assert clock.wall_ms() == 1_006


def test_time_never_falls() -> None:
    with pytest.raises(AssertionError, match="SIM_TIME_NEVER_FALLS"):
        SimClock(wall=WallMs(0)).advance(-1)
