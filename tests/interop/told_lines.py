"""Records as lines, between this program and clients written in other languages.

A line has fields with one space between: key, value, time in ms, then each header as `name:value`.
Bytes are `=` and their Base64, a null is `-`.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence

from tests.interop.sample import Told

NULL = "-"
BYTES = "="


def write_lines(records: Sequence[Told]) -> bytes:
    """Return a line for each record."""
    return "".join(f"{_line(record)}\n" for record in records).encode()


def read_lines(lines: bytes) -> list[Told]:
    """Return the record of each line."""
    return [_told(line) for line in lines.decode().splitlines()]


def _line(record: Told) -> str:
    headers = (f"{_field(name.encode())}:{_field(value)}" for name, value in record.headers)
    return " ".join([_field(record.key), _field(record.value), str(record.time_ms), *headers])


def _told(line: str) -> Told:
    key, value, time_ms, *pairs = line.split(" ")
    headers = tuple((_text(name), _bytes(text)) for name, _, text in map(_halves, pairs))
    return Told(_bytes(key), _bytes(value), headers, int(time_ms))


def _halves(pair: str) -> tuple[str, str, str]:
    return pair.partition(":")


def _field(value: bytes | None) -> str:
    return NULL if value is None else BYTES + b64encode(value).decode()


def _bytes(field: str) -> bytes | None:
    return None if field == NULL else b64decode(field.removeprefix(BYTES), validate=True)


def _text(field: str) -> str:
    name = _bytes(field)
    if name is None:
        raise ValueError("a header without a name")
    return name.decode()
