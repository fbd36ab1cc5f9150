"""Handing the leadership over."""

import pytest

from cluster.raft.membership import AddLearner, Refusal, RefusedError, Remove
from cluster.raft.messages import Heartbeat, NewerTerm, TimeoutNow, VoteRequest
from model.ids import Index, Term
from tests.raft_solo import FOUR, ONE, THREE, TRIO, TWO, Solo


def test_the_target_campaigns_once_it_has_everything() -> None:
    solo = Solo()
    solo.lead()
    solo.propose()
    solo.node.transfer(THREE)
    assert not [one for one in solo.collect() if isinstance(one, TimeoutNow)]
    assert TimeoutNow(ONE, THREE, Term(1)) in solo.acknowledge(THREE)
    assert TimeoutNow(ONE, THREE, Term(1)) in solo.tick()  # the first may be lost


def test_nothing_is_proposed_meanwhile_and_it_ends() -> None:
    solo = Solo()
    solo.lead()
    solo.node.transfer(THREE)
    for wish in (
        lambda: solo.node.propose(b"x"),
        lambda: solo.node.change(Remove(THREE)),
        lambda: solo.node.transfer(TWO),
    ):
        with pytest.raises(RefusedError) as refused:
            wish()
        assert refused.value.refusal is Refusal.TRANSFERRING
    for _ in range(8):
        solo.beat(TWO, round_=0)
        solo.tick()
    solo.node.propose(b"x")


def test_only_a_voter_can_lead() -> None:
    solo = Solo()
    solo.lead()
    solo.node.change(AddLearner(FOUR))
    with pytest.raises(RefusedError) as refused:
        solo.node.transfer(FOUR)
    assert refused.value.refusal is Refusal.NOT_A_VOTER
    solo.node.transfer(ONE)
    solo.node.propose(b"x")


def test_who_is_told_campaigns_without_asking_first() -> None:
    solo = Solo()
    solo.hear(Heartbeat(TWO, ONE, Term(3), Index(0), round=0))
    solo.node.step(TimeoutNow(TWO, ONE, Term(3)))
    assert solo.collect() == []
    wanted = [VoteRequest(ONE, to, Term(4), Index(0), Term(0), transferred=True) for to in TRIO[1:]]
    assert solo.sync() == wanted


def test_an_old_wish_is_none() -> None:
    solo = Solo(term=5)
    assert solo.hear(TimeoutNow(TWO, ONE, Term(4))) == []
    solo.lead()
    solo.node.transfer(THREE)
    solo.hear(NewerTerm(THREE, ONE, Term(9)))
    assert solo.node.leadership is None
