r"""The format string of `-f`, taken apart: literals, and verbs with their modifiers.

    %t %k %v      topic, key, value          %T %K %V   their lengths in bytes
    %h{...} %H    each header, their count   %p %o %e   partition, offset, leader epoch
    %d %A         event time, append time    %a{compression}  attributes
    %x %y         producer id, epoch         %[ %| %]   log start, last stable, high watermark
    %i            counts from 1              %%         a percent sign

Modifiers of text: {hex} {base64} {json} {unpack[>I]}. Of numbers: {big8} to {big64}, {little8} to
{little64}, {hex8} to {hex64}. Of times, beside those: {strftime[%FT%TZ]}, in UTC. Outside verbs
`\n \t \r \\ \0 \xNN` are what they are in C.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

TEXT_VERBS: Final = frozenset("tkv")
LENGTH_OF: Final = {"T": "t", "K": "k", "V": "v"}
TIME_VERBS: Final = frozenset("dA")
NUMBER_VERBS: Final = frozenset("TKVHpoedAxyi[|]")
HEADER_VERB: Final = "h"
ATTRIBUTE_VERB: Final = "a"
ATTRIBUTES: Final = frozenset({"compression"})
VERBS: Final = TEXT_VERBS | NUMBER_VERBS | {HEADER_VERB, ATTRIBUTE_VERB}
TEXT_MODIFIERS: Final = frozenset({"hex", "base64", "json"})
FORMAT_CHARACTERS_MAX: Final = 4_096

_ESCAPES: Final = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\", "0": b"\0"}
_HEX_BYTE: Final = re.compile(r"[0-9A-Fa-f]{2}")
_BINARY: Final = re.compile(r"(big|little|hex)(8|16|32|64)")
_BRACKETED: Final = re.compile(r"(unpack|strftime)\[(.*)\]", re.DOTALL)
_CODES: Final = {8: "b", 16: "h", 32: "i", 64: "q"}


class FormatError(ValueError):
    """A format string that means nothing, or that could be read in two ways."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that stand for themselves."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb."""

    letter: str
    modifier: str = ""
    """`hex`, `base64`, `json`, `unpack`, `strftime`, `compression`, or the base of a number."""
    argument: str = ""
    """Of unpack and strftime."""
    bits: int = 0
    """Of a number that is not decimal."""
    inner: "tuple[Element, ...]" = ()
    """Of `%h{...}`: the format of one header."""

    @property
    def code(self) -> str:
        """The `struct` code of a binary number."""
        return (">" if self.modifier == "big" else "<") + _CODES[self.bits]


Element: TypeAlias = Literal | Verb


def parse_format(text: str) -> tuple[Element, ...]:
    """Take a format string apart.

    Raises:
        FormatError: naming the verb or modifier, and what there is instead.
    """
    if len(text) > FORMAT_CHARACTERS_MAX:
        raise FormatError(f"a format has at most {FORMAT_CHARACTERS_MAX} characters")
    elements, end = _parse(text, 0, inside_header=False)
    assert end == len(text)
    return elements


def name_meant(form: str, elements: Iterable[Element], names: Iterable[str]) -> str | None:
    """Return the name that a text without a verb most likely is, misspelt.

    None: it has a verb, or is close to no name.
    """
    if not all(isinstance(element, Literal) for element in elements):
        return None
    from difflib import get_close_matches  # noqa: PLC0415 - only for what is hardly meant

    near = get_close_matches(form.strip().lower(), names, n=1, cutoff=0.7)
    return near[0] if near else None


def _parse(text: str, at: int, *, inside_header: bool) -> tuple[tuple[Element, ...], int]:
    """Return the elements from a position on, and where they end: at `}` inside a header."""
    elements: list[Element] = []
    literal = bytearray()
    while at < len(text):
        character = text[at]
        if character == "}" and inside_header:
            break
        if character == "%" and text[at + 1 : at + 2] != "%":
            if literal:
                elements.append(Literal(bytes(literal)))
                literal.clear()
            verb, at = _parse_verb(text, at + 1, inside_header=inside_header)
            elements.append(verb)
        elif character == "\\":
            escaped, at = _escape(text, at + 1)
            literal += escaped
        else:
            literal += character.encode(errors="surrogateescape")  # arguments need not be UTF-8
            at += 2 if character == "%" else 1
    if literal:
        elements.append(Literal(bytes(literal)))
    return tuple(elements), at


def _escape(text: str, at: int) -> tuple[bytes, int]:
    letter = text[at : at + 1]
    if letter == "x":
        digits = text[at + 1 : at + 3]
        if _HEX_BYTE.fullmatch(digits) is None:
            raise FormatError(f"\\x{digits} is not two hexadecimal digits")
        return bytes.fromhex(digits), at + 3
    if letter not in _ESCAPES:
        raise FormatError(f"\\{letter} is no escape: there are \\n \\t \\r \\0 \\\\ and \\xNN")
    return _ESCAPES[letter], at + 1


def _parse_verb(text: str, at: int, *, inside_header: bool) -> tuple[Verb, int]:
    letter = text[at : at + 1]
    if letter not in VERBS or not letter:
        raise FormatError(
            f"%{letter} is no verb: there are %t %k %v %h (lengths and count %T %K %V %H), "
            "%p %o %e %d %A %a %x %y %[ %| %] %i, and %% for a percent sign"
        )
    if inside_header and letter not in "kvKV":
        raise FormatError(f"%{letter} stands inside %h{{...}}; there are %k %v %K %V")
    at += 1
    if letter == HEADER_VERB:
        return _header_verb(text, at)
    if text[at : at + 1] != "{":
        if letter == ATTRIBUTE_VERB:
            raise FormatError("%a needs the attribute: %a{compression}")
        return Verb(letter), at
    end = _closing_brace(text, at)
    return _modified(letter, text[at + 1 : end]), end + 1


def _header_verb(text: str, at: int) -> tuple[Verb, int]:
    if text[at : at + 1] != "{":
        raise FormatError("%h needs the format of one header, such as %h{%k=%v }")
    inner, end = _parse(text, at + 1, inside_header=True)
    if text[end : end + 1] != "}":
        raise FormatError("%h{ is not closed")
    return Verb(HEADER_VERB, inner=inner), end + 1


def _closing_brace(text: str, at: int) -> int:
    """Return where a modifier ends; braces inside its brackets do not count."""
    opened = text.find("[", at)
    closed = text.find("}", at)
    if 0 <= opened < closed:
        bracket = text.find("]}", opened)
        closed = bracket + 1 if bracket >= 0 else -1
    if closed < 0:
        raise FormatError(f"{text[at : at + 12]!r} is not closed")
    return closed


def _modified(letter: str, modifier: str) -> Verb:
    if letter == ATTRIBUTE_VERB:
        if modifier not in ATTRIBUTES:
            raise FormatError(f"%a has no attribute {modifier}: there is {{compression}}")
        return Verb(letter, modifier)
    if bracketed := _BRACKETED.fullmatch(modifier):
        name, argument = bracketed.groups()
        if name == "strftime" and letter in TIME_VERBS:
            _check_strftime(argument)
            return Verb(letter, name, argument)
        if name == "unpack" and letter in TEXT_VERBS:
            _check_unpack(argument)
            return Verb(letter, name, argument)
    elif modifier in TEXT_MODIFIERS and letter in TEXT_VERBS:
        return Verb(letter, modifier)
    elif (binary := _BINARY.fullmatch(modifier)) and letter in NUMBER_VERBS:
        return Verb(letter, binary[1], bits=int(binary[2]))
    elif modifier == "json" and letter in NUMBER_VERBS:
        return Verb(letter)
    kind = "text" if letter in TEXT_VERBS else "a number"
    known = (
        "{hex} {base64} {json} {unpack[>I]}"
        if letter in TEXT_VERBS
        else "{big32} {little16} {hex8} and the like"
        + (", {strftime[%FT%TZ]}" if letter in TIME_VERBS else "")
    )
    raise FormatError(f"%{letter} is {kind} and has no modifier {{{modifier}}}: there are {known}")


def _check_strftime(pattern: str) -> None:
    """Refuse what the C library does not take: zeros, and bytes of an argument that is no UTF-8."""
    if "\0" in pattern or pattern.encode(errors="ignore").decode() != pattern:
        raise FormatError(f"{{strftime[{pattern!a}]}} holds bytes that are no text")


def _check_unpack(layout: str) -> None:
    try:
        struct.calcsize(layout)
    except (struct.error, UnicodeEncodeError) as unknown:
        raise FormatError(
            f"{{unpack[{layout}]}} is no layout: {unknown}; letters are those of Python's struct, "
            "such as >I or <hq"
        ) from unknown
