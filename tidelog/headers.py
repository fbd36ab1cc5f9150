"""A program's headers as the log has them: pairs of bytes, in order, names may repeat.

A stored name that is not UTF-8 becomes a str with the bad bytes as surrogates (PEP 383), and the
same bytes again when it is sent.
"""

from collections.abc import Mapping

from tidelog.types import HeadersIn


def headers_of(headers: HeadersIn) -> tuple[tuple[bytes, bytes | None], ...]:
    """Return headers as bytes, in their order.

    Raises:
        TypeError: a name that is no str, or a value that is neither bytes, str nor None.
    """
    if isinstance(headers, str | bytes):
        raise TypeError('headers is one text; pass a dict, or pairs: [("source", "web")]')
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((_name(name), _header(value)) for name, value in pairs)


def _name(name: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"a header's name is {type(name).__name__}, not str")
    return name.encode("utf-8", "surrogateescape")


def _header(value: bytes | str | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"a header's value is {type(value).__name__}, not bytes, str or None")


def name_of(name: bytes) -> str:
    """Return the name of a stored header."""
    return name.decode("utf-8", "surrogateescape")
