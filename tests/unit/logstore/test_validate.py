"""What a produced batch must satisfy: each rule broken alone, and what old clients may send."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.batch import encode_batch
from logstore.compression import Codec
from logstore.crc32c import crc32c
from logstore.validate import check_produced, is_plain
from model.errors import ErrorCode, RequestError
from model.record import CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, NewRecord

LIMIT = 1 << 20
RECORDS = [NewRecord(1_700_000_000_000 + n, None, b"value") for n in range(3)]


def sealed(batch: bytearray) -> bytearray:
    batch[17:21] = crc32c(batch[21:]).to_bytes(4, "big")
    return batch


def with_field(at: int, value: int, size: int) -> bytearray:
    """Return a batch with one field changed, sealed anew: its producer meant it."""
    batch = encode_batch(RECORDS, producer_id=4, producer_epoch=0, base_sequence=0)
    batch[at : at + size] = value.to_bytes(size, "big", signed=True)
    return sealed(batch)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("attributes", [0, TRANSACTIONAL])
def test_a_sound_batch_is_accepted(codec: Codec, attributes: int) -> None:
    batch = memoryview(
        encode_batch(
            RECORDS,
            compression=codec,
            producer_id=4,
            producer_epoch=1,
            base_sequence=7,
            attributes=attributes,
        )
    )
    assert check_produced(batch, max_message_bytes=len(batch)) == 4


def test_a_batch_without_event_times_is_accepted() -> None:
    batch = memoryview(encode_batch([NewRecord(-1, None, b"value")]))
    assert check_produced(batch, max_message_bytes=LIMIT) == -1


def test_zeros_beside_no_producer_id_are_accepted() -> None:
    """Kafkajs leaves epoch and sequence at 0 when it is not idempotent."""
    batch = memoryview(encode_batch(RECORDS, producer_epoch=0, base_sequence=0))
    assert check_produced(batch, max_message_bytes=LIMIT) == -1


def test_what_the_leader_writes_may_hold_anything() -> None:
    batch = memoryview(encode_batch(RECORDS, base_offset=-5, leader_epoch=0))
    assert check_produced(batch, max_message_bytes=LIMIT) == -1


Refused = tuple[Callable[[], bytearray], ErrorCode, dict[str, str]]
INVALID = ErrorCode.INVALID_REQUEST
REFUSED: dict[str, Refused] = {
    "magic 1": (lambda: with_field(16, 1, 1), ErrorCode.CORRUPT_BATCH, {"magic": "1"}),
    "no records": (
        lambda: with_field(57, 0, 4),
        INVALID,
        {"field": "record_count", "value": "0"},
    ),
    "negative records": (lambda: with_field(57, -1, 4), INVALID, {"value": "-1"}),
    "a record too few": (lambda: with_field(57, 2, 4), INVALID, {"value": "2"}),
    "a record too many": (lambda: with_field(57, 4, 4), INVALID, {"value": "4"}),
    "no records on no offsets": (
        lambda: sealed(with_field(57, 0, 4)[:23] + b"\xff" * 4 + with_field(57, 0, 4)[27:]),
        INVALID,
        {"field": "record_count", "value": "0"},
    ),
    "codec 5": (lambda: with_field(21, 5, 2), ErrorCode.UNSUPPORTED_COMPRESSION, {"codec": "5"}),
    "codec 7": (lambda: with_field(21, 7, 2), ErrorCode.UNSUPPORTED_COMPRESSION, {"codec": "7"}),
    "control": (lambda: with_field(21, CONTROL, 2), INVALID, {"field": "attributes"}),
    "append time": (lambda: with_field(21, LOG_APPEND_TIME, 2), INVALID, {"value": "8"}),
    "bit 6": (lambda: with_field(21, 0x40, 2), INVALID, {"value": "64"}),
    "bit 15": (lambda: with_field(21, -0x8000, 2), INVALID, {"value": "32768"}),
    "transaction of nobody": (
        lambda: encode_batch(RECORDS, attributes=TRANSACTIONAL),
        INVALID,
        {"field": "producer_id", "value": "-1"},
    ),
    "base timestamp": (
        lambda: with_field(27, -2, 8),
        ErrorCode.TIMESTAMP_OUT_OF_RANGE,
        {"base_timestamp_ms": "-2", "max_timestamp_ms": "1700000000002"},
    ),
    "max timestamp": (
        lambda: with_field(35, -2, 8),
        ErrorCode.TIMESTAMP_OUT_OF_RANGE,
        {"base_timestamp_ms": "1700000000000", "max_timestamp_ms": "-2"},
    ),
    "producer -2": (lambda: with_field(43, -2, 8), INVALID, {"field": "producer_id"}),
    "producer without epoch": (lambda: with_field(51, -1, 2), INVALID, {"field": "producer_epoch"}),
    "producer without sequence": (
        lambda: with_field(53, -1, 4),
        INVALID,
        {"field": "base_sequence", "value": "-1"},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_rule_refuses(name: str) -> None:
    make, code, metadata = REFUSED[name]
    with pytest.raises(RequestError) as refused:
        check_produced(memoryview(make()), max_message_bytes=LIMIT)
    assert refused.value.code is code
    assert metadata.items() <= refused.value.metadata.items()


def test_a_bit_is_refused_for_what_it_means() -> None:
    with pytest.raises(RequestError, match="only the log itself writes control batches"):
        check_produced(memoryview(with_field(21, CONTROL, 2)), max_message_bytes=LIMIT)
    with pytest.raises(RequestError, match="only the log itself stamps batches"):
        check_produced(memoryview(with_field(21, LOG_APPEND_TIME, 2)), max_message_bytes=LIMIT)


def test_too_large_names_size_and_limit() -> None:
    batch = memoryview(encode_batch(RECORDS))
    with pytest.raises(RequestError, match=r"max\.message\.bytes is 96") as refused:
        check_produced(batch, max_message_bytes=len(batch) - 1)
    assert refused.value.code is ErrorCode.RECORD_TOO_LARGE
    assert refused.value.metadata == {"size_bytes": "97", "limit_bytes": "96"}


@pytest.mark.parametrize("size", [0, 1, 60])
def test_shorter_than_a_header_is_corrupt(size: int) -> None:
    with pytest.raises(RequestError, match="61 bytes at least") as refused:
        check_produced(memoryview(encode_batch(RECORDS))[:size], max_message_bytes=LIMIT)
    assert refused.value.code is ErrorCode.CORRUPT_BATCH


@pytest.mark.parametrize("change", [lambda batch: batch[:-1], lambda batch: batch * 2])
def test_another_length_is_corrupt(change: Callable[[bytearray], bytearray]) -> None:
    with pytest.raises(RequestError, match="length field says 85") as refused:
        check_produced(memoryview(change(encode_batch(RECORDS))), max_message_bytes=LIMIT)
    assert refused.value.code is ErrorCode.CORRUPT_BATCH


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_no_changed_bit_gets_in(at: int, bit: int) -> None:
    batch = encode_batch(RECORDS)
    at %= len(batch)
    batch[at] ^= 1 << bit
    if at in {*range(8), *range(12, 16)}:  # base offset, leader epoch: the leader writes them
        check_produced(memoryview(batch), max_message_bytes=LIMIT)
        return
    with pytest.raises(RequestError) as refused:
        check_produced(memoryview(batch), max_message_bytes=LIMIT)
    assert refused.value.code is ErrorCode.CORRUPT_BATCH


@pytest.mark.parametrize("codec", Codec)
def test_a_batch_without_producer_is_plain_whatever_its_codec(codec: Codec) -> None:
    assert is_plain(encode_batch(RECORDS, compression=codec))


@pytest.mark.parametrize("producer", [0, 255, 1 << 55])
def test_a_batch_that_names_a_producer_is_not_plain(producer: int) -> None:
    assert not is_plain(encode_batch(RECORDS, producer_id=producer))


def test_an_unnamed_producer_is_told_by_its_id_alone() -> None:
    assert is_plain(encode_batch(RECORDS, producer_epoch=0, base_sequence=0))


@pytest.mark.parametrize("attributes", [CONTROL, LOG_APPEND_TIME])
def test_a_batch_that_tells_more_of_itself_is_not_plain(attributes: int) -> None:
    assert not is_plain(encode_batch(RECORDS, attributes=attributes))
