"""Answers by time say `truncated` if a record that they should have was removed from the front."""

from logstore.event_bounds import Bounds
from logstore.time_search import End, Found, learn_events, offset_for_time, range_bounds
from model.ids import Offset
from model.record import ClockKind, TimeRange
from tests.searchable_log import Drive, MemoryLog, Sent


def ask(drive: Drive, time: int, *, onward: bool = False) -> Found | End:
    log = drive.log
    search = offset_for_time(log, time, ClockKind.EVENT, end=log.log_end, onward=onward)
    return drive.run(search)


def cut(drive: Drive, start: int, stop: int | None) -> bool:
    asked = TimeRange(ClockKind.EVENT, start, stop)
    return drive.run(range_bounds(drive.log, asked, end=drive.log.log_end)).truncated


def test_a_straggler_at_the_front_does_not_hide_that_records_are_gone() -> None:
    batches = [Sent(times=[10 * number], new_segment=number == 0) for number in range(60)]
    batches += [Sent(times=[50], new_segment=True), Sent(times=[1_000])]
    log = MemoryLog(batches, exact=True)
    log.drop_front(1)
    drive = Drive(log)
    assert ask(drive, 500) == Found(Offset(61), 1_000, truncated=True)
    assert ask(drive, 591) == Found(Offset(61), 1_000, truncated=False), "the last had 590"
    assert ask(drive, 1_001) == End(Offset(62), truncated=False)
    assert cut(drive, 500, 501)
    assert cut(drive, 500, None)
    assert not cut(drive, 600, 2_000)


def test_a_record_of_the_far_future_that_went_is_missed_where_it_belongs_alone() -> None:
    batches = [Sent(times=[10**15], new_segment=True)]
    batches += [Sent(times=[10 * number], new_segment=number == 0) for number in range(100)]
    log = MemoryLog(batches, exact=True)
    log.drop_front(1)
    drive = Drive(log)
    assert ask(drive, 495) == Found(Offset(51), 500, truncated=False)
    assert not cut(drive, 0, 10**6)
    assert cut(drive, 0, None)
    assert ask(drive, 10**6) == End(Offset(101), truncated=True)


def test_what_nobody_had_looked_at_before_it_went_is_assumed_to_be_missed() -> None:
    log = MemoryLog([Sent(times=[7], new_segment=n < 2, append_time=10 * n) for n in range(3)])
    log.unload()
    log.drop_front(1)
    assert log.removed.unread_segments == 1
    assert ask(Drive(log), 0) == Found(Offset(1), 7, truncated=True)


def test_no_record_that_is_left_speaks_for_one_that_went_unread() -> None:
    batches = [Sent(times=[10], new_segment=True), Sent(times=[5], new_segment=True)]
    log = MemoryLog([*batches, Sent(times=[20])])
    log.drop_front(1)
    assert log.removed.unread_segments == 1
    drive = Drive(log)
    assert ask(drive, 6) == Found(Offset(2), 20, truncated=True), "the record of 10 is gone"
    assert ask(drive, 21) == End(Offset(3), truncated=True), "it may have been as late"
    assert cut(drive, 6, 20)
    append = offset_for_time(log, 0, ClockKind.APPEND, end=log.log_end)
    assert drive.run(append) == Found(Offset(1), 0, truncated=True)
    append = offset_for_time(log, 1, ClockKind.APPEND, end=log.log_end)
    assert drive.run(append) == End(Offset(3), truncated=False), "append times are always known"


def test_what_is_learned_before_it_goes_leaves_no_doubt() -> None:
    times = ([9], [10, 40], [5], [20])
    log = MemoryLog([Sent(times=each, new_segment=n in {0, 2}) for n, each in enumerate(times)])
    log.log_start = Offset(1)  # what lies below counts too
    log.unload()
    drive = Drive(log)
    drive.run(learn_events(log, Offset(0)))
    log.drop_front(1)
    assert log.removed.event_times == (Bounds(9, 40),)
    assert ask(drive, 8) == Found(Offset(4), 20, truncated=True)
    assert ask(drive, 41) == End(Offset(5), truncated=False)


def test_a_record_that_went_with_the_time_of_the_answer_would_have_been_it() -> None:
    log = MemoryLog([Sent(times=[7], new_segment=n < 2) for n in range(3)], exact=True)
    log.drop_front(1)
    for time in (0, 7):
        assert ask(Drive(log), time) == Found(Offset(1), 7, truncated=True)
    assert ask(Drive(log), 8) == End(Offset(3), truncated=False)
    assert not cut(Drive(log), 0, 7)
    assert cut(Drive(log), 0, 8)


def test_who_goes_on_from_an_answer_misses_what_is_later_than_it_too() -> None:
    times = ([12], [12], [11], [13])
    log = MemoryLog([Sent(times=each, new_segment=n in {0, 2}) for n, each in enumerate(times)])
    log.log_start = Offset(1)
    log.unload()
    Drive(log).run(learn_events(log, Offset(0)))
    log.drop_front(1)
    assert ask(Drive(log), 10) == Found(Offset(2), 11, truncated=False)
    assert ask(Drive(log), 10, onward=True) == Found(Offset(2), 11, truncated=True)
    assert ask(Drive(log), 13, onward=True) == Found(Offset(3), 13, truncated=False)
