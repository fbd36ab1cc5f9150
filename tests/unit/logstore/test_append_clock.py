"""The append clock under every behaviour of the wall clock (P39, P49)."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.append_clock import JUMP_MS, RESERVE_MS, TICK_MS, AppendClock
from model.ids import AppendTimeMs, MonotonicMs, WallMs

NOON = 1_700_000_000_000
YEAR = 365 * 24 * 3_600_000


@dataclass
class World:
    """A machine: what its two clocks say, and the append clock that reads them."""

    wall: int = NOON
    monotonic: int = 5_000
    floor: int = 0

    def __post_init__(self) -> None:
        self.clock = self.started()

    def started(self) -> AppendClock:
        floor = AppendTimeMs(self.floor)
        return AppendClock(floor, WallMs(self.wall), MonotonicMs(self.monotonic), reserved=floor)

    def after(self, passed_ms: int, *, wall_by: int | None = None) -> AppendTimeMs:
        """Let time pass, the wall clock by as much or by something else, and read."""
        self.monotonic += passed_ms
        self.wall += passed_ms if wall_by is None else wall_by
        return self.read()

    def read(self) -> AppendTimeMs:
        return self.clock.read(MonotonicMs(self.monotonic), WallMs(self.wall))


# Steps of a wall clock: as it should, frozen, drifting, small and large jumps either way.
PASSED = st.integers(0, 5_000)
WALL_STEPS = st.one_of(
    st.none(),
    st.just(0),
    st.integers(-200, 200),
    st.integers(-50_000, 50_000),
    st.sampled_from([YEAR, -YEAR, 61_000, -61_000]),
)
STEPS = st.lists(st.tuples(PASSED, WALL_STEPS), max_size=40)


@given(STEPS)
def test_ticks_that_never_fall_and_lean_by_a_twentieth(
    steps: list[tuple[int, int | None]],
) -> None:
    world = World()
    before = world.read()
    began, passed = before, 0
    for passed_ms, wall_by in steps:
        now = world.after(passed_ms, wall_by=wall_by)
        passed += passed_ms
        assert now % TICK_MS == 0
        assert now >= before
        assert passed_ms * 0.95 - TICK_MS <= now - before <= passed_ms * 1.05 + TICK_MS
        assert passed * 0.95 - TICK_MS <= now - began <= passed * 1.05 + TICK_MS
        assert world.clock.in_doubt == (abs(world.wall - now) > JUMP_MS) or (
            abs(abs(world.wall - now) - JUMP_MS) <= TICK_MS + passed_ms // 20
        )
        before = now


def test_a_steady_wall_clock_is_followed_to_the_tick() -> None:
    world = World(wall=NOON + 7)
    for _ in range(1_000):
        assert world.after(13) == world.wall // TICK_MS * TICK_MS


@pytest.mark.parametrize("off_by", [-59_000, -40, 40, 59_000])
def test_a_small_step_is_caught_up_with_and_no_more(off_by: int) -> None:
    world = World()
    world.after(0, wall_by=off_by)
    assert not world.clock.in_doubt
    for _ in range(abs(off_by) * 20 // 1_000 + 1):
        world.after(1_000)
    assert world.read() == world.wall // TICK_MS * TICK_MS


@pytest.mark.parametrize("jump", [YEAR, -YEAR, JUMP_MS + 1_000, -JUMP_MS - 1_000])
def test_a_jump_is_not_followed_and_leaves_a_doubt(jump: int) -> None:
    world = World()
    world.after(0, wall_by=jump)
    assert world.clock.in_doubt
    for step in range(1, 100):
        assert world.after(1_000) == NOON + 1_000 * step  # its own pace, not the slew's
        assert world.clock.in_doubt
    world.after(1_000, wall_by=1_000 - jump)
    assert not world.clock.in_doubt
    assert world.read() == world.wall // TICK_MS * TICK_MS


def test_a_frozen_wall_clock_slows_it_by_a_twentieth_and_then_not_at_all() -> None:
    world = World()
    assert world.after(10_000, wall_by=0) == NOON + 9_500
    for _ in range(20):
        world.after(10_000, wall_by=0)
    assert world.clock.in_doubt
    before = world.read()
    assert world.after(10_000, wall_by=0) == before + 10_000


def test_reading_often_leans_as_much_as_reading_seldom() -> None:
    often, seldom = World(), World()
    often.after(0, wall_by=5_000)
    seldom.after(0, wall_by=5_000)
    for _ in range(2_000):
        often.after(1)
    assert often.read() == seldom.after(2_000) == NOON + 2_100


def test_a_monotonic_clock_that_falls_is_a_bug() -> None:
    world = World()
    with pytest.raises(AssertionError, match="MONOTONIC_NEVER_FALLS"):
        world.after(-1)


# Starting again


@pytest.mark.parametrize("ahead", [-YEAR, -10, 0, 3, 10, 5_000, YEAR])
def test_a_start_is_above_the_floor_and_at_the_date_if_that_is_later(ahead: int) -> None:
    world = World(floor=(NOON + ahead) // TICK_MS * TICK_MS)
    now = world.read()
    assert now > world.floor
    assert now == max(world.floor + TICK_MS, NOON)
    assert world.clock.stepped_ms == now - NOON
    assert world.clock.in_doubt == (ahead > JUMP_MS)


@given(
    st.lists(
        st.tuples(STEPS, st.booleans(), st.integers(-YEAR, YEAR), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    )
)
def test_no_restart_goes_below_what_was_used_or_told_closed(
    runs: list[tuple[list[tuple[int, int | None]], bool, int, int]],
) -> None:
    """Runs end cleanly or not; each reserves as it goes, and the journal may lag behind."""
    world = World(floor=100)
    highest, durable = 100, AppendTimeMs(100)
    for steps, clean, date, lag in runs:
        world.floor, world.wall, world.monotonic = durable, NOON + date, 0
        world.clock = world.started()
        last_used, asked = durable, [durable]
        assert world.read() > highest
        for passed_ms, wall_by in steps:
            now = world.after(passed_ms, wall_by=wall_by)
            if world.clock.needs_reserve(now):
                asked.append(world.clock.reserve_until(now))
            if len(asked) > lag:
                durable = max(durable, asked.pop(0))
                world.clock.reserved(durable)
            closed = world.clock.closed_time(now)
            assert closed <= now
            assert closed <= durable
            assert world.read() >= closed
            last_used = now  # a batch is appended and is in the journal
            highest = max(highest, closed, last_used)
        durable = max(durable, last_used)
        if clean:
            durable = max(durable, world.clock.floor)


def test_a_reservation_is_renewed_before_it_is_used_up() -> None:
    world = World()
    reserved = 0
    world.clock.reserved(world.clock.reserve_until(world.read()))
    for _ in range(10_000):
        now = world.after(100)
        if world.clock.needs_reserve(now):
            reserved += 1
            world.clock.reserved(world.clock.reserve_until(now))
        assert world.clock.closed_time(now) == now
    assert 1_000_000 / RESERVE_MS <= reserved <= 2 * 1_000_000 / RESERVE_MS + 1


def test_a_renewal_that_is_on_its_way_to_the_disk_is_not_asked_for_again() -> None:
    """One round of the journal a second, however long one takes (0010)."""
    world = World()
    world.clock.reserved(world.clock.reserve_until(world.read()))
    asked: list[AppendTimeMs] = []
    for step in range(1_000):
        now = world.after(TICK_MS)
        if world.clock.needs_reserve(now):
            asked.append(world.clock.reserve_until(now))
        if asked and step % 20 == 19:  # a round takes 200 ms
            world.clock.reserved(asked[-1])
        assert world.clock.closed_time(now) == now
    assert 1_000 * TICK_MS / RESERVE_MS <= len(asked) <= 2 * 1_000 * TICK_MS / RESERVE_MS + 1


def test_nothing_is_told_closed_beyond_what_is_reserved() -> None:
    world = World(floor=NOON - 50)
    now = world.after(20_000)
    assert world.clock.closed_time(now) == NOON - 50
    world.clock.reserved(AppendTimeMs(NOON + 10))
    assert world.clock.closed_time(now) == NOON + 10
    with pytest.raises(AssertionError, match="RESERVED_TIME_RISES"):
        world.clock.reserved(AppendTimeMs(NOON))
    with pytest.raises(AssertionError, match="CLOSED_TIME_IS_READ"):
        world.clock.closed_time(AppendTimeMs(now + TICK_MS))


def test_what_is_to_be_reserved_rises_while_the_last_is_on_its_way_to_the_disk() -> None:
    """Another node, whose clock is a little behind, is heard between the two."""
    world = World(floor=NOON - 50)
    now = world.after(100)
    first = world.clock.reserve_until(now)
    second = world.clock.reserve_until(AppendTimeMs(now - 7))
    assert (first, second) == (now + RESERVE_MS, now + RESERVE_MS)
    world.clock.reserved(first)
    world.clock.reserved(second)
    assert world.clock.reserved_until == first


# What other nodes tell


def test_no_time_passes_on_top_of_what_was_told() -> None:
    world = World()
    world.read()
    world.monotonic += 1_000
    world.wall += 1_000
    world.clock.not_below(AppendTimeMs(NOON + 900))  # somebody else's, a moment ago
    assert world.read() == NOON + 1_000
    world.clock.not_below(AppendTimeMs(NOON + 5_000))
    assert world.read() == NOON + 5_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2_000)), max_size=60))
def test_nodes_that_tell_each_other_their_times_are_not_ahead_of_all_their_dates(
    tellings: list[tuple[int, int]],
) -> None:
    """P39: each looks at its clock as seldom as it likes; dates that agree are kept to."""
    worlds = [World(), World(wall=NOON - 300)]
    for what, passed_ms in tellings:
        for world in worlds:
            world.monotonic += passed_ms
            world.wall += passed_ms
        teller, told = worlds[what % 2], worlds[(what + 1) % 2]
        time = teller.read()
        told.clock.not_below(time)
        if what > 1:
            assert told.read() >= time
        assert time <= max(world.wall for world in worlds)
