"""The grammar of -o: every form, every refusal, and parse after format is the identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.cli.time_range import (
    OFFSET_MAX,
    AfterStart,
    AtOffset,
    BeforeEnd,
    End,
    Place,
    ReadRange,
    Start,
    format_place,
    format_range,
    parse_place,
    parse_range,
)
from tidelog.time_input import TIME_MS_MAX, Ago, At, TimeInputError

DAY = 1_767_225_600_000
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", ReadRange(Start())),
        ("earliest", ReadRange(Start())),
        ("end", ReadRange(End())),
        ("latest", ReadRange(End())),
        (":end", ReadRange(Start(), End())),
        ("+10", ReadRange(AfterStart(10))),
        ("-3", ReadRange(BeforeEnd(3))),
        ("42", ReadRange(AtOffset(42))),
        ("42:", ReadRange(AtOffset(42))),
        (":42", ReadRange(Start(), AtOffset(42))),
        ("42:99", ReadRange(AtOffset(42), AtOffset(99))),
        ("42:end", ReadRange(AtOffset(42), End())),
        ("-10:end", ReadRange(BeforeEnd(10), End())),
        ("start:end", ReadRange(Start(), End())),
        ("@1767225600000", ReadRange(At(DAY))),
        ("@1767225600", ReadRange(At(DAY))),
        ("@2026-01-01:", ReadRange(At(DAY))),
        ("@:2026-01-01", ReadRange(Start(), At(DAY))),
        ("@2026-01-01T00:00:00Z:2026-01-02T00:00:00Z", ReadRange(At(DAY), At(DAY + 24 * HOUR))),
        ("@2026-01-01T00:00:00Z:@2026-01-02T00:00:00Z", ReadRange(At(DAY), At(DAY + 24 * HOUR))),
        ("@2026-01-01T02:00+02:00:2026-01-01T01:00Z", ReadRange(At(DAY), At(DAY + HOUR))),
        ("@2026-01-01:1h", ReadRange(At(DAY), At(DAY + HOUR))),
        ("@2026-01-01:+30s", ReadRange(At(DAY), At(DAY + 30_000))),
        ("@2026-01-01:+500ms", ReadRange(At(DAY), At(DAY + 500))),
        ("@1767225600:1767229200", ReadRange(At(DAY), At(DAY + HOUR))),
        ("@1767225600s:1767229200s", ReadRange(At(DAY), At(DAY + HOUR))),
        ("@-2h:-1h", ReadRange(Ago(2 * HOUR), Ago(HOUR))),
        ("@-1h", ReadRange(Ago(HOUR))),
        ("@-1h:end", ReadRange(Ago(HOUR), End())),
        ("@:end", ReadRange(Start(), End())),
        ("@end", ReadRange(End())),
    ],
)
def test_every_form(text: str, expected: ReadRange) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("", "not a place", "start, end"),
        (":", "names neither end", "start, end"),
        ("@:", "names neither end", "start, end"),
        ("99:42", "ends before it begins", "42:99"),
        ("end:5", "begins at the end", "start"),
        ("5:start", "where the log begins", "start"),
        ("-1h", "not a place", "@-1h"),
        ("2026-01-01", "not a place", "@2026-01-01"),
        ("1_000", "not a place", "start"),
        ("\uff19", "not a place", "start"),
        ("9223372036854775808", "larger than any offset", "9223372036854775807"),
        ("@-2h:1h", "does not begin at a fixed time", "@-2h:-1h"),
        ("@:1h", "does not begin at a fixed time", "-1h"),
        ("@-1h:-2h", "ends before it begins", "longer time ago first"),
        ("@2026-01-02:2026-01-01", "before it begins", "swap"),
        ("@2026-01-01:30s", "before it begins", "+30s"),
        ("@2026-01-01T12:00", "no time zone", "Z"),
        ("@2026-01-01x", "goes on", "@T1:T2"),
        ("@2026-01-01:2026-01-02:2026-01-03", "goes on", "@T1:T2"),
        ("@2026-01-01:+5", "not a duration", "unit"),
    ],
)
def test_every_refusal_says_what_to_write(text: str, why: str, hint: str) -> None:
    with pytest.raises(TimeInputError) as refused:
        parse_range(text)
    assert why in refused.value.why
    assert hint in refused.value.hint


def test_the_suggested_repairs_are_accepted() -> None:
    for text in ("42:99", "@-2h:-1h", "@2026-01-01:+30s", "@-1h", "@2026-01-01"):
        parse_range(text)


def test_exact_ranges_of_time_are_told_from_offsets() -> None:
    for text in ("@2026-01-01:2026-01-02", "@:2026-01-01", "@-1h:end", "@-2h:-1h"):
        assert parse_range(text).is_time_range, text
    for text in ("@-1h", "42:99", ":end", "start", "end", "-10:end"):
        assert not parse_range(text).is_time_range, text


OFFSETS = st.integers(0, OFFSET_MAX)
TIMES = st.integers(0, TIME_MS_MAX)
OFFSET_PLACES = st.one_of(
    st.just(Start()), OFFSETS.map(AtOffset), OFFSETS.map(AfterStart), OFFSETS.map(BeforeEnd)
)
MOMENTS = st.one_of(TIMES.map(At), TIMES.map(Ago))
PLACES = st.one_of(OFFSET_PLACES, st.just(End()), MOMENTS)


@st.composite
def ranges(draw: st.DrawFn) -> ReadRange:
    """Draw a range that the grammar can say."""
    kind = draw(st.sampled_from(["open", "offsets", "to_end", "times", "until", "since"]))
    if kind == "open":
        return ReadRange(draw(PLACES))
    if kind == "offsets":
        first, second = sorted([draw(OFFSETS), draw(OFFSETS)])
        chosen: list[Place] = [AtOffset(first), Start(), AfterStart(first)]
        return ReadRange(draw(st.sampled_from(chosen)), AtOffset(second))
    if kind == "to_end":
        return ReadRange(draw(OFFSET_PLACES), End())
    if kind == "since":
        return ReadRange(draw(MOMENTS), End())
    first, second = sorted([draw(TIMES), draw(TIMES)])
    stops: list[At | Ago] = [At(second), Ago(first)]
    stop = draw(st.sampled_from(stops))
    start: Place = (
        Start() if kind == "until" else At(first) if isinstance(stop, At) else Ago(second)
    )
    return ReadRange(start, stop)


@given(ranges())
def test_parse_undoes_format(read: ReadRange) -> None:
    assert parse_range(format_range(read)) == read


@given(PLACES)
def test_parse_undoes_format_for_places(place: Place) -> None:
    assert parse_place(format_place(place)) == place


@given(st.text(alphabet="0123456789@:+-TZhmsdwenrtal. ", max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        read = parse_range(text)
    except TimeInputError as refused:
        assert refused.hint
    else:
        assert parse_range(format_range(read)) == read
