"""CRC-32C against its published value and an independent implementation."""

import crcmod.predefined
from hypothesis import given
from hypothesis import strategies as st

from logstore.crc32c import crc32c

SECOND_OPINION = crcmod.predefined.mkPredefinedCrcFun("crc-32c")


def test_published_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary())
def test_second_opinion(covered: bytes) -> None:
    assert crc32c(memoryview(covered)) == SECOND_OPINION(covered)


@given(st.lists(st.binary()))
def test_it_goes_on_from_buffer_to_buffer(buffers: list[bytes]) -> None:
    checksum = crc32c(b"")
    for buffer in buffers:
        checksum = crc32c(buffer, checksum)
    assert checksum == SECOND_OPINION(b"".join(buffers))
