"""The in-memory end of a partition, and the spans of a file that were verified."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.tail import ReadResult, Tail
from logstore.verified import SPANS_MAX, Verified
from model.ids import Offset


def filled(*sizes: int) -> Tail:
    """Return a tail whose batches begin at 10 and hold two records each."""
    tail = Tail(Offset(10))
    for number, size in enumerate(sizes):
        offset = Offset(10 + 2 * number)
        tail.add(offset, bytearray([number]) * size, Offset(offset + 2))
    return tail


def test_reading_begins_with_the_batch_that_holds_the_offset() -> None:
    tail = filled(5, 5, 5)
    found = tail.read(Offset(13), 100, end=Offset(16))
    assert found == ReadResult([b"\1" * 5, b"\2" * 5], Offset(12), Offset(16), 10)


def test_one_batch_is_read_even_if_it_is_too_large_and_none_beyond_the_end() -> None:
    tail = filled(5, 5, 5)
    assert tail.read(Offset(10), 1, end=Offset(16)).next_offset == 12
    assert tail.read(Offset(10), 9, end=Offset(16)).next_offset == 12
    assert tail.read(Offset(10), 100, end=Offset(14)).next_offset == 14
    assert tail.read(Offset(12), 100, end=Offset(13)).buffers == []


def test_only_what_is_written_is_released() -> None:
    tail = filled(5, 5, 5)
    tail.release(Offset(13), 0)
    assert (tail.start, tail.size_bytes) == (12, 10)
    tail.release(Offset(16), 7)
    assert (tail.start, tail.size_bytes) == (14, 5)
    tail.release(Offset(16), 0)
    assert (tail.start, tail.end, tail.size_bytes) == (16, 16, 0)


def test_what_was_read_from_a_file_is_joined_with_what_follows_and_fits() -> None:
    tail = filled(5, 5, 5)
    found = ReadResult([b"file"], Offset(6), Offset(10), 4)
    both: list[bytes | bytearray | memoryview] = [b"file", b"\0" * 5, b"\1" * 5]
    assert tail.joined(found, 14, end=Offset(16)) == ReadResult(both, Offset(6), Offset(14), 14)
    assert tail.joined(found, 99, end=Offset(14)) == ReadResult(both, Offset(6), Offset(14), 14)
    assert tail.joined(found, 8, end=Offset(16)) is found
    assert tail.joined(found, 99, end=Offset(10)) is found


def test_nothing_is_joined_but_what_begins_where_the_file_was_read_to() -> None:
    tail = filled(5, 5)
    for end in (8, 11, 14):  # a gap; within a batch; behind the last
        found = ReadResult([b"file"], Offset(6), Offset(end), 4)
        assert tail.joined(found, 99, end=Offset(14)) is found
    nothing = ReadResult([], Offset(10), Offset(10), 0)
    assert tail.joined(nothing, 99, end=Offset(14)) is nothing


def test_released_memory_is_given_back_at_once() -> None:
    tail = filled(1000, 5)
    tail.release(Offset(12), 5)
    assert sum(map(len, tail._batches)) == 5


@given(
    st.lists(st.integers(1, 9), max_size=8),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_a_cut_tail_is_as_if_it_had_never_been_longer(
    sizes: list[int], kept: int, released: int
) -> None:
    kept, released = min(kept, len(sizes)), min(released, len(sizes))
    tail = filled(*sizes)
    tail.release(Offset(10 + 2 * released), 0)
    if 10 + 2 * kept < tail.start:
        return
    tail.truncate(Offset(10 + 2 * kept))
    assert tail.end == 10 + 2 * kept
    assert tail.size_bytes == sum(sizes[released:kept])
    if tail.start < tail.end:
        found = tail.read(tail.start, 1 << 20, end=tail.end)
        assert (found.next_offset, found.size_bytes) == (tail.end, tail.size_bytes)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30))
def test_verified_spans_are_a_set_of_bytes(spans: list[tuple[int, int]]) -> None:
    verified, known = Verified(), set[int]()
    for start, size in spans:
        verified.add(start, start + size)
        known |= set(range(start, start + size))
        for low in range(0, 80, 7):
            for high in range(low + 1, 82, 5):
                assert verified.covers(low, high) == (set(range(low, high)) <= known)


def test_verified_spans_do_not_grow_without_bound() -> None:
    verified = Verified()
    for number in range(SPANS_MAX + 10):
        verified.add(2 * number, 2 * number + 1)
    assert len(verified._spans) <= SPANS_MAX
    assert verified.covers(2 * SPANS_MAX + 2, 2 * SPANS_MAX + 3)
