"""Fields of peer frames: the primitives that docs/formats/peer_frames.md names.

Integers are big-endian. A string is u16 length and UTF-8, an optional one begins with a byte 0 or
1, a list with its count. A count is held against the bytes that are left before anything is made
of it: a frame never costs more memory than a small multiple of its own length.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeVar

from cluster.peer.table import HEAD, Frame
from model.errors import MalformedError
from model.ids import PartitionId, TopicId

ItemT = TypeVar("ItemT")

I64_MAX: Final = (1 << 63) - 1
"""Counters are written as u64 and end here: what is counted on stays in range."""
_STRING_BYTES_MAX: Final = (1 << 16) - 1
_U8: Final = Struct(">B")
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_PARTITION: Final = Struct(">16si")


def string(text: str) -> bytes:
    """Return a string's bytes."""
    encoded = text.encode()
    return _U16.pack(len(encoded)) + encoded


def cut_string(text: str, bytes_max: int) -> bytes:
    """Return the bytes of a text for people, shortened to so many bytes of UTF-8."""
    return string(text.encode(errors="replace")[:bytes_max].decode(errors="ignore"))


def optional_string(text: str | None) -> bytes:
    """Return an optional string's bytes."""
    return b"\0" if text is None else b"\1" + string(text)


def listed(rows: list[bytes]) -> bytes:
    """Return a list's bytes: u32 count, then its rows."""
    return _U32.pack(len(rows)) + b"".join(rows)


def partition_bytes(partition: PartitionId) -> bytes:
    """Return a partition's name: 16 bytes topic id, i32 number."""
    return _PARTITION.pack(*partition)


class BodyReader:
    """Reads a frame's body from front to back. Every method raises MalformedError."""

    __slots__ = ("_at", "_body", "_what")

    def __init__(self, frame: Frame) -> None:
        """Begin at the body's first byte."""
        self._what = frame.type.name
        self._body = frame.body
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that no field has taken yet."""
        return len(self._body) - self._at

    def unpack(self, fields: Struct) -> tuple[Any, ...]:
        """Return fields of fixed width."""
        return fields.unpack_from(self._body, self._take(fields.size))

    def view(self, size: int) -> memoryview:
        """Return that many bytes where they lie: valid only while the frame is handled."""
        at = self._take(size)
        return self._body[at : at + size]

    def peek(self) -> memoryview:
        """Return all that is left, and take nothing."""
        return self._body[self._at :]

    def rest(self) -> memoryview:
        """Return all that is left, where it lies."""
        return self.view(self.left)

    def string(self, *, bytes_max: int = _STRING_BYTES_MAX) -> str:
        """Return a string of at most so many bytes."""
        (size,) = self.unpack(_U16)
        self.check(size <= bytes_max, f"a string of {size} bytes, not {bytes_max}", back=_U16.size)
        view = self.view(size)
        try:
            return str(view, "utf-8")
        except UnicodeDecodeError as wrong:
            raise self.wrong("a string that is not UTF-8", back=size) from wrong

    def optional_string(self) -> str | None:
        """Return an optional string."""
        return self.string() if self.flag() else None

    def flag(self) -> bool:
        """Return a byte that is 0 or 1."""
        (byte,) = self.unpack(_U8)
        self.check(byte <= 1, f"{byte} is neither 0 nor 1", back=1)
        return bool(byte)

    def counters(self, fields: Struct) -> tuple[int, ...]:
        """Return fields of fixed width, each a u64 that is below 2^63."""
        values = self.unpack(fields)
        self.check(max(values) <= I64_MAX, "a counter of 2^63 or more", back=fields.size)
        return values

    def partition(self) -> PartitionId:
        """Return a partition's name."""
        topic, number = self.unpack(_PARTITION)
        if number < 0:
            raise self.wrong(f"partition {number}", back=4)
        return PartitionId(TopicId(topic), number)

    def listed(self, item: Callable[[], ItemT], *, least_bytes: int) -> tuple[ItemT, ...]:
        """Return a list of rows that take at least so many bytes each."""
        (count,) = self.unpack(_U32)
        return self.rows(count, item, least_bytes=least_bytes)

    def rows(self, count: int, item: Callable[[], ItemT], *, least_bytes: int) -> tuple[ItemT, ...]:
        """Return so many rows that take at least so many bytes each."""
        self.check(count * least_bytes <= self.left, f"{count} rows in {self.left} bytes")
        return tuple(item() for _ in range(count))

    def fixed_rows(self, count: int, fields: Struct) -> tuple[tuple[Any, ...], ...]:
        """Return so many rows of fixed width."""
        size = count * fields.size
        if size > self.left:
            raise self.wrong(f"{count} rows in {self.left} bytes")
        return tuple(fields.iter_unpack(self.view(size)))

    def finish(self) -> None:
        """Refuse bytes that no field took."""
        self.check(not self.left, f"{self.left} bytes too many")

    def check(self, sound: bool, why: str, *, back: int = 0) -> None:  # noqa: FBT001 - like assert
        """Refuse what is not sound; it began so many bytes before where reading is now."""
        if not sound:
            raise self.wrong(why, back=back)

    def wrong(self, why: str, *, back: int = 0) -> MalformedError:
        """Return the refusal of what began so many bytes before where reading is now."""
        return MalformedError(self._what, HEAD.size + self._at - back, why)

    def _take(self, size: int) -> int:
        at = self._at
        if size > len(self._body) - at:
            raise self.wrong(f"{size} bytes needed, {self.left} left")
        self._at = at + size
        return at
