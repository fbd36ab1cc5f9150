"""Keys meet the partitions that Kafka's clients choose for them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.murmur2 import murmur2, murmur2_steps, partition_of


@pytest.fixture(scope="module")
def foreign_murmur2() -> Any:
    """Return a Kafka client's own; it comes with the dependency group `clients`."""
    return pytest.importorskip("aiokafka.partitioner").murmur2


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"abc", 479470107),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
def test_published_vectors(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=40))
def test_a_foreign_client_hashes_alike(foreign_murmur2: Any, key: bytes) -> None:
    assert murmur2(key) == foreign_murmur2(key) & 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 3, 4_095, 4_096, 4_097, 8_192, 100_003])
def test_slices_change_nothing(foreign_murmur2: Any, size: int) -> None:
    key = bytes(at % 251 for at in range(size))
    steps = list(murmur2_steps(key))
    assert len(steps) == -(-(size & ~3) // 4_096)
    assert murmur2(key) == foreign_murmur2(key) & 0xFFFFFFFF


def test_the_sign_bit_is_dropped() -> None:
    assert partition_of(murmur2(b"foobar"), 10) == (-790332482 & 0x7FFFFFFF) % 10 == 6
    assert partition_of(0x80000001, 7) == 1
