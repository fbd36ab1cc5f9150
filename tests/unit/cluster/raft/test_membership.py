"""The quorum changes: one member at a time, not blindly, and every change survives."""

import pytest

from cluster.raft.entry import EntryKind
from cluster.raft.limits import RaftLimits
from cluster.raft.membership import (
    AddLearner,
    Change,
    Configurations,
    Promote,
    Refusal,
    RefusedError,
    Remove,
    changed,
    check_step,
)
from cluster.raft.messages import (
    AppendRequest,
    Message,
    PreVoteReply,
    PreVoteRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from cluster.raft.voters import VOTERS_MAX, Configuration, Voter, decode_configuration
from model.ids import Index, Term
from tests.raft_solo import (
    FIVE,
    FOUR,
    ONE,
    THREE,
    TRIO,
    TWO,
    Solo,
    append,
    entry,
    terms,
    voter,
    voters_entry,
)


def refused(solo: Solo, change: Change) -> Refusal:
    with pytest.raises(RefusedError) as caught:
        solo.node.change(change)
    return caught.value.refusal


def sure_leader() -> Solo:
    solo = Solo()
    solo.lead()
    return solo


def test_a_change_counts_from_its_append_on() -> None:
    solo = sure_leader()
    index = solo.node.change(Remove(THREE))
    assert solo.node.configuration == Configuration((ONE, TWO))
    (said,) = solo.node.log.read(index, Index(index + 1))
    assert said.kind == EntryKind.VOTERS
    assert decode_configuration(said.payload, at=0) == Configuration((ONE, TWO))


def test_nothing_changes_before_an_entry_of_the_term_is_committed() -> None:
    """Else two leaders, each with a change of its own, may have disjoint majorities (2015)."""
    solo = Solo(entries=terms(1, 1))
    solo.lead(surely=False)
    assert refused(solo, Remove(THREE)) is Refusal.TERM_NOT_COMMITTED
    solo.acknowledge(TWO)
    solo.node.change(Remove(THREE))


def test_nothing_changes_while_a_change_is_not_committed() -> None:
    solo = sure_leader()
    solo.node.change(AddLearner(FOUR))
    assert refused(solo, AddLearner(FIVE)) is Refusal.CHANGE_PENDING
    solo.collect()
    solo.sync()
    solo.acknowledge(TWO)
    solo.node.change(AddLearner(FIVE))


def test_one_voter_more_or_less_at_a_time() -> None:
    learners = Configuration(TRIO, (FOUR, FIVE))
    for change, voters in (
        (Promote(FOUR), (*TRIO, FOUR)),
        (Remove(TWO), (ONE, THREE)),
        (Remove(FIVE), TRIO),
        (AddLearner(voter(6)), TRIO),
    ):
        after = changed(learners, change)
        assert after.voters == voters
        check_step(learners, after)
    solo = sure_leader()
    for learner in (FOUR, FIVE):
        solo.node.change(AddLearner(learner))
        solo.collect()
        solo.sync()
        solo.acknowledge(TWO)
    for learner in (FOUR, FIVE):
        solo.acknowledge(learner)
    solo.node.change(Promote(FOUR))
    assert solo.node.configuration == Configuration((*TRIO, FOUR), (FIVE,))


def test_two_voters_at_once_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="RAFT_CHANGES_ONE_VOTER"):
        check_step(Configuration((ONE, TWO)), Configuration((ONE, THREE)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (AddLearner(TWO), Refusal.NODE_TAKEN),
        (AddLearner(voter(2, directory=9)), Refusal.NODE_TAKEN),
        (AddLearner(FOUR), Refusal.NODE_TAKEN),
        (Promote(TWO), Refusal.NOT_A_LEARNER),
        (Promote(FIVE), Refusal.NOT_A_LEARNER),
        (Remove(FIVE), Refusal.NOT_A_MEMBER),
        (Remove(voter(2, directory=9)), Refusal.NOT_A_MEMBER),
    ],
)
def test_what_makes_no_sense_is_refused(change: Change, why: Refusal) -> None:
    with pytest.raises(RefusedError) as caught:
        changed(Configuration(TRIO, (FOUR,)), change)
    assert caught.value.refusal is why


def test_a_quorum_keeps_a_voter_and_has_a_greatest_size() -> None:
    with pytest.raises(RefusedError) as caught:
        changed(Configuration((ONE,), (TWO,)), Remove(ONE))
    assert caught.value.refusal is Refusal.LAST_VOTER
    crowd = Configuration(tuple(voter(node) for node in range(VOTERS_MAX)))
    with pytest.raises(RefusedError) as caught:
        changed(crowd, AddLearner(Voter(crowd.voters[-1].node.__class__(99), b"9" * 16)))
    assert caught.value.refusal is Refusal.TOO_MANY


def test_a_learner_is_fed_and_does_not_count() -> None:
    solo = sure_leader()
    index = solo.node.change(AddLearner(FOUR))
    said = solo.collect()
    assert [one for one in said if isinstance(one, AppendRequest) and one.to == FOUR]
    solo.sync()
    solo.acknowledge(FOUR)
    assert solo.node.log.committed == index - 1


