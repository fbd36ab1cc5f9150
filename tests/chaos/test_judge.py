"""Each rule of the judge can fail; a run in which all is well has nothing to be told of."""

from pathlib import Path

import pytest

from consumer_groups.records import (
    LeaveReason,
)
from tests.chaos.journal import (
    AskedBack,
    Assigned,
    Broke,
    Committed,
    Delivered,
    Journal,
    Resumed,
    Resuming,
    Wrong,
    read_all,
)
from tests.chaos.tale import Tale, commits, epoch, has, leaves, only


@pytest.fixture
def tale() -> Tale:
    return Tale()


def test_a_run_in_which_all_is_well(tale: Tale) -> None:
    verdict = tale.judged()
    assert tale.problems() == []
    assert verdict.times.killed == [2_030]
    assert verdict.times.given == [2_010]
    assert verdict.counts["records delivered again"] == 1
    assert verdict.counts["records delivered"] == 9


def test_a_run_in_which_something_never_happened_is_not_passed(tale: Tale) -> None:
    problems = tale.judged().problems
    assert "never happened: members gone silent" in problems
    assert "never happened: takeovers after silence" in problems
    assert "never happened: takeovers after a kill or cut" not in problems


def test_records_that_nobody_got(tale: Tale) -> None:
    tale.ends[1] = 3
    only(tale, "1: 2 to 3 were delivered to nobody")


def test_a_gap_behind_the_committed_offset(tale: Tale) -> None:
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 4)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 4, 6))
    only(tale, "two began 0 at 4, 3 was committed: a gap")


def test_a_place_before_the_committed_offset(tale: Tale) -> None:
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 0)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 0, 6))
    only(tale, "two began 0 at 0, 3 was committed: a repeat")


def test_a_hole_in_a_hold(tale: Tale) -> None:
    tale.replaced(Delivered(6_000, "one", 0, 3, 4), Delivered(6_000, "one", 0, 4, 5))
    only(tale, "one stood at 3 in 0; it was sent 4")


def test_a_commit_that_goes_back(tale: Tale) -> None:
    tale.log.insert(-1, (15_000, [commits("two", 0, 2)]))
    only(tale, "0: two committed 2, 3 was committed")


def test_a_commit_of_who_does_not_hold(tale: Tale) -> None:
    tale.log.append((17_000, [commits("one", 0, 7)]))
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 7, 1: 2})
    only(tale, "0: one committed and does not hold it")


def test_an_acknowledged_commit_that_the_log_has_not(tale: Tale) -> None:
    del tale.log[2]
    tale.looks[0] = tale.looks[0]._replace(offsets={})
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 0)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 0, 6))
    only(tale, "one was told that 0@3 is committed; the log has nothing of it")


def test_offsets_that_are_listed_too_low(tale: Tale) -> None:
    tale.looks[0] = tale.looks[0]._replace(offsets={0: 2})
    only(tale, "0 was listed at 2, 3 was known before")


def test_two_owners(tale: Tale) -> None:
    tale.log.insert(2, (1_200, [has("two", (0, 3), (1, 2))]))
    assert "two was given 0, which one holds" in tale.problems()[0]


def test_an_epoch_that_gives_a_partition_twice(tale: Tale) -> None:
    tale.log[3] = (
        12_010,
        [epoch(3), leaves("one", LeaveReason.RESUME_ENDED), has("two", (0, 1), (1, 2))],
    )
    only(tale, "two and one both got 0 in epoch 1")


def test_who_stays_loses_something(tale: Tale) -> None:
    tale.log[3] = (
        12_010,
        [
            epoch(3),
            leaves("one", LeaveReason.RESUME_ENDED),
            has("two", (0, 3), gives=[(1, 2)]),
        ],
    )
    only(tale, "one stopped, and two lost [1]")


def test_what_is_kept_and_told_again(tale: Tale) -> None:
    tale.two.append(Assigned(17_000, "two", [(1, 2)]))
    only(tale, "two keeps 1 and was given it again")


def test_after_a_resume_what_is_kept_is_told_once(tale: Tale) -> None:
    tale.two += [
        Broke(17_000, "two"),
        Resuming(17_500, "two"),
        Resumed(17_600, "two"),
        Assigned(17_601, "two", [(0, 6), (1, 2)]),
    ]
    assert tale.problems() == []
    tale.two += [Assigned(17_602, "two", [(1, 2)])]
    only(tale, "two keeps 1 and was given it again")


def test_a_resume_elsewhere(tale: Tale) -> None:
    tale.two += [
        Broke(17_000, "two"),
        Resuming(17_500, "two"),
        Resumed(17_600, "two"),
        Assigned(17_601, "two", [(0, 5), (1, 2)]),
    ]
    only(tale, "two resumed 0 at 5, stood at 6")


def test_records_of_what_was_asked_back(tale: Tale) -> None:
    tale.two += [AskedBack(17_000, "two", [1], 60_000), Delivered(17_001, "two", 1, 2, 3)]
    tale.ends[1] = 3
    only(tale, "two stood at 2 in 1, and was asked for it back; it was sent 2")


def test_a_commit_that_its_owner_is_refused(tale: Tale) -> None:
    refused = replace_refused(tale)
    only(tale, f"two holds 1, and its commit was refused: {refused}")


def replace_refused(tale: Tale) -> str:
    tale.log[4] = (16_000, [commits("two", 0, 6)])
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 6})
    tale.replaced(
        Committed(16_010, "two", 1, []), Committed(16_010, "two", 1, [(1, "STALE_MEMBER_EPOCH")])
    )
    return "STALE_MEMBER_EPOCH"


def test_what_a_member_saw_to_be_wrong(tale: Tale) -> None:
    tale.one.append(Wrong(5_000, "one", "0@2 holds nonsense"))
    only(tale, "one: 0@2 holds nonsense")


def test_a_journal_gives_back_what_was_noted(tmp_path: Path) -> None:
    tale = Tale()
    for name, events in (("a", tale.one), ("b", tale.two)):
        journal = Journal(tmp_path / f"{name}.jsonl")
        for event in events:
            journal.note(event)
        journal.close()
    expected = sorted([*tale.one, *tale.two], key=lambda event: event.at)
    assert read_all(tmp_path) == expected
