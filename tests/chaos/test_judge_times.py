"""Who takes over too late, who is given up too early, and who waits meanwhile, is noticed."""

import pytest

from consumer_groups.records import (
    LeaveReason,
)
from tests.chaos.journal import (
    Assigned,
    Broke,
    Committing,
    Cut,
    Delivered,
    Ended,
    Killed,
    Lag,
    Resumed,
    Resuming,
    Silent,
    Synced,
)
from tests.chaos.tale import Tale, commits, epoch, leaves, only


@pytest.fixture
def tale() -> Tale:
    return Tale()


def test_a_takeover_that_comes_too_late(tale: Tale) -> None:
    tale.log[3] = (13_010, tale.log[3][1])
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(13_020, "two", [(0, 3)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(13_030, "two", 0, 3, 6))
    tale.two.sort(key=lambda event: event.at)
    only(tale, "0 of one (cut) was served again 3030 ms later, 30 ms too late")


def test_a_disk_that_stood_still_meanwhile_is_named_and_excuses_nothing(tale: Tale) -> None:
    tale.load += [Synced(9_900, "", 4_000), Synced(12_900, "", 700), Synced(14_000, "", 5_000)]
    assert tale.problems() == []
    assert tale.judged().times.disk_ms == 5_000
    tale.load[-1] = Synced(14_000, "", 960)  # its last two began or ended outside the wait
    test_a_takeover_that_comes_too_late(tale)
    (problem,) = tale.problems()
    assert problem.endswith("; the disk took 700 ms for a byte meanwhile")


def test_a_takeover_that_never_comes(tale: Tale) -> None:
    tale.log[3] = (12_010, [epoch(3), leaves("one", LeaveReason.RESUME_ENDED)])
    tale.log[4] = (16_000, [commits("two", 1, 2)])
    tale.two = [event for event in tale.two if event.at not in {12_020, 12_030}]
    tale.replaced(
        Committing(15_990, "two", 1, [(0, 6), (1, 2)]), Committing(15_990, "two", 1, [(1, 2)])
    )
    tale.replaced(Delivered(6_000, "one", 0, 3, 4), Delivered(6_000, "one", 0, 3, 6))
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 3, 1: 2})
    only(tale, "0 of one was never given to anybody")


def test_a_new_owner_that_stops_itself_is_judged_by_itself(tale: Tale) -> None:
    tale.two = [event for event in tale.two if event.at not in {12_020, 12_030}]
    tale.two.append(Cut(12_015, "two"))
    assert tale.judged().times.superseded == 1


def silent(tale: Tale, *, removed: float, served: float) -> None:
    """Let the first member go silent at 10 s instead of being cut."""
    tale.replaced(Cut(10_000, "one"), Silent(10_100, "one", 10_000))
    records = tale.log[3][1]
    tale.log[3] = (removed, [records[0], leaves("one", LeaveReason.SESSION_ENDED), records[2]])
    tale.log[4] = (served + 2_000, tale.log[4][1])
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(removed + 10, "two", [(0, 3)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(served, "two", 0, 3, 6))
    tale.two.sort(key=lambda event: event.at)


def test_silence(tale: Tale) -> None:
    silent(tale, removed=14_010, served=14_050)
    verdict = tale.judged()
    assert tale.problems() == []
    assert (verdict.times.silent, verdict.times.killed) == ([50], [])


def test_silence_that_is_noticed_too_late(tale: Tale) -> None:
    silent(tale, removed=15_010, served=15_050)
    only(tale, "0 of one (silent) was served again 5050 ms later, 50 ms too late")


def test_silence_that_is_not_waited_for(tale: Tale) -> None:
    silent(tale, removed=13_900, served=13_950)
    only(tale, "one was given up 100 ms early (SESSION_ENDED)")


def test_a_break_that_is_not_waited_for(tale: Tale) -> None:
    tale.replaced(Cut(10_000, "one"), Killed(10_500, "one"))
    only(tale, "one was given up 490 ms early (RESUME_ENDED)")


def test_who_is_killed_while_its_stream_is_broken_has_had_none_since_then(tale: Tale) -> None:
    tale.replaced(Cut(10_000, "one"), Killed(10_500, "one"))
    tale.one.append(Broke(10_000, "one"))
    assert tale.problems() == []


def test_who_is_killed_after_it_has_resumed_has_its_time_from_there(tale: Tale) -> None:
    tale.replaced(Cut(10_000, "one"), Killed(10_500, "one"))
    tale.one += [Broke(10_000, "one"), Resuming(10_100, "one"), Resumed(10_200, "one")]
    assert "one was given up 490 ms early (RESUME_ENDED)" in tale.problems()


def test_who_is_thrown_out_for_nothing(tale: Tale) -> None:
    tale.replaced(Cut(10_000, "one"), Ended(12_011, "one", "UNKNOWN_MEMBER"))
    assert "one was thrown out (RESUME_ENDED) and had not stopped" in tale.problems()
    assert "one did nothing, and its stream ended: UNKNOWN_MEMBER" in tale.problems()


def test_who_waits_while_another_stops(tale: Tale) -> None:
    tale.replaced(Delivered(11_020, "two", 1, 0, 1), Delivered(12_100, "two", 1, 0, 1))
    tale.two.sort(key=lambda event: event.at)
    only(tale, "two kept 1 and got nothing for 1100 ms")
    tale.two.append(Lag(12_000, "two", 150.0))  # its own process stood still: that is not the node
    assert tale.problems() == []
