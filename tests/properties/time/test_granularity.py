"""The museum, third room: answers that are only near the truth, by design or by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.time_search import Found, filter_range, offset_for_time, range_bounds
from model.ids import Offset
from model.record import BatchHeader, ClockKind, TimeRange, iter_batches
from tests.searchable_log import Drive, MemoryLog, Sent

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
BATCHES = st.lists(st.lists(st.integers(-1, 12), min_size=1, max_size=4), min_size=1, max_size=8)


def built(batches: list[list[int]]) -> MemoryLog:
    return MemoryLog(
        [
            Sent(times=times, append_time=10 * number, new_segment=number % 3 == 0)
            for number, times in enumerate(batches)
        ]
    )


def read_range(log: MemoryLog, start: int, stop: int) -> list[int]:
    """Return the offsets that a reader of a range of event time delivers."""
    found = Drive(log).run(range_bounds(log, TimeRange(EVENT, start, stop), end=log.log_end))
    delivered: list[int] = []
    for segment in log.all_segments:
        for batch in iter_batches(memoryview(segment.log)):
            header = BatchHeader(batch)
            if header.base_offset < found.stop and header.end_offset > found.start:
                delivered += [
                    offset
                    for taken in filter_range(batch, start, stop)
                    for offset in taken
                    if found.start <= offset < found.stop
                ]
    return delivered


@given(BATCHES, st.integers(-2, 14), st.integers(-2, 14))
def test_a_reader_gets_records_and_not_the_chunks_that_hold_them(
    batches: list[list[int]], start: int, stop: int
) -> None:
    """RabbitMQ streams: an offset by time is a chunk's, and the client must drop what is older."""
    log = built(batches)
    assert read_range(log, start, stop) == log.in_range(start, stop, clock=EVENT, end=log.log_end)


@given(BATCHES, st.integers(-2, 14))
def test_no_record_before_the_start_is_delivered(batches: list[list[int]], start: int) -> None:
    """kcat #399: consuming from T on printed records that are older than T."""
    log = built(batches)
    assert all(log.records[offset].event_time >= start for offset in read_range(log, start, 99))


@pytest.mark.parametrize("skew", [-3_600_000, -1, 0, 1, 3_600_000])
def test_a_skewed_producer_moves_neither_clock(skew: int) -> None:
    """Google Pub/Sub: a seek is by publish time alone, and servers' clocks differ.

    Both clocks are exact here: what the producer says, and when the leader appended it.
    """
    log = MemoryLog(
        [Sent(times=[1_000_000 + skew + n], append_time=1_000_000 + 10 * n) for n in range(10)]
    )
    by_event = Drive(log).run(offset_for_time(log, 1_000_000 + skew + 4, EVENT, end=log.log_end))
    by_append = Drive(log).run(offset_for_time(log, 1_000_031, APPEND, end=log.log_end))
    assert by_event == Found(Offset(4), 1_000_000 + skew + 4, truncated=False)
    assert by_append == Found(Offset(4), 1_000_040, truncated=False)


@given(BATCHES, st.sampled_from([1, 100, 4096]))
def test_the_time_of_every_record_is_found(batches: list[list[int]], interval_bytes: int) -> None:
    """AutoMQ #2039: the times of records that exist were answered with "not found"."""
    log = MemoryLog([Sent(times=times) for times in batches], interval_bytes=interval_bytes)
    for record in log.records:
        if record.has(EVENT):
            found = Drive(log).run(offset_for_time(log, record.event_time, EVENT, end=log.log_end))
            assert isinstance(found, Found)
            assert found.offset <= record.offset
            assert found.time >= record.event_time
