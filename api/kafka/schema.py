"""Kafka's messages as plain dictionaries, by the schemas that kio generates from Apache's.

Only the schemas are kio's. Its compiled reader allocates an array's claimed length before it looks
at what follows, so that five bytes from anybody end the process: what comes from a client is read
here, where every length is compared with the bytes that are there. Values are plain: a duration or
a date is its integer of milliseconds, an error code its number, a uuid its 16 bytes. A field that
the version does not have is absent from what is read, and passed over when written.

Produce and Fetch do not come here: they are written by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from struct import Struct
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeAlias, cast, get_args, get_origin

from api.kafka.frame import (
    I16,
    I32,
    UNREADABLE,
    UUID_ZERO,
    read_bytes,
    read_uuid,
    read_varint,
    skip_tags,
    write_varint,
)
from api.kafka.kio_index import load_request_schema, load_response_schema
from model.errors import MalformedError

Message: TypeAlias = dict[str, Any]
"""Field names, as kio spells them, to values."""

Reader: TypeAlias = Callable[[memoryview, int], tuple[Any, int]]
Writer: TypeAlias = Callable[[Any], bytes]

FIXED_WIDTH: Final = {
    "int8": ">b",
    "int16": ">h",
    "int32": ">i",
    "int64": ">q",
    "uint8": ">B",
    "uint16": ">H",
    "uint32": ">I",
    "uint64": ">Q",
    "float64": ">d",
    "bool": ">?",
    "error_code": ">h",
    "timedelta_i32": ">i",
    "timedelta_i64": ">q",
    "datetime_i64": ">q",
}
UNSET: Final = object()


class Codec(NamedTuple):
    """How one type is read and written."""

    read: Reader
    write: Writer


class Part(NamedTuple):
    """One field of a structure."""

    name: str
    codec: Codec
    default: Any
    tag: int | None


ITEMS_MAX: Final = 20_000
"""Most items of one array: twice the partitions that a request could name with sense."""


def read_request(key: int, version: int, body: memoryview) -> Message:
    """Read a request's body. Bytes behind it are ignored, as Kafka does.

    Raises:
        MalformedError: it does not parse.
    """
    try:
        message, _ = request_codec(key, version).read(body, 0)
    except UNREADABLE as error:
        raise MalformedError(f"request {key} v{version}", 0, str(error)) from error
    return cast(Message, message)


def write_response(key: int, version: int, message: Message) -> bytes:
    """Return a response's body. Fields that this version does not have are passed over."""
    return response_codec(key, version).write(message)


@cache
def request_codec(key: int, version: int) -> Codec:
    """Return the codec of a request's body; the first call for a version takes milliseconds."""
    return struct_codec(load_request_schema(key, version))


@cache
def response_codec(key: int, version: int) -> Codec:
    """Return the codec of a response's body."""
    return struct_codec(load_response_schema(key, version))


def struct_codec(entity: Any) -> Codec:
    """Return the codec of a structure, from the dataclass that kio has for it."""
    flexible = bool(entity.__flexible__)
    parts = [_part(field, flexible=flexible) for field in fields(entity)]
    plain = [part for part in parts if part.tag is None]
    by_tag = {part.tag: part for part in parts if part.tag is not None}
    tagged = [by_tag[tag] for tag in sorted(by_tag)]

    def read(frame: memoryview, at: int) -> tuple[Message, int]:
        message: Message = {}
        for name, codec, _, _ in plain:
            message[name], at = codec.read(frame, at)
        if flexible:
            for part in tagged:
                message[part.name] = None if part.default is UNSET else part.default
            at = _read_tags(frame, at, (message, by_tag)) if by_tag else skip_tags(frame, at)
        return message, at

    def write(message: Message) -> bytes:
        out = [part.codec.write(_value(message, part)) for part in plain]
        if flexible:
            out.append(_write_tags(message, tagged))
        return b"".join(out)

    return Codec(read, write)


def _value(message: Message, part: Part) -> Any:
    value = message.get(part.name, part.default)
    if value is UNSET:
        raise KeyError(part.name)
    return value


def _read_tags(frame: memoryview, at: int, into: tuple[Message, dict[int, Part]]) -> int:
    """Read tagged fields: known ones into the message, others are passed over."""
    message, by_tag = into
    count, at = read_varint(frame, at)
    for _ in range(count):
        tag, at = read_varint(frame, at)
        size, at = read_varint(frame, at)
        body = read_bytes(frame, at, size)
        if (part := by_tag.get(tag)) is not None:
            message[part.name], _ = part.codec.read(body, 0)
        at += size
    return at


def _write_tags(message: Message, tagged: Sequence[Part]) -> bytes:
    """Return the tagged fields that differ from their defaults, in the order of their tags."""
    out = []
    for part in tagged:
        if (value := message.get(part.name, part.default)) != part.default:
            body = part.codec.write(value)
            out.append(write_varint(part.tag or 0) + write_varint(len(body)) + body)
    return write_varint(len(out)) + b"".join(out)


def _part(field: "Field[Any]", *, flexible: bool) -> Part:
    """Return how a field of kio's dataclass is read and written."""
    kind, nullable = _without_none(field.type)
    items = get_args(kind) if get_origin(kind) is tuple else None
    if items is not None:
        item, item_nullable = _without_none(items[0])
        codec = _array(
            _single(
                item, field.metadata.get("kafka_type"), nullable=item_nullable, flexible=flexible
            ),
            nullable=nullable,
            flexible=flexible,
        )
    else:
        codec = _single(
            kind, field.metadata.get("kafka_type"), nullable=nullable, flexible=flexible
        )
    return Part(field.name, codec, _default(field), field.metadata.get("tag"))


