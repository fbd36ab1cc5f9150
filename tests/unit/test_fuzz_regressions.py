"""What the fuzzer has found: each input that once escaped, hung or was served, kept for ever."""

from io import BytesIO
from typing import Any, Final, cast

import pytest

from api.cli.flights import flights_of
from api.config_file import PROBLEMS_MAX, ConfigRefused, load, of_bytes
from api.sim.disk import SimDisk
from api.sim.image import Image
from cluster.raft.log_file import FileHead, encode_head, name_of
from logstore import checkpoint, identity
from logstore.batch import encode_batch
from logstore.journal import JournalHeader, encode_header
from logstore.journal_reader import JournalReader
from logstore.offset_index import OffsetIndex
from logstore.partition_log import ReadPlan
from logstore.paths import JOURNAL, LOG, by_offset, journal_file, partition_directory
from logstore.producer_state import ProducerState, Remembered
from logstore.recovery_report import RecoveryReport
from logstore.segment_loader import iter_headers
from logstore.settings import KIB
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import (
    AppendTimeMs,
    Index,
    Offset,
    Position,
    ProducerEpoch,
    ProducerId,
    Sequence,
    Term,
)
from model.record import NewRecord
from tests.fuzz import (
    fuzz_checkpoint,
    fuzz_http_request,
    fuzz_identity,
    fuzz_metadata_directory,
    fuzz_offset_index,
    fuzz_sdk_answer,
)
from tests.fuzz.fuzz_log_directory import PARTITIONS, image, open_directory, stopped
from tests.fuzz.fuzz_metadata_directory import at_once
from tests.fuzz.fuzz_record_format import RECORD
from tests.fuzz.memory_disk import MemoryDisk
from tests.fuzz.sealing import sealed_at, sealed_at_end
from tests.quorum import open_voter
from tidelog.checkpoint import Checkpoint
from tidelog.cli import client_settings
from tidelog.cli.failure import Usage
from tidelog.cli.format_verbs import FormatError
from tidelog.cli.record import RecordInputError
from tidelog.cli.record_format import RecordFormat
from tidelog.cli.record_input import records_of
from tidelog.errors import OffsetOutOfRange, error_of
from tidelog.wire_errors import failure_of_status

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


def test_a_segment_that_lost_its_end_is_walked_as_far_as_it_goes() -> None:
    batch = bytes(encode_batch([NewRecord(1, b"k", b"v")]))
    for left in (0, 12, 60):
        file = MemoryDisk(Image({"log": batch * 2 + batch[:left]})).open("log")
        found = iter_headers(file, Position(0), 9 * len(batch))
        assert [position for position, _ in found] == [0, len(batch)], left


@pytest.mark.parametrize(
    "line", [b'{"key":"\x80"}\n', '{"key":{"base64":"ü"}}\n'.encode()], ids=["bytes", "base64"]
)
def test_json_input_that_is_no_text_is_refused_by_its_line(line: bytes) -> None:
    with pytest.raises(RecordInputError, match="line 1"):
        list(records_of(BytesIO(line), "json"))


def test_json_input_that_is_deeper_than_a_record_is_refused_by_its_line() -> None:
    with pytest.raises(RecordInputError, match="line 2: nested too deeply"):
        list(records_of(BytesIO(b'{"key":"k"}\n{"value":' + b"[" * 100_000 + b"\n"), "json"))


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


def test_a_log_file_of_the_quorum_that_got_only_its_head_is_begun_again() -> None:
    whole = fuzz_metadata_directory.image()
    (name,) = [name for name in whole.files if name.endswith(".raft")]
    vote = {name: file for name, file in whole.files.items() if name.endswith("quorum_state")}
    first = encode_head(FileHead(first_index=Index(1), term_before=Term(0), salt=b"saltsalt"))
    kept = whole.files[name][: len(first)]
    for begun, started in (
        (Image({**vote, f"metadata/{name_of(Index(1))}": first}, whole.directories), 0),
        (Image({**whole.files, name: kept}, whole.directories), 4),
    ):
        disk = MemoryDisk(begun)
        voter = at_once(open_voter(disk, settings=fuzz_metadata_directory.SETTINGS))
        assert len(voter.image.topics) >= started
        again = at_once(open_voter(disk, settings=fuzz_metadata_directory.SETTINGS))
        assert again.image.topics == voter.image.topics
        assert again.term == voter.term + 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a=" + b"[" * 4_000, "nested too deeply"),
        (b"a." * 60_000 + b"a=1", "a line of 120003 bytes"),
    ],
    ids=["deep", "dots"],
)
def test_a_configuration_that_no_one_wrote_is_refused_at_once(content: bytes, why: str) -> None:
    with pytest.raises(ConfigRefused, match=why):
        of_bytes(content, "settings.toml")
    with pytest.raises(Usage, match=why):
        client_settings.of_bytes(content, "config.toml")


def test_of_many_unknown_settings_a_few_are_told() -> None:
    content = b"[nod]\n" + b"".join(b"k%d = 1\n" % number for number in range(30_000))
    with pytest.raises(ConfigRefused) as refused:
        load(base=of_bytes(content, "settings.toml"))
    assert len(refused.value.problems) == PROBLEMS_MAX + 1
    assert refused.value.problems[-1] == f"and {30_000 - PROBLEMS_MAX} more"


def test_an_override_of_many_dots_is_refused_at_once() -> None:
    with pytest.raises(ConfigRefused, match="there is no setting"):
        load(overrides=["a." * 60_000 + "a=1"])


@pytest.mark.parametrize("text", ["]:80", "[]:80", ":80", "tidelog://[:80"])
def test_an_address_without_host_is_none(text: str) -> None:
    with pytest.raises(Usage, match="address"):
        client_settings.host_and_port(text, "address")


def test_what_follows_a_head_request_and_is_no_http_ends_the_connection() -> None:
    request = b"HEAD /readyz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    fuzz_http_request.fuzz(request)


def test_what_a_proxy_puts_where_details_belong_is_passed_over() -> None:
    failure = failure_of_status(cast(Any, fuzz_sdk_answer._Ended(b"\xff\xff")), "a:1")
    assert failure.error.reason == "FAILED_PRECONDITION"


@pytest.mark.parametrize("text", ["²", "--5", "9" * 5_000, ""])
def test_a_detail_that_is_no_number_is_none(text: str) -> None:
    metadata = {"log_start_offset": text}
    error = error_of("OFFSET_OUT_OF_RANGE", "gone", metadata=metadata)
    assert isinstance(error, OffsetOutOfRange)
    assert error.log_start_offset is None


@pytest.mark.parametrize("text", ["year,month", "", "tailnum,time_hour\nNA"])
def test_a_line_that_is_no_flight_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"line [12] has"):
        list(flights_of(text))


def test_the_fuzzers_disk_holds_what_the_simulated_one_does() -> None:
    """Over either a start leaves the same files behind."""
    for whole in (image(), stopped(image())):
        held = MemoryDisk(whole)
        simulated = SimDisk(whole)
        open_directory(held)
        open_directory(simulated)
        expected = simulated.platter.image().files
        assert {name: held.content(name) for name in expected} == dict(expected)
