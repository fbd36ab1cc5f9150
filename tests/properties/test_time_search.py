"""Lookups and ranges by time equal a linear scan, whatever the batching, segments and index.

P36 and P37: out-of-order, equal, negative and absent event times; headers that lie; compression;
the log start and the end anywhere, also inside a batch; indexes live, on file, damaged, gone.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from logstore.event_bounds import INT64_MAX, INT64_MIN, Bounds
from logstore.event_search import next_possible
from logstore.searchable import Visible
from logstore.time_search import (
    End,
    Found,
    filter_range,
    max_timestamp,
    offset_for_time,
    range_bounds,
    sweep_events,
)
from model.errors import MalformedError
from model.ids import Offset
from model.record import BatchHeader, ClockKind, TimeRange, iter_batches
from tests.searchable_log import Drive, Kept, MemoryLog, Sent

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
CLOCKS = pytest.mark.parametrize("clock", ClockKind)
TIMES = st.one_of(st.integers(0, 30), st.integers(-3, 3), st.just(-1))
CODECS = st.sampled_from([0, 0, 0, 1, 4])


class Case(NamedTuple):
    """A log, and how much of it may be seen."""

    log: MemoryLog
    end: Offset


def spoil_nothing(log: MemoryLog) -> None:
    """Leave the live indexes as they are."""


def on_file(log: MemoryLog) -> None:
    """Keep nothing in memory."""
    log.unload()


def no_file(log: MemoryLog) -> None:
    """Delete every index."""
    log.unload()
    for segment in log.all_segments:
        segment.index_file = None


def damaged_file(log: MemoryLog) -> None:
    """Change a byte in the middle of every index."""
    log.unload()
    for segment in log.all_segments:
        if segment.index_file:
            spoilt = bytearray(segment.index_file)
            spoilt[len(spoilt) // 2] ^= 0x10
            segment.index_file = bytes(spoilt)


def swept(log: MemoryLog) -> None:
    """Know the bounds of every block."""
    Drive(log).run(sweep_events(log))


def summed_up(log: MemoryLog) -> None:
    """Know the bounds of every sealed segment, and keep no index."""
    swept(log)
    for segment in log.all_segments:
        if segment.sealed and segment.live_index and segment.live_index.bounds.known:
            segment.event_bounds = segment.live_index.bounds
    log.unload()


def summed_up_widely(log: MemoryLog) -> None:
    """Know bounds of every segment that are wider than the truth, as after a cut."""
    summed_up(log)
    for segment in log.all_segments:
        bounds = segment.event_bounds or Bounds(-9, 99)
        segment.event_bounds = Bounds(min(bounds.earliest, 3) - 2, max(bounds.latest, 3) + 2)


INDEX_STATES: list[Callable[[MemoryLog], None]] = [
    spoil_nothing, on_file, no_file, damaged_file, swept, summed_up,
    summed_up_widely,
]  # fmt: skip


@st.composite
def sent_batches(draw: st.DrawFn) -> list[Sent]:
    batches = []
    append_time, epoch = 0, 0
    for _ in range(draw(st.integers(0, 9))):
        append_time += 10 * draw(st.sampled_from([0, 0, 1, 3]))
        epoch += draw(st.sampled_from([0, 0, 0, 2]))
        times = draw(st.lists(TIMES, min_size=1, max_size=4))
        batches.append(
            Sent(
                times=times,
                append_time=append_time,
                leader_epoch=epoch,
                compression=draw(CODECS),
                claimed_max=draw(st.sampled_from([None, None, -1, 0, 31, INT64_MAX])),
                log_append_time=draw(st.integers(0, 9)) == 0,
                control=draw(st.integers(0, 19)) == 0,
                unreadable=draw(st.integers(0, 19)) == 0,
                new_segment=draw(st.integers(0, 3)) == 0,
            )
        )
    return batches


@st.composite
def cases(draw: st.DrawFn) -> Case:
    log = MemoryLog(
        draw(sent_batches()),
        interval_bytes=draw(st.sampled_from([1, 150, 4096])),
        exact=draw(st.booleans()),
    )
    draw(st.sampled_from(INDEX_STATES))(log)
    log.drop_front(draw(st.sampled_from([0, 0, 1, 2])))
    if draw(st.booleans()):
        log.log_start = Offset(draw(st.integers(log.log_start, log.log_end)))
    return Case(log, Offset(draw(st.integers(log.log_start, log.log_end))))


ASKED = st.one_of(st.integers(-4, 120), st.sampled_from([INT64_MIN, INT64_MAX]))
thorough = settings(suppress_health_check=[HealthCheck.too_slow])


@CLOCKS
@thorough
@given(case=cases(), time=ASKED, onward=st.booleans())
def test_a_lookup_equals_a_scan(clock: ClockKind, case: Case, time: int, *, onward: bool) -> None:
    log, end = case
    answer = Drive(log).run(offset_for_time(log, time, clock, end=end, onward=onward))
    kept = log.first_at(time, clock, end)
    truncated = log.truncated(time, clock, end, stop=INT64_MAX if onward else None)
    if kept is None:
        assert answer == End(end, truncated)
    else:
        assert answer == Found(Offset(kept.offset), kept.time(clock), truncated)
    event(f"{type(answer).__name__} truncated={truncated}")


@pytest.mark.parametrize("exact", [False, True])
def test_a_record_below_a_log_start_inside_a_batch_is_no_answer(*, exact: bool) -> None:
    log = MemoryLog([Sent(times=[5, 9, 7])], interval_bytes=1, exact=exact)
    log.log_start = Offset(1)
    answer = Drive(log).run(offset_for_time(log, 5, EVENT, end=log.log_end))
    assert answer == Found(Offset(1), 9, truncated=True)


@CLOCKS
@thorough
@given(case=cases(), start=st.none() | ASKED, stop=st.none() | ASKED)
def test_a_range_equals_a_scan(
    *, clock: ClockKind, case: Case, start: int | None, stop: int | None
) -> None:
    log, end = case
    asked = TimeRange(clock, start, stop)
    found = Drive(log).run(range_bounds(log, asked, end=end))
    wanted = [kept for kept in log.visible(end) if asked.contains(kept.time(clock))]
    inside = [kept for kept in log.visible(end) if found.start <= kept.offset < found.stop]
    assert log.log_start <= found.start <= found.stop <= end
    if clock is APPEND:
        assert inside == wanted
    assert [kept for kept in inside if asked.contains(kept.time(clock))] == wanted
    if start is None:
        assert found.truncated == (log.log_start > 0)
    else:
        assert found.truncated == log.truncated(
            start, clock, end, stop=INT64_MAX if stop is None else stop
        )


@thorough
@given(cases(), st.integers(-4, 40), st.integers(-4, 40))
def test_the_range_of_event_time_is_the_least(case: Case, start: int, stop: int) -> None:
    """It begins with the first record from the start on; it ends behind the last before the end."""
    log, end = case
    found = Drive(log).run(range_bounds(log, TimeRange(EVENT, start, stop), end=end))
    if found.start == found.stop:
        assert not log.in_range(start, stop, clock=EVENT, end=end)
        return
    first = log.first_at(start, EVENT, end)
    assert first is not None
    assert found.start == first.offset
    below = [k.offset for k in log.visible(end) if k.has(EVENT) and k.event_time < stop]
    assert found.stop == below[-1] + 1


@thorough
@given(case=cases(), earliest=ASKED, below=ASKED, above=st.integers(0, 40))
def test_reading_passes_no_record_of_the_range_by(
    *, case: Case, earliest: int, below: int, above: int
) -> None:
    log, end = case
    place = min(end, Offset(log.log_start + above))
    found = Drive(log).run(next_possible(log, Visible(place, end), earliest=earliest, below=below))
    assert place <= found <= end
    inside = log.in_range(earliest, below, clock=EVENT, end=end)
    assert [offset for offset in inside if place <= offset < found] == []
    event(f"passed by: {found > place}")


@thorough
@given(cases())
def test_the_greatest_timestamp_equals_a_scan(case: Case) -> None:
    log, end = case
    answer = Drive(log).run(max_timestamp(log, end=end))
    timed = [kept for kept in log.visible(end) if kept.has(EVENT)]
    if timed:
        best = max(timed, key=lambda kept: kept.event_time)
        assert answer == Found(Offset(best.offset), best.event_time, truncated=False)
    else:
        assert answer == End(end, log.log_start > 0)


@thorough
@given(cases(), st.integers(-4, 40), st.integers(-4, 40))
def test_the_filter_equals_a_scan(case: Case, start: int, stop: int) -> None:
    log, _ = case
    kept: list[int] = []
    unread: list[int] = []
    for segment in log.all_segments:
        for batch in iter_batches(memoryview(segment.log)):
            try:
                slices = list(filter_range(batch, start, stop))
            except MalformedError:
                header = BatchHeader(batch)
                unread += range(header.base_offset, header.end_offset)
                continue
            kept += [offset for taken in slices for offset in taken]
    first = log.all_segments[0].base_offset if log.all_segments else log.log_end
    assert kept == [
        k.offset
        for k in log.records
        if k.offset >= first and k.offset not in unread and k.has(EVENT)
        if start <= k.event_time < stop
    ]


@thorough
@given(cases(), st.lists(ASKED, max_size=4), ASKED)
def test_what_a_query_learns_changes_no_answer(case: Case, before: list[int], time: int) -> None:
    log, end = case
    drive = Drive(log)
    for earlier in before:
        drive.run(offset_for_time(log, earlier, EVENT, end=log.log_end))
        drive.run(range_bounds(log, TimeRange(EVENT, None, earlier), end=end))
    answer = drive.run(offset_for_time(log, time, EVENT, end=end))
    kept = log.first_at(time, EVENT, end)
    assert (answer.offset if isinstance(answer, Found) else None) == (kept and kept.offset)


@CLOCKS
@thorough
@given(
    case=cases(),
    time=ASKED,
    when=st.integers(0, 6),
    by=st.integers(0, 3),
    trimmed=st.integers(0, 4),
)
def test_retention_in_the_middle_of_a_search(
    *, clock: ClockKind, case: Case, time: int, when: int, by: int, trimmed: int
) -> None:
    """Never below the log start, also while retention or a trim runs (P36)."""
    log, end = case

    def retain(step: int) -> None:
        if step == when:
            sealed = [segment for segment in log.all_segments if segment.sealed]
            log.drop_front(min(by, len(sealed)))
            log.log_start = Offset(min(log.log_start + trimmed, log.log_end))

    answer = Drive(log, retain).run(offset_for_time(log, time, clock, end=end))
    kept = log.first_at(time, clock, end)
    assert (answer.offset if isinstance(answer, Found) else None) == (kept and kept.offset)


@CLOCKS
@thorough
@given(case=cases(), time=ASKED, when=st.integers(0, 6), more=sent_batches())
def test_appends_in_the_middle_of_a_search(
    *, clock: ClockKind, case: Case, time: int, when: int, more: list[Sent]
) -> None:
    log, end = case
    latest = log.records[-1].append_time if log.records else 0

    def grow(step: int) -> None:
        if step == when and log.all_segments and log.all_segments[-1].live_index is not None:
            for sent in more:
                log.append(replace(sent, append_time=latest + sent.append_time, leader_epoch=100))

    answer = Drive(log, grow).run(offset_for_time(log, time, clock, end=end))
    kept = log.first_at(time, clock, end)
    assert (answer.offset if isinstance(answer, Found) else None) == (kept and kept.offset)


def test_the_oracle_reads_as_it_should() -> None:
    """The scan itself, checked by hand."""
    log = MemoryLog([Sent(times=[5, -1]), Sent(times=[3], append_time=10, new_segment=True)])
    assert log.records == [Kept(0, 5, 0), Kept(1, -1, 0), Kept(2, 3, 10)]
    assert log.first_at(-1, EVENT, 3) == Kept(0, 5, 0)
    assert log.first_at(6, EVENT, 3) is None
    assert log.in_range(-9, 4, clock=EVENT, end=3) == [2]
    assert log.in_range(0, 10, clock=APPEND, end=3) == [0, 1]
    assert not log.truncated(0, EVENT, 3)
    log.drop_front(1)
    assert log.truncated(0, APPEND, 3)
    assert not log.truncated(1, APPEND, 3), "what went was appended at 0"
    assert log.truncated(3, EVENT, 3), "nobody had looked at what went"
    log.unread, log.removed_times = False, [(5, 5)]
    assert not log.truncated(3, EVENT, 3), "the answer has the time asked for"
    assert log.truncated(3, EVENT, 3, stop=INT64_MAX), "the record of 5 was to come too"
    log.removed_times = [(3, 3)]
    assert log.truncated(3, EVENT, 3), "the answer would have been the one that went"
    log.removed_times = [(5, 5)]
    assert log.truncated(4, EVENT, 3), "the answer would have been the record of 5"
    assert not log.truncated(6, EVENT, 3)
    assert log.truncated(3, EVENT, 3, stop=6)
    assert not log.truncated(3, EVENT, 3, stop=5)
