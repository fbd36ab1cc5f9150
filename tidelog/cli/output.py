"""What commands print: plain tables for people, one JSON envelope or lines of JSON for programs.

A table has one header row in upper case, no borders, numbers to the right, `-` where something
does not apply. Sizes and durations are humanised in tables only, and `--raw` stops that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from unicodedata import category, east_asian_width

NOT_APPLICABLE: Final = "-"
VERSION: Final = 1
"""Of every command's output; within it fields are only added."""

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    INTEGER = auto()
    BYTES = auto()
    DURATION_MS = auto()
    BOOLEAN = auto()
    LIST = auto()
    OBJECT = auto()
    BYTE_TEXT = auto()
    """A text where the bytes are UTF-8, else `{"base64": "..."}`."""
    MIXED = auto()
    """A number, or a word in its stead."""


JSON_TYPES: Final = {
    Kind.TEXT: ("string",),
    Kind.INTEGER: ("integer",),
    Kind.BYTES: ("integer",),
    Kind.DURATION_MS: ("integer",),
    Kind.BOOLEAN: ("boolean",),
    Kind.LIST: ("array",),
    Kind.OBJECT: ("object",),
    Kind.BYTE_TEXT: ("string", "object"),
    Kind.MIXED: ("integer", "string"),
}
NUMBERS: Final = frozenset({Kind.INTEGER, Kind.BYTES, Kind.DURATION_MS})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, and one field of an item in JSON."""

    key: str
    """The field's name: lower case with underscores, its unit last."""
    kind: Kind = Kind.TEXT
    title: str = ""
    """The header, if it is not the key in upper case."""
    wide: bool = False
    """Only with `--format wide`."""
    about: str = ""
    """One sentence for the schema."""

    @property
    def header(self) -> str:
        """The header: upper case, no spaces."""
        return self.title or self.key.upper().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Style:
    """Colours of a terminal, or none; never the only carrier of a meaning."""

    colored: bool

    def bold(self, text: str) -> str:
        """Return the text in bold."""
        return self._wrapped("1", text)

    def red(self, text: str) -> str:
        """Return the text in bold red."""
        return self._wrapped("1;31", text)

    def yellow(self, text: str) -> str:
        """Return the text in yellow."""
        return self._wrapped("33", text)

    def green(self, text: str) -> str:
        """Return the text in green."""
        return self._wrapped("32", text)

    def _wrapped(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colored else text


def table(
    columns: Sequence[Column],
    items: Sequence[Mapping[str, object]],
    *,
    header: bool,
    raw: bool,
    style: Style,
) -> str:
    """Return a plain table with its line ends; empty if there is neither header nor item."""
    cells = [[shown(column, item.get(column.key), raw=raw) for column in columns] for item in items]
    titles = [column.header for column in columns] if header else ["" for _ in columns]
    widths = [
        max([width(title), *(width(row[place]) for row in cells)])
        for place, title in enumerate(titles)
    ]
    lines = [style.bold(_line(columns, titles, widths))] if header else []
    lines += [_line(columns, row, widths) for row in cells]
    return "".join(f"{line}\n" for line in lines)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, wanted in zip(columns, cells, widths, strict=True):
        space = " " * (wanted - width(cell))
        padded.append(space + cell if column.kind in NUMBERS else cell + space)
    return "  ".join(padded).rstrip()


def shown(column: Column, value: object, *, raw: bool) -> str:
    """Return one cell; control characters of whoever chose the value are escaped (P65)."""
    if value is None:
        return NOT_APPLICABLE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and not raw:
        if column.kind is Kind.BYTES:
            return human_bytes(value)
        if column.kind is Kind.DURATION_MS:
            return human_duration(value)
    if isinstance(value, list | tuple):
        return ",".join(printable(str(part)) for part in value) or NOT_APPLICABLE
    return printable(str(value)) or NOT_APPLICABLE


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or hide a character."""
    return "".join(
        one.encode("unicode_escape").decode("ascii") if category(one) in _HIDDEN else one
        for one in text
    )


def width(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if category(one) in {"Mn", "Me"} else 2 if east_asian_width(one) in "WF" else 1
        for one in text
    )


def human_bytes(size: int) -> str:
    """Return a size in the unit in which it has one to four digits."""
    amount, unit = float(size), 0
    while abs(amount) >= 1024 and unit + 1 < len(_SIZES):
        amount, unit = amount / 1024, unit + 1
    return f"{size}B" if not unit else f"{amount:.1f}{_SIZES[unit]}"


def human_duration(duration_ms: int) -> str:
    """Return a duration of three digits or so: `350ms`, `3.1s`, `12m`, `5h`, `7d`."""
    size = abs(duration_ms)
    if size < 1_000:
        return f"{duration_ms}ms"
    if size < 60_000:
        return f"{duration_ms / 1_000:.1f}s"
    for unit, factor in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if size >= 2 * factor or (unit == "m" or size == factor):
            return f"{duration_ms // factor}{unit}"
    return f"{duration_ms}ms"


def envelope(
    command: str,
    items: Sequence[Mapping[str, object]],
    errors: Sequence[Mapping[str, object]],
) -> str:
    """Return the JSON document of a command."""
    document = {
        "_command": command,
        "_version": VERSION,
        "items": [dict(item) for item in items],
        "errors": [dict(error) for error in errors],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def lines_of(items: Sequence[Mapping[str, object]]) -> str:
    """Return one line of JSON for each item."""
    return "".join(json.dumps(dict(item), ensure_ascii=False) + "\n" for item in items)


def schema(command: str, columns: Sequence[Column]) -> dict[str, object]:
    """Return the JSON Schema of what a command puts out as JSON."""
    error = {"reason": {"type": ["string", "null"]}, "text": {"type": "string"}}
    item = {"type": "object", "properties": _fields(columns)}
    return {
        **_head(command),
        "type": "object",
        "required": ["_command", "_version", "items", "errors"],
        "properties": {
            "_command": {"const": command},
            "_version": {"const": VERSION},
            "items": {"type": "array", "items": item},
            "errors": {"type": "array", "items": {"type": "object", "properties": error}},
        },
    }


def line_schema(command: str, columns: Sequence[Column]) -> dict[str, object]:
    """Return the JSON Schema of each line of a command that prints items as they come."""
    return {
        **_head(command),
        "description": "Each line, with json as with jsonl: there is no envelope around them. "
        "Only a failure before the first line is one without items, with json.",
        "type": "object",
        "properties": _fields(columns),
    }


def _head(command: str) -> dict[str, object]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tidelog {command.replace('.', ' ')}",
    }


def _fields(columns: Sequence[Column]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for column in columns:
        field: dict[str, object] = {"type": [*JSON_TYPES[column.kind], "null"]}
        if column.about:
            field["description"] = column.about
        fields[column.key] = field
    return fields
