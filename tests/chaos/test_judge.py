"""Each rule of the judge can fail; a run in which all is well has nothing to be told of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer_groups.records import (
    AssignmentChanged,
    Cause,
    GroupChanged,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    LeaveReason,
    MemberId,
    MemberJoined,
    MemberLeft,
    OffsetCommitted,
    Owned,
    StreamNumber,
)
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId, TopicId, TopicName
from tests.chaos.journal import (
    AnyEvent,
    AskedBack,
    Assigned,
    Broke,
    Committed,
    Committing,
    Cut,
    Delivered,
    Ended,
    Joined,
    Joining,
    Journal,
    Lag,
    Produced,
    Resumed,
    Resuming,
    Silent,
    Wrong,
    read_all,
)
from tests.chaos.judge import Run, Verdict, judge
from tests.chaos.load import Looked
from tests.chaos.plan import PARTITIONS
from tests.chaos.story import Decision

GROUP = GroupId("crowd")
TOPIC = TopicId(b"t" * 16)
SESSION_MS = 4_000


def _partition(number: int) -> PartitionId:
    return PartitionId(TOPIC, number)


def epoch(number: int) -> GroupChanged:
    return GroupChanged(
        group=GROUP,
        epoch=GroupEpoch(number),
        kind=GroupKind.NATIVE,
        state_since=AppendTimeMs(0),
        assignor="uniform",
    )


def joins(who: str) -> MemberJoined:
    return MemberJoined(
        group=GROUP,
        member_id=MemberId(f"{who}-id"),
        epoch=GroupEpoch(1),
        stream=StreamNumber(1),
        instance_id=None,
        client_id=who,
        host="",
        topics=(TopicName("orders"),),
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=60_000,
        resume_timeout_ms=2_000,
        replaced=None,
    )


def leaves(who: str, reason: LeaveReason) -> MemberLeft:
    return MemberLeft(group=GROUP, member_id=MemberId(f"{who}-id"), reason=reason)


def has(who: str, *holds: tuple[int, int], gives: Sequence[tuple[int, int]] = ()) -> Any:
    owned = tuple(Owned(_partition(number), GroupEpoch(since)) for number, since in holds)
    revoking = tuple(Owned(_partition(number), GroupEpoch(since)) for number, since in gives)
    return AssignmentChanged(
        group=GROUP,
        member_id=MemberId(f"{who}-id"),
        epoch=GroupEpoch(1),
        fenced_below=GroupEpoch(0),
        owned=owned,
        revoking=revoking,
        target=tuple(one.partition for one in owned),
    )


def commits(who: str, number: int, offset: int) -> OffsetCommitted:
    return OffsetCommitted(
        group=GROUP,
        partition=_partition(number),
        offset=Offset(offset),
        leader_epoch=None,
        metadata="",
        committed_at=AppendTimeMs(0),
        actor=f"{who}-id",
        cause=Cause.COMMIT,
    )


class Tale:
    """Two members: `one` holds 0 and is cut at 10 s; `two` holds 1 all the time and gets 0."""

    def __init__(self) -> None:
        self.log: list[tuple[float, list[GroupRecord]]] = [
            (1_000, [epoch(1), joins("one"), has("one", (0, 1))]),
            (1_100, [epoch(2), joins("two"), has("two", (1, 2))]),
            (5_000, [commits("one", 0, 3)]),
            (
                12_010,
                [epoch(3), leaves("one", LeaveReason.RESUME_ENDED), has("two", (0, 3), (1, 2))],
            ),
            (16_000, [commits("two", 0, 6), commits("two", 1, 2)]),
        ]
        self.one: list[AnyEvent] = [
            Joining(900, "one", SESSION_MS),
            Joined(1_001, "one", "one-id", 1),
            Assigned(1_002, "one", [(0, 0)]),
            Delivered(2_000, "one", 0, 0, 3),
            Committing(4_990, "one", 1, [(0, 3)]),
            Committed(5_010, "one", 1, []),
            Delivered(6_000, "one", 0, 3, 4),
            Cut(10_000, "one"),
        ]
        self.two: list[AnyEvent] = [
            Joining(1_050, "two", SESSION_MS),
            Joined(1_101, "two", "two-id", 2),
            Assigned(1_102, "two", [(1, 0)]),
            Delivered(11_020, "two", 1, 0, 1),
            Assigned(12_020, "two", [(0, 3)]),
            Delivered(12_030, "two", 0, 3, 6),
            Delivered(14_000, "two", 1, 1, 2),
            Committing(15_990, "two", 1, [(0, 6), (1, 2)]),
            Committed(16_010, "two", 1, []),
        ]
        self.load: list[AnyEvent] = [
            Produced(11_000, "", 1, 1),
            Produced(13_900, "", 1, 2),
            Produced(1_500, "", 0, 6),
        ]
        self.looks = [Looked(6_000, 6_010, {0: 3}), Looked(20_000, 20_010, {0: 6, 1: 2})]
        self.ends = [6, 2, *[0] * (PARTITIONS - 2)]

    def judged(self) -> Verdict:
        events = sorted([*self.one, *self.two, *self.load], key=lambda event: event.at)
        log = [Decision(at, records) for at, records in self.log]
        return judge(Run(events, log, self.looks, self.ends, {}))

    def problems(self) -> list[str]:
        found = self.judged().problems
        return [problem for problem in found if not problem.startswith("never happened")]

    def replaced(self, event: AnyEvent, *by: AnyEvent) -> "Tale":
        """Put other events in an event's place."""
        for events in (self.one, self.two, self.load):
            if event in events:
                at = events.index(event)
                events[at : at + 1] = by
        return self


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


