"""Keys go where Kafka's clients put them."""

from random import Random

import pytest

from tidelog.partitioner import Sticky, murmur2, partition_of_key

# Kafka's own test vectors (UtilsTest.testMurmur2), as signed 32-bit numbers there.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", VECTORS)
def test_published_values(key: bytes) -> None:
    assert murmur2(key) == VECTORS[key] & 0xFFFFFFFF


def test_every_partition_is_used() -> None:
    counts = [0] * 6
    for number in range(6000):
        counts[partition_of_key(b"key-%d" % number, 6)] += 1
    assert min(counts) > 850


def test_records_without_a_key_stay_until_the_batch_is_full() -> None:
    sticky = Sticky(Random(1))
    first = sticky.choose(6)
    assert {sticky.choose(6) for _ in range(50)} == {first}
    sticky.move_on(6)
    assert sticky.choose(6) != first


def test_a_topic_that_shrank_or_has_one_partition() -> None:
    sticky = Sticky(Random(1))
    while sticky.choose(6) < 3:
        sticky.move_on(6)
    assert sticky.choose(2) < 2
    sticky.move_on(1)
    assert sticky.choose(1) == 0
