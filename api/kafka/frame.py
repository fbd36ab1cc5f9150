"""The primitive parts of Kafka's messages, read in place and written as bytes.

The protocol guide names them: fixed-width integers are big-endian; a *compact* length is an
unsigned varint of length + 1, 0 for null; *tagged fields* close every structure of a flexible
version (KIP-482). Every reader takes a position and returns the one behind what it read. A reader
that runs over the end raises `struct.error`, `IndexError` or `MalformedError`; callers on the hot
path turn the first two into the third at one place, `UNREADABLE`.
"""

import struct
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from model.errors import MalformedError

UNREADABLE: Final = (struct.error, IndexError, UnicodeDecodeError)
"""What the readers of this module raise beside `MalformedError`."""

I16: Final = Struct(">h")
I32: Final = Struct(">i")
I64: Final = Struct(">q")
UUID_BYTES: Final = 16
UUID_ZERO: Final = bytes(UUID_BYTES)
VARINT_BYTES_MAX: Final = 5  # a u32 in groups of 7 bits

HEADER: Final = Struct(">hhih")
"""Request header up to the client id: key, version, correlation id, length of the client id."""
HEADER_BYTES: Final = HEADER.size


class Header(NamedTuple):
    """A request's header (v1; v2 adds tagged fields behind the client id)."""

    key: int
    version: int
    correlation_id: int
    client_id: bytes
    at: int
    """Where the header ends, but for the tagged fields of a flexible version."""


def read_header(frame: memoryview) -> Header:
    """Read what every request begins with.

    Raises:
        MalformedError: the frame is too short for it.
    """
    if len(frame) < HEADER_BYTES:
        raise MalformedError("request header", 0, f"{len(frame)} bytes, at least {HEADER_BYTES}")
    key, version, correlation_id, length = HEADER.unpack_from(frame)
    at = HEADER_BYTES + max(length, 0)
    if at > len(frame):
        raise MalformedError("request header", HEADER_BYTES, "the client id runs over the end")
    return Header(key, version, correlation_id, bytes(frame[HEADER_BYTES:at]), at)


def read_varint(frame: memoryview, at: int) -> tuple[int, int]:
    """Read an unsigned varint of at most 32 bits."""
    byte = frame[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    for place in range(at + 1, at + VARINT_BYTES_MAX):
        byte = frame[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, place + 1
        shift += 7
    raise MalformedError("varint", at, "longer than 32 bits")


def write_varint(value: int) -> bytes:
    """Return an unsigned varint."""
    if value < 0x80:
        return SMALL_VARINTS[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


SMALL_VARINTS: Final = tuple(bytes((value,)) for value in range(0x80))
NO_TAGS: Final = SMALL_VARINTS[0]


def skip_tags(frame: memoryview, at: int) -> int:
    """Pass over tagged fields, known or not."""
    count, at = read_varint(frame, at)
    for _ in range(count):
        _, at = read_varint(frame, at)
        size, at = read_varint(frame, at)
        at += size
        if at > len(frame):
            raise MalformedError("tagged field", at - size, "runs over the end")
    return at


def read_bytes(frame: memoryview, at: int, size: int) -> memoryview:
    """Return `size` bytes at `at`, in place; a slice would be cut short silently."""
    if size < 0 or at + size > len(frame):
        raise MalformedError("bytes", at, f"length {size} runs over the end")
    return frame[at : at + size]


def read_name(frame: memoryview, at: int) -> tuple[bytes, int]:
    """Read a string that is not null, with an i16 length."""
    (size,) = I16.unpack_from(frame, at)
    return bytes(read_bytes(frame, at + 2, size)), at + 2 + size


def read_compact_name(frame: memoryview, at: int) -> tuple[bytes, int]:
    """Read a compact string that is not null."""
    size, at = read_varint(frame, at)
    return bytes(read_bytes(frame, at, size - 1)), at + size - 1


def read_uuid(frame: memoryview, at: int) -> tuple[bytes, int]:
    """Read a uuid."""
    return bytes(read_bytes(frame, at, UUID_BYTES)), at + UUID_BYTES


def read_count(frame: memoryview, at: int) -> tuple[int, int]:
    """Read the length of an array; null counts as empty, as Kafka's brokers take it."""
    (count,) = I32.unpack_from(frame, at)
    return max(count, 0), at + 4


def read_compact_count(frame: memoryview, at: int) -> tuple[int, int]:
    """Read the length of a compact array; null counts as empty."""
    count, at = read_varint(frame, at)
    return max(count - 1, 0), at


def write_name(name: bytes) -> bytes:
    """Return a string with an i16 length."""
    return I16.pack(len(name)) + name


def write_compact_name(name: bytes) -> bytes:
    """Return a compact string."""
    return write_varint(len(name) + 1) + name


def write_text(text: str | None) -> bytes:
    """Return a nullable string with an i16 length, cut at what that can say."""
    if text is None:
        return b"\xff\xff"
    return write_name(text.encode()[:0x7FFF])


def write_compact_text(text: str | None) -> bytes:
    """Return a nullable compact string."""
    return NO_TAGS if text is None else write_compact_name(text.encode())


def write_count(count: int) -> bytes:
    """Return the length of an array."""
    return I32.pack(count)


def write_compact_count(count: int) -> bytes:
    """Return the length of a compact array."""
    return write_varint(count + 1)


class Spelling(NamedTuple):
    """How one kind of version spells lengths: before and since flexible versions (KIP-482)."""

    read_name: Callable[[memoryview, int], tuple[bytes, int]]
    read_count: Callable[[memoryview, int], tuple[int, int]]
    write_name: Callable[[bytes], bytes]
    write_text: Callable[[str | None], bytes]
    write_count: Callable[[int], bytes]
    tags: bytes
    """The tagged fields of a structure that has none to send."""


FIXED: Final = Spelling(read_name, read_count, write_name, write_text, write_count, b"")
COMPACT: Final = Spelling(
    read_compact_name,
    read_compact_count,
    write_compact_name,
    write_compact_text,
    write_compact_count,
    NO_TAGS,
)
