"""What the fuzzer has found: each input that once escaped, hung or was served, kept for ever."""

from io import BytesIO
from typing import Final

import pytest

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore import checkpoint, identity
from logstore.journal import JournalHeader, encode_header
from logstore.journal_reader import JournalReader
from logstore.offset_index import OffsetIndex
from logstore.partition_log import ReadPlan
from logstore.paths import JOURNAL, LOG, by_offset, journal_file, partition_directory
from logstore.producer_state import ProducerState, Remembered
from logstore.recovery_report import RecoveryReport
from logstore.settings import KIB
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence
from tests.fuzz import fuzz_checkpoint, fuzz_identity, fuzz_offset_index
from tests.fuzz.fuzz_log_directory import PARTITIONS, image, open_directory
from tests.fuzz.fuzz_record_format import RECORD
from tests.fuzz.sealing import sealed_at, sealed_at_end
from tidelog.checkpoint import Checkpoint
from tidelog.cli.format_verbs import FormatError
from tidelog.cli.record import RecordInputError
from tidelog.cli.record_format import RecordFormat
from tidelog.cli.record_input import records_of

FILE_BYTES: Final = 1024


def test_two_journal_files_that_name_each_other_as_the_next_come_to_an_end() -> None:
    header = encode_header(JournalHeader(FILE_BYTES, b"saltsalt", 1))
    file = header + bytes(FILE_BYTES - 2 * len(header)) + header
    disk = SimDisk(Image({journal_file(1): file, journal_file(2): file}, (JOURNAL,)))
    reader = JournalReader(disk, 1)
    reader.check(lambda _: True, RecoveryReport())
    assert reader.end == 1


@pytest.mark.parametrize("at", [10, 11])
def test_reserved_bytes_of_small_files_are_zero(at: int) -> None:
    owner, mark = fuzz_identity.samples()
    for file, decode in (
        (fuzz_checkpoint.samples()[1], checkpoint.decode),
        (owner, identity.decode),
        (mark, identity.decode_clean),
    ):
        damaged = sealed_at_end(file[:at] + b"\1" + file[at + 1 :])
        with pytest.raises(MalformedError, match="reserved bytes"):
            decode(damaged)


def test_an_index_whose_rows_do_not_rise_is_made_anew() -> None:
    file = fuzz_offset_index.samples()[2]
    swapped = file[:44] + file[48:52] + file[44:48] + file[52:]
    sealed = sealed_at(swapped, 40, swapped[:40], swapped[44:])
    with pytest.raises(MalformedError, match="rows out of order"):
        OffsetIndex.decode(sealed, fuzz_offset_index.BASE)


def test_a_producer_begins_anew_behind_a_batch_that_is_damaged() -> None:
    state = ProducerState(limit=10, expiration_ms=1_000)
    who = (ProducerId(7), ProducerEpoch(0))
    for base in (0, 9):  # the batch between them cannot be read
        state.found(*who, Remembered(Sequence(base), 3, Offset(base), AppendTimeMs(10)))
    with pytest.raises(RequestError) as refused:
        state.check(*who, Sequence(3), records=3)
    assert refused.value.code in {ErrorCode.OUT_OF_ORDER_SEQUENCE, ErrorCode.DUPLICATE_SEQUENCE}
    state.check(*who, Sequence(12), records=3)


def test_a_segment_that_is_cut_short_is_told_and_never_waited_for() -> None:
    disk = SimDisk(image())
    directory = open_directory(disk)
    log = directory.partitions[PARTITIONS[0]]
    name = f"{partition_directory(log.id)}/{by_offset(log.segments()[0].base_offset, LOG)}"
    file = disk.open(name)
    file.truncate(file.size() - 7)
    told = None
    offset = log.log_start
    while offset < log.segments()[0].end_offset and told is None:
        plan = log.read(offset, KIB, end=log.log_end)
        assert isinstance(plan, ReadPlan)
        try:
            offset = (plan.now() or plan.blocking()).next_offset
        except RequestError as refusal:
            told = refusal.code
    assert told is ErrorCode.CORRUPT_LOG


@pytest.mark.parametrize(
    "line", [b'{"key":"\x80"}\n', '{"key":{"base64":"ü"}}\n'.encode()], ids=["bytes", "base64"]
)
def test_json_input_that_is_no_text_is_refused_by_its_line(line: bytes) -> None:
    with pytest.raises(RecordInputError, match="line 1"):
        list(records_of(BytesIO(line), "json"))


def test_a_layout_of_other_letters_is_no_layout() -> None:
    with pytest.raises(FormatError, match="no layout"):
        RecordFormat("%v{unpack[>ü]}")


def test_arguments_that_are_no_utf_8_are_printed_as_they_came() -> None:
    assert RecordFormat("\udca2%o")(RECORD) == b"\xa242"


@pytest.mark.parametrize("form", ["%d{strftime[\udca2]}", "%d{strftime[%Y\0]}"])
def test_a_time_is_shown_by_text_only(form: str) -> None:
    with pytest.raises(FormatError, match="strftime"):
        RecordFormat(form)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"version":' + "[" * 100_000])
def test_a_deep_text_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        Checkpoint.from_json(text)


def test_an_offset_without_end_is_a_damaged_checkpoint() -> None:
    row = (
        '{"topic":"t","partition":0,"offset":Infinity,"leader_epoch":null,"stop":null,'
        '"truncated":false}'
    )
    with pytest.raises(ValueError, match="damaged"):
        Checkpoint.from_json('{"version":1,"partitions":[' + row + "]}")
