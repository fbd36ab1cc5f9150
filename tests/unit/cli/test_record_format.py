"""Record formats, both ways: every verb and modifier, refusals; what is printed is read back."""

import io
import json
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.cli.format_verbs import FormatError, parse_format
from tidelog.cli.record import (
    COLUMNS,
    META_COLUMNS,
    GivenRecord,
    RecordInputError,
    ShownRecord,
    from_json_line,
    meta_to_json,
    to_json,
)
from tidelog.cli.record_format import RecordFormat
from tidelog.cli.record_input import compile_input, records_of


def record(**changes: object) -> ShownRecord:
    fields: dict[str, object] = {
        "topic": "orders",
        "partition": 3,
        "offset": 41,
        "timestamp_ms": 1_767_225_600_123,
        "append_time_ms": 1_767_225_600_130,
        "key": b"alice",
        "value": b'{"total": 9.5}',
        "headers": ((b"a", b"1"), (b"a", None), (b"b", b"")),
        "leader_epoch": 7,
        "compression": "zstd",
        "producer_id": 1000,
        "producer_epoch": 2,
        "log_start_offset": 5,
        "last_stable_offset": 90,
        "high_watermark": 99,
    }
    return ShownRecord(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "meant"),
    [
        ("jsonx", "json"),
        ("JSON", "json"),
        ("josn", "json"),
        ("vale", "value"),
        ("json_pretty", "json-pretty"),
        (r"text\n", "text"),
    ],
)
def test_a_misspelt_name_of_a_format_is_no_format(form: str, meant: str) -> None:
    with pytest.raises(FormatError, match=rf'would print itself .* did you mean "{meant}"\?'):
        RecordFormat(form)


@pytest.mark.parametrize(
    ("form", "instead"),
    [
        ("jsonx", r'did you mean "json"\?'),
        ("JSON", r'did you mean "json"\?'),
        (r"vale\n", r'did you mean "value"\?'),
        ("json-pretty", "there are json, jsonl, value, text, and %v"),
        (r"\n", "there are json, jsonl, value, text, and %v"),
    ],
)
def test_a_text_without_verbs_reads_no_records(form: str, instead: str) -> None:
    """Each would be a record without a key and without a value."""
    said = rf"{re.escape(repr(form))} has no verb: every record would be empty; {instead}$"
    with pytest.raises(FormatError, match=said):
        records_of(io.BytesIO(b"jsonxjsonx"), form)


def test_a_text_without_verbs_is_printed_where_it_is_like_no_name() -> None:
    for form in (".", r"one more\n", "x"):
        assert RecordFormat(form)(record()) == form.encode().replace(b"\\n", b"\n")
    assert RecordFormat("jsonx %o")(record()) == b"jsonx 41"


def test_the_schema_names_what_is_printed() -> None:
    named = [column.key for column in COLUMNS]
    assert list(to_json(record())) == named
    meta = [*named, *(column.key for column in META_COLUMNS)]
    assert list(meta_to_json(record())) == [
        key for key in meta if key not in {"key", "value", "headers"}
    ]


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("%t/%p@%o", b"orders/3@41"),
        ("%T %K %V %H", b"6 5 14 3"),
        ("%k=%v", b'alice={"total": 9.5}'),
        (r"%k\t%v\n", b'alice\t{"total": 9.5}\n'),
        (r"\x41\0\\\r", b"A\0\\\r"),
        ("%h{%k:%v;}", b"a:1;a:;b:;"),
        ("%h{%K,%V }", b"1,1 1,0 1,0 "),
        ("%e %x %y", b"7 1000 2"),
        ("%d %A", b"1767225600123 1767225600130"),
        ("%d{strftime[%FT%TZ]}", b"2026-01-01T00:00:00Z"),
        ("%d{strftime[%H}%M]}", b"00}00"),
        ("%a{compression}", b"zstd"),
        ("%[ %| %]", b"5 90 99"),
        ("%i %%", b"1 %"),
        ("%k{hex} %k{base64} %k{json}", b'616c696365 YWxpY2U= "alice"'),
        ("%p{big32}", struct.pack(">i", 3)),
        ("%o{little64}", struct.pack("<q", 41)),
        ("%o{hex16}", b"0029"),
        ("%K{big8}%k", b"\x05alice"),
    ],
)
def test_every_verb(form: str, printed: bytes) -> None:
    assert RecordFormat(form)(record()) == printed


