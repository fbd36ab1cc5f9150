"""The batch header: every field where it stands, what may be written, runs of batches, ranges."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.batch import encode_batch
from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import (
    HEADER_BYTES,
    BatchHeader,
    ClockKind,
    NewRecord,
    TimeRange,
    iter_batches,
    peek_size,
)

BATCH = bytes.fromhex(
    "0000000000000000 00000035 ffffffff 02 00000000 0034 00000002"
    "0000018bcfe56800 0000018bcfe56be8 0000000000001267 0003 7fffffff 00000003"
    "00010203"
)
"""Three records, by the header: a control batch of a transaction, zstd. Bytes 17-20: checksum."""


def sealed() -> bytearray:
    return bytearray(BATCH[:17] + crc32c(BATCH[21:]).to_bytes(4, "big") + BATCH[21:])


@pytest.mark.parametrize("look", [BatchHeader, BatchHeader.of_checked])
def test_every_field_stands_where_the_format_says(
    look: Callable[[memoryview], BatchHeader],
) -> None:
    batch = sealed()
    header = look(memoryview(batch))
    assert (header.base_offset, header.end_offset, header.last_offset_delta) == (0, 3, 2)
    assert (header.length, header.size_bytes, header.magic) == (53, 65, 2)
    assert header.leader_epoch == -1
    assert (header.attributes, header.compression) == (0x34, 4)
    assert (header.is_transactional, header.is_control) == (True, True)
    assert not header.is_log_append_time
    assert (header.base_timestamp, header.event_time_max) == (1_700_000_000_000, 1_700_000_001_000)
    assert (header.producer_id, header.producer_epoch) == (4711, 3)
    assert (header.base_sequence, header.record_count) == (2**31 - 1, 3)
    assert header.records == BATCH[HEADER_BYTES:]
    assert header.crc32c == crc32c(header.covered)


def test_a_batch_is_as_long_as_it_says_also_where_the_view_ends_before_it() -> None:
    header = BatchHeader.of_checked(memoryview(sealed())[:HEADER_BYTES])
    assert header.size_bytes == len(BATCH)


def test_the_leader_places_a_batch_and_its_checksum_stays_true() -> None:
    batch = sealed()
    header = BatchHeader(memoryview(batch))
    header.place(Offset(40), LeaderEpoch(7))
    assert (header.base_offset, header.end_offset, header.leader_epoch) == (40, 43, 7)
    assert header.crc32c == crc32c(header.covered)
    assert batch[16:] == sealed()[16:]


def test_the_leader_stamps_a_batch_and_seals_it_anew() -> None:
    batch = sealed()
    header = BatchHeader(memoryview(batch))
    header.stamp_log_append_time(AppendTimeMs(1_700_000_005_120), crc32c)
    assert header.is_log_append_time
    assert (header.event_time_max, header.attributes) == (1_700_000_005_120, 0x3C)
    assert header.crc32c == crc32c(header.covered)
    assert batch[:17] == sealed()[:17]
    assert batch[43:] == sealed()[43:]


def test_what_a_reader_holds_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="read-write"):
        BatchHeader(memoryview(bytes(sealed()))).place(Offset(0), LeaderEpoch(0))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (sealed()[:60], "60 bytes"),
        (sealed() + b"x", "length 53 of 66"),
        (sealed().replace(b"\x02", b"\x01", 1), "magic 1"),
        (sealed()[:23] + b"\xff" + sealed()[24:], "negative"),
        (bytearray(4096), "magic 0"),
        (bytearray(b"\xff" * 4096), "magic -1"),
    ],
)
def test_lengths_and_magic_are_checked(changed: bytearray, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        BatchHeader(memoryview(changed))


RUN = [bytes(encode_batch([NewRecord(n, None, b"v" * n)] * n)) for n in (1, 2, 30)]


@given(st.integers(0, sum(map(len, RUN))))
def test_a_run_is_hopped_over_to_the_last_whole_batch(size: int) -> None:
    run = memoryview(b"".join(RUN))[:size]
    whole = [bytes(batch) for batch in iter_batches(run)]
    ends = [sum(map(len, RUN[: n + 1])) for n in range(len(RUN))]
    assert whole == RUN[: sum(end <= size for end in ends)]


@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x02"])
def test_what_is_no_batch_ends_a_run_with_an_error(filler: bytes) -> None:
    run = iter_batches(memoryview(RUN[0] + filler * 17 + filler * 9000))
    assert next(run) == RUN[0]
    if filler == b"\x02":  # magic 2, and longer than all there is: cut short
        assert not list(run)
        return
    with pytest.raises(MalformedError, match=f"record batch at byte {len(RUN[0])}: magic"):
        next(run)


@pytest.mark.parametrize("length", [-(1 << 31), -13, -12, 0, 48])
def test_a_length_that_cannot_be_is_no_batch(length: int) -> None:
    run = bytearray(RUN[1])
    run[8:12] = length.to_bytes(4, "big", signed=True)
    with pytest.raises(MalformedError, match=f"length {length}, header needs 49"):
        list(iter_batches(memoryview(run)))


def test_a_size_is_told_from_17_bytes_on() -> None:
    run = memoryview(RUN[0] + RUN[2])
    assert peek_size(run, 0) == len(RUN[0])
    assert peek_size(run, len(RUN[0])) == len(RUN[2])
    assert peek_size(run[: len(RUN[0]) + 17], len(RUN[0])) == len(RUN[2])
    assert peek_size(run[: len(RUN[0]) + 16], len(RUN[0])) is None
    assert peek_size(run, len(run)) is None


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ((5, 7), {5, 6}, {4, 7, -1}),
        ((None, 7), {0, 6, -2}, {7, -1}),
        ((5, None), {5, 9_999}, {4, -1}),
        ((None, None), {0, -2}, {-1}),
        ((7, 5), set(), {4, 5, 6, 7}),
    ],
)
def test_a_range_ends_before_its_end_and_never_holds_no_time(
    bounds: tuple[int | None, int | None], inside: set[int], outside: set[int]
) -> None:
    events = TimeRange(ClockKind.EVENT, *bounds)
    assert all(events.contains(time) for time in inside)
    assert not any(events.contains(time) for time in outside)


def test_append_times_are_never_none() -> None:
    assert TimeRange(ClockKind.APPEND, None, 0).contains(-1)