def _only(tale: Tale, text: str) -> None:
    problems = tale.problems()
    assert problems, f"nobody noticed: {text}"
    assert text in problems[0], problems


def test_records_that_nobody_got(tale: Tale) -> None:
    tale.ends[1] = 3
    _only(tale, "1: 2 to 3 were delivered to nobody")


def test_a_gap_behind_the_committed_offset(tale: Tale) -> None:
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 4)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 4, 6))
    _only(tale, "two began 0 at 4, 3 was committed: a gap")


def test_a_place_before_the_committed_offset(tale: Tale) -> None:
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 0)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 0, 6))
    _only(tale, "two began 0 at 0, 3 was committed: a repeat")


def test_a_hole_in_a_hold(tale: Tale) -> None:
    tale.replaced(Delivered(6_000, "one", 0, 3, 4), Delivered(6_000, "one", 0, 4, 5))
    _only(tale, "one stood at 3 in 0; it was sent 4")


def test_a_commit_that_goes_back(tale: Tale) -> None:
    tale.log.insert(-1, (15_000, [commits("two", 0, 2)]))
    _only(tale, "0: two committed 2, 3 was committed")


def test_a_commit_of_who_does_not_hold(tale: Tale) -> None:
    tale.log.append((17_000, [commits("one", 0, 7)]))
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 7, 1: 2})
    _only(tale, "0: one committed and does not hold it")