def test_null_prints_as_nothing_and_as_null_in_json() -> None:
    assert RecordFormat("[%k|%v]")(record(key=None, value=b"")) == b"[|]"
    assert RecordFormat("%k{json} %v{json}")(record(key=None, value=b"")) == b'null ""'
    assert RecordFormat("%d{strftime[%F]}")(record(timestamp_ms=None)) == b"-"


def test_numbers_in_values_are_unpacked() -> None:
    packed = record(value=struct.pack(">IH", 7, 9))
    assert RecordFormat("%v{unpack[>IH]}")(packed) == b"7 9"
    assert RecordFormat("%v{unpack[>I]}")(packed) == b"0x000000070009"


def test_the_counter_counts() -> None:
    form = RecordFormat("%i ")
    assert form(record()) + form(record()) == b"1 2 "


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("%q", "no verb"),
        ("%", "no verb"),
        (r"\q", "no escape"),
        (r"\xg1", "hexadecimal"),
        ("%k{big32}", "no modifier"),
        ("%o{base64}", "no modifier"),
        ("%k{hex", "not closed"),
        ("%h", "format of one header"),
        ("%h{%k", "not closed"),
        ("%h{%o}", "inside"),
        ("%a", "needs the attribute"),
        ("%a{colour}", "no attribute"),
        ("%v{unpack[?!]}", "no layout"),
        ("x" * 5000, "at most"),
    ],
)
def test_formats_that_mean_nothing(form: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_format(form)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("%k%v", "where does %k end"),
        ("%h{%k=%v;}", "put %H before"),
        ("%V%o%v", "where does %V end"),
        ("%V2%v", "where does %V end"),
        ("%d{strftime[%F]} %v", "cannot be read back"),
        ("%K{big32}%k{json}%v", "leave its length out"),
        ("", "empty"),
    ],
)
def test_formats_that_cannot_be_read_back(form: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        compile_input(form)


@pytest.mark.parametrize(
    ("form", "content", "why"),
    [
        ("%p %v\n", b"x hello\n", "record 1: %p must be a number"),
        ("%K{big32}%k", b"\0\0\0\x09abc", "record 1: the input ends, 6 bytes are missing"),
        ("%k=%v\n", b"ab\n", "the input ends before b'='"),
        ("<%v>\n", b"[a]", "expected b'<'"),
        ("%k{hex}\n", b"zz\n", "non-hexadecimal"),
        ("%k{base64}\n", b"a\n", "base64"),
        ("%V{big32}%v", b"\xff\xff\xff\xff", "%V is -1"),
        ("%v{unpack[]}", b"x", "takes nothing"),
        ("json", b"{]\n", "line 1: not JSON"),
        ("json", b"[1]\n", "not an object"),
        ("json", b'\n{"kye": "k"}\n', 'line 2: "kye" is no field'),
        ("json", b'{"key": 5}\n', '"key" is neither text'),
        ("json", b'{"key": {"base64": "!"}}\n', "does not decode"),
        ("json", b'{"partition": -2}\n', "not a whole number"),
        ("json", b'{"partition": true}\n', "not a whole number"),
        ("json", b'{"partition": 2147483648}\n', '"partition" is above 2147483647'),
        ("%p %v\n", b"2147483648 hello\n", "record 1: %p is 2147483648, at most 2147483647"),
        ("json", b'{"headers": [{"value": "x"}]}\n', '"headers" is not a list'),
        ("json", b'{"headers": [{"key": null}]}\n', "without a key"),
    ],
)
def test_input_that_is_no_record_names_the_place(form: str, content: bytes, why: str) -> None:
    with pytest.raises(RecordInputError) as refused:
        list(records_of(io.BytesIO(content), form))
    assert why in str(refused.value)


def test_lines_are_values_and_the_last_may_lack_its_end() -> None:
    read = list(records_of(io.BytesIO(b"a\n\nb c"), "value"))
    assert [one.value for one in read] == [b"a", b"", b"b c"]
    assert all(one.key is None for one in read)


def test_records_arrive_as_they_are_read_also_in_single_bytes() -> None:
    class Slow(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._rest = content

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            taken, self._rest = self._rest[:1], self._rest[1:]
            return taken

    read = list(records_of(Slow(b"k1:v1\nk2:v2\n"), r"%k:%v\n"))  # type: ignore[arg-type]
    assert [(one.key, one.value) for one in read] == [(b"k1", b"v1"), (b"k2", b"v2")]


TEXT = st.none() | st.binary(max_size=40)
HEADERS = st.lists(st.tuples(st.binary(max_size=8), TEXT), max_size=4).map(tuple)
TIMES = st.none() | st.integers(0, 1 << 40)


@given(st.lists(st.tuples(TEXT, TEXT, HEADERS, TIMES), max_size=5))
def test_json_loses_nothing(drawn: list[tuple[bytes, bytes, tuple[()], int]]) -> None:
    records = [
        record(key=key, value=value, headers=headers, timestamp_ms=time)
        for key, value, headers, time in drawn
    ]
    form = RecordFormat("json")
    printed = b"".join(form(one) for one in records)
    for line in printed.splitlines():
        json.loads(line)
    assert list(records_of(io.BytesIO(printed), "json")) == [
        GivenRecord(
            key=one.key,
            value=one.value,
            headers=one.headers,
            topic=one.topic,
            partition=one.partition,
            timestamp_ms=one.timestamp_ms,
        )
        for one in records
    ]


SIZED = "%t %p %d %K{big32}%k%V{little16}%v%H{big8}%h{%K{big32}%k%V{big32}%v}"
HEXED = r"%k{hex}:%v{hex},%o,%a{compression},%A{strftime[%F]}\n"
PRESENT = st.binary(max_size=60)


@given(st.lists(st.tuples(PRESENT, PRESENT, st.lists(st.tuples(PRESENT, PRESENT))), max_size=4))
def test_sized_formats_read_what_they_print(drawn: list[tuple[bytes, bytes, list[object]]]) -> None:
    records = [record(key=k, value=v, headers=tuple(h)) for k, v, h in drawn]
    form = RecordFormat(SIZED)
    printed = b"".join(form(one) for one in records)
    read = list(records_of(io.BytesIO(printed), SIZED))
    assert [(one.key, one.value, one.headers) for one in read] == [
        (one.key, one.value, one.headers) for one in records
    ]
    assert all(
        (one.topic, one.partition, one.timestamp_ms) == ("orders", 3, 1_767_225_600_123)
        for one in read
    )


@given(st.lists(st.tuples(PRESENT, PRESENT), max_size=4))
def test_separated_formats_read_what_they_print(drawn: list[tuple[bytes, bytes]]) -> None:
    form = RecordFormat(HEXED)
    printed = b"".join(form(record(key=key, value=value)) for key, value in drawn)
    read = list(records_of(io.BytesIO(printed), HEXED))
    assert [(one.key, one.value) for one in read] == drawn


@given(st.binary(max_size=80), st.sampled_from([SIZED, HEXED, "json", "value", "%v"]))
def test_no_input_raises_anything_else(content: bytes, form: str) -> None:
    try:
        list(records_of(io.BytesIO(content), form))
    except RecordInputError as refused:
        assert refused.where


def test_a_printed_record_may_be_read_with_all_its_fields() -> None:
    line = RecordFormat("json")(record())
    assert from_json_line(line, "line 1").partition == 3
