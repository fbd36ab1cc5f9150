"""The node's log: one event a line on stderr, as JSON for programs or key=value for a terminal.

What clients chose (names, addresses, client ids) is cut and has its control characters escaped
(P65). An event that repeats is written so often a minute; the rest is counted, and the number is
told with its next line, or at the end. No timer runs for that.

Invariants:
    LOG_EVENT_IS_LISTED    nothing is logged under a name that `api.node.log_events` lacks.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO
from unicodedata import category

import msgspec

from api.node.log_events import EVENTS
from api.settings import LogFormat, LoggingSection, LogLevel
from model.ids import NodeId
from model.ports import Clock

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

FIELD_CHARACTERS_MAX: Final = 300
WINDOW_MS: Final = 60_000
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ORDER: Final = {level: place for place, level in enumerate(LogLevel)}
_COLORS: Final = {
    LogLevel.DEBUG: "2",
    LogLevel.INFO: "32",
    LogLevel.WARNING: "33",
    LogLevel.ERROR: "1;31",
}


class _Repeats:
    """How often one event was asked for in its minute."""

    __slots__ = ("since", "suppressed", "written")

    def __init__(self, since: int) -> None:
        self.since = since
        self.written = 0
        self.suppressed = 0


class EventLog:
    """Writes events; called with a name from the closed list and fields. Loop only."""

    def __init__(
        self, settings: LoggingSection, *, stream: TextIO, clock: Clock, node: NodeId
    ) -> None:
        """Write to `stream`, in the form that settings and terminal call for."""
        self._settings = settings
        self._stream = stream
        self._clock = clock
        self._node = node
        self._repeats: dict[str, _Repeats] = {}
        self._write: Callable[[str, dict[str, object]], None] | None = None
        self._level_min = _ORDER[settings.level]

    def __call__(self, event: str, /, **fields: str | int) -> None:
        """Write one line, unless its level or its repeats leave it out."""
        listed = EVENTS.get(event)
        assert listed is not None, "LOG_EVENT_IS_LISTED"
        if _ORDER[listed.level] < self._level_min:
            return
        suppressed = self._admit(event)
        if suppressed is not None:
            more = {"suppressed": suppressed} if suppressed else {}
            self._line(event, listed.level, fields | more)

    def load(self) -> None:
        """Load what writes lines before there is one. Any thread."""
        if self._write is None:
            self._write = self._writer()

    def close(self) -> None:
        """Tell what was left out and not told yet."""
        for event, repeats in self._repeats.items():
            if repeats.suppressed:
                self._line(event, EVENTS[event].level, {"suppressed": repeats.suppressed})
                repeats.suppressed = 0

    def _admit(self, event: str) -> int | None:
        """Return how many lines of the event were left out before; None: this one is, too."""
        now = self._clock.monotonic_ms()
        repeats = self._repeats.setdefault(event, _Repeats(now))
        if now - repeats.since >= WINDOW_MS:
            repeats.since, repeats.written = now, 0
        if repeats.written >= self._settings.repeats_per_minute:
            repeats.suppressed += 1
            return None
        repeats.written += 1
        suppressed, repeats.suppressed = repeats.suppressed, 0
        return suppressed

    def _line(self, event: str, level: LogLevel, fields: dict[str, Any]) -> None:
        write = self._write
        if write is None:
            write = self._write = self._writer()
        now = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)
        head = {
            "ts": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "level": level.value,
        }
        write(event, {**head, **fields, "node": self._node})

    def _writer(self) -> Callable[[str, dict[str, object]], None]:
        """Return what renders and writes; structlog is loaded with the first line: 0.1 s."""
        import structlog  # noqa: PLC0415 - see above

        as_json = self._settings.format is LogFormat.JSON or (
            self._settings.format is LogFormat.AUTO and not self._stream.isatty()
        )
        colored = not as_json and self._stream.isatty()
        logger = structlog.wrap_logger(
            structlog.PrintLogger(self._stream),
            processors=[escaped, as_json_line if as_json else Console(colored=colored)],
            wrapper_class=structlog.BoundLogger,
        )

        def write(event: str, fields: dict[str, object]) -> None:
            logger.msg(event, **fields)

        return write


def escaped(logger: "WrappedLogger", method: str, line: "EventDict") -> "EventDict":
    """Cut and escape every text of a line."""
    del logger, method
    return {name: clean(value) if isinstance(value, str) else value for name, value in line.items()}


def clean(text: str) -> str:
    """Return a text without what could move a terminal's cursor, and not too long."""
    cut = text[:FIELD_CHARACTERS_MAX]
    shown = "".join(
        one.encode("unicode_escape").decode("ascii") if category(one) in _HIDDEN else one
        for one in cut
    )
    return shown if len(text) <= FIELD_CHARACTERS_MAX else f"{shown}..."


def as_json_line(logger: "WrappedLogger", method: str, line: "EventDict") -> str:
    """Render one JSON object: time, level and event first, the node last."""
    del logger, method
    event = line.pop("event")
    head = {"ts": line.pop("ts"), "level": line.pop("level"), "event": event}
    return msgspec.json.encode({**head, **line}).decode()


class Console:
    """Renders key=value for people."""

    def __init__(self, *, colored: bool) -> None:
        """Colour the level on a terminal."""
        self._colored = colored

    def __call__(self, logger: "WrappedLogger", method: str, line: "EventDict") -> str:
        """Return one line."""
        del logger, method
        level = LogLevel(line.pop("level"))
        word = f"{level.value:7}"
        if self._colored:
            word = f"\x1b[{_COLORS[level]}m{word}\x1b[0m"
        clock = str(line.pop("ts"))[11:]
        event = line.pop("event")
        fields = " ".join(f"{name}={_quoted(value)}" for name, value in line.items())
        return f"{clock} {word} {event} {fields}"


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if not text or " " in text else text


class LibraryMessages(logging.Handler):
    """Hands what libraries log, from warnings on, to the node's log."""

    def __init__(self, log: EventLog) -> None:
        """Write to `log`."""
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        self._log("library_message", logger=record.name, text=record.getMessage())


def take_over_library_messages(log: EventLog) -> None:
    """Route the messages of all libraries to the node's log, and nowhere else."""
    logging.basicConfig(handlers=[LibraryMessages(log)], level=logging.WARNING, force=True)