def _without_none(kind: Any) -> tuple[Any, bool]:
    """Take `| None` off a type; tell whether it was there."""
    if isinstance(kind, UnionType):
        return next(arm for arm in get_args(kind) if arm is not NoneType), True
    return kind, False


def _default(field: "Field[Any]") -> Any:
    """Return a field's default as a plain value."""
    default = field.default
    if default is MISSING:
        return UNSET
    if isinstance(default, timedelta):
        return round(default.total_seconds() * 1000)
    if isinstance(default, datetime):
        return round(default.timestamp() * 1000)
    if is_dataclass(default):
        return {inner.name: _default(inner) for inner in fields(default)}
    if isinstance(default, tuple):
        return list(default)
    return -1 if default is None and field.metadata.get("kafka_type") == "datetime_i64" else default


def _single(kind: Any, name: str | None, *, nullable: bool, flexible: bool) -> Codec:
    """Return the codec of one value: a structure, an integer, text or bytes."""
    if is_dataclass(kind):
        codec = struct_codec(kind)
        return _nullable_struct(codec) if nullable else codec
    if name in FIXED_WIDTH:
        return _fixed(Struct(FIXED_WIDTH[name]))
    if name == "uuid":
        return Codec(read_uuid, lambda value: value or UUID_ZERO)
    if name == "string":
        return _text(nullable=nullable, flexible=flexible)
    return _blob(nullable=nullable, flexible=flexible)


def _fixed(shape: Struct) -> Codec:
    """Return the codec of an integer, a float or a boolean."""

    def read(frame: memoryview, at: int) -> tuple[Any, int]:
        return shape.unpack_from(frame, at)[0], at + shape.size

    return Codec(read, shape.pack)


def _nullable_struct(codec: Codec) -> Codec:
    """Return the codec of a structure that may be null: an i8 before it, -1 for null (KIP-893)."""

    def read(frame: memoryview, at: int) -> tuple[Any, int]:
        return (None, at + 1) if frame[at] == 0xFF else codec.read(frame, at + 1)

    return Codec(read, lambda value: b"\xff" if value is None else b"\x01" + codec.write(value))


def _length_codec(shape: Struct, *, flexible: bool) -> Codec:
    """Return the codec of a length, -1 for null: compact, or an integer of a fixed width."""
    if not flexible:
        return _fixed(shape)

    def read(frame: memoryview, at: int) -> tuple[int, int]:
        length, at = read_varint(frame, at)
        return length - 1, at

    return Codec(read, lambda length: write_varint(length + 1))


def _not_null(at: int) -> MalformedError:
    return MalformedError("length", at, "null where a value is required")


def _check_nullable(nullable: bool) -> None:  # noqa: FBT001 - a question about one field
    """Keep a handler from sending what clients cannot read."""
    if not nullable:
        raise ValueError("null where a value is required")


def _text(*, nullable: bool, flexible: bool) -> Codec:
    """Return the codec of a string: UTF-8."""
    raw = _sized(I16, nullable=nullable, flexible=flexible)

    def read(frame: memoryview, at: int) -> tuple[str | None, int]:
        value, at = raw.read(frame, at)
        return (None if value is None else str(value, "utf-8")), at

    return Codec(read, lambda value: raw.write(None if value is None else value.encode()))


def _blob(*, nullable: bool, flexible: bool) -> Codec:
    """Return the codec of bytes, which are copied out of the frame."""
    return _sized(I32, nullable=nullable, flexible=flexible)


def _sized(shape: Struct, *, nullable: bool, flexible: bool) -> Codec:
    """Return the codec of a length and as many bytes."""
    length_of = _length_codec(shape, flexible=flexible)

    def read(frame: memoryview, at: int) -> tuple[bytes | None, int]:
        length, behind = length_of.read(frame, at)
        if length < 0:
            if not nullable:
                raise _not_null(at)
            return None, behind
        return bytes(read_bytes(frame, behind, length)), behind + length

    def write(value: bytes | None) -> bytes:
        if value is None:
            _check_nullable(nullable)
            return length_of.write(-1)
        return length_of.write(len(value)) + value

    return Codec(read, write)


def _array(item: Codec, *, nullable: bool, flexible: bool) -> Codec:
    """Return the codec of an array. Every item takes at least a byte: no length is believed."""
    length_of = _length_codec(I32, flexible=flexible)

    def read(frame: memoryview, at: int) -> tuple[list[Any] | None, int]:
        length, behind = length_of.read(frame, at)
        if length < 0:
            if not nullable:
                raise _not_null(at)
            return None, behind
        if length > min(len(frame) - behind, ITEMS_MAX):
            raise MalformedError("array", at, f"{length} items in {len(frame) - behind} bytes")
        items = []
        for _ in range(length):
            value, behind = item.read(frame, behind)
            items.append(value)
        return items, behind

    def write(items: Sequence[Any] | None) -> bytes:
        if items is None:
            _check_nullable(nullable)
            return length_of.write(-1)
        return length_of.write(len(items)) + b"".join(map(item.write, items))

    return Codec(read, write)
