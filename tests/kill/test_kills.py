"""A few real kills at every commit; `make kill` does many. And: each check of theirs can fail."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.kill.ledger import Account, Ledger
from tests.kill.moment import Call, Doing, Observer, Phase, supported
from tests.kill.payload import Author, Place, identity

ROOT = Path(__file__).parents[2]
PARTITION = "partitions/0123456789abcdef0123456789abcdef-0"
JOURNAL = "journal/00000001.wal"
PLACES = (Place("t", 0), Place("t", 1))


@pytest.mark.slow
@pytest.mark.skipif(not supported(), reason="this machine shows no system calls of threads")
@pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load")
def test_nothing_acknowledged_is_lost_when_a_node_is_killed() -> None:
    command = [sys.executable, "-m", "tests.kill.run", "--kills", "5"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "kills: 5; inside " in run.stdout
    assert "acknowledged records lost: 0; broken promises: 0" in run.stdout
    assert "acknowledged commits lost: 0" in run.stdout
    in_flight = re.search(r"in flight at an end: at least (\d+)", run.stdout)
    assert in_flight is not None and int(in_flight[1]) >= 500


def test_a_record_follows_from_its_author_and_sequence() -> None:
    author = Author(3, PLACES, idempotent=True)
    values = [author.value_of(sequence) for sequence in range(2_000)]
    assert [identity(value) for value in values] == [(3, sequence) for sequence in range(2_000)]
    assert len({value[12:] for value in values}) > 1_900
    assert {author.place_of(sequence) for sequence in range(2_000)} == set(PLACES)
    assert Author(4, PLACES, idempotent=True).value_of(1)[12:] != values[1][12:]
    with pytest.raises(ValueError, match="no value of ours"):
        identity(b"short")


@pytest.fixture
def book() -> tuple[Ledger, Account]:
    ledger = Ledger()
    account = ledger.account(Author(1, PLACES[:1], idempotent=True))
    account.sent = 10
    return ledger, account


def test_two_records_acknowledged_at_one_offset_are_a_loss(book: tuple[Ledger, Account]) -> None:
    ledger, account = book
    ledger.ack(account, 0, offset=5, append_time=10)
    ledger.ack(account, 0, offset=5, append_time=10)
    assert (ledger.lost, ledger.problems) == (0, [])
    ledger.ack(account, 1, offset=5, append_time=10)
    assert ledger.lost == 1


def test_an_answer_without_offset_or_with_another_time_is_noticed(
    book: tuple[Ledger, Account],
) -> None:
    ledger, account = book
    ledger.ack(account, 0, offset=-1)
    assert "offset -1" in ledger.problems[0]
    ledger.ack(account, 1, offset=1, append_time=10)
    ledger.ack(account, 1, offset=1, append_time=20)
    assert "appended at 10, then at 20" in ledger.problems[1]


def test_what_a_reader_was_shown_stays(book: tuple[Ledger, Account]) -> None:
    ledger, _ = book
    ledger.mark(PLACES[0], 7, reader="one")
    ledger.mark(PLACES[0], 5, reader="another")
    ledger.see(PLACES[0], 3, (1, 3))
    assert ledger.problems == []
    ledger.mark(PLACES[0], 6, reader="one")
    ledger.see(PLACES[0], 3, (1, 4))
    assert len(ledger.problems) == 2


@pytest.mark.parametrize(
    ("doing", "phases"),
    [
        (Doing(1, Call.WRITE, JOURNAL, 64), {Phase.WRITE}),
        (Doing(1, Call.SYNC, JOURNAL, 0), {Phase.SYNC}),
        (Doing(1, Call.WRITE, f"{PARTITION}/{7:020d}.log", 64), {Phase.WRITE}),
        (Doing(1, Call.WRITE, f"{PARTITION}/{7:020d}.log", 0), {Phase.WRITE, Phase.ROLL}),
        (Doing(1, Call.WRITE, f"{PARTITION}/{0:020d}.log", 0), {Phase.WRITE}),
        (Doing(1, Call.OPEN, f"{PARTITION}/{7:020d}.times", 0), {Phase.ROLL}),
        (Doing(1, Call.OPEN, f"{PARTITION}/{7:020d}.index", 0), set()),
        (Doing(1, Call.SYNC, f"{PARTITION}/{7:020d}.log", 0), set()),  # of whom is not known
        (Doing(2, Call.SYNC, f"{PARTITION}/{7:020d}.log", 0), {Phase.CHECKPOINT}),
        (Doing(3, Call.SYNC, f"{PARTITION}/{7:020d}.log", 0), {Phase.SYNC}),
        (Doing(1, Call.RENAME, "identity.tmp", 0), set()),
    ],
)
def test_system_calls_tell_what_a_node_is_in_the_middle_of(
    tmp_path: Path, doing: Doing, phases: set[Phase]
) -> None:
    observer = Observer(1, tmp_path, checkpointers={2}, writers={3}, calls={})
    assert observer.phases([doing]) == phases
