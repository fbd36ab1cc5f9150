"""A few seeks of a live group at every commit; `make seek-blind` does many. And: it can fail."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blind.oracle import Row
from tests.seek_blind.campaign import WISHES, Outcome
from tests.seek_blind.history import PARTITIONS, History
from tests.seek_blind.round import Account, Round

ROOT = Path(__file__).parents[2]


def test_a_live_group_goes_where_a_scan_says() -> None:
    command = [sys.executable, "-m", "tests.seek_blind.run", "--seeks", str(len(WISHES))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"streams fenced: {2 * len(WISHES)}" in run.stdout
    refused = re.search(r"of an older epoch, refused: (\d+)", run.stdout)
    assert refused is not None and int(refused[1]) == 2 * len(WISHES)


def test_the_scan_finds_the_first_at_or_after_a_time_else_the_end() -> None:
    history = History(None, None)  # type: ignore[arg-type] # nothing is produced
    for number, times in enumerate(([50, 30, 90], [10, 20])):
        history.rows += [Row(number, at, time, at, None, b"") for at, time in enumerate(times)]
        history.ends[number] = len(times)
    assert history.expected(31, "event")[:3] == [0, 2, 0]
    assert history.expected(51, "event")[:3] == [2, 2, 0]
    assert history.expected(1, "append")[:3] == [1, 1, 0]
    assert history.times("event") == [10, 20, 30, 50, 90]


@pytest.fixture
def after_seek() -> Round:
    return Round(1, [5] * PARTITIONS, Account())


def test_what_follows_a_seek_without_a_gap_is_right(after_seek: Round) -> None:
    after_seek.begins("one", 0, 5)
    after_seek.delivered("one", 0, first=5, end=9, due=5)
    after_seek.committed[0] = 7
    after_seek.begins("two", 0, 7)
    after_seek.delivered("two", 0, first=7, end=12, due=7)
    assert after_seek.account.problems == []
    assert after_seek.reached[0] == 12


def test_a_place_that_an_older_epoch_has_moved_is_noticed(after_seek: Round) -> None:
    after_seek.begins("one", 0, 8)
    assert "begins in partition 0 at 8, committed is 5" in after_seek.account.problems[0]


def test_what_is_skipped_or_sent_twice_is_noticed(after_seek: Round) -> None:
    after_seek.delivered("one", 0, first=6, end=9, due=6)
    assert "6 was delivered, 5 never was" in after_seek.account.problems[0]
    after_seek.delivered("one", 1, first=5, end=9, due=5)
    after_seek.delivered("one", 1, first=8, end=9, due=9)
    assert "stood at 9 in partition 1 and was sent 8" in after_seek.account.problems[1]


def test_a_run_that_has_not_seen_everything_is_not_passed() -> None:
    outcome = Outcome(Account(fenced=2, commits_late=2, commits_cut=1))
    outcome.seeks[WISHES[0]] = 1
    assert outcome.lacking(1) == []
    assert outcome.lacking(2) == ["too few of: seeks"]
    outcome.seeks[WISHES[0]] = 12
    assert "too few of: fenced streams" in outcome.lacking(12)
    assert "too few of: every kind of time" in outcome.lacking(12)
