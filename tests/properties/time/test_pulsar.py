"""The museum, second room: seeks by time that went wrong in Pulsar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.append_clock import AppendClock
from logstore.time_search import End, Found, offset_for_time, sweep_events
from model.ids import AppendTimeMs, MonotonicMs, Offset, WallMs
from model.record import ClockKind
from tests.searchable_log import Drive, MemoryLog, Sent

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
CLOCKS = pytest.mark.parametrize("clock", ClockKind)
BATCHES = st.lists(st.lists(st.integers(-1, 12), min_size=1, max_size=3), min_size=1, max_size=8)


def built(batches: list[list[int]], per_segment: int = 3) -> MemoryLog:
    return MemoryLog(
        [
            Sent(times=times, append_time=10 * number, new_segment=number % per_segment == 0)
            for number, times in enumerate(batches)
        ],
        interval_bytes=1,
    )


@CLOCKS
@given(batches=BATCHES, asked=st.integers(-2, 90))
def test_the_answer_is_never_before_the_time(
    clock: ClockKind, batches: list[list[int]], asked: int
) -> None:
    """Pulsar #6393: the seek ended at the last message before T instead of the first after it."""
    log = built(batches)
    found = Drive(log).run(offset_for_time(log, asked, clock, end=log.log_end))
    if isinstance(found, Found):
        assert found.time >= asked
        assert log.records[found.offset].time(clock) == found.time


@given(BATCHES, st.integers(-2, 14))
def test_times_that_fall_never_send_a_reader_to_the_beginning(
    batches: list[list[int]], asked: int
) -> None:
    """Pulsar #23910: a binary search over times that are not sorted lost its way.

    The cursor was reset to the earliest message, and the whole topic was processed again. Every
    record before the answer is older than T here, however unsorted they are.
    """
    log = built(batches)
    found = Drive(log).run(offset_for_time(log, asked, EVENT, end=log.log_end))
    before = found.offset if isinstance(found, Found) else found.end
    assert all(record.event_time < asked or not record.has(EVENT) for record in log.visible(before))


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-90_000, 90_000)), max_size=20))
def test_append_times_cannot_fall(steps: list[tuple[int, int]]) -> None:
    """Pulsar #23910, the cause: publish times came from clocks that were set back.

    With the append clock between, a lookup by append time is a search over sorted times.
    """
    wall, monotonic = 1_700_000_000_000, 0
    clock = AppendClock(
        AppendTimeMs(0), WallMs(wall), MonotonicMs(monotonic), reserved=AppendTimeMs(0)
    )
    batches = []
    for passed_ms, set_by in steps:
        monotonic += passed_ms
        wall += passed_ms + set_by
        time = clock.read(MonotonicMs(monotonic), WallMs(wall))
        batches.append(Sent(times=[wall], append_time=time))
    log = MemoryLog(batches)
    for record in log.records:
        found = Drive(log).run(offset_for_time(log, record.append_time, APPEND, end=log.log_end))
        same_tick = [r.offset for r in log.records if r.append_time == record.append_time]
        assert found == Found(Offset(same_tick[0]), record.append_time, truncated=False)


@pytest.mark.parametrize("segments", [1, 10, 200])
def test_a_lookup_does_not_scan_the_log(segments: int) -> None:
    """Pulsar #22792, #24219: the seek opened every ledger of the topic and timed out.

    Once the sweep has been there, one block answers, however long the log is: blocks are counted.
    """
    log = MemoryLog(
        [
            Sent(times=[10 * n], append_time=10 * n, new_segment=n % 5 == 0)
            for n in range(5 * segments)
        ],
        interval_bytes=1,
    )
    Drive(log).run(sweep_events(log))
    drive = Drive(log)
    last = Offset(5 * segments - 1)
    for clock, blocks in ((EVENT, 1), (APPEND, 0)):
        found = drive.run(offset_for_time(log, 10 * last, clock, end=log.log_end))
        assert found == Found(last, 10 * last, truncated=False)
        assert len(drive.reads) == blocks
    assert drive.run(offset_for_time(log, 10**9, EVENT, end=log.log_end)) == End(
        log.log_end, truncated=False
    )
    assert drive.reads == []
