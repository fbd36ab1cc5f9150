"""Moments as people write them: each form of the grammar, each refusal, and the way back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.time_input import (
    TIME_MS_MAX,
    Ago,
    At,
    TimeInputError,
    format_duration,
    format_moment,
    format_time,
    from_datetime,
    parse_moment,
    take_duration,
)

DAY = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOON = DAY + 12 * 3_600_000


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1767225600000", DAY),
        ("1767225600", DAY),
        ("1767225600s", DAY),
        ("1767225600000ms", DAY),
        ("1767225600000000us", DAY),
        ("1767225600000000000ns", DAY),
        ("1767225600000001us", DAY + 1),
        ("1767225600000000001ns", DAY + 1),
        ("0s", 0),
        ("2026-01-01", DAY),
        ("2026-01-01T12:00Z", NOON),
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01t12:00:00z", NOON),
        ("2026-01-01 12:00:00Z", NOON),
        ("2026-01-01T14:00:00+02:00", NOON),
        ("2026-01-01T06:30:00-05:30", NOON),
        ("2026-01-01T12:00:00.5Z", NOON + 500),
        ("2026-01-01T12:00:00.123Z", NOON + 123),
        ("2026-01-01T12:00:00.123000001Z", NOON + 124),
        ("2200-12-31T23:59:59.999Z", TIME_MS_MAX),
        ("1970-01-01", 0),
    ],
)
def test_every_form_means_one_moment(text: str, time_ms: int) -> None:
    assert parse_moment(text) == At(time_ms)


@pytest.mark.parametrize(
    ("text", "before_ms"),
    [
        ("-1h", 3_600_000),
        ("-7d", 604_800_000),
        ("-2w", 1_209_600_000),
        ("-90s", 90_000),
        ("-500ms", 500),
        ("-5m", 300_000),
        ("-1h30m", 5_400_000),
        ("-1w2d3h4m5s6ms", 604_800_000 + 2 * 86_400_000 + 3 * 3_600_000 + 245_006),
    ],
)
def test_durations_lie_before_now(text: str, before_ms: int) -> None:
    assert parse_moment(text) == Ago(before_ms)


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("2026-01-01T12:00", "has no time zone", "2026-01-01T12:00Z"),
        ("1767225600000000", "16 digits and no unit", "1767225600000000us"),
        ("1767225600000000000", "19 digits and no unit", "1767225600000000000ns"),
        ("42", "2 digits and no unit", "10 digits are seconds"),
        ("2201-01-01", "beyond the year 2200", "unit"),
        ("9999999999999999ms", "beyond the year 2200", "unit"),
        ("1969-12-31T23:59:59Z", "before 1970", "1970"),
        ("2026-02-30", "not a day of the calendar", "YYYY-MM-DD"),
        ("2026-01-01T24:00Z", "not a time of day", "23"),
        ("2026-01-01T12:60Z", "not a time of day", "59"),
        ("2026-01-01T12:00:60Z", "not a time of day", "59"),
        ("2026-01-01T12:00+24:00", "no real time zone", "23:59"),
        ("1h", "back or ahead", "-1h"),
        ("-1h30", "not a duration", "unit"),
        ("-", "not a duration", "unit"),
        ("yesterday", "not a time", "2026-01-01"),
        ("", "not a time", "2026-01-01"),
        ("2026-01-01x", "goes on", "2026-01-01"),
        ("-999999999999w", "longer than any log", "shorter"),
        ("1767225600\u0663", "goes on", "2026"),
    ],
)
def test_what_can_be_misread_is_refused(text: str, why: str, hint: str) -> None:
    with pytest.raises(TimeInputError) as refused:
        parse_moment(text)
    assert why in refused.value.why
    assert hint in refused.value.hint


@given(st.integers(0, TIME_MS_MAX))
def test_parse_undoes_format_for_times(time_ms: int) -> None:
    text = format_time(time_ms)
    assert parse_moment(text) == At(time_ms)
    assert parse_moment(format_moment(At(time_ms))) == At(time_ms)
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=time_ms
    )


@given(st.integers(0, TIME_MS_MAX))
def test_parse_undoes_format_for_durations(ms: int) -> None:
    assert take_duration(format_duration(ms)) == (ms, "")
    assert parse_moment(format_moment(Ago(ms))) == Ago(ms)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1)),  # noqa: DTZ001 - the zone follows
    st.integers(-23 * 60, 23 * 60),
)
def test_zones_and_fractions_agree_with_the_calendar(plain: datetime, minutes: int) -> None:
    moment = plain.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact_us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_moment(moment.isoformat()) == At(-(-exact_us // 1000))
    assert from_datetime(moment) == -(-exact_us // 1000)


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(TimeInputError, match="no time zone"):
        from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        moment = parse_moment(text)
    except TimeInputError as refused:
        assert refused.hint
    else:
        assert isinstance(moment, At | Ago)
