"""A quorum of one: it leads as soon as it exists, and what it decides is what its disk has."""

from cluster.raft.entry import EntryKind
from cluster.raft.membership import AddLearner, Promote
from cluster.raft.messages import AppendReply, AppendRequest
from cluster.raft.ready import HardState
from cluster.raft.start import Start
from model.ids import Index, Term
from tests.raft_solo import ONE, TWO, Solo, terms


def alone(*, term: int = 0, runs: tuple[int, ...] = ()) -> Solo:
    return Solo.of(
        Start(
            me=ONE,
            term=Term(term),
            voted_for=ONE if term else None,
            voters=(ONE,),
            snapshot=None,
            entries=terms(*runs),
        )
    )


def test_it_leads_at_once() -> None:
    solo = alone()
    assert solo.node.leadership is not None
    ((work, said),) = solo.jobs
    assert work is not None
    assert work.hard_state == HardState(Term(1), ONE, (ONE,))
    assert [one.kind for one in work.entries] == [EntryKind.VOTERS, EntryKind.LEADER]
    assert said == ()
    assert solo.applied == []
    solo.sync()
    assert [one.index for one in solo.applied] == [1, 2]


def test_every_start_is_a_new_term() -> None:
    solo = alone(term=3, runs=(1, 3))
    solo.sync()
    assert (solo.node.term, solo.log) == (4, [(1, 1), (2, 3), (3, 4)])


def test_a_decision_is_committed_when_it_is_durable() -> None:
    solo = alone()
    solo.sync()
    index = solo.node.propose(b"news")
    solo.collect()
    assert solo.node.log.committed == index - 1
    solo.sync()
    assert (solo.node.log.committed, solo.applied[-1].payload) == (index, b"news")


def test_a_read_waits_for_the_first_commit_alone() -> None:
    solo = alone()
    solo.node.read(1)
    solo.collect()
    assert solo.reads == []
    solo.sync()
    assert solo.reads == [1]
    solo.node.read(2)
    solo.collect()
    assert solo.reads == [1, 2]


def test_it_goes_on_leading_in_silence() -> None:
    solo = alone()
    solo.sync()
    solo.tick(100)
    assert solo.node.leadership is not None
    assert solo.node.term == 1


def test_it_grows() -> None:
    solo = alone()
    solo.sync()
    solo.node.change(AddLearner(TWO))
    assert [type(one) for one in solo.collect()] == [AppendRequest]
    solo.sync()
    solo.hear(AppendReply(TWO, ONE, Term(1), Index(3)))
    solo.node.change(Promote(TWO))
    solo.collect()
    solo.sync()
    assert solo.node.log.committed == 3
    solo.hear(AppendReply(TWO, ONE, Term(1), Index(4)))
    assert solo.node.log.committed == 4
