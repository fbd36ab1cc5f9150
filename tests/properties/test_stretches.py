"""Searches that read stretches of batches answer as a linear scan does (P36).

Stretches are made short here, so that small batches have several: event times in any order, none,
equal ones; records of different sizes; a log start and an end inside a stretch; truncation and
other batches in the place of those that went; memory for few of them, or trust in none.
"""

from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from logstore import stretches
from logstore.event_bounds import INT64_MAX, INT64_MIN
from logstore.stretches import Stretches
from logstore.time_search import End, Found, max_timestamp, offset_for_time, range_bounds
from model.ids import Offset, Position
from model.record import ClockKind, TimeRange, iter_batches
from tests.searchable_log import Drive, MemoryLog, MemorySegment, Sent

EVENT = ClockKind.EVENT
TIMES = st.one_of(st.integers(0, 40), st.just(-1), st.integers(-3, 3))
MANY_TIMES = st.lists(TIMES, min_size=1, max_size=14)
BATCHES = st.builds(
    Sent,
    times=st.one_of(MANY_TIMES, MANY_TIMES.map(sorted), MANY_TIMES.map(lambda t: [-1] * len(t))),
    compression=st.sampled_from([0, 0, 0, 0, 4]),
    padding_bytes=st.sampled_from([0, 0, 100]),
    value_bytes=st.sampled_from([1, 1, 40]),
    claimed_max=st.sampled_from([None, None, -1, INT64_MAX]),
    unreadable=st.integers(0, 9).map(lambda n: n == 0),
    log_append_time=st.integers(0, 9).map(lambda n: n == 0),
    new_segment=st.integers(0, 5).map(lambda n: n == 0),
)
ASKED = st.one_of(st.integers(-4, 44), st.sampled_from([INT64_MIN, INT64_MAX]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["lookup", "lookup", "end"]), ASKED),
        st.tuples(st.sampled_from(["range", "greatest", "truncate", "trim", "shown"]), ASKED),
        st.tuples(st.just("append"), BATCHES),
    ),
    min_size=4,
    max_size=20,
)


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Let a stretch have three records at most, and about 100 bytes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stretches, "STRETCH_RECORDS_MAX", 3)
        patched.setattr(stretches, "STRETCH_BYTES", 100)
        yield


def remembered(segment: MemorySegment) -> int:
    """Return how many bytes are counted for the batches of a segment."""
    sizes = [len(batch) for batch in iter_batches(memoryview(segment.log))]
    found = (segment.stretches(Position(at)) for at in accumulate(sizes, initial=0))
    return sum(batch.memory_bytes for batch in found if batch is not None)


class Asking:
    """A log, how much of it is shown, and what is compared with the list of its records."""

    def __init__(self, log: MemoryLog, drive: Drive) -> None:
        self.log = log
        self.drive = drive
        self.end = log.log_end
        self.parts = 0

    def lookup(self, time: int) -> None:
        answer = self.drive.run(offset_for_time(self.log, time, EVENT, end=self.end))
        self.parts += self.drive.asked.count("NeedPart")
        kept = self.log.first_at(time, EVENT, self.end)
        truncated = self.log.truncated(time, EVENT, self.end)
        if kept is None:
            assert answer == End(self.end, truncated)
        else:
            assert answer == Found(Offset(kept.offset), kept.event_time, truncated)

    def range(self, start: int, stop: int) -> None:
        found = self.drive.run(range_bounds(self.log, TimeRange(EVENT, start, stop), end=self.end))
        self.parts += self.drive.asked.count("NeedPart")
        first = self.log.first_at(start, EVENT, self.end)
        below = [k for k in self.log.visible(self.end) if k.has(EVENT) and k.event_time < stop]
        begin = self.end if first is None else first.offset
        assert found.start == begin
        assert found.stop == max([begin, *(kept.offset + 1 for kept in below[-1:])])

    def greatest(self) -> None:
        answer = self.drive.run(max_timestamp(self.log, end=self.end))
        timed = [kept for kept in self.log.visible(self.end) if kept.has(EVENT)]
        best = max(timed, key=lambda kept: kept.event_time, default=None)
        assert (answer.offset if isinstance(answer, Found) else None) == (best and best.offset)

    def truncate(self, by: int) -> None:
        """Cut the last segment before one of its batches, and append what has other times."""
        segment = self.log.all_segments[-1]
        starts = [times.offset for times in segment.stored_times.rows()]
        offset = starts[by % len(starts)]
        if offset > self.log.log_start:
            self.log.truncate(Offset(offset))
            self.log.append(Sent(times=[by % 7, *range(20, 9, -1)]))
            self.end = self.log.log_end

    def do(self, name: str, what: object) -> None:
        log = self.log
        match name, what:
            case "append", Sent() as sent:
                log.append(sent)
                self.end = log.log_end
            case "lookup", int() as time:
                self.lookup(time)
            case "end", int() as time:
                self.range(INT64_MIN, time)
            case "range", int() as time:
                self.range(time - 4, time + 5)
            case "greatest", _:
                self.greatest()
            case "truncate", int() as by:
                self.truncate(by % 41)
            case "trim", int() as by:
                log.log_start = Offset(min(self.end, log.log_start + by % 5))
            case "shown", int() as by:
                self.end = Offset(max(log.log_start, log.log_end - by % 9))
            case _:
                raise AssertionError(f"no step: {name}")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    batches=st.lists(BATCHES, min_size=1, max_size=5),
    exact=st.booleans(),
    steps=STEPS,
    room=st.sampled_from([1 << 20, 1 << 20, 1_300, 0]),
    trusted=st.integers(0, 9).map(lambda n: n > 0),
)
def test_every_answer_equals_a_scan(
    *,
    batches: list[Sent],
    exact: bool,
    steps: "list[tuple[str, object]]",
    room: int,
    trusted: bool,
) -> None:
    kept = Stretches(bytes_max=room)
    log = MemoryLog(batches, interval_bytes=1, exact=exact, kept=kept)
    asking = Asking(log, Drive(log, trusted=trusted))
    for name, what in [("end", 20), *steps, ("lookup", 7), ("end", 12), ("lookup", 30)]:
        asking.do(name, what)
        assert sum(map(remembered, log.all_segments)) == kept.memory_bytes <= room
    event(f"stretches were read: {asking.parts > 0}")