def test_a_learner_becomes_a_voter_when_it_has_nearly_all() -> None:
    solo = Solo(limits=RaftLimits(election_jitter_ticks=1, promotion_lag_max=1))
    solo.lead()
    solo.node.change(AddLearner(FOUR))
    solo.propose()
    solo.acknowledge(TWO)
    solo.acknowledge(FOUR, 2)
    assert refused(solo, Promote(FOUR)) is Refusal.NOT_CAUGHT_UP
    solo.acknowledge(FOUR, 3)
    solo.node.change(Promote(FOUR))
    assert solo.node.configuration.voters == (*TRIO, FOUR)


def test_a_leader_that_is_removed_does_not_count_and_leaves_when_that_is_committed() -> None:
    solo = sure_leader()
    index = solo.node.change(Remove(ONE))
    solo.collect()
    solo.sync()
    solo.acknowledge(TWO)
    assert solo.node.log.committed == index - 1  # one of two is no majority
    said = solo.acknowledge(THREE)
    assert solo.node.log.committed == index
    assert solo.node.leadership is None
    assert TimeoutNow(ONE, TWO, Term(1)) in said
    assert solo.tick(50) == []


def asked(said: list[Message]) -> set[Voter]:
    """Return who was asked whether it would vote."""
    return {message.to for message in said if isinstance(message, PreVoteRequest)}


def test_a_leader_that_is_removed_campaigns_until_that_is_committed() -> None:
    """Nobody else may be able to lead: its log is the longest, and others refuse theirs a vote."""
    solo = sure_leader()
    solo.node.change(Remove(ONE))
    solo.collect()
    assert asked(solo.tick(40)) == {TWO, THREE}
    assert solo.node.leadership is None
    term = Term(2)
    assert solo.hear(PreVoteReply(TWO, ONE, term, granted=True)) == []  # of two: its own is none
    said = solo.hear(PreVoteReply(THREE, ONE, term, granted=True))
    assert {message.to for message in said if isinstance(message, VoteRequest)} == {TWO, THREE}
    solo.hear(VoteReply(TWO, ONE, term, granted=True))
    assert solo.node.leadership is None
    solo.hear(VoteReply(THREE, ONE, term, granted=True))
    assert solo.node.leadership is not None
    solo.acknowledge(TWO)
    assert TimeoutNow(ONE, TWO, term) in solo.acknowledge(THREE)
    assert solo.tick(50) == []


@pytest.mark.parametrize(
    ("me", "quorums"),
    [(ONE, [(TWO, THREE)]), (FOUR, [(*TRIO, FOUR), TRIO])],
    ids=["a founder", "one that was added before"],
)
def test_who_starts_again_campaigns_until_its_removal_is_committed(
    me: Voter, quorums: list[tuple[Voter, ...]]
) -> None:
    """What was committed is not known to a start."""
    entries = [voters_entry(index, 1, voters) for index, voters in enumerate(quorums, 1)]
    solo = Solo(me=me, entries=entries)
    last = len(entries)
    assert asked(solo.tick(20)) == set(quorums[-1])
    solo.hear(append(me, term=1, prev=(last, 1), commit=last - 1))
    assert asked(solo.tick(20)) == set(quorums[-1])
    solo.hear(append(me, term=1, prev=(last, 1), commit=last))
    assert solo.tick(50) == []


def test_a_configuration_that_is_cut_off_never_was() -> None:
    solo = Solo(entries=(entry(1, 1), voters_entry(2, 1, (ONE, TWO))))
    assert solo.node.configuration == Configuration((ONE, TWO))
    solo.hear(append(ONE, term=2, prev=(1, 1), entries=[entry(2, 2)]))
    assert solo.node.configuration == Configuration(TRIO)


def test_the_quorum_as_of_any_entry_is_known() -> None:
    known = Configurations(Configuration(TRIO), index=Index(0))
    known.append(Index(3), Configuration((ONE, TWO)))
    known.append(Index(5), Configuration((ONE,)))
    assert [len(known.at(Index(at)).voters) for at in (0, 2, 3, 4, 5, 9)] == [3, 3, 2, 2, 1, 1]
    assert [len(known.since(Index(at))) for at in (0, 2, 3, 4, 5, 9)] == [3, 3, 2, 2, 1, 1]
    known.compact(Index(4))
    assert [len(known.at(Index(at)).voters) for at in (3, 4, 5)] == [2, 2, 1]
    known.truncate(Index(5))
    assert (known.newest, known.newest_index) == (Configuration((ONE, TWO)), 3)
    with pytest.raises(AssertionError, match="RAFT_CONFIGURATIONS_IN_ORDER"):
        known.append(Index(3), Configuration((ONE,)))


def test_a_change_on_top_of_a_change_is_a_bug() -> None:
    solo = sure_leader()
    solo.node.change(AddLearner(FOUR))
    leader = solo.node.leadership
    assert leader is not None
    with pytest.raises(AssertionError, match="RAFT_ONE_CHANGE_AT_A_TIME"):
        leader._change_to(Configuration(TRIO))
