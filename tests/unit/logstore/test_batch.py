"""Record batches: the vectors of docs/formats/record_batch.md, there and back, and lies refused."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logstore.batch import (
    SLICE_RECORDS,
    decode_batch,
    decode_slices,
    encode_batch,
    event_times,
    event_times_sliced,
    iter_timestamps,
)
from logstore.compression import Codec, ExpandsBeyondError, compress
from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import AppendTimeMs
from model.record import COVERED_FROM, HEADER, LOG_APPEND_TIME, BatchHeader, NewRecord, Record
from tests.datadriven import Command, run_script

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
FIELDS = {"base_offset", "leader_epoch", "producer_id", "producer_epoch", "base_sequence"}
TIMESTAMPS = st.one_of(
    st.integers(1_700_000_000_000, 1_700_000_000_300),
    st.sampled_from([-1, 0, 1, -2, INT64_MIN, INT64_MAX]),
    st.integers(INT64_MIN, INT64_MAX),
)
BYTES = st.one_of(
    st.none(),
    st.binary(max_size=5),
    st.builds(bytes, st.sampled_from([63, 64, 65, 8191, 8192, 8193, 20_000])),
)
HEADERS = st.lists(st.tuples(st.sampled_from([b"", b"trace", b"k" * 70]), BYTES), max_size=3).map(
    tuple
)
RECORDS = st.lists(st.builds(NewRecord, TIMESTAMPS, BYTES, BYTES, HEADERS), min_size=1, max_size=9)


def stored(records: list[NewRecord], base_offset: int) -> list[Record]:
    return [Record(base_offset + at, *record) for at, record in enumerate(records)]  # type: ignore[arg-type]


def sealed(section: bytes, **claims: int) -> memoryview:
    """Return a batch with these records under a header that claims what is given."""
    fields = {"records": 1, "last_offset_delta": 0, "base_timestamp": 0, "attributes": 0} | claims
    batch = bytearray(
        HEADER.pack(
            0, 49 + len(section), 0, 2, 0, fields["attributes"], fields["last_offset_delta"],
            fields["base_timestamp"], 0, -1, -1, -1, fields["records"],
        ) + section
    )  # fmt: skip
    batch[17:21] = crc32c(batch[COVERED_FROM:]).to_bytes(4, "big")
    return memoryview(batch)


def value_of(word: str) -> bytes | None:
    if word == "null":
        return None
    return bytes.fromhex(word[4:]) if word.startswith("hex:") else word.strip("'").encode()


def record_of(line: str) -> NewRecord:
    timestamp, key, value, *headers = line.split()
    pairs = [word.split("=") for word in headers]
    return NewRecord(
        int(timestamp),
        value_of(key),
        value_of(value),
        tuple((name.encode(), value_of(text)) for name, text in pairs),
    )


def shown(batch: bytearray) -> str:
    cuts = [0, 8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57, 61]
    header = " ".join(batch[a:b].hex() for a, b in pairwise(cuts))
    return f"{header}\n{batch[61:].hex()}"


def test_vectors(scripts: Path, rewrite: bool) -> None:
    def execute(command: Command) -> str:
        records = [record_of(line) for line in command.lines]
        fields = {key: int(value) for key, value in command.arguments.items() if key in FIELDS}
        batch = encode_batch(
            records,
            compression=command.integer("compression", 0),
            attributes=command.integer("attributes", 0),
            **fields,
        )
        if stamp := command.integer("append_time", 0):
            BatchHeader(memoryview(batch)).stamp_log_append_time(AppendTimeMs(stamp), crc32c)
            records = [record._replace(timestamp_ms=stamp) for record in records]
        assert decode_batch(memoryview(batch)) == stored(records, fields.get("base_offset", 0))
        return shown(batch)

    run_script(scripts / "record_batch/batches.txt", execute, rewrite=rewrite)


def test_what_is_refused(scripts: Path, rewrite: bool) -> None:
    def execute(command: Command) -> str:
        section = bytes.fromhex("".join(command.lines))
        claims = {key: int(value) for key, value in command.arguments.items()}
        try:
            records = decode_batch(sealed(section, **claims))
        except MalformedError as refused:
            return str(refused)
        return "\n".join(f"{record.offset}: {record.value!r}" for record in records) or "no record"

    run_script(scripts / "record_batch/refused.txt", execute, rewrite=rewrite)


@given(RECORDS, st.sampled_from(Codec), st.integers(0, 1 << 40))
@example([NewRecord(-1, None, None)] * 9000, Codec.NONE, 0)
@example([NewRecord(INT64_MAX, b"", None), NewRecord(-1, None, b"")], Codec.ZSTD, 5)
def test_there_and_back(records: list[NewRecord], codec: Codec, base_offset: int) -> None:
    batch = encode_batch(records, compression=codec, base_offset=base_offset)
    header = BatchHeader(memoryview(batch))
    assert header.crc32c == crc32c(header.covered)
    assert (header.compression, header.record_count) == (codec, len(records))
    assert header.event_time_max == max(record.timestamp_ms for record in records)
    assert header.end_offset == base_offset + len(records)
    wanted = stored(records, base_offset)
    assert decode_batch(memoryview(batch)) == wanted
    slices = list(decode_slices(memoryview(batch), every=2))
    assert [record for part in slices for record in part] == wanted
    assert max(map(len, slices)) <= 2


@given(RECORDS, st.sampled_from(Codec), st.integers(1, 4))
def test_times_without_records(records: list[NewRecord], codec: Codec, every: int) -> None:
    batch = memoryview(encode_batch(records, compression=codec, base_offset=7))
    times = [record.timestamp_ms for record in records]
    assert list(iter_timestamps(batch)) == list(enumerate(times, start=7))
    some = [time for time in times if time != -1]
    wanted = (min(some), max(some)) if some else None
    assert event_times(batch) == wanted
    walk = event_times_sliced(batch, every=every)
    turns = 0
    with pytest.raises(StopIteration) as done:
        while True:
            next(walk)
            turns += 1
    assert done.value.value == wanted
    assert turns >= len(records) / every


def test_a_stamped_batch_has_one_time() -> None:
    batch = encode_batch([NewRecord(5, None, b"a"), NewRecord(-1, None, b"b")], base_offset=3)
    header = BatchHeader(memoryview(batch))
    header.stamp_log_append_time(AppendTimeMs(990), crc32c)
    assert header.crc32c == crc32c(header.covered)
    assert [record.timestamp_ms for record in decode_batch(memoryview(batch))] == [990, 990]
    assert list(iter_timestamps(memoryview(batch))) == [(3, 990), (4, 990)]
    assert event_times(memoryview(batch)) == (990, 990)


def test_a_stamped_batch_need_not_be_expanded() -> None:
    assert event_times(sealed(b"no gzip", attributes=LOG_APPEND_TIME | Codec.GZIP)) == (0, 0)


def test_the_claimed_maximum_decides_nothing() -> None:
    batch = encode_batch([NewRecord(5, None, b"a"), NewRecord(9, None, b"b")])
    batch[35:43] = (1 << 60).to_bytes(8, "big")
    assert BatchHeader(memoryview(batch)).event_time_max == 1 << 60
    assert event_times(memoryview(batch)) == (5, 9)


def test_a_compacted_batch_keeps_its_offsets() -> None:
    section = bytes.fromhex("0e00000401026100 0e00000a01026200")
    batch = sealed(section, records=2, last_offset_delta=9)
    assert [record.offset for record in decode_batch(batch)] == [2, 5]
    assert [offset for offset, _ in iter_timestamps(batch)] == [2, 5]


READERS: dict[str, Callable[[memoryview], object]] = {
    "decode_batch": decode_batch,
    "decode_slices": lambda batch: list(decode_slices(batch, every=1)),
    "event_times": event_times,
    "iter_timestamps": lambda batch: list(iter_timestamps(batch)),
}
FIRST, SECOND = bytes.fromhex("0e00000001026100"), bytes.fromhex("0e00000201026200")
TWO = {"records": 2, "last_offset_delta": 1}
LIES = {
    "repeats an offset": sealed(FIRST + FIRST, **TWO),
    "offsets fall": sealed(SECOND + FIRST, **TWO),
    "a negative offset": sealed(bytes.fromhex("0e00000101026100")),
    "beyond the last offset": sealed(SECOND),
    "counts one more": sealed(FIRST, **TWO),
    "counts one less": sealed(FIRST + SECOND, records=1, last_offset_delta=1),
    "more records than offsets": sealed(FIRST + SECOND, records=2),
    "a negative count": sealed(FIRST, records=-1),
    "a byte too many": sealed(FIRST + b"\x00"),
    "ends within a record": sealed(FIRST + SECOND[:-1], **TWO),
    "a length beyond the end": sealed(bytes.fromhex("1000000001026100")),
    "a negative length": sealed(bytes.fromhex("0d00000001026100")),
    "a length of 11 bytes": sealed(b"\x80" * 11 + bytes(20)),
    "a timestamp of 65 bits": sealed(bytes.fromhex("0e00020001026100"), base_timestamp=INT64_MAX),
    "nothing": sealed(b""),
    "no gzip": sealed(FIRST, attributes=1),
    "codec 7": sealed(FIRST, attributes=7),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("lie", LIES)
def test_every_reader_refuses(reader: str, lie: str) -> None:
    with pytest.raises(MalformedError):
        READERS[reader](LIES[lie])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("lie", ["a length beyond the end", "a negative length"])
def test_every_reader_names_the_field(reader: str, lie: str) -> None:
    with pytest.raises(MalformedError, match="records at byte 0: length of the record"):
        READERS[reader](LIES[lie])


@pytest.mark.parametrize("reader", READERS)
def test_too_large_is_told_from_corrupt(reader: str) -> None:
    bomb = compress(Codec.ZSTD, bytes(65 << 20))
    with pytest.raises(ExpandsBeyondError, match="expands beyond 67108864 bytes"):
        READERS[reader](sealed(bomb, attributes=Codec.ZSTD))


def test_slices_of_many_records_hold_few() -> None:
    batch = memoryview(encode_batch([NewRecord(0, None, None)] * 100_000, compression=Codec.ZSTD))
    sizes = [len(part) for part in decode_slices(batch)]
    assert sum(sizes) == 100_000
    assert max(sizes) <= SLICE_RECORDS


def test_every_changed_byte_is_noticed_or_covered_by_nothing() -> None:
    sound = encode_batch(
        [NewRecord(1_700_000_000_000 + n, b"key", b"v" * 100) for n in range(40)],
        base_offset=40,
        leader_epoch=7,
    )
    assert len(sound) > 4096
    unnoticed = set()
    for at in range(len(sound)):
        changed = bytearray(sound)
        changed[at] ^= 0x40
        try:
            header = BatchHeader(memoryview(changed))
        except MalformedError:
            assert at in {8, 9, 10, 11, 16}  # length, magic
            continue
        if header.crc32c == crc32c(header.covered):
            unnoticed.add(at)
    assert unnoticed == {*range(8), *range(12, 16)}  # base offset, leader epoch


def test_nobody_makes_an_empty_batch() -> None:
    with pytest.raises(AssertionError, match="BATCH_HAS_RECORDS"):
        encode_batch([])


def test_the_codec_is_no_attribute() -> None:
    with pytest.raises(AssertionError, match="BATCH_CODEC_SET_APART"):
        encode_batch([NewRecord(0, None, None)], attributes=1)


@pytest.mark.parametrize("first", [0, 1 << 62, -(1 << 62)])
@pytest.mark.parametrize("beyond", [INT64_MAX + 1, INT64_MIN - 1])
def test_a_timestamp_of_65_bits_is_refused(first: int, beyond: int) -> None:
    for times in ([beyond], [first, beyond], [beyond, first]):
        with pytest.raises(OverflowError, match="64 bits"):
            encode_batch([NewRecord(time, None, None) for time in times])
