"""What a search by time costs, how it shares the event loop, and which indexes it trusts.

That its answers are right is shown by tests/properties/test_time_search.py.
"""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from logstore import block_scan
from logstore.batch import SLICE_RECORDS, placed_timestamps
from logstore.event_bounds import UNKNOWN, Bounds
from logstore.event_search import READ_BYTES_MAX, next_possible
from logstore.index_load import READ_BYTES
from logstore.searchable import Visible
from logstore.time_search import (
    End,
    Found,
    TimeBounds,
    filter_range,
    max_timestamp,
    offset_for_time,
    range_bounds,
    sweep_events,
)
from model.ids import Offset
from model.record import ClockKind, TimeRange
from tests.searchable_log import Drive, MemoryLog, Sent, encoded, event_times

EVENT, APPEND = ClockKind.EVENT, ClockKind.APPEND
BATCH_BYTES = len(encoded(Sent(times=[0]), 0))


def rising(count: int, **options: int) -> MemoryLog:
    """Return one batch a block: event time 10 * n, append time 10 * n, offset n."""
    batches = [
        Sent(times=[10 * number], append_time=10 * number, new_segment=number % 100 == 99)
        for number in range(count)
    ]
    return MemoryLog(batches, interval_bytes=1, **options)  # type: ignore[arg-type]


def found(offset: int, time: int) -> Found:
    return Found(Offset(offset), time, truncated=False)


def end(offset: int) -> End:
    return End(Offset(offset), truncated=False)


def ask(drive: Drive, time: int, clock: ClockKind = EVENT) -> Found | End:
    return drive.run(offset_for_time(drive.log, time, clock, end=drive.log.log_end))


# Cost: blocks are counted, never time.