def test_an_acknowledged_commit_that_the_log_has_not(tale: Tale) -> None:
    del tale.log[2]
    tale.looks[0] = tale.looks[0]._replace(offsets={})
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(12_020, "two", [(0, 0)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(12_030, "two", 0, 0, 6))
    _only(tale, "one was told that 0@3 is committed; the log has nothing of it")


def test_offsets_that_are_listed_too_low(tale: Tale) -> None:
    tale.looks[0] = tale.looks[0]._replace(offsets={0: 2})
    _only(tale, "0 was listed at 2, 3 was known before")


def test_two_owners(tale: Tale) -> None:
    tale.log.insert(2, (1_200, [has("two", (0, 3), (1, 2))]))
    assert "two was given 0, which one holds" in tale.problems()[0]


def test_an_epoch_that_gives_a_partition_twice(tale: Tale) -> None:
    tale.log[3] = (
        12_010,
        [epoch(3), leaves("one", LeaveReason.RESUME_ENDED), has("two", (0, 1), (1, 2))],
    )
    _only(tale, "two and one both got 0 in epoch 1")


def test_who_stays_loses_something(tale: Tale) -> None:
    tale.log[3] = (
        12_010,
        [
            epoch(3),
            leaves("one", LeaveReason.RESUME_ENDED),
            has("two", (0, 3), gives=[(1, 2)]),
        ],
    )
    _only(tale, "one stopped, and two lost [1]")


def test_what_is_kept_and_told_again(tale: Tale) -> None:
    tale.two.append(Assigned(17_000, "two", [(1, 2)]))
    _only(tale, "two keeps 1 and was given it again")


def test_after_a_resume_what_is_kept_is_told_once(tale: Tale) -> None:
    tale.two += [
        Broke(17_000, "two"),
        Resuming(17_500, "two"),
        Resumed(17_600, "two"),
        Assigned(17_601, "two", [(0, 6), (1, 2)]),
    ]
    assert tale.problems() == []
    tale.two += [Assigned(17_602, "two", [(1, 2)])]
    _only(tale, "two keeps 1 and was given it again")


def test_a_resume_elsewhere(tale: Tale) -> None:
    tale.two += [
        Broke(17_000, "two"),
        Resuming(17_500, "two"),
        Resumed(17_600, "two"),
        Assigned(17_601, "two", [(0, 5), (1, 2)]),
    ]
    _only(tale, "two resumed 0 at 5, stood at 6")


def test_records_of_what_was_asked_back(tale: Tale) -> None:
    tale.two += [AskedBack(17_000, "two", [1], 60_000), Delivered(17_001, "two", 1, 2, 3)]
    tale.ends[1] = 3
    _only(tale, "two stood at 2 in 1, and was asked for it back; it was sent 2")


def test_a_takeover_that_comes_too_late(tale: Tale) -> None:
    tale.log[3] = (13_010, tale.log[3][1])
    tale.replaced(Assigned(12_020, "two", [(0, 3)]), Assigned(13_020, "two", [(0, 3)]))
    tale.replaced(Delivered(12_030, "two", 0, 3, 6), Delivered(13_030, "two", 0, 3, 6))
    tale.two.sort(key=lambda event: event.at)
    _only(tale, "0 of one (cut) was served again 3030 ms later, 30 ms too late")


def test_a_takeover_that_never_comes(tale: Tale) -> None:
    tale.log[3] = (12_010, [epoch(3), leaves("one", LeaveReason.RESUME_ENDED)])
    tale.log[4] = (16_000, [commits("two", 1, 2)])
    tale.two = [event for event in tale.two if event.at not in {12_020, 12_030}]
    tale.replaced(
        Committing(15_990, "two", 1, [(0, 6), (1, 2)]), Committing(15_990, "two", 1, [(1, 2)])
    )
    tale.replaced(Delivered(6_000, "one", 0, 3, 4), Delivered(6_000, "one", 0, 3, 6))
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 3, 1: 2})
    _only(tale, "0 of one was never given to anybody")


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
    _only(tale, "0 of one (silent) was served again 5050 ms later, 50 ms too late")


def test_silence_that_is_not_waited_for(tale: Tale) -> None:
    silent(tale, removed=13_900, served=13_950)
    _only(tale, "one was given up 100 ms early (SESSION_ENDED)")


def test_who_is_thrown_out_for_nothing(tale: Tale) -> None:
    tale.replaced(Cut(10_000, "one"), Ended(12_011, "one", "UNKNOWN_MEMBER"))
    assert "one was thrown out (RESUME_ENDED) and had not stopped" in tale.problems()
    assert "one did nothing, and its stream ended: UNKNOWN_MEMBER" in tale.problems()


def test_who_waits_while_another_stops(tale: Tale) -> None:
    tale.replaced(Delivered(11_020, "two", 1, 0, 1), Delivered(12_100, "two", 1, 0, 1))
    tale.two.sort(key=lambda event: event.at)
    _only(tale, "two kept 1 and got nothing for 1100 ms")
    tale.two.append(Lag(12_000, "two", 150.0))  # its own process stood still: that is not the node
    assert tale.problems() == []


def test_a_commit_that_its_owner_is_refused(tale: Tale) -> None:
    refused = replace_refused(tale)
    _only(tale, f"two holds 1, and its commit was refused: {refused}")


def replace_refused(tale: Tale) -> str:
    tale.log[4] = (16_000, [commits("two", 0, 6)])
    tale.looks[-1] = tale.looks[-1]._replace(offsets={0: 6})
    tale.replaced(
        Committed(16_010, "two", 1, []), Committed(16_010, "two", 1, [(1, "STALE_MEMBER_EPOCH")])
    )
    return "STALE_MEMBER_EPOCH"


def test_what_a_member_saw_to_be_wrong(tale: Tale) -> None:
    tale.one.append(Wrong(5_000, "one", "0@2 holds nonsense"))
    _only(tale, "one: 0@2 holds nonsense")


def test_a_journal_gives_back_what_was_noted(tmp_path: Path) -> None:
    tale = Tale()
    for name, events in (("a", tale.one), ("b", tale.two)):
        journal = Journal(tmp_path / f"{name}.jsonl")
        for event in events:
            journal.note(event)
        journal.close()
    expected = sorted([*tale.one, *tale.two], key=lambda event: event.at)
    assert read_all(tmp_path) == expected
