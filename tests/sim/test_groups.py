"""Seeds of the world of groups: they hold, they repeat, and they catch what is planted."""

from collections import Counter
from dataclasses import replace
from typing import Any, Final

import pytest

from api.broker.consume_events import Stand
from api.broker.subscribe import Bounds
from cluster.shell.hosted_partition import HostedPartition
from cluster.state_partition.host import Reply
from cluster.state_partition.snapshot_plan import SnapshotPlan
from consumer_groups.group import Group, Member
from consumer_groups.machine import GroupMachine
from consumer_groups.records import (
    GroupEpoch,
    GroupRecord,
    MemberId,
    OffsetCommitted,
    StreamNumber,
)
from consumer_groups.requests import Cursor
from consumer_groups.seats import Seats, give
from model.ids import Offset
from tests.sim.groups import EVENTS, SEEDS, run

SMOKE = range(20)


def first_breach(seeds: range) -> str:
    """Return the invariant that breaks first; empty: none."""
    for seed in seeds:
        try:
            run(seed, EVENTS)
        except AssertionError as broken:
            return str(broken)
    return ""


def test_a_seed_is_a_run() -> None:
    first, second = run(7, EVENTS), run(7, EVENTS)
    assert first.trace == second.trace
    assert first.books.groups == second.books.groups
    assert first.books.groups


def test_invariants_hold_and_everything_that_can_happen_happens() -> None:
    """What is never tried proves nothing."""
    counts: Counter[str] = Counter()
    for seed in SMOKE:
        world = run(seed, EVENTS)
        counts += world.counts + world.books.counts
    rare = ("kill", "power-cut", "restart", "seek", "grow", "delete-topic")
    gone = ("cut", "overtake", "die", "leave")
    said = ("MemberResumed", "OffsetCommitted", "AssignmentChanged", "commits acknowledged")
    seen = ("records lost", "ended STALE_MEMBER_EPOCH", "ended UNKNOWN_MEMBER")
    assert [name for name in (*rare, *gone, *said, *seen) if not counts[name]] == []


# Faults: each is something that somebody might write.


def answers_at_once(self: Any) -> list[Reply[Any]]:
    replies = [parked.reply for parked in self._parked]
    self._parked.clear()
    return replies


def any_stream(self: Group, member_id: MemberId, stream: StreamNumber) -> Member:
    del stream
    return self.member(member_id)


def any_hold_of_it(group: Group, member: Member, cursor: Cursor) -> bool:
    return group.holders.get(cursor.partition) == member.joined.member_id


def give_what_is_asked_back(seats: Seats, *, epoch: GroupEpoch) -> Seats:
    waits = {
        name: replace(seat, assignment=replace(seat.assignment, revoking=()))
        for name, seat in seats.items()
    }
    given = give(waits, epoch=epoch)
    return {
        name: replace(
            seat, assignment=replace(seat.assignment, revoking=seats[name].assignment.revoking)
        )
        for name, seat in given.items()
    }


def all_but_the_last_offset(self: GroupMachine) -> tuple[GroupRecord, ...]:
    records = list(snapshot(self))
    for at in range(len(records) - 1, -1, -1):
        if isinstance(records[at], OffsetCommitted):
            del records[at]
            break
    return tuple(records)


def from_the_beginning(partition: HostedPartition, _: Stand) -> Bounds:
    return Bounds(partition, partition.log_start)


def save_what_is_due_at_once(self: Any, high_watermark: Offset) -> Any:
    return due(self, max(high_watermark, self._frozen.offset) if self._frozen else high_watermark)


due, snapshot = SnapshotPlan.due, GroupMachine.snapshot
FAULTS: Final[dict[str, tuple[str, str, object, set[str]]]] = {
    "answers do not wait for the commit": (
        "cluster.state_partition.host.StateHost", "_due", answers_at_once, {"ANSWER_AFTER_COMMIT"}
    ),
    "a snapshot lacks an offset": (
        "consumer_groups.machine.GroupMachine", "snapshot", all_but_the_last_offset,
        {"RESTORED_IS_WHAT_WAS_SAID"},
    ),
    "a snapshot is ahead of what is committed": (
        "cluster.state_partition.snapshot_plan.SnapshotPlan", "due", save_what_is_due_at_once,
        {"STATE_SNAPSHOT_IS_COMMITTED"},
    ),
    "an older stream is heard": (
        "consumer_groups.group.Group", "member_on", any_stream, {"RESUMED_STREAM_FENCES"}
    ),
    "a commit from before a partition was taken counts": (
        "consumer_groups.offsets", "_holds", any_hold_of_it, {"OLDER_HOLD_FENCED"}
    ),
    "what is asked back is given already": (
        "consumer_groups.native.rebalance", "give", give_what_is_asked_back, {"ONE_OWNER"}
    ),
    "who resumes begins again": (
        "api.broker.consume_assignment", "stand_of", from_the_beginning, {"RESUMED_WHERE_IT_WAS"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted, invariants = FAULTS[fault]
    monkeypatch.setattr(f"{where}.{name}", planted)
    assert first_breach(range(SEEDS)) in invariants
