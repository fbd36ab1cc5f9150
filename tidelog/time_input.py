"""Moments as people write them, exactly: `2026-01-01T12:00:00Z`, `1767225600`, `-2h`.

Every way in (command line, SDK, browser) reads times here, so one text means one moment everywhere.
What can be misread is refused with what to write instead: a time of day without a zone, digits
whose unit has to be guessed (nanoseconds taken for milliseconds are KIP-937), years above 2200.

The log keeps milliseconds. A finer moment is rounded up to the next one: for a start (inclusive)
and for a stop (exclusive) that selects exactly the records that the finer moment would.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, NoReturn, TypeAlias

YEAR_MAX: Final = 2200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MS_MAX: Final = (datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(
    milliseconds=1
) - 1
"""The last millisecond of the year 2200."""

DURATION_MS: Final = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNIT_OF_DIGITS: Final = {10: "s", 13: "ms"}
_GUESSES: Final = {10: "s", 13: "ms", 16: "us", 19: "ns"}

_CLOCK_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,18}))?)?"
    r"([Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DIGITS: Final = re.compile(r"(\d{1,25})(ms|us|ns|s)?(?![0-9A-Za-z])", re.ASCII)
_DURATION: Final = re.compile(
    r"(?=\d)(?:(\d{1,15})w)?(?:(\d{1,15})d)?(?:(\d{1,15})h)?(?:(\d{1,15})m(?!s))?"
    r"(?:(\d{1,15})s)?(?:(\d{1,15})ms)?(?![0-9A-Za-z])",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class At:
    """A moment: ms since 1970 UTC."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Ago:
    """So many ms before now, by the server's clock."""

    before_ms: int


@dataclass(frozen=True, slots=True)
class Lasting:
    """So many ms after where a range begins."""

    ms: int


Moment: TypeAlias = At | Ago


class TimeInputError(ValueError):
    """A text that is not one moment; `hint` says what to write instead."""

    def __init__(self, why: str, hint: str) -> None:
        """Say what is wrong with it, and what would be right."""
        super().__init__(why)
        self.why = why
        self.hint = hint


HOW: Final = (
    "write 2026-01-01T12:00:00Z, 2026-01-01 (midnight UTC), 1767268800 (seconds), "
    "1767268800000 (milliseconds), 1767268800000000us, or -2h"
)


def parse_moment(text: str) -> Moment:
    """Return the moment that a whole text stands for.

    Raises:
        TimeInputError: it is none, or could be read in more than one way.
    """
    moment, rest = take_moment(text)
    if rest:
        _refuse(f'"{text}" goes on with "{rest}" after a time', HOW)
    return moment


def take_moment(text: str) -> tuple[Moment, str]:
    """Return the moment at the beginning of a text, and what follows it.

    Times contain colons, so whoever reads `t1:t2` takes t1 by its own shape first.

    Raises:
        TimeInputError: as `parse_moment`.
    """
    if text.startswith("-"):
        duration, rest = take_duration(text[1:])
        return Ago(duration), rest
    if found := _CLOCK_TIME.match(text):
        return At(_clock_time_ms(found)), text[found.end() :]
    if found := _DATE.match(text):
        return At(_checked(_seconds(_day(found[0])) * 1000, found[0])), text[found.end() :]
    if found := _DIGITS.match(text):
        return At(_epoch_ms(found[1], found[2])), text[found.end() :]
    if found := _DURATION.match(text):
        _refuse(
            f'"{found[0]}" does not say whether it lies back or ahead',
            f"write -{found[0]} for so long ago",
        )
    _refuse(f'"{text}" is not a time', HOW)


def take_duration(text: str) -> tuple[int, str]:
    """Return the ms of a duration at the beginning of a text (`1h30m`, `7d`), and what follows.

    Raises:
        TimeInputError: there is none, or it is longer than any log.
    """
    found = _DURATION.match(text)
    if found is None:
        _refuse(
            f'"{text}" is not a duration',
            "write a number with a unit, the largest first: 2w 7d 1h30m 90s 500ms",
        )
    counts = (int(count or 0) for count in found.groups())
    total = sum(n * unit for n, unit in zip(counts, DURATION_MS.values(), strict=True))
    if total > TIME_MS_MAX:
        _refuse(f'"{found[0]}" is longer than any log', "write a shorter one")
    return total, text[found.end() :]


