"""What is kept of the event times of removed segments: few intervals that miss nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.event_bounds import NO_EVENT_TIME, UNKNOWN, Bounds
from logstore.removed import INTERVALS_MAX, NOTHING_REMOVED, Removed
from model.ids import AppendTimeMs

TIMES = st.integers(-50, 200)


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    first = draw(TIMES)
    return Bounds(first, first + draw(st.integers(0, 10)))


@given(st.lists(bounds(), max_size=40), TIMES, st.none() | TIMES)
def test_no_removed_time_is_missed_and_few_intervals_are_exact(
    segments: list[Bounds], start: int, end: int | None
) -> None:
    removed = NOTHING_REMOVED
    for number, one in enumerate(segments):
        removed = removed.after(AppendTimeMs(number), one)
        assert len(removed.event_times) <= INTERVALS_MAX
    hit = any(one.latest >= start and (end is None or one.earliest < end) for one in segments)
    if hit:
        assert removed.meets(start, end)
    elif len(segments) <= INTERVALS_MAX:
        assert not removed.meets(start, end)


def test_dates_in_the_far_future_stay_apart_from_all_that_is_joined() -> None:
    removed = NOTHING_REMOVED.after(AppendTimeMs(0), Bounds(10**15, 10**15 + 5))
    for number in range(100):
        removed = removed.after(AppendTimeMs(number), Bounds(10 * number, 10 * number + 5))
    assert removed.meets(990, 995)
    assert not removed.meets(996, 10**15)
    assert removed.meets(996, None)


def test_what_nobody_looked_at_is_counted() -> None:
    removed = NOTHING_REMOVED.after(AppendTimeMs(10), UNKNOWN).after(AppendTimeMs(20), UNKNOWN)
    assert removed == Removed(AppendTimeMs(20), 2, ())
    assert removed.after(AppendTimeMs(30), NO_EVENT_TIME) == Removed(AppendTimeMs(30), 2, ())


def test_intervals_that_meet_are_a_bug() -> None:
    broken = Removed(AppendTimeMs(0), 0, (Bounds(0, 9), Bounds(5, 20)))
    with pytest.raises(AssertionError, match="REMOVED_ARE_APART"):
        broken.after(AppendTimeMs(10), Bounds(100, 110))
