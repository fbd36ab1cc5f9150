"""Codecs, and the values that go through them."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import tidelog
from tidelog.headers import headers_of, name_of
from tidelog.v1 import common_pb2


@dataclass
class Order:
    id: str
    total: float


def test_bytes_are_bytes() -> None:
    assert tidelog.BYTES.encode(b"x") == b"x"
    assert tidelog.BYTES.encode(bytearray(b"x")) == b"x"  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"str, not bytes; name a codec, such as value=tidelog.UTF8"
    ):
        tidelog.BYTES.encode("x")  # type: ignore[arg-type]


def test_text() -> None:
    assert tidelog.UTF8.decode(tidelog.UTF8.encode("grüße")) == "grüße"
    with pytest.raises(TypeError, match="takes str, not int"):
        tidelog.UTF8.encode(1)  # type: ignore[arg-type]


def test_json_is_checked_against_its_type() -> None:
    codec = tidelog.json(Order)
    assert codec.encode(Order("o-1", 9.5)) == b'{"id":"o-1","total":9.5}'
    assert codec.decode(b'{"id":"o-1","total":9.5}') == Order("o-1", 9.5)
    with pytest.raises(msgspec.ValidationError, match=r"\$.total"):
        codec.decode(b'{"id":"o-1","total":"9.5"}')
    anything: tidelog.Codec[Any] = tidelog.json()
    assert anything.decode(b"[1,null]") == [1, None]


def test_protobuf() -> None:
    codec = tidelog.protobuf(common_pb2.TopicPartition)
    message = common_pb2.TopicPartition(topic="orders", partition=3)
    assert codec.decode(codec.encode(message)) == message


def test_headers_keep_order_and_repeat() -> None:
    assert headers_of({"a": "1", "b": b"\xff"}) == ((b"a", b"1"), (b"b", b"\xff"))
    assert headers_of([("a", None), ("a", "")]) == ((b"a", None), (b"a", b""))
    with pytest.raises(TypeError, match="name is int"):
        headers_of([(1, "x")])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="value is int"):
        headers_of({"a": 1})  # type: ignore[dict-item]


def test_a_header_name_that_is_no_utf8_survives() -> None:
    assert headers_of([(name_of(b"\xff\xfe"), "x")]) == ((b"\xff\xfe", b"x"),)
