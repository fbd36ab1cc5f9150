"""Retention against the words of P38 and P39, tried segment by segment."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.retention import plan, roll_due
from logstore.settings import PartitionSettings
from model.ids import AppendTimeMs, Offset

NOW = AppendTimeMs(10_000)
BEGIN = AppendTimeMs(0)


@dataclass(frozen=True)
class Segment:
    base_offset: Offset
    end_offset: Offset
    size_bytes: int
    last_append_time: AppendTimeMs
    first_append_time: AppendTimeMs = BEGIN
    sealed: bool = True


def row_of(*segments: tuple[int, int, int]) -> list[Segment]:
    """Return segments of (records, bytes, last append time); the last one is active."""
    built: list[Segment] = []
    base = 0
    for number, (records, size_bytes, newest) in enumerate(segments, start=1):
        built.append(
            Segment(
                Offset(base),
                Offset(base + records),
                size_bytes,
                AppendTimeMs(newest),
                sealed=number < len(segments),
            )
        )
        base += records
    return built


@dataclass
class Case:
    segments: list[Segment]
    settings: PartitionSettings
    log_start: Offset
    high_watermark: Offset
    in_doubt: bool = False

    def planned(self) -> Offset:
        return plan(
            self.segments,
            self.settings,
            log_start=self.log_start,
            now=NOW,
            high_watermark=self.high_watermark,
            in_doubt=self.in_doubt,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    times = sorted(draw(st.lists(st.integers(900, 1_000), min_size=1, max_size=6)))
    sizes = st.integers(1, 50)
    segments = row_of(*((draw(st.integers(1, 5)), draw(sizes), 10 * time) for time in times))
    end = segments[-1].end_offset
    log_start = draw(st.integers(0, end))
    settings = PartitionSettings(
        retention_ms=draw(st.sampled_from([-1, 0, 10, 500, 990])),
        retention_bytes=draw(st.sampled_from([-1, 0, 1, 50, 120])),
    )
    mark = Offset(draw(st.integers(log_start, end)))
    return Case(segments, settings, Offset(log_start), mark, draw(st.booleans()))


def by_the_words(case: Case) -> int:
    """Remove segments from the front, one by one, as long as the promise lets the next one go."""
    settings, start = case.settings, int(case.log_start)
    left = [segment for segment in case.segments if segment.end_offset > start]
    while left:
        oldest, rest = left[0], left[1:]
        age = NOW - oldest.last_append_time
        too_old = settings.retention_ms != -1 and age > settings.retention_ms
        rest_bytes = sum(segment.size_bytes for segment in rest)
        too_much = settings.retention_bytes != -1 and rest_bytes >= settings.retention_bytes
        may_go = oldest.sealed and oldest.end_offset <= case.high_watermark
        if not may_go or not ((too_old and not case.in_doubt) or too_much):
            break
        start, left = oldest.end_offset, rest
    return start


@given(cases())
def test_equals_the_words_of_the_promise(case: Case) -> None:
    assert case.planned() == by_the_words(case)


@given(cases())
def test_whole_segments_from_the_front_only(case: Case) -> None:
    start = case.planned()
    assert start >= case.log_start
    assert start <= max(case.log_start, case.high_watermark)
    assert start == case.log_start or start in [
        segment.base_offset for segment in case.segments[1:]
    ]


def three(**settings: int) -> Case:
    return Case(
        row_of((4, 30, 1_000), (4, 30, 5_000), (4, 30, 9_000)),
        PartitionSettings(**{"retention_ms": -1, "retention_bytes": -1, **settings}),  # type: ignore[arg-type]
        Offset(0),
        Offset(12),
    )


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, 0),
        ({"retention_ms": 9_000}, 0),  # exactly as old is not older
        ({"retention_ms": 8_990}, 4),
        ({"retention_ms": 0}, 8),  # never the active one
        ({"retention_bytes": 61}, 0),
        ({"retention_bytes": 60}, 4),  # what is left holds as much
        ({"retention_bytes": 0}, 8),
    ],
)
def test_the_edges(settings: dict[str, int], start: int) -> None:
    assert three(**settings).planned() == start


def test_nothing_at_or_above_the_high_watermark_goes() -> None:
    case = three(retention_ms=0)
    case.high_watermark = Offset(7)
    assert case.planned() == 4


def test_age_waits_while_the_clock_is_in_doubt_and_size_does_not() -> None:
    case = three(retention_ms=0)
    case.in_doubt = True
    assert case.planned() == 0
    case.settings = PartitionSettings(retention_ms=0, retention_bytes=30)
    assert case.planned() == 8


def test_what_was_trimmed_already_does_not_count() -> None:
    """Its files may still wait for the checkpoint."""
    case = three(retention_bytes=60)
    case.log_start = Offset(4)
    assert case.planned() == 4
    case.log_start = Offset(9)
    assert case.planned() == 9


def test_a_gap_between_segments_is_a_bug() -> None:
    case = three(retention_ms=0)
    del case.segments[1]
    with pytest.raises(AssertionError, match="SEGMENTS_ARE_CONTIGUOUS"):
        case.planned()


@pytest.mark.parametrize(
    ("settings", "due"),
    [
        ({"segment_ms": 9_000}, True),
        ({"segment_ms": 9_001}, False),
        ({"segment_ms": 9_001, "retention_ms": 4_999}, True),
        ({"segment_ms": 9_001, "retention_ms": 5_000}, False),  # exactly as old is not older
        ({"segment_ms": 9_001, "retention_ms": -1}, False),
    ],
)
def test_the_active_segment_is_closed_by_age_though_nothing_is_appended(
    settings: dict[str, int], due: bool
) -> None:
    asked = PartitionSettings(**{"retention_ms": -1, **settings})  # type: ignore[arg-type]
    active = Segment(
        Offset(0), Offset(4), 30, AppendTimeMs(5_000), AppendTimeMs(1_000), sealed=False
    )
    assert roll_due(active, asked, now=NOW, in_doubt=False) is due
    assert not roll_due(active, asked, now=NOW, in_doubt=True)
    empty = Segment(Offset(4), Offset(4), 0, AppendTimeMs(-1), AppendTimeMs(-1), sealed=False)
    assert not roll_due(empty, asked, now=NOW, in_doubt=False)
