"""Places and ranges of the command line as those of the SDK."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import click

from tidelog.cli.failure import Usage
from tidelog.cli.time_range import (
    AfterStart,
    AtOffset,
    BeforeEnd,
    End,
    Place,
    ReadRange,
    Start,
    parse_place,
    parse_range,
)
from tidelog.time_input import Ago, At, TimeInputError
from tidelog.types import Clock, FromEdge, TimeRange, datetime_of
from tidelog.types import Start as SdkStart

_EDGES: Final[Mapping[type, Literal["earliest", "latest"]]] = {
    AfterStart: "earliest",
    BeforeEnd: "latest",
}

clock_option = click.option(
    "--clock",
    type=click.Choice(("event", "append")),
    default="event",
    show_default=True,
    help="Which of a record's two times a time means.",
)


def place_of(text: str) -> Place:
    """Return one place of a text.

    Raises:
        Usage: it is none.
    """
    try:
        return parse_place(text)
    except TimeInputError as refused:
        raise Usage(refused.why, hint=refused.hint) from refused


def read_range_of(text: str) -> ReadRange:
    """Return the range of a text.

    Raises:
        Usage: it is none.
    """
    try:
        return parse_range(text)
    except TimeInputError as refused:
        raise Usage(refused.why, hint=refused.hint) from refused


def start_of(place: Place) -> SdkStart:
    """Return a place as the SDK takes it."""
    match place:
        case Start():
            return "earliest"
        case End():
            return "latest"
        case AtOffset(offset):
            return offset
        case AfterStart(offsets) | BeforeEnd(offsets):
            edge = _EDGES[type(place)]
            return FromEdge(edge, offsets)
        case At() | Ago():
            return moment_of(place)


def times_of(wanted: ReadRange, clock: Clock) -> TimeRange:
    """Return a range of times as the SDK takes it; an end that is no time is left open."""
    start, stop = wanted.start, wanted.stop
    return TimeRange(
        moment_of(start) if isinstance(start, At | Ago) else None,
        moment_of(stop) if isinstance(stop, At | Ago) else None,
        clock,
    )


def moment_of(moment: At | Ago) -> datetime | timedelta:
    """Return a time as the SDK takes it."""
    if isinstance(moment, At):
        return datetime_of(moment.time_ms)
    return timedelta(milliseconds=moment.before_ms)
