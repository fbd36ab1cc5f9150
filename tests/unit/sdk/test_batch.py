"""The client's batch codec against the node's own, both ways."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.batch import decode_batch, encode_batch
from logstore.validate import check_produced
from model.record import BatchHeader, NewRecord
from tidelog.batch import CorruptBatchError, Row, Stamp, decode, encode_body, seal, split
from tidelog.compression import EXPANDED_BYTES_MAX, NUMBERS, CodecMissing, compress, expand
from tidelog.types import Compression

TEXTS = st.none() | st.binary(max_size=300)
HEADERS = st.lists(st.tuples(st.binary(max_size=20), TEXTS), max_size=3).map(tuple)
TIMES = st.integers(0, (1 << 62)) | st.integers(1_767_225_600_000, 1_767_225_700_000)
ROWS = st.lists(st.builds(Row, TIMES, TEXTS, TEXTS, HEADERS), min_size=1, max_size=40)
CODECS: list[Compression] = list(NUMBERS)


@given(ROWS, st.sampled_from(CODECS))
def test_the_node_reads_what_the_client_makes(rows: list[Row], codec: Compression) -> None:
    batch = memoryview(seal(encode_body(rows, codec), Stamp(77, 3, 12)))
    header = BatchHeader(batch)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (77, 3, 12)
    assert header.compression == NUMBERS[codec]
    assert header.event_time_max == max(row.timestamp_ms for row in rows)
    records = decode_batch(batch)
    assert [record[1:] for record in records] == [tuple(row) for row in rows]
    assert [record.offset for record in records] == list(range(len(rows)))


@given(ROWS, st.sampled_from(CODECS), st.integers(0, 1 << 60))
def test_the_client_reads_what_the_node_makes(
    rows: list[Row], codec: Compression, base: int
) -> None:
    made = [NewRecord(*row) for row in rows]
    batch = encode_batch(
        made, compression=NUMBERS[codec], base_offset=base, producer_id=9, base_sequence=4
    )
    info, found = decode(memoryview(batch))
    assert [tuple(row)[1:] for row in found] == [tuple(row) for row in rows]
    assert [row.offset for row in found] == [base + at for at in range(len(rows))]
    assert (info.base_offset, info.record_count, info.size_bytes) == (base, len(rows), len(batch))
    assert (info.compression, info.producer_id, info.base_sequence) == (codec, 9, 4)


def test_a_sound_batch_is_accepted_by_the_node() -> None:
    batch = bytearray(seal(encode_body([Row(5, b"k", b"v")], "zstd"), Stamp(1, 0, 0)))
    check_produced(memoryview(batch), max_message_bytes=1 << 20)


def test_no_event_time_is_none() -> None:
    batch = encode_batch([NewRecord(-1, None, b"v"), NewRecord(0, None, b"w")])
    assert [row.timestamp_ms for row in decode(memoryview(batch)).rows] == [None, 0]


def test_batches_back_to_back_are_split() -> None:
    made = [bytes(encode_batch([NewRecord(1, None, b"%d" % n)], base_offset=n)) for n in range(3)]
    assert [bytes(one) for one in split(b"".join(made))] == made


def test_every_flipped_byte_is_noticed() -> None:
    sound = bytes(encode_batch([NewRecord(1, b"key", b"value", ((b"h", b"x"),))]))
    for at in range(len(sound)):
        broken = bytearray(sound)
        broken[at] ^= 0x40
        if at < 8 or 12 <= at < 16:
            continue  # base offset and leader epoch: the leader's, not covered by the checksum
        with pytest.raises(CorruptBatchError):
            for one in split(bytes(broken)):
                decode(one)


def test_cut_short_is_noticed() -> None:
    sound = bytes(encode_batch([NewRecord(1, b"key", b"value")]))
    for size in range(1, len(sound)):
        with pytest.raises(CorruptBatchError):
            list(split(sound[:size]))


def test_garbage_under_a_true_checksum_is_no_crash() -> None:
    chance = random.Random(4)
    for _ in range(300):
        body = encode_body([Row(1, b"k", b"v")], "none")
        garbage = chance.randbytes(chance.randrange(1, 60))
        batch = seal(body._replace(records=garbage, record_count=chance.randrange(1, 9)))
        try:
            decode(memoryview(batch))
        except CorruptBatchError:
            continue


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
def test_a_bomb_stops_at_the_limit(codec: Compression) -> None:
    bomb = compress(codec, bytes(EXPANDED_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="expands beyond"):
        expand(NUMBERS[codec], memoryview(bomb))


@pytest.mark.parametrize("codec", CODECS)
def test_a_small_batch_takes_little_memory(codec: Compression) -> None:
    batch = memoryview(compress(codec, b"of a few records" * 20))
    expand(NUMBERS[codec], batch)  # what a library keeps for ever is there from now on
    tracemalloc.start()
    try:
        expand(NUMBERS[codec], batch)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 3 << 20])
def test_what_expands_in_several_slices_is_whole(codec: Compression, size: int) -> None:
    data = (random.Random(7).randbytes(1000) * (size // 1000 + 1))[:size]
    assert expand(NUMBERS[codec], memoryview(compress(codec, data))) == data


def test_a_codec_that_is_not_installed_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidelog.compression.find_spec", lambda name: None)
    with pytest.raises(CodecMissing, match=r"pip install 'tidelog\[speed\]'"):
        compress("zstd", b"")
    with pytest.raises(CodecMissing, match="pip install cramjam"):
        compress("snappy", b"")
    assert compress("gzip", b"x")
