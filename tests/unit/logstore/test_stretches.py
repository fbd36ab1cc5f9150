"""What is remembered of large batches, how much of it, and what the next search then reads.

That the answers are right is shown by tests/properties/test_stretches.py.
"""

import struct
from collections.abc import Sequence

import pytest

from logstore.batch import SLICE_RECORDS, encode_batch
from logstore.event_bounds import INT64_MAX, INT64_MIN, NO_EVENT_TIME, Bounds
from logstore.segment import Segment
from logstore.stretches import (
    STRETCH_BYTES,
    STRETCH_RECORDS_MAX,
    BatchStretches,
    SegmentStretches,
    Stretch,
    Stretches,
    StretchNotes,
)
from logstore.time_search import End, Found, max_timestamp, offset_for_time, range_bounds
from model.ids import AppendTimeMs, Offset, Position
from model.record import HEADER_BYTES, BatchHeader, ClockKind, NewRecord, TimeRange
from tests.searchable_log import Drive, MemoryLog, Sent

EVENT = ClockKind.EVENT
EVERYTHING = (Offset(0), Offset(1 << 62))
RECORD = 1_024


def header_of(records: int, value_bytes: int = RECORD, **options: int) -> BatchHeader:
    new = [NewRecord(10 * number, None, bytes(value_bytes)) for number in range(records)]
    return BatchHeader(memoryview(encode_batch(new, **options)))


def noted(rows: Sequence[Bounds], base_offset: int = 100) -> BatchStretches:
    """Return a batch of a full stretch for each of these bounds, and one record more."""
    notes = StretchNotes.begin(header_of(32 * len(rows) + 1, RECORD - 40, base_offset=base_offset))
    assert notes is not None
    for number, bounds in enumerate(rows):
        notes.add(HEADER_BYTES + number, notes.every, bounds)
    return notes.whole()


# What is noted


@pytest.mark.parametrize(
    ("records", "value_bytes", "every"),
    [(1_000, 1_000, 32), (9_000, 100, STRETCH_RECORDS_MAX), (9_000, 0, STRETCH_RECORDS_MAX)],
)
def test_a_stretch_is_short_in_bytes_and_in_records(
    records: int, value_bytes: int, every: int
) -> None:
    notes = StretchNotes.begin(header_of(records, value_bytes))
    assert notes is not None
    assert notes.every == every
    assert notes.every * value_bytes <= STRETCH_BYTES


def test_a_record_larger_than_a_stretch_is_one() -> None:
    notes = StretchNotes.begin(header_of(3, 2 * STRETCH_BYTES))
    assert notes is not None
    assert notes.every == 1


@pytest.mark.parametrize("codec", [1, 4])
def test_compressed_records_are_not_noted(codec: int) -> None:
    assert StretchNotes.begin(header_of(1_000, compression=codec)) is None


def test_a_batch_of_one_stretch_is_not_noted() -> None:
    assert StretchNotes.begin(header_of(STRETCH_RECORDS_MAX, 1)) is None
    assert StretchNotes.begin(header_of(STRETCH_RECORDS_MAX + 1, 1)) is not None


def test_a_batch_with_missing_offsets_is_not_noted() -> None:
    """Compaction elsewhere leaves such: the place of a record does not tell its offset."""
    batch = encode_batch([NewRecord(number, None, bytes(RECORD)) for number in range(100)])
    struct.pack_into(">i", batch, 23, 100)  # last offset delta
    assert StretchNotes.begin(BatchHeader(memoryview(batch))) is None


def test_what_was_noted_is_found_by_time_and_offset() -> None:
    rows = [Bounds(10, 20), NO_EVENT_TIME, Bounds(-5, 30), Bounds(INT64_MIN, INT64_MAX - 1)]
    batch = noted(rows)
    first, empty, third, last = batch.that_meet(Bounds(INT64_MIN, INT64_MAX), EVERYTHING)
    assert first == Stretch(HEADER_BYTES, HEADER_BYTES + 1, range(32), rows[0])
    assert (empty.bounds, third.deltas) == (NO_EVENT_TIME, range(64, 96))
    assert last.deltas == range(96, 128)
    assert [s.bounds for s in batch.that_meet(Bounds(20, 20), EVERYTHING)] == [
        rows[0], rows[2], rows[3],
    ]  # fmt: skip
    assert [*batch.that_meet(Bounds(21, 30), EVERYTHING)] == [third, last]
    assert [*batch.that_meet(Bounds(21, 30), EVERYTHING, backward=True)] == [last, third]
    assert [*batch.that_meet(Bounds(0, 9), (Offset(195), Offset(196)))] == [third]
    assert [*batch.that_meet(Bounds(0, 9), (Offset(196), Offset(999)))] == [last]
    assert [*batch.that_meet(Bounds(0, 9), (Offset(0), Offset(196)))] == [third]
    assert [*batch.that_meet(Bounds(0, 9), (Offset(0), Offset(164)))] == []


