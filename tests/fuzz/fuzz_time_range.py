"""Any text as a place or range in a log (`-o`), as a time, and as a duration."""

from contextlib import suppress

from tidelog.cli.time_range import format_place, format_range, parse_place, parse_range
from tidelog.time_input import TimeInputError, parse_moment, take_duration


def samples() -> list[bytes]:
    """Return texts of every rule of the grammar."""
    texts = (
        "start", "end", "42", "+10", "-10", "42:99", ":99", "7:", "earliest:end", ":end",
        "@2026-01-01", "@2026-01-01T12:00:00Z", "@2026-01-01T12:00:00.123+02:00:", "@-1h30m",
        "@-2d:-1d", "@1700000000000:1h", "@1700000000:+30s", "@:end", "@1700000000000000us",
        "@2026-01-01:@2026-01-02", "9223372036854775807", "1w2d3h4m5s6ms",
    )  # fmt: skip
    return [text.encode() for text in texts]


def fuzz(data: bytes) -> None:
    """Read the text in every way; what was read is told by a text that reads the same."""
    text = data.decode(errors="surrogateescape")  # as arguments come
    with suppress(TimeInputError):
        read = parse_range(text)
        assert parse_range(format_range(read)) == read, "not what was read"
    with suppress(TimeInputError):
        place = parse_place(text)
        assert parse_place(format_place(place)) == place, "not what was read"
    with suppress(TimeInputError):
        parse_moment(text)
    with suppress(TimeInputError):
        take_duration(text)
