"""The grammar of `-o`: where to read from, and up to where.

    start  end  +N  -N  N  N:  :N  A:B  :end      offsets, and the two edges
    @t  @t:  @:t  @t1:t2                           times, as `tidelog.time_input` reads them

The start is inclusive and the stop exclusive. The stop `end` is the end when the command began. A
text means the same wherever it is taken; which clock a time is on is said beside it (`--clock`).
"""

from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from tidelog.time_input import (
    Ago,
    At,
    Lasting,
    Moment,
    TimeInputError,
    format_duration,
    format_moment,
    format_time,
    take_duration,
    take_moment,
)

OFFSET_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Start:
    """The log start."""


@dataclass(frozen=True, slots=True)
class End:
    """The log end: as a start whatever it is then, as a stop what it was when the command began."""


@dataclass(frozen=True, slots=True)
class AtOffset:
    """An offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class AfterStart:
    """So many offsets after the log start."""

    offsets: int


@dataclass(frozen=True, slots=True)
class BeforeEnd:
    """So many offsets before the log end."""

    offsets: int


Place: TypeAlias = Start | End | AtOffset | AfterStart | BeforeEnd | Moment
"""Where a reader begins, or is put."""

Stop: TypeAlias = End | AtOffset | Moment
"""Where a reader ends; exclusive."""


@dataclass(frozen=True, slots=True)
class ReadRange:
    """From `start` on, up to `stop`; without a stop the reader follows the log."""

    start: Place
    stop: Stop | None = None

    @property
    def is_time_range(self) -> bool:
        """It bounds times: exactly the records with start <= clock < stop are meant."""
        timed_start = isinstance(self.start, At | Ago)
        return isinstance(self.stop, At | Ago) or (timed_start and self.stop is not None)


EDGES: Final[dict[str, Start | End]] = {
    "start": Start(),
    "earliest": Start(),
    "end": End(),
    "latest": End(),
}
START_WORDS: Final = frozenset({"start", "earliest"})
END_WORDS: Final = frozenset({"end", "latest"})
HOW: Final = (
    "write start, end, 42, 42:99, :99, -10, +10, @2026-01-01, @-1h:end or @T1:T2; "
    "see: tidelog consume --help"
)

PLACE_HOW: Final = "write start, end, 42, -10, +10, @2026-01-01 or @-1h"

GRAMMAR: Final = """\
start, end        the log start; the end, to wait for what comes (also: earliest, latest)
42, 42:, :42      from an offset on; up to one, without it
42:99             offsets 42 to 98
+10, -10          ten after the log start; ten before the end
:end, 42:end      up to the end as it was when the command began
@T, @T:           from the first record at or after a time on
@:T, @T1:T2       up to a time; exactly the records with T1 <= clock < T2
T is 2026-01-01T12:00:00Z (a zone is needed), 2026-01-01 (midnight UTC), 13 digits (ms),
10 digits (s), digits with ms, us, ns or s, or -1h30m (from now; w d h m s ms).
After an absolute T1, T2 may be how long: 1h, or +30s; it may be end.
The start is included, the stop is not. Both are found once, by the server's clock."""


def parse_range(text: str) -> ReadRange:
    """Return what `-o` says.

    Raises:
        TimeInputError: it follows no rule of the grammar, or ends before it begins.
    """
    if text.startswith("@"):
        return _time_range(text[1:], text)
    first, colon, second = text.partition(":")
    if not colon:
        return ReadRange(parse_place(text))
    if not first and not second:
        _refuse(f'"{text}" names neither end', HOW)
    start = _offset_place(first, text) if first else Start()
    if not second:
        return ReadRange(start)
    if second in START_WORDS:
        _refuse(f'"{text}" ends where the log begins', HOW)
    stop: Stop = End() if second in END_WORDS else AtOffset(_offset(second, text))
    if isinstance(start, AtOffset) and isinstance(stop, AtOffset) and stop.offset < start.offset:
        _refuse(f'"{text}" ends before it begins', f"write {second}:{first}")
    if isinstance(start, End):
        _refuse(f'"{text}" begins at the end and stops there', HOW)
    return ReadRange(start, stop)


def parse_place(text: str) -> Place:
    """Return one place: what `--to`, `--before` and `-o` without a stop take.

    Raises:
        TimeInputError: it is no place.
    """
    if not text.startswith("@"):
        return _offset_place(text, text, PLACE_HOW)
    if text[1:] in END_WORDS:
        return End()
    moment, rest = take_moment(text[1:])
    if rest:
        _refuse(f'"{text}" goes on with "{rest}" after a time', "write one time, such as @-1h")
    return moment


