"""Reads that are not stale, from the leader and through it."""

import pytest

from cluster.raft.membership import Refusal, RefusedError
from cluster.raft.messages import (
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    NewerTerm,
    ReadReply,
    ReadRequest,
)
from cluster.raft.reads import LeaderReads, Read
from model.ids import Index, Term
from tests.raft_solo import ONE, THREE, TWO, Solo, append, terms


def beats(solo: Solo) -> list[int]:
    return [one.round for one in solo.collect() if isinstance(one, Heartbeat)]


def test_a_read_waits_for_a_majority_that_knows_no_other_leader() -> None:
    solo = Solo()
    solo.lead()
    solo.node.read(7)
    assert beats(solo) == [1, 1]
    assert solo.reads == []
    solo.beat(TWO, round_=0)  # sent before the read began: it proves nothing
    assert solo.reads == []
    solo.beat(TWO, round_=1)
    assert solo.reads == [7]


def test_reads_share_a_round() -> None:
    solo = Solo()
    solo.lead()
    for number in (1, 2, 3):
        solo.node.read(number)
    assert beats(solo) == [1, 1]
    solo.node.read(4)
    assert beats(solo) == [2, 2]
    solo.beat(THREE, round_=1)
    assert solo.reads == [1, 2, 3]
    solo.beat(THREE, round_=2)
    assert solo.reads == [1, 2, 3, 4]


def test_a_new_leader_knows_what_is_committed_once_it_has_committed_itself() -> None:
    """Before, its mark may lie below what its predecessor told (Raft dissertation, 6.4)."""
    solo = Solo(entries=terms(1, 1))
    solo.lead(surely=False)
    solo.node.read(7)
    solo.collect()
    solo.beat(TWO, THREE, round_=1)
    assert solo.reads == []
    solo.acknowledge(TWO)
    solo.beat(TWO, round_=1)
    assert (solo.reads, len(solo.applied)) == ([7], 3)


def test_a_read_waits_for_the_machine() -> None:
    solo = Solo()
    solo.lead()
    index = solo.node.propose(b"x")
    solo.collect()
    for source in (TWO, THREE):
        solo.node.step(AppendReply(source, ONE, Term(1), index))
    solo.node.read(7)
    solo.collect()
    solo.node.step(HeartbeatReply(TWO, ONE, Term(1), round=1))
    solo.collect()
    assert solo.reads == []  # committed, and not durable here
    solo.sync()
    assert solo.reads == [7]


def test_a_follower_asks_its_leader() -> None:
    solo = Solo(entries=terms(1, 1))
    solo.hear(append(ONE, term=1, prev=(2, 1), commit=1))
    solo.node.read(5)
    assert solo.collect() == [ReadRequest(ONE, TWO, Term(1), read=5)]
    solo.hear(ReadReply(TWO, ONE, Term(1), read=5, needs=Index(2)))
    assert solo.reads == []
    solo.hear(append(ONE, term=1, prev=(2, 1), commit=2))
    assert solo.reads == [5]
    solo.hear(ReadReply(TWO, ONE, Term(1), read=5, needs=Index(2)))
    assert solo.reads == [5]  # once


def test_a_leader_answers_for_followers() -> None:
    solo = Solo()
    solo.lead()
    solo.hear(ReadRequest(THREE, ONE, Term(1), read=5))
    answer = ReadReply(ONE, THREE, Term(1), read=5, needs=solo.node.log.committed)
    assert answer not in solo.said
    assert answer in solo.beat(TWO, round_=1)


def test_reads_are_lost_with_the_leader_and_said_to_be() -> None:
    leading = Solo()
    leading.lead()
    leading.node.read(1)
    leading.hear(NewerTerm(TWO, ONE, Term(5)))
    assert leading.lost_reads == [1]
    early = Solo()
    early.lead(surely=False)
    early.node.read(1)
    early.hear(NewerTerm(TWO, ONE, Term(5)))
    assert early.lost_reads == [1]
    following = Solo(entries=terms(1))
    following.hear(append(ONE, term=1, prev=(1, 1)))
    following.node.read(2)
    following.hear(append(ONE, source=THREE, term=2, prev=(1, 1)))
    assert following.lost_reads == [2]


def test_a_read_that_nobody_answers_is_lost_in_time() -> None:
    solo = Solo(entries=terms(1))
    solo.hear(append(ONE, term=1, prev=(1, 1)))
    solo.node.read(2)
    for _ in range(8):
        solo.hear(append(ONE, term=1, prev=(1, 1)))
        assert solo.lost_reads == []
        solo.tick()
    assert solo.lost_reads == [2]


def test_without_a_leader_there_is_no_read() -> None:
    solo = Solo()
    with pytest.raises(RefusedError) as refused:
        solo.node.read(1)
    assert refused.value.refusal is Refusal.NO_LEADER
    solo.tick(8)
    with pytest.raises(RefusedError):
        solo.node.read(1)


def test_no_index_is_noted_before_an_own_term_commit() -> None:
    reads = LeaderReads()
    with pytest.raises(AssertionError, match="RAFT_READ_AFTER_OWN_COMMIT"):
        reads._ask(Read(ONE, 1), Index(4))
    reads.add(Read(ONE, 1), committed=Index(4))
    assert not reads.begin_round()
    assert reads.waiting == [Read(ONE, 1)]
    reads.own_term_committed(Index(6))
    assert reads.begin_round()
    assert [(one.read.number, one.needs) for one in reads.confirm(1)] == [(1, 6)]
