"""The museum, fourth room: the end of the log as an answer that looks like another."""

import pytest

from logstore.event_bounds import INT64_MAX
from logstore.time_search import End, Found, TimeBounds, offset_for_time, range_bounds
from model.ids import Offset
from model.record import ClockKind, TimeRange
from tests.searchable_log import Drive, MemoryLog, Sent

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
CLOCKS = pytest.mark.parametrize("clock", ClockKind)
NOON_MS = 1_700_000_000_000


@CLOCKS
@pytest.mark.parametrize("scale", [1_000, 1_000_000])
def test_a_time_in_the_wrong_unit_ends_in_an_answer_of_its_own(
    clock: ClockKind, scale: int
) -> None:
    """confluent-dotnet #420: times counted from another epoch led to the end, always, silently.

    The end is never an offset that could be a record's: it is told as the end, and how far that
    was. That micro- and nanoseconds are refused where a time is entered is another test's.
    """
    log = MemoryLog([Sent(times=[NOON_MS], append_time=NOON_MS)])
    answer = Drive(log).run(offset_for_time(log, NOON_MS * scale, clock, end=log.log_end))
    assert answer == End(Offset(1), truncated=False)
    assert not isinstance(answer, Found)


@CLOCKS
@pytest.mark.parametrize("asked", [-1, 0, 5, INT64_MAX])
def test_an_empty_partition_has_an_end_and_no_record(clock: ClockKind, asked: int) -> None:
    """The same for a partition without a record, never written or trimmed to its end."""
    log = MemoryLog([])
    assert Drive(log).run(offset_for_time(log, asked, clock, end=Offset(0))) == End(
        Offset(0), truncated=False
    )
    bounds = Drive(log).run(range_bounds(log, TimeRange(clock, 0, asked), end=Offset(0)))
    assert bounds == TimeBounds(Offset(0), Offset(0), truncated=False)
    log = MemoryLog([Sent(times=[5], append_time=10)])
    log.log_start = Offset(1)
    answer = Drive(log).run(offset_for_time(log, asked, clock, end=Offset(1)))
    trimmed = 10 if clock is APPEND else 5  # the segment that holds it is still there
    assert answer == End(Offset(1), truncated=asked <= trimmed)


@CLOCKS
def test_an_idle_partition_answers_at_once(clock: ClockKind) -> None:
    """A range that ends after the last record is complete as far as the log goes."""
    log = MemoryLog([Sent(times=[10], append_time=10), Sent(times=[20], append_time=20)])
    bounds = Drive(log).run(range_bounds(log, TimeRange(clock, 15, 10**9), end=log.log_end))
    assert bounds == TimeBounds(Offset(1), Offset(2), truncated=False)
    bounds = Drive(log).run(range_bounds(log, TimeRange(clock, 30, 10**9), end=log.log_end))
    assert bounds == TimeBounds(Offset(2), Offset(2), truncated=False)


def test_a_record_without_event_time_is_no_answer() -> None:
    """-1 stands for none; as a time it would come before everything, or be everyone's answer."""
    log = MemoryLog([Sent(times=[-1, -1]), Sent(times=[-1, 7])])
    for asked in (-(10**6), -1, 0, 7):
        answer = Drive(log).run(offset_for_time(log, asked, EVENT, end=log.log_end))
        assert answer == Found(Offset(3), 7, truncated=False)
    assert Drive(log).run(offset_for_time(log, 8, EVENT, end=log.log_end)) == End(
        Offset(4), truncated=False
    )
