"""Foreign clients against a real node: the whole table of those that pip and Debian bring."""

import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.interop.run import NOT_APPLICABLE, OK, Table, Written
from tests.interop.sample import FEATURES, RECORDS, differences
from tests.kill.node_process import ROOT

MODULES = ("confluent_kafka", "kafka", "aiokafka")


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
    table.put(("a", "b", "keys"), ["record 0 differs"])
    table.leave(("a", "b", "lz4"), "cannot")
    marks = table.show().splitlines()[1].split()
    assert (marks.count("FAIL"), marks.count(NOT_APPLICABLE)) == (1, 1)
    assert marks.count(OK) == len(FEATURES) - 2
    assert table.reasons == ["a > b, keys: record 0 differs", "a > b, lz4: n/a: cannot"]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("kcat") is None or not all(map(find_spec, MODULES)),
    reason="needs kcat and the clients of the dependency group `clients`",
)
def test_what_one_client_writes_another_reads() -> None:
    command = [sys.executable, "-m", "tests.interop.run"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
