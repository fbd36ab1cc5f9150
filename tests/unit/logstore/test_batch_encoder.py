"""A batch made a few records at a time is the batch made at once; and its bounds are exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.batch import Stamp, decode_batch, decode_slices, encode_batch, seal
from logstore.batch_encoder import BatchEncoder
from logstore.batch_records import encode_records
from logstore.compression import Codec, compress
from model.errors import MalformedError
from model.limits import HEADERS_PER_RECORD_MAX
from model.record import BatchHeader, NewRecord

HEADERS_MAX = HEADERS_PER_RECORD_MAX.value
RECORDS = st.lists(
    st.builds(
        NewRecord,
        st.integers(0, (1 << 63) - 1),
        st.none() | st.binary(max_size=3),
        st.none() | st.binary(max_size=200),
    ),
    min_size=1,
    max_size=12,
)


@given(RECORDS, st.integers(1, 5))
def test_the_same_bytes_as_at_once(records: list[NewRecord], every: int) -> None:
    encoder = BatchEncoder()
    for at in range(0, len(records), every):
        encoder.add(records[at : at + every])
    size = encoder.size_bytes
    batch = encoder.seal(Stamp(7, 1, 40))
    assert batch == encode_batch(records, producer_id=7, producer_epoch=1, base_sequence=40)
    assert len(batch) == size
    times = [record.timestamp_ms for record in records]
    assert encoder.bounds == (min(times), max(times))


def test_no_empty_batch_and_no_time_before_1970() -> None:
    with pytest.raises(AssertionError, match="BATCH_HAS_RECORDS"):
        BatchEncoder().seal(Stamp())
    with pytest.raises(AssertionError, match="ENCODER_TIMES_FIT"):
        BatchEncoder().add([NewRecord(-1, None, None)])


def headed(count: int) -> NewRecord:
    return NewRecord(0, None, None, ((b"", None),) * count)


def with_headers(count: int) -> memoryview:
    """Return a batch of one record with so many headers, whoever made it."""
    section, _ = encode_records([headed(1)], 0)
    head = section[1][:5]  # attributes, deltas, key, value: then comes the count
    zigzag, varint = count << 1, b""
    while zigzag > 0x7F:
        varint, zigzag = varint + bytes([zigzag & 0x7F | 0x80]), zigzag >> 7
    record = head + varint + bytes([zigzag]) + b"\x00\x01" * count
    size, length = len(record) << 1, b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return memoryview(
        seal(
            [compress(Codec.ZSTD, length + bytes([size]) + record)],
            Stamp(),
            records=1,
            times=(0, 0),
            attributes=Codec.ZSTD,
        )
    )


def test_the_helper_makes_what_the_encoder_makes() -> None:
    (record,) = decode_batch(with_headers(300))
    (same,) = decode_batch(memoryview(encode_batch([headed(300)])))
    assert record == same


def test_a_record_of_millions_of_headers_is_refused_before_they_are_read() -> None:
    batch = with_headers(20_000_000)
    assert len(batch) < 1 << 20
    with pytest.raises(MalformedError, match=f"20000000 headers, a record has {HEADERS_MAX}"):
        decode_batch(batch)
    assert len(decode_batch(with_headers(HEADERS_MAX))[0].headers) == HEADERS_MAX
    with pytest.raises(MalformedError, match="1001 headers"):
        decode_batch(with_headers(HEADERS_MAX + 1))


def test_nobody_here_makes_one() -> None:
    assert encode_batch([headed(HEADERS_MAX)])
    with pytest.raises(AssertionError, match="RECORD_HEADERS_BOUNDED"):
        encode_batch([headed(HEADERS_MAX + 1)])


@pytest.mark.parametrize("headers", [1, 400, HEADERS_MAX])
def test_a_slice_holds_no_more_headers_than_one_record_may_have_twice(headers: int) -> None:
    records = [headed(headers)] * 60
    batch = memoryview(encode_batch(records))
    slices = [part for part in decode_slices(batch) if part]
    assert max(sum(len(one.headers) for one in part) for part in slices) < 2 * HEADERS_MAX + 1
    assert sum(map(len, slices)) == BatchHeader(batch).record_count == 60
    assert [one for part in slices for one in part] == decode_batch(batch)
