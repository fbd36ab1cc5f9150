"""The table of foreign clients: its parts, and a run of all of it against a real node."""

import subprocess
import sys
from importlib.util import find_spec
from shutil import which

import pytest

from tests.interop.dump_log import judge
from tests.interop.sample import FEATURES, GROUPED_HEADERS, RECORDS, differences
from tests.interop.table import FAIL, OK, Table, Written
from tests.interop.told_lines import read_lines, write_lines
from tests.kill.node_process import ROOT

MODULES = ("confluent_kafka", "kafka", "aiokafka")
PROGRAMS = ("kcat", "java", "javac", "mvn", "node", "npm")
FILE = "/d/00000000000000000007.log"
BATCH = "baseOffset: {} lastOffset: {} count: {} position: 0 size: {} crc: 1 isvalid: {}"
DUMP = (
    f"Dumping {FILE}",
    "Log starting offset: 7",
    BATCH.format(7, 8, 2, 100, "true"),
    "| offset: 7 CreateTime: 1 keySize: 3 valueSize: 5 sequence: -1 headerKeys: []",
    "| offset: 8 CreateTime: 1 keySize: 3 valueSize: 5 sequence: -1 headerKeys: []",
    BATCH.format(9, 9, 1, 80, "true"),
    "| offset: 9 CreateTime: 1 keySize: 3 valueSize: 5 sequence: -1 headerKeys: []",
)


def test_a_record_that_differs_is_told_by_the_feature_it_differs_in() -> None:
    for number, record in enumerate(RECORDS):
        changed = list(RECORDS)
        changed[number] = record._replace(key=b"another", value=b"other")
        assert differences(RECORDS, changed, "keys")
        assert differences(RECORDS, changed, "null values")
        assert differences(RECORDS, changed, "zstd")
        assert not differences(RECORDS, changed, "repeated headers")
        assert not differences(RECORDS, changed, "timestamps")
    assert differences(RECORDS, RECORDS[:-1], "timestamps")
    swapped = [r._replace(headers=r.headers[::-1], time_ms=r.time_ms + 1) for r in RECORDS]
    assert differences(RECORDS, swapped, "repeated headers")
    assert differences(RECORDS, swapped, "timestamps")


def test_dates_that_a_client_gives_itself_lie_in_the_time_of_writing() -> None:
    one = Written("t", began_ms=100, ended_ms=200)
    inside = [record._replace(time_ms=150) for record in RECORDS]
    assert not differences(one.expected(inside, dates=False), inside, "timestamps")
    late = [record._replace(time_ms=201) for record in RECORDS]
    assert differences(one.expected(late, dates=False), late, "timestamps")


def test_the_table_shows_each_cell_and_why_it_is_not_ok() -> None:
    table = Table()
    for feature in FEATURES:
        table.put(("a", "b", feature), [])
    assert table.whole(["a"], ["b"])
    table.put(("a", "b", "keys"), ["record 0 differs"])
    marks = table.show().splitlines()[1].split()
    assert (marks.count(FAIL), marks.count(OK)) == (1, len(FEATURES) - 1)
    assert table.reasons == ["a > b, keys: record 0 differs"]
    assert not table.whole(["a"], ["b"])


def test_a_cell_that_was_skipped_is_missed() -> None:
    table = Table()
    for feature in FEATURES[1:]:
        table.put(("a", "b", feature), [])
    assert not table.whole(["a"], ["b"])
    table.put(("a", "b", FEATURES[0]), [])
    assert table.whole(["a"], ["b"])
    assert not table.whole(["a"], ["b", "c"])
    assert not Table().whole(["a"], ["b"])


def test_records_survive_their_way_through_lines() -> None:
    assert read_lines(write_lines(RECORDS)) == list(RECORDS)
    lines = write_lines(RECORDS).decode().splitlines()
    assert lines[0] == "=a2V5 =dmFsdWU= 1767225600000"
    assert lines[3] == "=Z29uZQ== - 1767139200000"
    assert lines[4].endswith(" =YQ==:=MQ== =Yg==:= =YQ==:=Mg== =bg==:-")


def test_headers_of_one_name_keep_their_order_when_they_are_put_together() -> None:
    assert GROUPED_HEADERS[4].headers == (("a", b"1"), ("a", b"2"), ("b", b""))


def test_a_dump_without_a_fault_has_nothing_to_complain_of() -> None:
    assert judge(DUMP, {FILE: 180}) == (1, 2, 3, [])


@pytest.mark.parametrize(
    ("number", "line", "complaint"),
    [
        (2, BATCH.format(7, 8, 2, 100, "false"), "isvalid: false"),
        (2, BATCH.format(7, 8, 3, 100, "true"), "count: 3"),
        (2, BATCH.format(6, 7, 2, 100, "true"), "baseOffset: 6"),
        (5, BATCH.format(10, 10, 1, 80, "true"), "baseOffset: 10"),
        (5, BATCH.format(9, 9, 1, 79, "true"), "1 bytes are in no batch"),
        (4, "| offset: 9 CreateTime: 1 keySize: 3", "offset 9, not 8"),
        (4, "", "offset 9, not 8"),
        (6, "", "records to 9, not to 10"),
        (0, "", "180 bytes are in no batch"),
    ],
)
def test_a_fault_in_a_dump_is_told(number: int, line: str, complaint: str) -> None:
    lines = [*DUMP[:number], line, *DUMP[number + 1 :]]
    found = judge(lines, {FILE: 180})
    assert any(complaint in told for told in found.wrong), found.wrong


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(which, PROGRAMS)) or not all(map(find_spec, MODULES)),
    reason=f"needs {', '.join(PROGRAMS)} and the clients of the dependency group `clients`",
)
def test_what_one_client_writes_another_reads() -> None:
    command = [sys.executable, "-m", "tests.interop.run"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
