"""Printing records by a format string, or by the name of a format.

The string is compiled once into calls; printing a record is then a join. Reading records by the
same string is in `tidelog.cli.record_input`.
"""

import base64
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import msgspec

from tidelog.cli.format_verbs import (
    ATTRIBUTE_VERB,
    HEADER_VERB,
    LENGTH_OF,
    TEXT_VERBS,
    Element,
    FormatError,
    Literal,
    Verb,
    name_meant,
    parse_format,
)
from tidelog.cli.record import ShownRecord, Text, text_to_json, to_json

NAMED: Final = ("text", "json", "json-pretty", "value")
TEXT_FORMAT: Final = r"%p %o %d{strftime[%Y-%m-%dT%H:%M:%SZ]} %k %v\n"
VALUE_FORMAT: Final = r"%v\n"
NO_TIME: Final = b"-"
"""Printed by strftime for a record without event time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Part: TypeAlias = Callable[[ShownRecord, int], bytes]
"""Prints one element of a record, which is the n-th that is printed, from 1."""

_NUMBERS: Final[dict[str, Callable[[ShownRecord, int], int]]] = {
    "T": lambda record, n: len(record.topic.encode()),
    "K": lambda record, n: len(record.key or b""),
    "V": lambda record, n: len(record.value or b""),
    "H": lambda record, n: len(record.headers),
    "p": lambda record, n: record.partition,
    "o": lambda record, n: record.offset,
    "e": lambda record, n: record.leader_epoch,
    "d": lambda record, n: -1 if record.timestamp_ms is None else record.timestamp_ms,
    "A": lambda record, n: record.append_time_ms,
    "x": lambda record, n: record.producer_id,
    "y": lambda record, n: record.producer_epoch,
    "[": lambda record, n: record.log_start_offset,
    "|": lambda record, n: record.last_stable_offset,
    "]": lambda record, n: record.high_watermark,
    "i": lambda record, n: n,
}
_TEXTS: Final[dict[str, Callable[[ShownRecord], Text]]] = {
    "t": lambda record: record.topic.encode(),
    "k": lambda record: record.key,
    "v": lambda record: record.value,
}


class RecordFormat:
    """Prints records one after the other, and counts them."""

    def __init__(self, form: str) -> None:
        """Take a named format or a format string.

        Raises:
            FormatError: the string is none, or most likely the name of a format, misspelt.
        """
        self._parts: Sequence[Part] = _named(form) or compile_format(_meant(form))
        self.printed = 0

    def __call__(self, record: ShownRecord) -> bytes:
        """Return the bytes of the next record."""
        self.printed += 1
        return b"".join([part(record, self.printed) for part in self._parts])


def _meant(form: str) -> Sequence[Element]:
    """Take a format string apart.

    Raises:
        FormatError: it is none; or it prints nothing of a record, and is close to a format's name.
    """
    elements = parse_format(form)
    if (meant := name_meant(form, elements, (*NAMED, "jsonl"))) is not None:
        raise FormatError(f'{form!r} would print itself for every record; did you mean "{meant}"?')
    return elements


def _named(form: str) -> list[Part] | None:
    match form:
        case "text":
            return compile_format(parse_format(TEXT_FORMAT))
        case "value":
            return compile_format(parse_format(VALUE_FORMAT))
        case "json" | "jsonl":
            return [lambda record, n: msgspec.json.encode(to_json(record)) + b"\n"]
        case "json-pretty":
            return [
                lambda record, n: (
                    msgspec.json.format(msgspec.json.encode(to_json(record)), indent=2) + b"\n"
                )
            ]
        case _:
            return None


def compile_format(elements: Sequence[Element]) -> list[Part]:
    """Return the calls that print the elements of a format."""
    return [_part(element) for element in elements]


def _part(element: Element) -> Part:
    if isinstance(element, Literal):
        literal = element.text
        return lambda record, n: literal
    if element.letter in TEXT_VERBS:
        take, show = _TEXTS[element.letter], _text_printer(element)
        return lambda record, n: show(take(record))
    if element.letter == HEADER_VERB:
        return _headers_part(element.inner)
    if element.letter == ATTRIBUTE_VERB:
        return lambda record, n: record.compression.encode()
    number, print_number = _NUMBERS[element.letter], _number_printer(element)
    return lambda record, n: print_number(number(record, n))


def _headers_part(inner: tuple[Element, ...]) -> Part:
    prints = [_header_printer(element) for element in inner]

    def headers(record: ShownRecord, n: int) -> bytes:
        del n
        return b"".join([show(key, value) for key, value in record.headers for show in prints])

    return headers


def _header_printer(element: Element) -> Callable[[bytes, Text], bytes]:
    if isinstance(element, Literal):
        literal = element.text
        return lambda key, value: literal
    if element.letter in LENGTH_OF:
        number = _number_printer(element)
        if element.letter == "K":
            return lambda key, value: number(len(key))
        return lambda key, value: number(len(value or b""))
    show = _text_printer(element)
    if element.letter == "k":
        return lambda key, value: show(key)
    return lambda key, value: show(value)


def _text_printer(verb: Verb) -> Callable[[Text], bytes]:
    """Return what prints bytes; null prints as nothing, but as `null` in JSON."""
    match verb.modifier:
        case "hex":
            return lambda text: (text or b"").hex().encode()
        case "base64":
            return lambda text: base64.b64encode(text or b"")
        case "json":
            return lambda text: msgspec.json.encode(text_to_json(text))
        case "unpack":
            return lambda text: _unpacked(verb.argument, text or b"")
        case _:
            return lambda text: text or b""


def _unpacked(layout: str, text: bytes) -> bytes:
    """Return the numbers that bytes hold; bytes of another length are shown as hex."""
    if struct.calcsize(layout) != len(text):
        return b"0x" + text.hex().encode()
    numbers = struct.unpack(layout, text)
    return b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in numbers)


def _number_printer(verb: Verb) -> Callable[[int], bytes]:
    mask = (1 << verb.bits) - 1
    match verb.modifier:
        case "hex":
            width = verb.bits // 4
            return lambda number: f"{number & mask:0{width}x}".encode()
        case "big":
            size = verb.bits // 8
            return lambda number: (number & mask).to_bytes(size, "big")
        case "little":
            size = verb.bits // 8
            return lambda number: (number & mask).to_bytes(size, "little")
        case "strftime":
            pattern = verb.argument
            return lambda number: _strftime(number, pattern)
        case _:
            return lambda number: str(number).encode()


def _strftime(time_ms: int, pattern: str) -> bytes:
    if time_ms < 0:
        return NO_TIME
    try:
        return (_EPOCH + timedelta(milliseconds=time_ms)).strftime(pattern).encode()
    except OverflowError:  # a producer's time beyond the year 9999
        return str(time_ms).encode()
