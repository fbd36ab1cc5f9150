"""Golden histories: every rule has one that breaks it alone, and one in which all is well."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.check import check, main, table
from tests.chaos.checks.report import OF_A_RULE_MAX
from tests.chaos.checks.rules import RULES
from tests.chaos.history import Garbled, HistoryError
from tests.chaos.history_reading import read_in_order

HERE = Path(__file__).parent
GOOD = sorted((HERE / "golden" / "good").iterdir())
BAD = sorted((HERE / "golden" / "bad").iterdir())
BROKEN = {
    "epoch-back-in-metadata": "epoch-back",
    "epoch-back-in-the-log": "epoch-back",
    "group-gap-committed": "group-gap",
    "led-back-without-a-word": "nonmonotonic-poll",
    "lost-after-a-lossy-election": "unseen",
    "lost-after-it-was-read": "lost-write",
    "phantom-of-nobody": "phantom",
    "poll-skip-told-as-nothing": "poll-skip",
    "read-before-it-failed": "read-of-failed",
    "shown-to-another-not-shown": "ack-not-shown",
    "stale-commit-after-a-look": "stale-commit",
    "stale-owner-without-epochs": "stale-owner",
    "stale-start-at-the-first-record": "stale-start",
    "stuck-reader": "stuck",
    "stuck-request": "stuck",
    "stuck-without-an-ack": "stuck",
    "time-before-by-what-was-sent": "time-before",
    "time-skip-of-append-times": "time-skip",
    "time-skip-to-the-end": "time-skip",
    "unseen-without-a-place": "unseen",
    "wrong-exit-traceback": "wrong-exit",
    "wrong-exit-without-a-word": "wrong-exit",
}
"""The rule of a bad history that is not named after its rule."""


@pytest.mark.parametrize("folder", GOOD, ids=lambda folder: folder.name)
def test_a_good_history(folder: Path) -> None:
    report = check(read_in_order(folder))
    assert report.anomalies == []
    assert report.counts["events"] > 0


@pytest.mark.parametrize("folder", BAD, ids=lambda folder: folder.name)
def test_a_bad_history(folder: Path) -> None:
    report = check(read_in_order(folder))
    assert set(report.found) == {BROKEN.get(folder.name, folder.name)}
    written = {path.stem for path in folder.glob("*.jsonl")}
    for anomaly in report.anomalies:
        assert written & set(anomaly.clients), "it names a client whose file says so"


def test_every_rule_has_a_bad_history_and_a_good_one_beside_it() -> None:
    assert set(RULES) == {BROKEN.get(folder.name, folder.name) for folder in BAD}
    assert set(RULES) <= {folder.name for folder in GOOD}


def test_the_command_tells_what_where_and_who(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(HERE / "golden" / "bad" / "lost-write")]) == 1
    told = capsys.readouterr().out
    assert "lost-write (P1) in orders/0: p:1 was acknowledged (at 1), and read by nobody" in told
    assert told.endswith("[said by p]\nFAIL\n")
    assert main([str(HERE / "golden" / "good" / "lost-write")]) == 0
    assert capsys.readouterr().out.endswith("PASS\n")


def test_the_command_is_a_program() -> None:
    command = [sys.executable, "-m", "tests.chaos.check", "tests/chaos/golden/bad/hw-back"]
    run = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "hw-back (P12) in orders/0: r was shown 5, and then 4 [said by r]" in run.stdout


def test_of_a_kind_so_many_are_told_and_all_are_counted() -> None:
    events = [("r", Garbled(t, "orders/0", t, "?")) for t in range(OF_A_RULE_MAX + 5)]
    report = check(iter(events))
    assert len(report.anomalies) == OF_A_RULE_MAX
    assert report.found["garbled"] == OF_A_RULE_MAX + 5
    assert table(report).endswith("and 5 more: garbled\n")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('{"f":"send","t":1,"at":"a/0","n":1}', "sends 1 to a/0 and 0 is its next"),
        ('{"f":"ack","t":1,"at":"a/0","n":0}', "an outcome of 0, which it did not send"),
        (
            '{"f":"send","t":1,"at":"a/0","n":0}\n{"f":"ack","t":2,"at":"a/0","n":0}\n'
            '{"f":"fail","t":3,"at":"a/0","n":0}',
            "two outcomes of 0",
        ),
        ('{"f":"producer","t":1,"acks":"most","idempotent":true}', "use one of all, leader, none"),
        ('{"f":"committed","t":1,"id":4}', "answer to commit 4, which it did not send"),
        ('{"f":"looked","t":1,"id":4,"places":{}}', "answer to look 4, which it did not send"),
        ('{"f":"found","t":1,"id":4}', "answer to find 4, which it did not send"),
        ('{"f":"shown","t":1,"at":"a/0","asked":4}', "had not asked"),
        ('{"f":"find","t":1,"id":1,"at":"a/0","time":1,"clock":"sun"}', "it is event or append"),
        ('{"f":"healed","t":2}\n{"f":"healed","t":1}', "times never fall"),
        ('{"f":"healed","t":2}\n{"f":"heeled","t":3}', "heeled"),
        ('{"f":"healed","t":2,"too":3}', "too"),
    ],
)
def test_what_is_no_history_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, lines: str, why: str
) -> None:
    (tmp_path / "p.jsonl").write_text(lines + "\n")
    assert main([str(tmp_path)]) == 2
    assert why in capsys.readouterr().err


def test_a_folder_without_histories(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="has no file"):
        list(read_in_order(tmp_path))
