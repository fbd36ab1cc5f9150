"""Varints: the vectors of docs/formats/record_batch.md, and every number there and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.varint import decode_varint, decode_varlong, encode_varint, encode_varlong
from model.errors import MalformedError
from tests.datadriven import Command, run_script

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def test_vectors(scripts: Path, rewrite: bool) -> None:
    def execute(command: Command) -> str:
        if command.name == "encode":
            return encode_varlong(command.integer("value")).hex()
        decode = {"32": decode_varint, "64": decode_varlong}[command.text("bits")]
        try:
            value, after = decode(bytes.fromhex(command.text("bytes")), 0)
        except MalformedError as refused:
            return str(refused)
        return f"{value}, {after} bytes"

    run_script(scripts / "record_batch/varints.txt", execute, rewrite=rewrite)


@given(INT32, st.binary(max_size=3), st.binary(max_size=3))
def test_a_varint_is_read_where_it_stands(value: int, before: bytes, behind: bytes) -> None:
    encoded = encode_varint(value)
    assert encoded == encode_varlong(value)
    whole = before + encoded + behind
    assert decode_varint(whole, len(before)) == (value, len(before) + len(encoded))


@given(INT64)
def test_a_varlong_comes_back_and_is_missed_byte_by_byte(value: int) -> None:
    encoded = encode_varlong(value)
    assert decode_varlong(memoryview(encoded), 0) == (value, len(encoded))
    for size in range(len(encoded)):
        with pytest.raises(MalformedError, match="end within"):
            decode_varlong(encoded[:size], 0)


def test_the_table_ends_nowhere() -> None:
    for value in range(-8300, 8300):
        assert decode_varlong(encode_varlong(value), 0)[0] == value


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1])
def test_33_bits_are_no_varint(value: int) -> None:
    with pytest.raises(OverflowError, match="32 bits"):
        encode_varint(value)
    with pytest.raises(MalformedError, match="32 bits"):
        decode_varint(encode_varlong(value), 0)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_65_bits_are_no_varlong(value: int) -> None:
    with pytest.raises(OverflowError, match="64 bits"):
        encode_varlong(value)
