"""A short run of two members, told by hand: all is well in it until a test changes something."""

from collections.abc import Sequence
from typing import Any

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
    Assigned,
    Committed,
    Committing,
    Cut,
    Delivered,
    Joined,
    Joining,
    Produced,
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


def only(tale: Tale, text: str) -> None:
    problems = tale.problems()
    assert problems, f"nobody noticed: {text}"
    assert text in problems[0], problems