# How much is remembered


def test_the_least_recently_searched_gives_way() -> None:
    batch = noted([Bounds(0, 1)] * 4)
    kept = Stretches(bytes_max=3 * batch.memory_bytes)
    segments = [SegmentStretches() for _ in range(2)]
    for number, position in ((0, 10), (0, 20), (1, 10)):
        kept.keep(segments[number], Position(position), batch)
    assert kept.memory_bytes == 3 * batch.memory_bytes
    assert segments[0].find(Position(10)) is batch
    kept.keep(segments[0], Position(30), batch)
    assert (len(segments[0]), len(segments[1])) == (3, 0), "the other one gives way"
    kept.keep(segments[1], Position(10), batch)
    assert segments[0].find(Position(20)) is None, "it was used before that at 10"
    assert segments[0].find(Position(10)) is batch
    assert kept.memory_bytes == 3 * batch.memory_bytes


def test_the_same_batch_is_counted_once() -> None:
    small, large = noted([Bounds(0, 1)]), noted([Bounds(0, 1)] * 9)
    kept, segment = Stretches(), SegmentStretches()
    for batch in (large, small, large):
        kept.keep(segment, Position(0), batch)
    assert segment.find(Position(0)) is large
    assert kept.memory_bytes == large.memory_bytes


def test_what_is_larger_than_all_there_is_room_for_is_not_kept() -> None:
    kept, segment = Stretches(bytes_max=100), SegmentStretches()
    kept.keep(segment, Position(0), noted([Bounds(0, 1)]))
    assert (segment.find(Position(0)), kept.memory_bytes) == (None, 0)


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_a_segment_that_is_cut_or_removed_gives_its_memory_back(how: str) -> None:
    kept, batch = Stretches(), noted([Bounds(0, 1)])
    segments = [Segment("p", Offset(0)), Segment("q", Offset(0))]
    for segment in segments:
        for position in (0, 700):
            kept.keep(segment.stretches, Position(position), batch)
    if how == "cut":
        segments[0].cut(Offset(7), 600, 0, last_append_time=AppendTimeMs(1))
    else:
        segments[0].remove()
    assert [segment.stretches.find(Position(0)) for segment in segments] == [None, batch]
    assert kept.memory_bytes == 2 * batch.memory_bytes
    kept.keep(segments[0].stretches, Position(0), batch)
    assert segments[0].stretches.find(Position(0)) is batch


# What a search reads then


def large(count: int, *, value_bytes: int = RECORD - 20, **options: int) -> MemoryLog:
    """Return batches of about 1 MB; the event time of the record at offset n is 10 * n."""
    records = 1_000_000 // (value_bytes + 20)
    batches = [
        Sent(
            times=range(10 * records * number, 10 * records * (number + 1), 10),
            value_bytes=value_bytes,
        )
        for number in range(count)
    ]
    return MemoryLog(batches, **options)  # type: ignore[arg-type]


def ask(drive: Drive, time: int) -> Found | End:
    return drive.run(offset_for_time(drive.log, time, EVENT, end=drive.log.log_end))


