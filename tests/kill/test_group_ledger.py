"""What groups were promised over a kill: each way to break it is noticed."""

import pytest

from tests.kill.group_ledger import GroupLedger, Seat
from tests.kill.group_report import group_report, groups_lacking
from tests.kill.payload import Place

SEAT = Seat("group", Place("t", 0))


@pytest.fixture
def book() -> GroupLedger:
    """Return one with three commits of which the second was acknowledged."""
    book = GroupLedger()
    for offset in (5, 9, 9):
        book.send(SEAT, offset)
    book.ack(SEAT, 2, by_member=True)
    return book


@pytest.mark.parametrize(("offset", "number"), [(9, "2"), (9, "3")])
def test_the_acknowledged_commit_or_a_later_one_is_right(
    book: GroupLedger, offset: int, number: str
) -> None:
    book.read(SEAT, offset, number)
    assert (book.lost, book.problems) == (0, [])
    assert book.records[SEAT].shown == int(number)


@pytest.mark.parametrize(("offset", "number"), [(5, "1"), (None, "")])
def test_an_acknowledged_commit_that_is_not_there_is_lost(
    book: GroupLedger, offset: int | None, number: str
) -> None:
    book.read(SEAT, offset, number)
    assert book.lost == 1
    assert "2 was acknowledged" in book.problems[0]


@pytest.mark.parametrize(("offset", "number"), [(9, "4"), (8, "2"), (9, "")])
def test_what_nobody_committed_is_noticed(book: GroupLedger, offset: int, number: str) -> None:
    book.read(SEAT, offset, number)
    assert "nobody committed that" in book.problems[0]


def test_what_was_shown_does_not_go_back(book: GroupLedger) -> None:
    book.read(SEAT, 9, "3")
    book.read(SEAT, 9, "2")
    assert "went back from 3 to 2" in book.problems[0]


def test_a_member_begins_where_the_group_stands(book: GroupLedger) -> None:
    book.begin(SEAT, 9)
    assert book.problems == []
    book.begin(SEAT, 5)
    assert "begins at 5, acknowledged is 9" in book.problems[0]


def test_a_run_tells_what_it_has_not_seen(book: GroupLedger) -> None:
    assert "no commits from outside" in groups_lacking([book], [1])
    book.ack(SEAT, 3, by_member=False)
    assert "no commits from outside" not in groups_lacking([book], [1])
    assert "no commits in flight at a kill" in groups_lacking([book], [0])
    assert group_report([], []) == []
    assert (
        "commits acknowledged: 2 in 1 partitions of groups, 1 of them"
        in group_report([book], [3])[0]
    )
