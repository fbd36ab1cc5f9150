"""The node's log: closed names, both forms, escaped text of clients, limited repeats."""

import io
import json
import logging
import re
from pathlib import Path

import pytest

from api.node.log_events import EVENTS
from api.node.logging import FIELD_CHARACTERS_MAX, WINDOW_MS, EventLog, LibraryMessages
from api.settings import LogFormat, LoggingSection, LogLevel
from model.ids import MonotonicMs, NodeId

ROOT = Path(__file__).parents[3]


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(self.now)

    def wall_ms(self) -> int:
        return 1_767_225_600_123 + self.now


def log(clock: Clock, **settings: object) -> tuple[EventLog, io.StringIO]:
    stream = io.StringIO()
    section = LoggingSection(**({"format": LogFormat.JSON} | settings))  # type: ignore[arg-type]
    return EventLog(section, stream=stream, clock=clock, node=NodeId(4)), stream  # type: ignore[arg-type]


def test_a_line_is_one_json_object_in_order() -> None:
    write, stream = log(Clock())
    write("topic_created", topic="orders", partitions=3)
    line = stream.getvalue()
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "ts": "2026-01-01T00:00:00.123Z",
        "level": "info",
        "event": "topic_created",
        "topic": "orders",
        "partitions": 3,
        "node": 4,
    }
    assert list(json.loads(line))[:3] == ["ts", "level", "event"]


def test_the_console_form_is_plain_off_a_terminal() -> None:
    write, stream = log(Clock(), format=LogFormat.CONSOLE)
    write("topic_created", topic="a b")
    assert stream.getvalue() == '00:00:00.123Z info    topic_created topic="a b" node=4\n'


def test_names_are_a_closed_list() -> None:
    write, _ = log(Clock())
    with pytest.raises(AssertionError, match="LOG_EVENT_IS_LISTED"):
        write("something_new")


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_clients_chose_cannot_move_the_cursor(form: LogFormat) -> None:
    write, stream = log(Clock(), format=form)
    write("kafka_request_malformed", client_id="\x1b[2J\n\x9b31m\u202e" + "x" * 1000)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert len(text) < FIELD_CHARACTERS_MAX + 300


def test_levels_below_the_least_are_left_out() -> None:
    write, stream = log(Clock(), level=LogLevel.WARNING)
    write("topic_created")
    write("node_failed")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["node_failed"]


def test_repeats_are_counted_and_the_number_is_told() -> None:
    clock = Clock()
    write, stream = log(clock, repeats_per_minute=2)
    for _ in range(5):
        write("kafka_request_malformed")
    write("topic_created")
    clock.now += WINDOW_MS
    write("kafka_request_malformed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines].count("kafka_request_malformed") == 3
    assert lines[-1]["suppressed"] == 3
    assert "suppressed" not in lines[0]


def test_what_was_left_out_is_told_at_the_end() -> None:
    write, stream = log(Clock(), repeats_per_minute=1)
    for _ in range(4):
        write("kafka_request_malformed")
    write.close()
    assert json.loads(stream.getvalue().splitlines()[-1])["suppressed"] == 3
    write.close()
    assert len(stream.getvalue().splitlines()) == 2


def test_libraries_speak_through_the_same_log() -> None:
    write, stream = log(Clock())
    handler = LibraryMessages(write)
    record = logging.LogRecord("asyncio", logging.WARNING, "f", 1, "odd %s", ("x",), None)
    handler.handle(record)
    assert json.loads(stream.getvalue())["text"] == "odd x"


def test_every_name_in_the_code_is_listed() -> None:
    called = re.compile(r"""(?:_note|\.note|_log|\blog)\(\s*"([a-z_]+)"[,)]""")
    found = {
        name
        for package in ("api", "cluster")
        for path in (ROOT / package).rglob("*.py")
        for name in called.findall(path.read_text())
        if path.name not in {"health.py"}
    }
    assert found
    assert found - {"security", "controller"} <= EVENTS.keys()


def test_every_listed_event_is_written_somewhere() -> None:
    """A name that nobody writes would be an alert that never fires."""
    written = {
        name
        for folder in ("api", "cluster")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "log_events.py"
        for name in re.findall(r'"([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert EVENTS.keys() - written == set()
