"""What the metadata remember of votes that an operator has taken, and what makes them forget it."""

import pytest

from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import Standing
from cluster.controller.standing import RemoveBroker, SetStanding
from cluster.controller.votes import WithholdVotes, gets_no_vote
from model.ids import NodeId
from tests.controller_bench import Bench

ONE, TWO = NodeId(1), NodeId(2)


def directory(node: NodeId, *, life: int = 0) -> bytes:
    return bytes([node, life] * 8)


def register(node: NodeId, *, life: int = 0) -> RegisterBroker:
    return RegisterBroker(node=node, directory=directory(node, life=life), clean=True)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.decide(register(ONE))
    made.decide(register(TWO))
    made.decide(WithholdVotes(withheld=((TWO, directory(TWO)),)))
    assert made.image.votes_withheld == {TWO: directory(TWO)}
    return made


def test_a_start_under_the_same_directory_changes_nothing(bench: Bench) -> None:
    bench.decide(register(TWO))
    assert gets_no_vote(bench.image, bench.image.brokers[TWO])
    assert not gets_no_vote(bench.image, bench.image.brokers[ONE])


def test_a_new_directory_is_another_member(bench: Bench) -> None:
    bench.decide(register(TWO, life=1))
    assert bench.image.votes_withheld == {}


def test_who_is_removed_from_the_cluster_is_another_member_later(bench: Bench) -> None:
    epoch = bench.image.brokers[TWO].registration_epoch
    bench.decide(SetStanding(nodes=((TWO, epoch),), standing=Standing.FENCED))
    bench.decide(RemoveBroker(node=TWO))
    assert bench.image.votes_withheld == {}


def test_what_is_so_already_is_not_written_again(bench: Bench) -> None:
    for request in (
        WithholdVotes(withheld=((TWO, directory(TWO)),)),
        WithholdVotes(allowed=(ONE,)),
        WithholdVotes(),
    ):
        assert bench.machine.handle(request, bench.circumstances).records == ()
    bench.decide(WithholdVotes(allowed=(TWO,)))
    assert bench.image.votes_withheld == {}


def test_the_directory_that_is_registered_by_now_is_meant(bench: Bench) -> None:
    """Its old one still votes, and the operator takes the node's vote."""
    bench.decide(register(TWO, life=1))
    bench.decide(WithholdVotes(withheld=((TWO, directory(TWO)),)))
    assert gets_no_vote(bench.image, bench.image.brokers[TWO])


def test_of_a_node_that_never_registered_its_vote_says_which_directory(bench: Bench) -> None:
    three = NodeId(3)
    bench.decide(WithholdVotes(withheld=((three, directory(three)),)))
    bench.decide(register(three))
    assert gets_no_vote(bench.image, bench.image.brokers[three])
