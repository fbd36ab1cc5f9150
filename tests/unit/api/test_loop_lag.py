"""Loop lag: measured by the passes themselves, free when nothing happens."""

from collections.abc import Callable

import pytest

from api.http.door import HttpDoor
from api.loop_lag import BOUNDS_US, LoopLag
from api.settings import HttpListener
from cluster.shell.tick import Tick


class Loop:
    """A loop whose passes take as long as a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.ready.append(call)

    def run(self, took_s: float) -> None:
        self.now += took_s
        calls, self.ready = self.ready, []
        for call in calls:
            call()


def test_a_pass_is_counted_in_the_bucket_of_its_duration() -> None:
    loop = Loop()
    lag = LoopLag(loop.call_soon, lambda: loop.now)
    tick = Tick(lag.call_soon)
    ended: list[str] = []
    tick.at_end(lambda: ended.append("a"))
    tick.at_end(lambda: ended.append("b"))
    loop.run(0.003)
    assert ended == ["a", "b"]
    assert lag.counts[BOUNDS_US.index(5_000)] == 1
    tick.at_end(lambda: None)
    loop.run(2.0)
    assert lag.counts[-1] == 1
    assert sum(lag.counts) == 2
    assert lag.max_us == pytest.approx(2_000_000, abs=2)
    assert lag.total_us == pytest.approx(2_003_000, abs=4)


def test_an_idle_loop_is_not_asked_for_anything() -> None:
    loop = Loop()
    lag = LoopLag(loop.call_soon, lambda: loop.now)
    assert loop.ready == []
    assert sum(lag.counts) == 0


def test_a_bound_belongs_to_its_own_bucket() -> None:
    lag = LoopLag(lambda call: None, lambda: 0.0)
    for bound in BOUNDS_US:
        lag.note(bound)
    assert lag.counts == [1] * len(BOUNDS_US) + [0]


def test_a_door_that_is_switched_off_is_not_made() -> None:
    with pytest.raises(AssertionError, match="HTTP_DOOR_HAS_ADDRESS"):
        HttpDoor(HttpListener(bind=None), None)  # type: ignore[arg-type]
