"""Settings are declared with unit and bounds; text, checks and reference come from that."""

from dataclasses import dataclass, make_dataclass
from enum import Enum, StrEnum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.quantity import QUANTITIES, parse_quantity
from model.settings import (
    Declaration,
    Setting,
    Unit,
    Value,
    check_bounds,
    declarations,
    declared,
    parse,
    reference,
    show,
)

DAY = 86_400_000


class Flush(StrEnum):
    QUORUM = "quorum"
    ASYNC = "async"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    segment_bytes: Annotated[
        int, Setting("Roll before.", Unit.BYTES, 1024, 1 << 30, kafka_name="segment.bytes")
    ] = 256 << 20
    retention_ms: Annotated[
        int | None, Setting("Keep so long.", Unit.MILLISECONDS, 0, 1000 * DAY)
    ] = 7 * DAY
    flush: Annotated[Flush, Setting("What an ack waits for.")] = Flush.QUORUM
    auto_create: Annotated[bool, Setting("Create topics on demand.")] = False
    rack: Annotated[str, Setting("Where it stands.", high=10)] = ""
    partitions: Annotated[int, Setting("How many.", Unit.COUNT, 1, 1000)] = 1

    def __post_init__(self) -> None:
        check_bounds(self)


def one(name: str) -> Declaration:
    return next(found for found in declarations(Sample) if found.name == name)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"segment_bytes": 1}, "segment_bytes = 1 is outside 1024..1073741824 bytes"),
        ({"segment_bytes": (1 << 30) + 1}, "segment_bytes = 1073741825 is outside"),
        ({"segment_bytes": None}, "segment_bytes must have a value"),
        ({"segment_bytes": True}, "segment_bytes = True is not a whole number"),
        ({"segment_bytes": 2048.0}, "segment_bytes = 2048.0 is not a whole number"),
        ({"retention_ms": -1}, "retention_ms = -1 is outside 0..86400000000 ms or none"),
        ({"flush": "quorum"}, "flush = 'quorum' is not Flush"),
        ({"auto_create": 1}, "auto_create = 1 is not true or false"),
        ({"rack": "x" * 11}, "rack = xxxxxxxxxxx is outside 0..10 characters"),
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        Sample(**wrong)


def test_the_ends_of_the_bounds_are_inside() -> None:
    assert Sample(segment_bytes=1024, retention_ms=0, rack="x" * 10).partitions == 1
    assert Sample(segment_bytes=1 << 30, retention_ms=1000 * DAY).auto_create is False
    assert Sample(retention_ms=None).retention_ms is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("segment_bytes", "512KiB", 512 << 10),
        ("segment_bytes", " 4096 ", 4096),
        ("retention_ms", "30s", 30_000),
        ("retention_ms", "7d", 7 * DAY),
        ("retention_ms", "1500", 1500),
        ("retention_ms", "none", None),
        ("flush", "async", Flush.ASYNC),
        ("auto_create", "true", True),
        ("rack", "none", "none"),
        ("partitions", "12", 12),
    ],
)
def test_text_as_an_operator_writes_it(name: str, text: str, value: Value) -> None:
    assert parse(one(name), text) == value


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("segment_bytes", "512KB", "segment_bytes = '512KB' is not one of: 1024.."),
        ("segment_bytes", "none", "segment_bytes = 'none' is not one of"),
        ("segment_bytes", "30s", "segment_bytes = '30s' is not one of"),
        ("segment_bytes", "1.5MiB", "segment_bytes = '1.5MiB' is not one of"),
        ("segment_bytes", "2GiB", "segment_bytes = 2147483648 is outside"),
        ("retention_ms", "", "retention_ms = '' is not one of"),
        ("flush", "ASYNC", "flush = 'ASYNC' is not one of: quorum, async"),
        ("auto_create", "yes", "auto_create = 'yes' is not one of: true, false"),
        ("partitions", "1%", "partitions = '1%' is not one of"),
        ("partitions", "٣", "partitions = '٣' is not one of"),
    ],
)
def test_text_that_is_refused(name: str, text: str, refusal: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(one(name), text)
    assert str(caught.value).startswith(refusal)


def test_a_refused_size_is_told_the_units() -> None:
    with pytest.raises(ValueError, match=r"1024\.\.1073741824 bytes, or with one of B, KiB, MiB, "):
        parse(one("segment_bytes"), "512KB")


@given(st.integers(1024, 1 << 30), st.one_of(st.none(), st.integers(0, 1000 * DAY)))
def test_what_is_shown_reads_back(segment_bytes: int, retention_ms: int | None) -> None:
    assert parse(one("segment_bytes"), show(segment_bytes, Unit.BYTES)) == segment_bytes
    assert parse(one("retention_ms"), show(retention_ms, Unit.MILLISECONDS)) == retention_ms


def test_the_reference_lists_every_setting() -> None:
    assert reference(Sample).splitlines()[2:] == [
        "| `segment_bytes` | `segment.bytes` | 256MiB | 1024..1073741824 bytes | Roll before. |",
        "| `retention_ms` |  | 1w | 0..86400000000 ms or none | Keep so long. |",
        "| `flush` |  | quorum | quorum, async | What an ack waits for. |",
        "| `auto_create` |  | false | true, false | Create topics on demand. |",
        "| `rack` |  |  | 0..10 characters | Where it stands. |",
        "| `partitions` |  | 1 | 1..1000 count | How many. |",
    ]
    assert [name for name, _ in declared(Sample)] == list(Sample.__dataclass_fields__)


def test_a_setting_without_a_default_has_no_page() -> None:
    bare = make_dataclass("Bare", [("on", Annotated[bool, Setting("x")])])
    with pytest.raises(AssertionError, match="SETTING_HAS_DEFAULT"):
        reference(bare)


class Plain(Enum):
    A = 1


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "must carry exactly one Setting"),
        (Annotated[int, "doc"], "must carry exactly one Setting"),
        (Annotated[int, Setting("x", Unit.MILLISECONDS, 0, 1)], "does not name its unit"),
        (Annotated[int, Setting("x", Unit.COUNT, 0)], "is a number without unit or bounds"),
        (Annotated[int, Setting("x", low=0, high=1)], "is a number without unit or bounds"),
        (Annotated[float, Setting("x", Unit.COUNT, 0, 1)], "is of a type that no setting has"),
        (Annotated[list[int], Setting("x")], "is of a type that no setting has"),
    ],
)
def test_a_declaration_that_says_too_little_is_refused(hint: Any, text: str) -> None:
    silent = make_dataclass("Silent", [("timeout", hint, 0)])
    with pytest.raises(TypeError, match=rf"Silent\.timeout {text}"):
        list(declarations(silent))


def test_a_kafka_name_belongs_to_one_setting() -> None:
    mark = Setting("x", kafka_name="a.b")
    twice = make_dataclass(
        "Twice", [("a", Annotated[bool, mark], False), ("b", Annotated[Plain, mark], Plain.A)]
    )
    with pytest.raises(TypeError, match=r"Twice\.b repeats a\.b"):
        list(declarations(twice))


@pytest.mark.parametrize("unit", QUANTITIES)
def test_suffixes_grow(unit: str) -> None:
    factors = list(QUANTITIES[unit].values())
    assert factors == sorted(set(factors))
    for suffix, factor in QUANTITIES[unit].items():
        assert parse_quantity(f"3{suffix}", unit) == 3 * factor
    assert parse_quantity("3", unit) == 3
    assert parse_quantity("3 ", unit) is None
