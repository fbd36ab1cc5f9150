"""A record as the command line prints and reads it, and its JSON form.

The JSON form is lossless: `consume -F json | produce -F json` stores equal records. Keys, values
and headers are strings where they are UTF-8, `{"base64": "..."}` where they are not, and null where
they are null; headers keep their order and repeat as they do in the record.
"""

import base64
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import msgspec

from tidelog.cli.numbers import INT32_MAX
from tidelog.cli.output import Column, Kind

Text: TypeAlias = bytes | None
Headers: TypeAlias = tuple[tuple[bytes, bytes | None], ...]

LINE_BYTES_MAX: Final = 16 << 20
"""Longest line of JSON that is read: more than any record needs, also in base64."""

TIME_MS_MAX: Final = 253_402_300_799_999
"""The last ms of the year 9999, where datetime, and so the SDK, ends."""

COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER),
    Column("offset", Kind.INTEGER),
    Column("timestamp_ms", Kind.INTEGER, about="Event time; null: it has none."),
    Column("append_time_ms", Kind.INTEGER, about="When the leader took it."),
    Column("leader_epoch", Kind.INTEGER),
    Column(
        "key",
        Kind.BYTE_TEXT,
        about='Text, {"base64": ...} or null; likewise the value and the headers.',
    ),
    Column("value", Kind.BYTE_TEXT),
    Column("headers", Kind.LIST),
)
"""What `to_json` gives."""
META_COLUMNS: Final = (
    Column("key_bytes", Kind.INTEGER, about="With --meta-only, in the stead of the key."),
    Column("value_bytes", Kind.INTEGER, about="With --meta-only, in the stead of the value."),
    Column("header_count", Kind.INTEGER, about="With --meta-only, in the stead of the headers."),
)
"""What `meta_to_json` gives instead of texts."""

_BASE64: Final = "base64"
_FIELDS: Final = frozenset({"topic", "partition", "timestamp_ms", "key", "value", "headers"})
_SHOWN: Final = frozenset(
    {
        "offset",
        "leader_epoch",
        "append_time_ms",
        "compression",
        "producer_id",
        "producer_epoch",
        "log_start_offset",
        "last_stable_offset",
        "high_watermark",
    }
)
"""Read and passed over: a record that was consumed may be produced again as it was printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRecord:
    """A record that was read, with everything that `-f` can print of it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    """Event time; None: it has none."""
    append_time_ms: int
    key: Text
    value: Text
    headers: Headers = ()
    leader_epoch: int = -1
    compression: str = "none"
    producer_id: int = -1
    producer_epoch: int = -1
    log_start_offset: int = 0
    last_stable_offset: int = 0
    high_watermark: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRecord:
    """A record to be produced; None where the input says nothing of topic, partition or time."""

    key: Text = None
    value: Text = None
    headers: Headers = ()
    topic: str | None = None
    partition: int | None = None
    timestamp_ms: int | None = None


def size_of(record: GivenRecord) -> int:
    """Return the bytes that a record's texts take."""
    texts = [record.key, record.value, *(text for header in record.headers for text in header)]
    return sum(len(text) for text in texts if text is not None)


class RecordInputError(ValueError):
    """Input that is no record: `where` is the record's number, or its line, from 1."""

    def __init__(self, where: str, why: str) -> None:
        """Name the place and the fault."""
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why


def text_to_json(text: Text) -> str | dict[str, str] | None:
    """Return bytes as JSON holds them."""
    if text is None:
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {_BASE64: base64.b64encode(text).decode("ascii")}


def to_json(record: ShownRecord) -> dict[str, object]:
    """Return what `-F json` prints of a record."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "append_time_ms": record.append_time_ms,
        "leader_epoch": record.leader_epoch,
        "key": text_to_json(record.key),
        "value": text_to_json(record.value),
        "headers": [
            {"key": text_to_json(key), "value": text_to_json(value)}
            for key, value in record.headers
        ],
    }


def meta_to_json(record: ShownRecord) -> dict[str, object]:
    """Return what `-F json --meta-only` prints: sizes instead of key, value and headers."""
    fields = to_json(record)
    del fields["key"], fields["value"], fields["headers"]
    return fields | {
        "key_bytes": None if record.key is None else len(record.key),
        "value_bytes": None if record.value is None else len(record.value),
        "header_count": len(record.headers),
    }


def from_json_line(line: bytes, where: str) -> GivenRecord:
    """Return the record of one line of JSON.

    Raises:
        RecordInputError: it is no JSON object, or a field is none of a record's.
    """
    if len(line) > LINE_BYTES_MAX:
        raise RecordInputError(where, f"{len(line)} bytes, at most {LINE_BYTES_MAX}")
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise RecordInputError(where, f"not JSON: {malformed}") from malformed
    except RecursionError as deep:
        raise RecordInputError(where, "nested too deeply") from deep
    if not isinstance(fields, dict):
        raise RecordInputError(where, 'not an object such as {"key": "k", "value": "v"}')
    reader = _FieldReader(where)
    unknown = sorted(fields.keys() - _FIELDS - _SHOWN)
    if unknown:
        reader.refuse(
            unknown[0], f"is no field of a record; those are {', '.join(sorted(_FIELDS))}"
        )
    return GivenRecord(
        key=reader.text("key", fields.get("key")),
        value=reader.text("value", fields.get("value")),
        headers=reader.headers(fields.get("headers")),
        topic=reader.string("topic", fields.get("topic")),
        partition=reader.number("partition", fields.get("partition")),
        timestamp_ms=reader.time("timestamp_ms", fields.get("timestamp_ms")),
    )


class _FieldReader:
    """Checks the fields of one object and names the one that is wrong."""

    def __init__(self, where: str) -> None:
        self._where = where

    def refuse(self, field: str, why: str) -> NoReturn:
        raise RecordInputError(self._where, f'"{field}" {why}')

    def string(self, field: str, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self.refuse(field, "is not text")

    def integer(self, field: str, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 1 << 63:
            return None if value == -1 else value
        self.refuse(field, "is not a whole number from 0 on")

    def number(self, field: str, value: object) -> int | None:
        number = self.integer(field, value)
        if number is not None and number > INT32_MAX:
            self.refuse(field, f"is above {INT32_MAX}")
        return number

    def time(self, field: str, value: object) -> int | None:
        time_ms = self.integer(field, value)
        if time_ms is not None and time_ms > TIME_MS_MAX:
            self.refuse(field, "lies beyond the year 9999; it is in milliseconds")
        return time_ms

    def text(self, field: str, value: object) -> Text:
        if value is None:
            return None
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict) and value.keys() == {_BASE64}:
            try:
                return base64.b64decode(str(value[_BASE64]), validate=True)
            except ValueError:  # of the alphabet, the padding, or not ASCII at all
                self.refuse(field, "holds base64 that does not decode")
        self.refuse(field, 'is neither text, null nor {"base64": "..."}')

    def headers(self, value: object) -> Headers:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.refuse("headers", 'is not a list of {"key": "k", "value": "v"}')
        return tuple(self._header(header) for header in value)

    def _header(self, header: object) -> tuple[bytes, Text]:
        if not isinstance(header, dict) or not {"key"} <= header.keys() <= {"key", "value"}:
            self.refuse("headers", 'is not a list of {"key": "k", "value": "v"}')
        key = self.text("headers", header["key"])
        if key is None:
            self.refuse("headers", "has a header without a key")
        return key, self.text("headers", header.get("value"))