def format_time(time_ms: int) -> str:
    """Return a moment as RFC 3339 in UTC, with milliseconds only where it has some."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    fraction = f".{time_ms % 1000:03d}" if time_ms % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(20 + len(fraction), "0")


def format_datetime(moment: datetime) -> str:
    """Return an aware datetime as `format_time` has it, rounded down to the millisecond."""
    return format_time((moment - _EPOCH) // timedelta(milliseconds=1))


def format_duration(duration_ms: int) -> str:
    """Return a duration in the largest unit that keeps it whole."""
    for unit, factor in DURATION_MS.items():
        if duration_ms and duration_ms % factor == 0:
            return f"{duration_ms // factor}{unit}"
    return "0s"


def format_moment(moment: Moment) -> str:
    """Return what `parse_moment` reads as the same moment."""
    match moment:
        case At(time_ms):
            return format_time(time_ms)
        case Ago(before_ms):
            return f"-{format_duration(before_ms)}"


def from_datetime(moment: datetime) -> int:
    """Return an aware datetime as ms since 1970, rounded up.

    Raises:
        TimeInputError: it has no zone, or lies outside 1970 to 2200.
    """
    if moment.utcoffset() is None:
        _refuse(f"{moment!r} has no time zone", "pass tzinfo, such as datetime.UTC")
    return _checked(-((_EPOCH - moment) // timedelta(milliseconds=1)), moment.isoformat())


def _clock_time_ms(found: "re.Match[str]") -> int:
    day, hour, minute, second, fraction, zone = found.groups()
    text = found[0]
    if zone is None:
        _refuse(f'"{text}" has no time zone', f"write {text}Z for UTC, or {text}+02:00")
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
        _refuse(f'"{text}" is not a time of day', "hours end at 23, minutes and seconds at 59")
    offset = timedelta(0)
    if zone not in {"Z", "z"}:
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:
            _refuse(f'"{text}" has no real time zone', "offsets go up to 23:59")
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
    moment = _day(day).replace(hour=int(hour), minute=int(minute), second=int(second or 0))
    whole = _seconds(moment.replace(tzinfo=timezone(offset)))
    digits = fraction or "0"
    return _checked(whole * 1000 - (-int(digits) * 1000 // 10 ** len(digits)), text)


def _day(text: str) -> datetime:
    """Return midnight UTC of a calendar day."""
    year, month, day = (int(part) for part in text.split("-"))
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        _refuse(f'"{text}" is not a day of the calendar', "write YYYY-MM-DD, such as 2026-01-31")


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


def _epoch_ms(digits: str, unit: str | None) -> int:
    """Return ms since 1970 of a number; without a unit its length must leave no doubt."""
    if unit is None:
        unit = _UNIT_OF_DIGITS.get(len(digits))
    if unit is None:
        guess = _GUESSES.get(len(digits))
        also = f", here perhaps {digits}{guess}" if guess else ""
        _refuse(
            f"{digits} has {len(digits)} digits and no unit",
            f"10 digits are seconds, 13 are milliseconds; else write s, ms, us or ns{also}",
        )
    return _checked(-(-int(digits) * 1000 // _PER_SECOND[unit]), f"{digits}{unit}")


def _checked(time_ms: int, text: str) -> int:
    if time_ms < 0:
        _refuse(f'"{text}" lies before 1970', "times in the log begin at 1970-01-01T00:00:00Z")
    if time_ms > TIME_MS_MAX:
        _refuse(
            f'"{text}" lies beyond the year {YEAR_MAX}',
            "is the unit right? 10 digits are seconds, 13 are milliseconds",
        )
    return time_ms


def _refuse(why: str, hint: str) -> NoReturn:
    raise TimeInputError(why, hint)