@pytest.mark.parametrize("value_bytes", [80, 1_004, 9_000])
def test_the_second_lookup_reads_one_stretch(value_bytes: int) -> None:
    log = large(3, value_bytes=value_bytes, exact=True)
    drive = Drive(log)
    middle = Offset(log.log_end // 2)
    assert ask(drive, 10 * middle - 3) == Found(middle, 10 * middle, truncated=False)
    assert (drive.block_bytes > 850_000, drive.part_bytes) == (True, 0)
    for offset in (middle, middle + 1, middle - 7, middle + 400_000 // (value_bytes + 20)):
        assert ask(drive, 10 * offset) == Found(Offset(offset), 10 * offset, truncated=False)
        assert drive.asked == ["NeedPart"]
        assert 0 < drive.part_bytes <= STRETCH_BYTES + value_bytes
    search = range_bounds(log, TimeRange(EVENT, 10 * middle, 10 * middle + 50), end=log.log_end)
    bounds = drive.run(search)
    assert (bounds.start, bounds.stop) == (middle, middle + 5)
    assert (drive.asked, drive.block_bytes) == (["NeedPart", "NeedPart"], 0)


def test_records_without_event_time_widen_no_stretch() -> None:
    times = [-1 if number % 3 else 10 * number + 5 for number in range(999)]
    log = MemoryLog([Sent(times=times, value_bytes=RECORD)], exact=True)
    drive = Drive(log)
    ask(drive, 3_000)
    for time, offset in ((3_000, 300), (3_006, 303), (-1, 0), (0, 0), (9_965, 996)):
        assert ask(drive, time) == Found(Offset(offset), 10 * offset + 5, truncated=False)
        assert drive.asked == ["NeedPart"]
    search = range_bounds(log, TimeRange(EVENT, None, 6), end=log.log_end)
    assert drive.run(search).stop == 1
    assert drive.asked == ["NeedPart"]


def test_a_log_that_was_swept_is_never_read_whole_again() -> None:
    log = large(3)
    drive = Drive(log)
    assert drive.run(max_timestamp(log, end=log.log_end)).truncated is False
    for offset in range(0, log.log_end, 277):
        assert ask(drive, 10 * offset) == Found(Offset(offset), 10 * offset, truncated=False)
        assert drive.block_bytes == 0


def test_a_batch_that_nobody_vouches_for_is_read_whole() -> None:
    """Its checksum is over all of it (P6)."""
    log = large(1, exact=True)
    drive = Drive(log)
    ask(drive, 5_000)
    drive.trusted = False
    assert ask(drive, 5_000) == Found(Offset(500), 5_000, truncated=False)
    assert drive.asked == ["NeedPart", "NeedBlock", *["Slice"] * drive.asked.count("Slice")]


def test_a_block_that_begins_with_the_batch_and_goes_on_is_read_whole() -> None:
    """An index that is made again may have other blocks."""
    log = large(3)
    drive = Drive(log)
    assert ask(drive, 0) == Found(Offset(0), 0, truncated=False)
    last = Offset(log.log_end - 1)
    log.unload()
    log.all_segments[0].index_file = None
    log.index_interval_bytes = 10_000_000
    assert ask(drive, 10 * last) == Found(last, 10 * last, truncated=False)
    assert ask(drive, 10 * last) == Found(last, 10 * last, truncated=False)


LENGTH_AT, TIME_AT = range(2), range(4, 5)
"""Bytes of a record: its length, and the higher ones of its event time."""


@pytest.mark.parametrize("spoilt", [LENGTH_AT, TIME_AT])
def test_a_stretch_that_is_not_what_it_was_is_not_believed(spoilt: range) -> None:
    """Bytes that rot under our feet: the answer is that of whoever reads the whole batch.

    The neighbour of the record that is asked for has no length any more, or another event time.
    """
    log = large(1, exact=True)
    segment, drive = log.all_segments[0], Drive(log)
    ask(drive, 5_000)
    batch = segment.stretches(Position(0))
    assert batch is not None
    (stretch,) = batch.that_meet(Bounds(5_000, 5_000), EVERYTHING)
    record_bytes = (stretch.end - stretch.position) // len(stretch.deltas)
    before = stretch.position + (499 - stretch.deltas.start) * record_bytes
    for byte in spoilt:
        segment.log[before + byte] = 0
    answer = ask(drive, 5_000)
    assert "NeedBlock" in drive.asked
    segment.kept_stretches.forget()
    assert answer == ask(drive, 5_000)
    assert isinstance(answer, End) == (spoilt == LENGTH_AT)


def test_many_stretches_in_turn_give_way_to_the_loop() -> None:
    """Each may hold a record of the range by its bounds, and none does."""
    records = 4_000
    times = [0 if number % 2 else 100 for number in range(records)]
    log = MemoryLog([Sent(times=times, value_bytes=80), Sent(times=[50])], exact=True)
    drive = Drive(log)
    ask(drive, 100)
    log.log_start = Offset(records)  # whether one was removed is looked up in what is hidden
    assert ask(drive, 40) == Found(Offset(records), 50, truncated=False)
    parts = drive.asked.count("NeedPart")
    assert parts == -(-records // STRETCH_RECORDS_MAX)
    assert drive.asked.count("Slice") >= parts * STRETCH_RECORDS_MAX // SLICE_RECORDS - 1
