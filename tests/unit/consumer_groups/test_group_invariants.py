"""Each invariant of a group's records, broken on purpose and noticed where it is replayed."""

from dataclasses import replace

import pytest

from consumer_groups.machine import GroupMachine
from consumer_groups.records import (
    AssignmentChanged,
    GroupChanged,
    GroupDeleted,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    LeaveReason,
    MemberId,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetsForgotten,
    Owned,
    StreamNumber,
)
from consumer_groups.settings import GroupSettings
from model.ids import AppendTimeMs, GroupId, PartitionId, TopicId, TopicName

GROUP = GroupId("g")
CHANGED = GroupChanged(
    group=GROUP,
    epoch=GroupEpoch(3),
    kind=GroupKind.NATIVE,
    state_since=AppendTimeMs(0),
    assignor="uniform",
)
HOLD = Owned(PartitionId(TopicId(bytes(16)), 0), GroupEpoch(3))


def joined(name: str) -> MemberJoined:
    return MemberJoined(
        group=GROUP,
        member_id=MemberId(name),
        epoch=GroupEpoch(3),
        stream=StreamNumber(1),
        instance_id=None,
        client_id="",
        host="",
        topics=(TopicName("orders"),),
        session_timeout_ms=8_000,
        rebalance_timeout_ms=60_000,
        resume_timeout_ms=2_000,
        replaced=None,
    )


def assigned(
    name: str, *, owned: tuple[Owned, ...] = (), revoking: tuple[Owned, ...] = ()
) -> AssignmentChanged:
    return AssignmentChanged(
        group=GROUP,
        member_id=MemberId(name),
        epoch=GroupEpoch(3),
        fenced_below=GroupEpoch(0),
        owned=owned,
        revoking=revoking,
        target=(),
    )


@pytest.fixture
def machine() -> GroupMachine:
    made = GroupMachine(GroupSettings())
    for record in (CHANGED, joined("a"), joined("b"), assigned("a", owned=(HOLD,))):
        made.replay(record)
    return made


BROKEN: list[tuple[str, GroupRecord]] = [
    ("ONE_OWNER", assigned("b", owned=(HOLD,))),
    ("ONE_OWNER", assigned("b", revoking=(HOLD,))),
    ("ONE_OWNER", assigned("a", owned=(HOLD,), revoking=(HOLD,))),
    ("GROUP_EPOCH_RISES", CHANGED),
    ("GROUP_EPOCH_RISES", replace(CHANGED, epoch=GroupEpoch(2))),
    ("GROUP_EPOCH_RISES", assigned("a", owned=(HOLD._replace(since_epoch=GroupEpoch(4)),))),
    ("MEMBER_JOINS_ONCE", joined("a")),
    ("MEMBER_IS_KNOWN", assigned("c")),
    ("MEMBER_IS_KNOWN", MemberLeft(group=GROUP, member_id=MemberId("c"), reason=LeaveReason.LEFT)),
    (
        "MEMBER_IS_KNOWN",
        MemberResumed(group=GROUP, member_id=MemberId("c"), stream=StreamNumber(2)),
    ),
    ("MEMBERS_LEAVE_FIRST", GroupDeleted(group=GROUP)),
    ("GROUP_IS_KNOWN", GroupDeleted(group=GroupId("other"))),
    ("GROUP_IS_KNOWN", OffsetsForgotten(group=GroupId("other"), partitions=())),
]


@pytest.mark.parametrize(("name", "record"), BROKEN)
def test_what_breaks_an_invariant_is_refused(
    machine: GroupMachine, name: str, record: GroupRecord
) -> None:
    with pytest.raises(AssertionError, match=name):
        machine.replay(record)


def test_the_same_records_one_after_the_other_break_none(machine: GroupMachine) -> None:
    """What was free before it was given: the setting of the cases above, in the right order."""
    machine.replay(replace(CHANGED, epoch=GroupEpoch(4)))
    machine.replay(assigned("a"))
    machine.replay(assigned("b", owned=(HOLD,)))
    for name in "ab":
        left = MemberLeft(group=GROUP, member_id=MemberId(name), reason=LeaveReason.LEFT)
        machine.replay(left)
    machine.replay(GroupDeleted(group=GROUP))
    assert machine.snapshot() == ()
