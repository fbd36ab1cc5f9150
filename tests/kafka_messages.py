"""Kafka messages by other people's codecs, to compare ours with.

Random messages are made as entities of kio, which writes them; `plain` says the same as the
dictionary that `api.kafka.schema` works with. kafka-python reads and writes the same bytes.
"""

import io
import random
import uuid
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

from api.kafka.apis import served_apis
from api.kafka.connection import KafkaConnection
from api.kafka.request import Request
from api.kafka_settings import KafkaSettings

with warnings.catch_warnings():  # it reads its schemas by a function that 3.11 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.protocol import (  # type: ignore[import-untyped]  # ships no types
        admin,
        consumer,
        metadata,
        producer,
    )

APIS = served_apis(KafkaSettings())
NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    10: "FindCoordinator",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    22: "InitProducerId",
}
WIDTHS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
TEXTS = ("", "a", "orders", "naïve-été", "x" * 200)


def foreign_class(key: int, side: str) -> Any:
    """Return kafka-python's class of a request or response."""
    name = NAMES[key] + side
    for module in (admin, consumer, metadata, producer):
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(name)


def entity_class(key: int, version: int, side: str) -> Any:
    """Return kio's class of a request or response."""
    load = load_request_schema if side == "Request" else load_response_schema
    return load(key, version)


def random_entity(cls: Any, rand: random.Random) -> Any:
    """Return an entity with something in every field; nulls, empties and extremes among them."""
    return cls(**{field.name: _random_value(field, rand) for field in fields(cls)})


def _random_value(field: Any, rand: random.Random) -> Any:
    kind, nullable = _without_none(field.type)
    name = field.metadata.get("kafka_type")
    if get_origin(kind) is tuple:
        if nullable and rand.random() < 0.2:
            return None
        item = _without_none(get_args(kind)[0])[0]
        return tuple(_one(item, name, rand, nullable=False) for _ in range(rand.randrange(4)))
    return _one(kind, name, rand, nullable=nullable)


def _one(kind: Any, name: str | None, rand: random.Random, *, nullable: bool) -> Any:
    if is_dataclass(kind):
        return random_entity(kind, rand)
    if nullable and name not in {"uuid", "datetime_i64"} and rand.random() < 0.2:
        return None
    if name in MAKERS:
        return MAKERS[name](rand)
    top = 1 << (WIDTHS[str(name)] - 1)
    return rand.choice((0, -1, top - 1, -top, 7))


MAKERS: dict[str | None, Callable[[random.Random], Any]] = {
    "uuid": lambda rand: uuid.UUID(bytes=rand.randbytes(16)),
    "string": lambda rand: rand.choice(TEXTS),
    "bool": lambda rand: rand.random() < 0.5,
    "error_code": lambda rand: rand.choice(list(ErrorCode)),
    "timedelta_i32": lambda rand: timedelta(milliseconds=rand.randrange(2**20)),
    "datetime_i64": lambda rand: datetime.fromtimestamp(rand.randrange(2**31), tz=UTC),
    "records": lambda rand: rand.randbytes(rand.randrange(300)),
}


def _without_none(kind: Any) -> tuple[Any, bool]:
    if isinstance(kind, UnionType):
        return next(arm for arm in get_args(kind) if arm is not NoneType), True
    return kind, False


def plain(value: Any) -> Any:
    """Return what `api.kafka.schema` has for a value of kio's."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    for kind, spell in PLAIN:
        if isinstance(value, kind):
            return spell(value)
    return value


PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (timedelta, lambda value: round(value.total_seconds() * 1000)),
    (datetime, lambda value: round(value.timestamp() * 1000)),
    (uuid.UUID, lambda value: value.bytes),
    (ErrorCode, int),
)


def written(entity: Any) -> bytes:
    """Return kio's bytes of an entity."""
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def rewritten(foreign: Any, raw: bytes, version: int) -> bytes:
    """Return what kafka-python writes after having read `raw`."""
    message = foreign.decode(raw, version=version)
    message._header = None  # its decode leaves this unset, and its encode looks at it
    return bytes(message.encode(version=version))


def versions(key: int, side: str) -> list[int]:
    """Return the versions that kio has."""
    found = []
    for version in range(20):
        try:
            entity_class(key, version, side)
        except RuntimeError:
            continue
        found.append(version)
    return found


def read_entity(key: int, version: int, raw: bytes) -> Any:
    """Return what kio reads, as plain values; all bytes must be used."""
    entity, size = entity_reader(entity_class(key, version, "Response"))(raw, 0)
    assert size == len(raw)
    return plain(entity)


def request_of(key: int, version: int, body: bytes) -> Request:
    """Return a request as the connection makes it, of one whose body is `body`."""
    api = APIS[key]
    head = (version, 77, 0, version >= api.flexible_from)
    return Request(cast(KafkaConnection, None), memoryview(body), head)
