"""Two other implementations read the batches that we write, and we read theirs.

kafka-python is pure Python, aiokafka is Cython with codecs of its own; both come with the
dependency group `clients`. Header keys are text for both.
"""

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.batch import decode_batch, encode_batch
from logstore.compression import Codec
from logstore.validate import check_produced
from model.ids import LeaderEpoch, Offset
from model.record import BatchHeader, NewRecord

KAFKA_PYTHON = "kafka.record.default_records"
AIOKAFKA = "aiokafka.record.default_records"
# kafka-python leaves snappy to python-snappy, which is aiokafka's cramjam under another name.
PAIRS = [
    (module, codec)
    for module in (KAFKA_PYTHON, AIOKAFKA)
    for codec in Codec
    if (module, codec) != (KAFKA_PYTHON, Codec.SNAPPY)
]
BYTES = st.one_of(st.none(), st.binary(max_size=100), st.just(bytes(9_000)))
HEADERS = st.lists(st.tuples(st.sampled_from([b"", b"a", b"bb"]), BYTES), max_size=3).map(tuple)
OURS = st.lists(
    st.builds(NewRecord, st.integers(-1, 1 << 61), BYTES, BYTES, HEADERS), min_size=1, max_size=8
)
# aiokafka's builder takes -1 in its first record for "not set yet".
THEIRS = st.lists(
    st.builds(NewRecord, st.integers(0, 1 << 61), BYTES, BYTES, HEADERS), min_size=1, max_size=8
)


def implementation(module: str) -> Any:
    pytest.importorskip(module.partition(".")[0], reason="group `clients` is not installed")
    return importlib.import_module(module)


def plain(records: Any) -> list[tuple[Any, ...]]:
    return [
        (
            record.offset,
            record.timestamp,
            None if record.key is None else bytes(record.key),
            None if record.value is None else bytes(record.value),
            tuple((key.encode(), value) for key, value in record.headers),
        )
        for record in records
    ]


@pytest.mark.parametrize(("module", "codec"), PAIRS)
@given(records=OURS)
def test_they_read_ours(module: str, codec: Codec, records: list[NewRecord]) -> None:
    batch = bytes(encode_batch(records, compression=codec, base_offset=40, leader_epoch=7))
    read = implementation(module).DefaultRecordBatch(batch)
    assert read.validate_crc()
    assert (read.base_offset, read.last_offset_delta) == (40, len(records) - 1)
    assert read.max_timestamp == max(record.timestamp_ms for record in records)
    assert plain(read) == [tuple(record) for record in decode_batch(memoryview(batch))]


@pytest.mark.parametrize(("module", "codec"), PAIRS)
@given(records=THEIRS)
def test_we_read_theirs(module: str, codec: Codec, records: list[NewRecord]) -> None:
    builder = implementation(module).DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=True, producer_id=11, producer_epoch=2,
        base_sequence=30, batch_size=1 << 30,
    )  # fmt: skip
    for offset, record in enumerate(records):
        builder.append(
            offset,
            timestamp=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=[(key.decode(), value) for key, value in record.headers],
        )
    batch = memoryview(bytearray(builder.build()))
    header = BatchHeader(batch)
    assert check_produced(batch, max_message_bytes=1 << 30) == header.producer_id == 11
    assert (header.producer_epoch, header.base_sequence) == (2, 30)
    assert header.is_transactional
    assert decode_batch(batch) == [(at, *record) for at, record in enumerate(records)]


@pytest.mark.parametrize("module", [KAFKA_PYTHON, AIOKAFKA])
def test_the_bytes_are_the_same(module: str) -> None:
    records = [NewRecord(1_700_000_000_000 - n, b"k%d" % n, b"v" * n) for n in range(300)]
    builder = implementation(module).DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 30,
    )  # fmt: skip
    for offset, record in enumerate(records):
        builder.append(
            offset,
            timestamp=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=[],
        )
    theirs = bytearray(builder.build())
    BatchHeader(memoryview(theirs)).place(Offset(0), LeaderEpoch(-1))
    assert theirs == encode_batch(records)