def test_a_known_log_costs_one_block() -> None:
    drive = Drive(rising(1_000, exact=True))
    for time in (0, 1, 4_995, 5_000, 9_990):
        assert ask(drive, time) == found(-(-time // 10), -(-time // 10) * 10)
        assert drive.block_bytes == BATCH_BYTES


def test_an_answer_beyond_the_end_costs_nothing() -> None:
    drive = Drive(rising(1_000, exact=True))
    assert ask(drive, 9_991) == end(1_000)
    assert drive.reads == []


def test_append_time_costs_no_block_and_no_index() -> None:
    log = rising(1_000)
    log.unload()
    drive = Drive(log)
    assert ask(drive, 4_995, APPEND) == found(500, 5_000)
    assert (drive.steps, drive.reads, drive.index_files) == (1, [], 0)  # one NeedTimes


def test_unknown_blocks_are_read_once_and_then_known() -> None:
    drive = Drive(rising(1_000))
    assert ask(drive, 5_000) == found(500, 5_000)
    assert drive.log.learned_blocks == 501
    assert drive.block_bytes >= 501 * BATCH_BYTES
    ask(drive, 5_000)
    assert drive.block_bytes == BATCH_BYTES
    ask(drive, 2_000)
    assert drive.block_bytes == BATCH_BYTES
    assert drive.log.learned_blocks == 501


def test_the_end_of_a_range_costs_one_block_more() -> None:
    drive = Drive(rising(1_000, exact=True))
    search = range_bounds(drive.log, TimeRange(EVENT, 2_000, 8_000), end=Offset(1_000))
    assert drive.run(search) == TimeBounds(Offset(200), Offset(800), truncated=False)
    assert drive.block_bytes == 2 * BATCH_BYTES


def test_a_range_ends_before_its_end_inside_a_batch_too() -> None:
    drive = Drive(MemoryLog([Sent(times=[5, 7, 9], append_time=10)], interval_bytes=1))
    search = range_bounds(drive.log, TimeRange(EVENT, 5, 7), end=Offset(3))
    assert drive.run(search) == TimeBounds(Offset(0), Offset(1), truncated=False)


def test_what_lies_between_two_records_of_a_range_is_passed_by() -> None:
    """Late and early ones far apart: the blocks between them are not read."""
    log = MemoryLog([Sent(times=[n]) for n in range(100, 2_000)], interval_bytes=1)
    log.append(Sent(times=[50]))
    Drive(log).run(sweep_events(log))
    drive = Drive(log)
    everything = Visible(Offset(0), log.log_end)
    search = next_possible(log, everything, earliest=0, below=100)
    assert drive.run(search) == log.log_end - 1 == 1_900
    assert drive.block_bytes == 0
    assert drive.asked == ["Slice"]  # the loop has its turn
    nothing = next_possible(log, everything, earliest=0, below=50)
    assert drive.run(nothing) == log.log_end


def test_a_segment_of_known_bounds_is_passed_by_without_its_index() -> None:
    log = rising(1_000, exact=True)
    for segment in log.all_segments:
        index = segment.live_index
        assert index is not None
        segment.event_bounds = index.bounds if segment.sealed else None
    log.unload()
    drive = Drive(log)
    assert ask(drive, 7_500) == found(750, 7_500)
    assert drive.index_files == 1


def test_one_future_dated_segment_slows_the_others_by_nothing_once_it_is_gone() -> None:
    batches = [Sent(times=[10**15], new_segment=True)]
    batches += [Sent(times=[10 * number], new_segment=number == 0) for number in range(100)]
    log = MemoryLog(batches, interval_bytes=1, exact=True)
    drive = Drive(log)
    assert ask(drive, 500) == found(0, 10**15)
    log.drop_front(1)
    assert ask(drive, 500) == found(51, 500)
    assert drive.block_bytes == BATCH_BYTES


def test_the_log_start_inside_a_segment_costs_the_blocks_that_may_hold_an_answer() -> None:
    """Whether a record that was trimmed has a time of the range is seen in the segment's rows."""
    batches = [Sent(times=[10 * number, 10 * number + 5]) for number in range(1_000)]
    log = MemoryLog(batches, interval_bytes=1, exact=True)
    log.log_start = Offset(501)
    drive = Drive(log)
    assert ask(drive, 9_000) == found(1_800, 9_000)
    assert len(drive.reads) == 1
    assert ask(drive, 2_501) == found(501, 2_505)
    assert len(drive.reads) == 2, "the trimmed half of the first block"
    assert ask(drive, 2_500) == Found(Offset(501), 2_505, truncated=True)


def test_unknown_neighbours_are_read_together() -> None:
    log = rising(99)
    drive = Drive(log)
    assert ask(drive, 980) == found(98, 980)
    assert len(drive.reads) == 1
    big = MemoryLog(
        [Sent(times=[number], padding_bytes=READ_BYTES_MAX // 3) for number in range(6)]
    )
    drive = Drive(big)
    assert drive.run(sweep_events(big)) == 6
    assert [end - position <= READ_BYTES_MAX for _, position, end in drive.reads] == [True] * 3


def test_the_greatest_timestamp_of_a_known_log_costs_three_blocks() -> None:
    """The last block twice, as an edge and as the answer, and no other is read."""
    log = rising(1_000, exact=True)
    drive = Drive(log)
    answer = drive.run(max_timestamp(log, end=log.log_end))
    assert answer == found(999, 9_990)
    assert drive.block_bytes <= 22 * BATCH_BYTES  # first and last block of eleven segments


# Sharing the event loop


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the records that are decoded; the test clears the list at each step."""
    counts: list[int] = []

    def counted(batch: memoryview, *, every: int) -> Iterator[tuple[int, list[tuple[Offset, int]]]]:
        for position, taken in placed_timestamps(batch, every=every):
            counts.append(len(taken))
            yield position, taken

    monkeypatch.setattr(block_scan, "placed_timestamps", counted)
    return counts


@pytest.mark.parametrize("sizes", [[1] * 3_000, [499] * 9, [501] * 9, [1, 4_000, 1, 700]])
@pytest.mark.parametrize("compression", [0, 4])
def test_a_slice_of_records_at_most_between_two_steps(
    sizes: list[int], compression: int, decoded: list[int]
) -> None:
    batches = [Sent(times=range(size), compression=compression) for size in sizes]
    log = MemoryLog(batches, interval_bytes=1 << 20)
    log.seal()
    most = 0

    def at_step(_: int) -> None:
        nonlocal most
        most = max(most, sum(decoded))
        decoded.clear()

    drive = Drive(log, at_step)
    assert ask(drive, 10_000) == end(log.log_end)
    most = max(most, sum(decoded))
    assert 0 < most <= SLICE_RECORDS
    assert drive.steps >= sum(sizes) // SLICE_RECORDS


def test_building_an_index_shares_the_loop_too() -> None:
    """Headers are walked in slices as well, and a chunk of the log is read at a time."""
    log = MemoryLog([Sent(times=[0])] * 2_000)
    log.unload()
    forget_files(log)
    drive = Drive(log)
    drive.run(sweep_events(log))
    assert drive.asked[0] == "NeedIndex"
    chunks = [end - position for _, position, end in drive.reads[:3]]
    assert all(size <= READ_BYTES for size in chunks)
    blocks = [at for at, name in enumerate(drive.asked) if name == "NeedBlock"]
    for step, size in zip(pairwise(blocks), chunks, strict=False):
        assert step[1] - step[0] - 1 == size // BATCH_BYTES // SLICE_RECORDS


# Which indexes are trusted


def forget_files(log: MemoryLog) -> None:
    for segment in log.all_segments:
        segment.index_file = None


def forgotten(log: MemoryLog) -> None:
    for segment in log.all_segments:
        segment.live_index = None


def test_a_file_that_knows_spares_the_reading() -> None:
    log = rising(99, exact=True)
    log.unload()
    drive = Drive(log)
    assert ask(drive, 500) == found(50, 500)
    assert drive.block_bytes == 2 * BATCH_BYTES  # the witness, and the answer
    assert drive.index_files == 1
    assert ask(drive, 500)
    assert drive.block_bytes == BATCH_BYTES
    assert drive.index_files == 0


def test_an_index_of_a_lost_tail_is_told_by_its_witness() -> None:
    """The log lost its tail in a power cut and other batches, as long, came in its place."""
    old = MemoryLog([Sent(times=[10 * n]) for n in range(9)], interval_bytes=1, exact=True)
    old.unload()
    new = MemoryLog(
        [Sent(times=[10 * n if n < 5 else 900 - n], leader_epoch=n // 5) for n in range(9)],
        interval_bytes=1,
    )
    new.unload()
    assert new.all_segments[0].size_bytes == old.all_segments[0].size_bytes
    new.all_segments[0].index_file = old.all_segments[0].index_file
    drive = Drive(new)
    assert ask(drive, 60) == found(5, 895)
    assert ask(drive, 896) == end(9)


def test_an_index_longer_than_its_segment_is_told_by_its_end() -> None:
    old = MemoryLog([Sent(times=[10 * n]) for n in range(9)], interval_bytes=1, exact=True)
    old.unload()
    new = MemoryLog([Sent(times=[10 * n]) for n in range(4)], interval_bytes=1)
    new.unload()
    new.all_segments[0].index_file = old.all_segments[0].index_file
    assert ask(Drive(new), 35) == end(4)


def test_an_index_of_the_segments_beginning_is_continued() -> None:
    log = rising(50, exact=True)
    log.unload()
    forgotten(log)
    for number in range(50, 60):
        log.append(Sent(times=[10 * number], append_time=10 * number, leader_epoch=1))
    forgotten(log)
    drive = Drive(log)
    assert ask(drive, 200) == found(20, 200)
    index = log.all_segments[0].live_index
    assert index is not None
    assert (len(index), index.end) == (60, 60 * BATCH_BYTES)
    assert [row.bounds == UNKNOWN for row in index.rows()] == [False] * 50 + [True] * 10


def test_an_index_that_another_search_loaded_meanwhile_is_kept() -> None:
    log = rising(9, exact=True)
    live = log.all_segments[0].live_index
    log.unload()

    def restore(step: int) -> None:
        if step == 1:
            log.all_segments[0].live_index = live

    assert ask(Drive(log, restore), 50) == found(5, 50)
    assert log.all_segments[0].live_index is live


def test_a_segment_that_was_cut_is_searched_again() -> None:
    """Its rows mean something else: nothing may be learned under their old numbers."""
    log = MemoryLog([Sent(times=[n]) for n in range(9)], interval_bytes=1)

    def cut(step: int) -> None:
        if step == 0:
            log.truncate(Offset(4))
            for n in range(5):
                log.append(Sent(times=[100 - n], leader_epoch=1))

    drive = Drive(log, cut)
    assert ask(drive, 97) == found(4, 100)
    assert drive.asked == ["NeedBlock", "Slice", "NeedBlock"]
    index = log.all_segments[0].live_index
    assert index is not None
    for row in index.rows():
        time = log.records[row.offset].event_time
        assert row.bounds in (UNKNOWN, Bounds(time, time))


@pytest.mark.parametrize("clock", ClockKind)
def test_a_log_start_that_moves_meanwhile_is_heeded(clock: ClockKind) -> None:
    """Trimming takes away records of a segment that stays: only the answer can notice (P36)."""
    log = MemoryLog([Sent(times=[10 * n] * 3, append_time=10 * n) for n in range(9)])
    log.unload()

    def trim(step: int) -> None:
        if step == 0:
            log.log_start = Offset(13)

    search = offset_for_time(log, 20, clock, end=log.log_end)
    assert Drive(log, trim).run(search) == Found(Offset(13), 40, truncated=True)
    log.log_start = Offset(0)
    bounds = range_bounds(log, TimeRange(clock, 20, 60), end=log.log_end)
    log.unload()
    assert Drive(log, trim).run(bounds) == TimeBounds(Offset(13), Offset(18), truncated=True)


# The sweep


def test_the_sweep_leaves_nothing_unknown_and_reads_nothing_twice() -> None:
    log = MemoryLog(
        [Sent(times=[n, -1, 5 - n], new_segment=n == 5) for n in range(12)], interval_bytes=1
    )
    drive = Drive(log)
    assert drive.run(sweep_events(log)) == 12
    for segment in log.all_segments:
        assert segment.live_index is not None
        assert segment.live_index.bounds.known
    assert drive.run(sweep_events(log)) == 0
    assert drive.reads == []


def test_a_sweep_can_be_dropped_at_any_step() -> None:
    log = MemoryLog([Sent(times=range(300)) for _ in range(20)], interval_bytes=1)
    drive = Drive(log)
    learned = [0]
    while not drive.run_some(sweep_events(log), steps=4):
        assert learned[-1] < log.learned_blocks
        learned.append(log.learned_blocks)
    assert len(learned) > 3
    index = log.all_segments[0].live_index
    assert index is not None
    assert index.bounds == Bounds(0, 299)


# Batches that cannot be read


@pytest.mark.parametrize("compression", [0, 4])
def test_a_batch_that_cannot_be_read_has_no_event_times(compression: int) -> None:
    sent = Sent(times=[500], unreadable=True, compression=compression)
    log = MemoryLog([Sent(times=[1]), sent, Sent(times=[600])], interval_bytes=1)
    drive = Drive(log)
    assert ask(drive, 400) == found(2, 600)
    assert ask(drive, 400, APPEND) == end(3)
    assert ask(drive, 0, APPEND) == found(0, 0)


def test_the_filter_yields_offsets_in_slices() -> None:
    sent = Sent(times=[number % 7 for number in range(1_200)])
    slices = list(filter_range(memoryview(encoded(sent, 40)), 2, 4))
    assert max(map(len, slices)) <= SLICE_RECORDS
    wanted = [Offset(40 + n) for n, time in enumerate(event_times(sent)) if time in (2, 3)]
    assert [offset for taken in slices for offset in taken] == wanted