def format_range(read: ReadRange) -> str:
    """Return the text that `parse_range` reads as the same range."""
    start, stop = read.start, read.stop
    timed = isinstance(start, At | Ago) or isinstance(stop, At | Ago)
    if stop is None:
        return format_place(start)
    if not timed:
        first = "" if isinstance(start, Start) else format_place(start)
        return f"{first}:{format_place(stop)}"
    first = format_moment(start) if isinstance(start, At | Ago) else ""
    second = format_moment(stop) if isinstance(stop, At | Ago) else "end"
    return f"@{first}:{second}"


def format_place(place: Place) -> str:
    """Return the text that `parse_place` reads as the same place."""
    match place:
        case Start():
            return "start"
        case End():
            return "end"
        case AtOffset(offset):
            return str(offset)
        case AfterStart(offsets):
            return f"+{offsets}"
        case BeforeEnd(offsets):
            return f"-{offsets}"
        case At() | Ago():
            return f"@{format_moment(place)}"


def _offset_place(text: str, whole: str, how: str = HOW) -> Place:
    if text in EDGES:
        return EDGES[text]
    if text.startswith("+"):
        return AfterStart(_offset(text[1:], whole, how))
    if text.startswith("-"):
        return BeforeEnd(_offset(text[1:], whole, how))
    return AtOffset(_offset(text, whole, how))


def _offset(text: str, whole: str, how: str = HOW) -> int:
    if not (text.isascii() and text.isdigit()):
        try:
            take_moment(whole)
        except TimeInputError:
            _refuse(f'"{whole}" is not a place in a log', how)
        _refuse(f'"{whole}" is not a place in a log', f"times begin with @: write @{whole}")
    if len(text) > 19 or int(text) > OFFSET_MAX:
        _refuse(f"{text} is larger than any offset", f"offsets end at {OFFSET_MAX}")
    return int(text)


def _time_range(text: str, whole: str) -> ReadRange:
    """Return the range of what follows the first `@`."""
    if text in END_WORDS:
        return ReadRange(End())
    start: Place = Start()
    rest = text
    if not text.startswith(":"):
        start, rest = take_moment(text)
        if rest == "":
            return ReadRange(start)
    if not rest.startswith(":"):
        _refuse(f'"{whole}" goes on with "{rest}" after a time', "write @T1:T2")
    rest = rest[1:].removeprefix("@")
    if not rest:
        if isinstance(start, Start):
            _refuse(f'"{whole}" names neither end', HOW)
        return ReadRange(start)
    stop = _time_stop(rest, start, whole=whole)
    _check_order(start, stop, whole=whole)
    return ReadRange(start, stop)


def _time_stop(text: str, start: Place, *, whole: str) -> Stop:
    if text in END_WORDS:
        return End()
    lasting = _lasting(text)
    if lasting is not None:
        if isinstance(start, At):
            return At(start.time_ms + lasting.ms)
        ago = start.before_ms - lasting.ms if isinstance(start, Ago) else 0
        meant = f"write -{text.removeprefix('+')} for so long before now"
        if isinstance(start, Ago):
            end = f"-{format_duration(ago)}" if ago > 0 else "end"
            meant = f"write @-{format_duration(start.before_ms)}:{end}"
        _refuse(f'"{whole}" gives a duration, but the range does not begin at a fixed time', meant)
    moment, rest = take_moment(text)
    if rest:
        _refuse(f'"{whole}" goes on with "{rest}" after the second time', "write @T1:T2")
    return moment


def _lasting(text: str) -> Lasting | None:
    """Return how long a range lasts: `+30s`, or `1h`; a bare `30s` or `30ms` is an epoch time."""
    signed = text.startswith("+")
    try:
        duration, rest = take_duration(text.removeprefix("+"))
    except TimeInputError:
        if signed:
            raise
        return None
    if rest and signed:
        _refuse(f'"{text}" is not a duration', "write +30s or +1h30m")
    if rest or (not signed and text.rstrip("ms").isdigit() and text[-1] == "s"):
        return None
    return Lasting(duration)


def _check_order(start: Place, stop: Stop, *, whole: str) -> None:
    match start, stop:
        case At(first), At(second) if second < first:
            _refuse(
                f'"{whole}" ends at {format_time(second)}, before it begins at '
                f"{format_time(first)}",
                "swap the two times; a number of seconds after the start is written +30s",
            )
        case Ago(first), Ago(second) if second > first:
            _refuse(f'"{whole}" ends before it begins', "put the longer time ago first")


def _refuse(why: str, hint: str) -> NoReturn:
    raise TimeInputError(why, hint)
