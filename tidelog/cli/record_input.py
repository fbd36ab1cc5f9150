r"""Reading records by the format string that printed them: `produce -f`.

Where a text ends must be certain: it has its length before it (`%K{big32}%k`), or a literal behind
it (`%k %v\n`), or it is the last thing of the input. Verbs that a producer does not choose (offset,
append time and the like) are read and passed over.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NoReturn

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
from tidelog.cli.numbers import INT32_MAX
from tidelog.cli.record import (
    LINE_BYTES_MAX,
    TIME_MS_MAX,
    GivenRecord,
    RecordInputError,
    Text,
    from_json_line,
)

NAMED: Final = ("json", "jsonl", "value", "text")
READ_BYTES: Final = 64 << 10
_DIGITS: Final = b"0123456789"
_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"


def records_of(stream: BinaryIO, form: str) -> Iterator[GivenRecord]:
    """Yield the records of an input, as they come: by name (json, value) or by format string.

    Raises:
        FormatError: the format cannot be read back.
        RecordInputError: naming the record, and what was expected.
    """
    if form in {"json", "jsonl"}:
        return _json_records(stream)
    return _Reader(stream, compile_input(r"%v\n" if form in {"value", "text"} else form)).records()


def _json_records(stream: BinaryIO) -> Iterator[GivenRecord]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if line.strip():
            yield from_json_line(line, f"line {number}")


@dataclass(frozen=True, slots=True)
class InputStep:
    """One element to read; `until` is the literal that ends a text, None if its length is known."""

    element: Element
    until: bytes | None = None
    inner: "tuple[InputStep, ...]" = ()


def compile_input(form: str) -> tuple[InputStep, ...]:
    """Return the steps that read a record.

    Raises:
        FormatError: it is no format, takes nothing of a record, or leaves open where a text ends.
    """
    elements = parse_format(form)
    if not elements:
        raise FormatError("the format is empty: every input would be endless records of nothing")
    if all(isinstance(element, Literal) for element in elements):
        meant = name_meant(form, elements, NAMED)
        instead = f'did you mean "{meant}"?' if meant else f"there are {', '.join(NAMED)}, and %v"
        raise FormatError(f"{form!r} has no verb: every record would be empty; {instead}")
    return _steps(elements, last_may_run=True)


def _steps(elements: Sequence[Element], *, last_may_run: bool) -> tuple[InputStep, ...]:
    steps: list[InputStep] = []
    sized: set[str] = set()
    for place, element in enumerate(elements):
        following = elements[place + 1] if place + 1 < len(elements) else None
        if isinstance(element, Literal):
            steps.append(InputStep(element))
            continue
        sized |= {LENGTH_OF.get(element.letter, ""), HEADER_VERB if element.letter == "H" else ""}
        known = element.letter in sized
        steps.append(_step(element, following, sized=known, last_may_run=last_may_run))
    return tuple(steps)


def _step(verb: Verb, following: Element | None, *, sized: bool, last_may_run: bool) -> InputStep:
    """Return how one verb is read; `sized` if its length or count was read before it."""
    if verb.letter == HEADER_VERB:
        if not sized:
            raise FormatError("%h{...} is read by their count: put %H before it")
        return InputStep(verb, inner=_steps(verb.inner, last_may_run=False))
    if verb.letter == "d" and verb.modifier == "strftime":
        raise FormatError("%d{strftime[...]} cannot be read back; write %d")
    if verb.letter in TEXT_VERBS and sized and verb.modifier == "json":
        raise FormatError(f"%{verb.letter}{{json}} shows where it ends: leave its length out")
    words = verb.letter == ATTRIBUTE_VERB or verb.modifier == "strftime"
    if words or (verb.letter in TEXT_VERBS and not sized and not _self_ending(verb)):
        return InputStep(verb, until=_until(verb, following, last_may_run=last_may_run))
    _check_decimal(verb, following)
    return InputStep(verb)


def _self_ending(verb: Verb) -> bool:
    """Tell whether the text itself shows where it ends."""
    return verb.modifier == "unpack"


def _until(verb: Verb, following: Element | None, *, last_may_run: bool) -> bytes:
    """Return the literal that ends a text; empty: the end of the input does."""
    if isinstance(following, Literal):
        return following.text
    if following is None and last_may_run:
        return b""
    size = verb.letter.upper()
    raise FormatError(
        f"where does %{verb.letter} end? put its length before it (%{size}{{big32}}%{verb.letter}) "
        "or a separator behind it"
    )


def _check_decimal(verb: Verb, following: Element | None) -> None:
    """A decimal number ends at the first other character: another number must not follow."""
    decimal = not verb.modifier and verb.letter not in TEXT_VERBS
    digits_follow = isinstance(following, Verb) or (
        isinstance(following, Literal) and following.text[:1].isdigit()
    )
    if decimal and digits_follow:
        raise FormatError(
            f"where does %{verb.letter} end? put a separator behind it, or write it as "
            f"%{verb.letter}{{big32}}"
        )


@dataclass(slots=True)
class _Fields:
    """What was read of one record, or of one header."""

    texts: dict[str, Text] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    headers: list[tuple[bytes, Text]] = field(default_factory=list)
    partition: int | None = None
    timestamp_ms: int | None = None

    def record(self) -> GivenRecord:
        topic = self.texts.get("t")
        return GivenRecord(
            key=self.texts.get("k"),
            value=self.texts.get("v"),
            headers=tuple(self.headers),
            topic=None if topic is None else topic.decode("utf-8", "replace"),
            partition=self.partition,
            timestamp_ms=self.timestamp_ms,
        )


class _Reader:
    """Takes records off a stream; holds what was read ahead."""

    def __init__(self, stream: BinaryIO, steps: tuple[InputStep, ...]) -> None:
        self._stream = stream
        self._steps = steps
        self._buffer = bytearray()
        self._number = 0
        self._taken_bytes = 0
        """Of the record that is being read."""

    def records(self) -> Iterator[GivenRecord]:
        while self._more() or self._buffer:
            self._number += 1
            fields = _Fields()
            self._taken_bytes = 0
            for step in self._steps:
                self._take(step, fields)
            if not self._taken_bytes:
                self._refuse("the format takes nothing from the input")
            yield fields.record()

    def _refuse(self, why: str) -> NoReturn:
        raise RecordInputError(f"record {self._number}", why)

    def _more(self) -> bool:
        """Read on only if nothing is left."""
        return bool(self._buffer) or self._fill()

    def _fill(self) -> bool:
        if len(self._buffer) > LINE_BYTES_MAX:
            self._refuse(f"longer than {LINE_BYTES_MAX} bytes")
        read = getattr(self._stream, "read1", self._stream.read)
        chunk = read(READ_BYTES)
        self._buffer += chunk
        return bool(chunk)

    def _take(self, step: InputStep, fields: _Fields) -> None:
        element = step.element
        if isinstance(element, Literal):
            self._take_literal(element.text)
        elif element.letter == HEADER_VERB:
            for _ in range(fields.sizes.get(HEADER_VERB, 0)):
                header = _Fields()
                for inner in step.inner:
                    self._take(inner, header)
                fields.headers.append((header.texts.get("k") or b"", header.texts.get("v")))
        elif element.letter in TEXT_VERBS:
            fields.texts[element.letter] = self._text(step, element, fields)
        elif step.until is not None:
            self._ended_by(step.until)
        else:
            self._keep_number(element.letter, self._number_of(element), fields)

    def _keep_number(self, letter: str, number: int, fields: _Fields) -> None:
        if letter in LENGTH_OF or letter == "H":
            if not 0 <= number <= LINE_BYTES_MAX:
                self._refuse(f"%{letter} is {number}, at most {LINE_BYTES_MAX}")
            fields.sizes[LENGTH_OF.get(letter, HEADER_VERB)] = number
        elif letter == "p":
            if number > INT32_MAX:
                self._refuse(f"%p is {number}, at most {INT32_MAX}")
            fields.partition = number
        elif letter == "d" and number >= 0:
            if number > TIME_MS_MAX:
                self._refuse(f"%d is {number}, beyond the year 9999; it is in milliseconds")
            fields.timestamp_ms = number

    def _take_literal(self, text: bytes) -> None:
        while len(self._buffer) < len(text) and self._fill():
            pass
        if not self._buffer.startswith(text):
            if text == b"\n" and not self._buffer:
                return  # the last line of an input may lack its end
            found = bytes(self._buffer[: max(len(text), 8)])
            self._refuse(f"expected {text!r}, found {found!r}")
        self._drop(len(text))

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size and self._fill():
            pass
        if len(self._buffer) < size:
            self._refuse(f"the input ends, {size - len(self._buffer)} bytes are missing")
        taken = bytes(self._buffer[:size])
        self._drop(size)
        return taken

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._taken_bytes += size

    def _ended_by(self, until: bytes) -> bytes:
        """Return what stands before a literal, which stays; all of the input if it is empty."""
        searched = 0
        while True:
            found = self._buffer.find(until, searched) if until else -1
            if found >= 0:
                return self._exactly(found)
            searched = max(0, len(self._buffer) - len(until) + 1)
            if not self._fill():
                break
        if until.strip(b"\n"):
            self._refuse(f"the input ends before {until!r}")
        return self._exactly(len(self._buffer))

    def _text(self, step: InputStep, verb: Verb, fields: _Fields) -> Text:
        if verb.modifier == "unpack":
            return self._exactly(struct.calcsize(verb.argument))
        if step.until is None:
            return self._sized_text(verb, fields.sizes[verb.letter])
        return self._decoded(verb, self._ended_by(step.until))

    def _sized_text(self, verb: Verb, size: int) -> Text:
        """Read a text of known length; in another notation it takes more bytes than it has."""
        match verb.modifier:
            case "hex":
                return self._decoded(verb, self._exactly(2 * size))
            case "base64":
                return self._decoded(verb, self._exactly((size + 2) // 3 * 4))
            case _:
                return self._exactly(size)

    def _decoded(self, verb: Verb, text: bytes) -> Text:
        try:
            match verb.modifier:
                case "hex":
                    return bytes.fromhex(text.decode("ascii"))
                case "base64":
                    return base64.b64decode(text, validate=True)
                case "json":
                    line = b'{"value":%b}' % text
                    return from_json_line(line, f"record {self._number}").value
                case _:
                    return text
        except (ValueError, binascii.Error) as malformed:
            self._refuse(f"%{verb.letter}{{{verb.modifier}}}: {malformed}")

    def _number_of(self, verb: Verb) -> int:
        if verb.modifier in {"big", "little"}:
            number: int = struct.unpack(verb.code, self._exactly(verb.bits // 8))[0]
            return number
        if verb.modifier == "hex":
            digits = self._exactly(verb.bits // 4)
            if not all(digit in _HEX_DIGITS for digit in digits):
                self._refuse(f"%{verb.letter} is {digits!r}, not hexadecimal")
            return int(digits, 16)
        return self._decimal(verb)

    def _decimal(self, verb: Verb) -> int:
        taken = bytearray()
        while len(taken) < 20 and (self._buffer or self._fill()):
            if self._buffer[0] not in _DIGITS and not (self._buffer[0] == 0x2D and not taken):
                break
            taken.append(self._buffer[0])
            self._drop(1)
        try:
            return int(taken)
        except ValueError:
            found = bytes(self._buffer[:8])
            self._refuse(f"%{verb.letter} must be a number, found {bytes(taken) + found!r}")
