"""When a replica begins to lead and to follow, and what is told to those who wait."""

import pytest

from cluster.peer.replica import Leave, Refused
from cluster.replication.events import Follow, IsrDecided, StreamLost
from cluster.replication.leadership import (
    BeginEpoch,
    EndEpoch,
    Leadership,
    LogStands,
    Parked,
    Role,
    StopFollowing,
    SyncLog,
    told,
)
from model.errors import ErrorCode, Outcome
from model.ids import LeaderEpoch, NodeId, Offset
from tests.replica import ONE, THREE, TWO, assignment, open_


def stands(log_end: int, flushed_end: int, *, being_cut: bool = False) -> LogStands:
    return LogStands(Offset(log_end), Offset(flushed_end), being_cut)


def leads() -> Leadership:
    one = Leadership(ONE)
    one.step(assignment(leader_epoch=3, partition_epoch=5))
    one.step(stands(4, 4))
    return one


def test_an_epoch_begins_when_the_log_is_synced_to_its_end() -> None:
    one, elected = Leadership(ONE), assignment(leader_epoch=3, partition_epoch=5)
    assert one.step(elected) == [SyncLog()]
    assert one.step(stands(9, 8)) == []
    assert one.step(stands(9, 9, being_cut=True)) == []
    assert one.role is Role.ELECTED
    assert one.step(stands(9, 9)) == [BeginEpoch(elected, Offset(9))]
    assert one.step(stands(9, 9)) == []


def test_who_asks_before_the_epoch_begins_is_heard_when_it_does() -> None:
    one, elected = Leadership(ONE), assignment(leader_epoch=3, partition_epoch=5)
    before, early = open_(TWO, 8, epoch=3), open_(TWO, 9, epoch=3)
    assert one.step(before) == []
    one.step(elected)
    assert one.step(early) == []
    assert one.step(open_(THREE, 9, epoch=2)) == []
    assert one.step(stands(9, 9)) == [BeginEpoch(elected, Offset(9)), early]


def test_who_asked_on_a_stream_that_is_lost_asks_again() -> None:
    one, elected = Leadership(ONE), assignment(leader_epoch=3, partition_epoch=5)
    one.step(open_(TWO, 9, epoch=3))
    assert one.step(StreamLost(TWO)) == []
    one.step(elected)
    assert one.step(stands(9, 9)) == [BeginEpoch(elected, Offset(9))]


def test_who_asks_for_a_leadership_that_is_over_is_refused() -> None:
    one = Leadership(ONE)
    one.step(assignment(leader=2, leader_epoch=4, partition_epoch=5))
    refused = Refused(THREE, LeaderEpoch(4), ErrorCode.FENCED_EPOCH)
    assert one.step(open_(THREE, 9, epoch=4)) == [refused]


def test_what_changed_while_the_log_was_synced_is_known_at_the_begin() -> None:
    one = Leadership(ONE)
    one.step(assignment(leader_epoch=3, partition_epoch=5))
    later = assignment(leader_epoch=3, partition_epoch=6, isr=[1])
    assert one.step(later) == []
    assert one.step(stands(9, 9)) == [BeginEpoch(later, Offset(9))]


def test_a_leader_hears_who_is_in_sync() -> None:
    one = leads()
    changed = assignment(leader_epoch=3, partition_epoch=6, isr=[1, 2])
    assert one.step(changed) == [IsrDecided(frozenset([ONE, TWO]), 6, answer_wanted=False)]
    assert one.step(changed) == []
    assert one.step(assignment(leader_epoch=3, partition_epoch=5)) == []


def test_a_leader_that_is_fenced_leads_no_more_although_nobody_else_does() -> None:
    one = leads()
    fenced = assignment(leader=None, leader_epoch=3, isr=[2], partition_epoch=6)
    assert one.step(fenced) == [EndEpoch(LeaderEpoch(3))]
    assert one.role is Role.NONE
    again = assignment(leader_epoch=4, partition_epoch=7)
    assert one.step(again) == [SyncLog()]


@pytest.mark.parametrize("leader", [1, 2, None])
def test_an_epoch_ends_with_the_next_one(leader: int | None) -> None:
    one = leads()
    effects = one.step(assignment(leader=leader, leader_epoch=4, lossy_epoch=2, partition_epoch=6))
    assert effects[0] == EndEpoch(LeaderEpoch(3))
    assert (
        effects[1:]
        == {
            1: [SyncLog()],
            2: [Follow(TWO, LeaderEpoch(4), LeaderEpoch(2))],
            None: [],
        }[leader]
    )


def test_a_follower_that_is_elected_takes_no_more() -> None:
    one = Leadership(ONE)
    one.step(assignment(leader=2, leader_epoch=3, partition_epoch=5))
    assert one.role is Role.FOLLOWER
    following = one.step(assignment(leader=3, leader_epoch=4, partition_epoch=6))
    assert following == [
        Leave(ONE, LeaderEpoch(3)),
        Follow(NodeId(3), LeaderEpoch(4), LeaderEpoch(-1)),
    ]
    assert one.former == TWO
    elected = assignment(leader=1, leader_epoch=5, partition_epoch=7)
    assert one.step(elected) == [Leave(ONE, LeaderEpoch(4)), StopFollowing(), SyncLog()]
    nobody = assignment(leader=None, leader_epoch=6, partition_epoch=8)
    assert one.step(nobody) == []
    assert one.step(stands(4, 4)) == []


def test_a_leader_outside_of_its_isr_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="LEADER_IS_IN_ISR"):
        Leadership(ONE).step(assignment(isr=[2, 3]))


def test_who_waits_is_told_what_became_of_it() -> None:
    lost = told(Parked.APPEND, where="orders/3", leader=TWO)
    assert (lost.code, lost.code.outcome) == (ErrorCode.LEADERSHIP_LOST, Outcome.UNKNOWN)
    assert lost.metadata == {"leader": "2"}
    reader = told(Parked.READ, where="orders/3", leader=None)
    assert (reader.code, reader.code.outcome) == (ErrorCode.NOT_LEADER, Outcome.NOT_DONE)
    assert "orders/3" in reader.detail
    assert "leader" not in reader.metadata
    assert str(NodeId(2)) in lost.detail
