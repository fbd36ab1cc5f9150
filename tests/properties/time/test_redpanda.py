"""The museum, first room: time lookups that went wrong in Redpanda, whatever the batching here."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.event_bounds import INT64_MAX, INT64_MIN
from logstore.time_search import End, Found, max_timestamp, offset_for_time
from model.ids import Offset
from model.record import ClockKind
from tests.searchable_log import Drive, MemoryLog, Sent

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
CLOCKS = pytest.mark.parametrize("clock", ClockKind)
SIX_WEEKS = 42 * 24 * 3_600_000


def answer(log: MemoryLog, time: int, clock: ClockKind = EVENT) -> Found | End:
    return Drive(log).run(offset_for_time(log, time, clock, end=log.log_end))


@pytest.mark.parametrize("span", [1, 1 << 31, 1 << 32, SIX_WEEKS, 1 << 62])
@pytest.mark.parametrize("interval_bytes", [1, 4096])
def test_no_distance_between_event_times_is_too_large(span: int, interval_bytes: int) -> None:
    """Redpanda #3924, #4010: the index kept times as 32 bits above the first one, clamped.

    Records far apart in one segment all seemed to be at the bound.
    """
    times = [0, span, 2 * span - 1, span // 2]
    log = MemoryLog([Sent(times=[time]) for time in times], interval_bytes=interval_bytes)
    for asked in {0, 1, span - 1, span, span + 1, 2 * span - 1, 2 * span}:
        kept = log.first_at(asked, EVENT, log.log_end)
        assert (answer(log, asked) == End(log.log_end, truncated=False)) == (kept is None)
        if kept is not None:
            wanted = Found(Offset(kept.offset), kept.event_time, truncated=False)
            assert answer(log, asked) == wanted


@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_record_out_of_order_moves_no_maximum_but_its_own(order: list[int], per: int) -> None:
    """Redpanda #4035: one late record made the greatest timestamp jump ahead by six weeks."""
    times = [SIX_WEEKS + 1_000 * place for place in order]
    batches = [Sent(times=times[at : at + per]) for at in range(0, len(times), per)]
    log = MemoryLog(batches, interval_bytes=1)
    found = Drive(log).run(max_timestamp(log, end=log.log_end))
    assert found == Found(Offset(order.index(5)), SIX_WEEKS + 5_000, truncated=False)
    assert answer(log, SIX_WEEKS + 5_001) == End(log.log_end, truncated=False)


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_the_record_within_the_batch_is_the_answer(compression: int) -> None:
    """Redpanda #6604, #6606: T between the first and the last record of a batch.

    The batch was skipped, or its first record was returned instead of the one at T.
    """
    log = MemoryLog(
        [
            Sent(times=[10, 20, 30], compression=compression),
            Sent(times=[40, 50, 60], compression=compression, append_time=70),
        ]
    )
    assert answer(log, 25) == Found(Offset(2), 30, truncated=False)
    assert answer(log, 41) == Found(Offset(4), 50, truncated=False)
    assert answer(log, 60) == Found(Offset(5), 60, truncated=False)


def test_a_recent_time_never_leads_to_the_beginning() -> None:
    """Redpanda #6604: a time later than every record was answered with offset 0."""
    log = MemoryLog([Sent(times=[10, 20]), Sent(times=[30], new_segment=True)])
    for asked in (31, 10**15, INT64_MAX):
        assert answer(log, asked) == End(Offset(3), truncated=False)


TIMES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@CLOCKS
@given(times=TIMES, cuts=st.sets(st.integers(1, 11)), asked=st.integers(-1, 11))
def test_the_clients_batching_makes_no_difference(
    *, clock: ClockKind, times: list[int], cuts: set[int], asked: int
) -> None:
    """Redpanda #25769: the same records, batched in another way, gave another answer.

    On the event clock here. On the append clock batches of one tick are the same.
    """
    one = MemoryLog([Sent(times=times)], interval_bytes=1)
    edges = [0, *sorted(cut for cut in cuts if cut < len(times)), len(times)]
    parts = [times[start:stop] for start, stop in pairwise(edges)]
    many = MemoryLog([Sent(times=part) for part in parts], interval_bytes=1)
    assert answer(one, asked, clock) == answer(many, asked, clock)


@CLOCKS
def test_nothing_at_or_above_the_given_end_is_seen(clock: ClockKind) -> None:
    """Redpanda #3161: a lookup looked beyond the last stable offset.

    The search takes its end from the caller; where transactions put it comes with them.
    """
    log = MemoryLog([Sent(times=[10, 20], append_time=10), Sent(times=[30], append_time=30)])
    for end in range(4):
        search = offset_for_time(log, 20, clock, end=Offset(end))
        kept = log.first_at(20, clock, end)
        wanted = (
            End(Offset(end), truncated=False)
            if kept is None
            else Found(Offset(kept.offset), kept.time(clock), truncated=False)
        )
        assert Drive(log).run(search) == wanted


@CLOCKS
@pytest.mark.parametrize("asked", [INT64_MIN, -5, -1, 0, 10, 30, 31, INT64_MAX])
def test_after_retention_no_answer_is_negative_or_below_the_start(
    clock: ClockKind, asked: int
) -> None:
    """Redpanda #4308: after retention the offset came out negative and the client threw."""
    log = MemoryLog(
        [Sent(times=[n], append_time=n, new_segment=True) for n in (10, 20, 30)],
        interval_bytes=1,
        exact=True,
    )
    log.seal()
    log.drop_front(2)
    found = answer(log, asked, clock)
    if asked <= 30:
        assert found == Found(Offset(2), 30, truncated=asked <= 20)
    else:
        assert found == End(Offset(3), truncated=False)
    log.drop_front(1)
    assert answer(log, asked, clock) == End(Offset(3), truncated=asked <= 30)
