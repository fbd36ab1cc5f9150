"""Elections: who votes, whose votes count, and what is durable before it is said."""

import pytest

from cluster.raft.limits import RaftLimits
from cluster.raft.member import SOMEBODY
from cluster.raft.messages import (
    Heartbeat,
    NewerTerm,
    PreVoteReply,
    PreVoteRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from cluster.raft.ready import HardState
from cluster.raft.voters import Voter
from model.ids import Index, Term
from tests.raft_solo import FIVE, FOUR, ONE, THREE, TRIO, TWO, Solo, append, terms, voter


def ask(
    source: Voter, term: int, *, last: tuple[int, int] = (0, 0), transferred: bool = False
) -> VoteRequest:
    index, last_term = last
    return VoteRequest(source, ONE, Term(term), Index(index), Term(last_term), transferred)


def pre_ask(source: Voter, term: int, *, last: tuple[int, int] = (0, 0)) -> PreVoteRequest:
    return PreVoteRequest(source, ONE, Term(term), Index(last[0]), Term(last[1]))


def beat(source: Voter, term: int) -> Heartbeat:
    return Heartbeat(source, ONE, Term(term), Index(0), round=0)


def vote(source: Voter, term: int, *, granted: bool = True) -> VoteReply:
    return VoteReply(source, ONE, Term(term), granted)


def test_a_vote_is_durable_before_it_is_said() -> None:
    """Also in a term that was known before: only the vote is new (Raft 5.2)."""
    solo = Solo(term=1)
    solo.node.step(ask(TWO, 1))
    assert solo.collect() == []
    work, _ = solo.jobs[0]
    assert work is not None
    assert work.hard_state == HardState(Term(1), TWO, TRIO)
    assert solo.sync() == [VoteReply(ONE, TWO, Term(1), granted=True)]


def test_a_term_is_durable_before_anything_is_said_in_it() -> None:
    solo = Solo()
    solo.node.step(append(ONE, term=4))
    assert solo.collect() == []
    assert [message.term for message in solo.sync()] == [4]


def test_nobody_votes_for_two_in_a_term() -> None:
    solo = Solo()
    solo.hear(ask(TWO, 1))
    assert solo.hear(ask(THREE, 1)) == [VoteReply(ONE, THREE, Term(1), granted=False)]
    assert solo.hear(ask(TWO, 1)) == [VoteReply(ONE, TWO, Term(1), granted=True)]


def test_nor_after_a_restart_or_for_another_directory_of_the_same_node() -> None:
    solo = Solo(term=1, voted_for=TWO)
    again = voter(2, directory=9)
    assert solo.hear(ask(again, 1)) == [VoteReply(ONE, again, Term(1), granted=False)]
    unknown = Solo(term=1, voted_for=SOMEBODY)
    assert unknown.hear(ask(TWO, 1)) == [VoteReply(ONE, TWO, Term(1), granted=False)]


def test_a_second_vote_is_a_bug() -> None:
    member = Solo(term=1, voted_for=TWO).node._member
    with pytest.raises(AssertionError, match="RAFT_ONE_VOTE_A_TERM"):
        member.vote(THREE)
    with pytest.raises(AssertionError, match="RAFT_TERM_RISES"):
        member.enter(Term(1))


def test_two_leaders_of_one_term_are_a_bug() -> None:
    solo = Solo()
    solo.hear(beat(TWO, 1))
    with pytest.raises(AssertionError, match="RAFT_ONE_LEADER_A_TERM"):
        solo.hear(beat(THREE, 1))


def test_who_steps_down_within_a_term_keeps_its_vote() -> None:
    solo = Solo()
    solo.tick(8)
    solo.hear(PreVoteReply(TWO, ONE, Term(1), granted=True))
    assert solo.node.term == 1
    solo.hear(beat(THREE, 1))
    assert solo.node.leader == THREE
    refused = VoteReply(ONE, TWO, Term(1), granted=False)
    assert solo.hear(ask(TWO, 1, transferred=True)) == [refused]


def test_votes_of_an_older_term_do_not_count() -> None:
    solo = Solo()
    for term in (1, 2):
        solo.tick(8)
        solo.hear(PreVoteReply(TWO, ONE, Term(term), granted=True))
    assert solo.node.term == 2
    solo.hear(vote(TWO, 1), vote(THREE, 1))
    assert solo.node.leadership is None
    solo.hear(vote(TWO, 2))
    assert solo.node.leadership is not None


@pytest.mark.parametrize(
    ("last", "granted"),
    [((5, 1), False), ((2, 2), False), ((3, 2), True), ((4, 2), True), ((1, 3), True)],
)
def test_only_who_lacks_nothing_gets_a_vote(last: tuple[int, int], granted: bool) -> None:
    """The later last term wins, and at the same term the longer log (Raft 5.4.1)."""
    solo = Solo(entries=terms(1, 1, 2))
    assert solo.hear(ask(TWO, 3, last=last)) == [VoteReply(ONE, TWO, Term(3), granted)]
    other = Solo(entries=terms(1, 1, 2))
    term = Term(3 if granted else 2)
    assert other.hear(pre_ask(TWO, 3, last=last)) == [PreVoteReply(ONE, TWO, term, granted)]


def test_a_pre_vote_changes_nobodys_term() -> None:
    solo = Solo(term=3)
    assert solo.hear(pre_ask(TWO, 9)) == [PreVoteReply(ONE, TWO, Term(9), granted=True)]
    assert solo.node.term == 3
    assert not solo.jobs


def test_who_believes_in_a_leader_hears_no_other() -> None:
    """Sticky for an election timeout; then a new one gets the vote (Raft dissertation, 4.2.3)."""
    solo = Solo()
    solo.hear(beat(TWO, 1))
    solo.tick(7)
    assert solo.hear(ask(THREE, 5)) == []
    assert solo.hear(pre_ask(THREE, 2)) == [PreVoteReply(ONE, THREE, Term(1), granted=False)]
    assert solo.node.term == 1
    solo.tick(1)
    assert solo.hear(ask(THREE, 5)) == [VoteReply(ONE, THREE, Term(5), granted=True)]


def test_a_leader_is_not_deposed_by_who_was_away() -> None:
    solo = Solo()
    solo.lead()
    assert solo.hear(ask(THREE, 9, last=(9, 1))) == []
    assert solo.node.leadership is not None


def test_the_leaders_own_wish_is_heard() -> None:
    solo = Solo()
    solo.hear(beat(TWO, 1))
    wish = ask(THREE, 2, transferred=True)
    assert solo.hear(wish) == [VoteReply(ONE, THREE, Term(2), granted=True)]


def test_stale_requests_are_answered() -> None:
    """Or who asks would never learn that its term is over."""
    solo = Solo(term=5)
    assert solo.hear(ask(TWO, 3)) == [VoteReply(ONE, TWO, Term(5), granted=False)]
    assert solo.hear(pre_ask(TWO, 3)) == [PreVoteReply(ONE, TWO, Term(5), granted=False)]
    assert solo.hear(append(ONE, term=3)) == [NewerTerm(ONE, TWO, Term(5))]
    assert solo.hear(beat(TWO, 3)) == [NewerTerm(ONE, TWO, Term(5))]


def test_a_newer_term_ends_a_leadership_and_a_campaign() -> None:
    solo = Solo()
    solo.lead()
    solo.hear(NewerTerm(THREE, ONE, Term(7)))
    assert (solo.node.leadership, solo.node.term) == (None, 7)
    solo.tick(8)
    solo.hear(PreVoteReply(TWO, ONE, Term(9), granted=False))
    assert solo.node.term == 9


def test_an_election_in_full() -> None:
    solo = Solo(entries=terms(1, 1))
    assert solo.tick(7) == []
    assert solo.tick() == [PreVoteRequest(ONE, to, Term(2), Index(2), Term(1)) for to in TRIO[1:]]
    solo.node.step(PreVoteReply(THREE, ONE, Term(2), granted=True))
    assert solo.collect() == []  # its own vote first
    asked = [VoteRequest(ONE, to, Term(2), Index(2), Term(1), transferred=False) for to in TRIO[1:]]
    assert solo.sync() == asked
    solo.hear(vote(THREE, 2, granted=False))
    assert solo.node.leadership is None
    solo.hear(vote(TWO, 2))
    assert solo.node.leadership is not None
    assert solo.log == [(1, 1), (2, 1), (3, 2)]


def test_a_campaign_that_is_refused_or_hears_nothing_ends() -> None:
    refused = Solo()
    refused.tick(8)
    refused.hear(PreVoteReply(TWO, ONE, Term(1), granted=True))
    refused.hear(vote(TWO, 1, granted=False), vote(THREE, 1, granted=False))
    assert [type(one) for one in refused.tick(8)] == [PreVoteRequest] * 2
    alone = Solo()
    alone.tick(50)
    assert alone.node.term == 0  # who reaches nobody disturbs nobody when it is back


def test_lost_words_are_said_again() -> None:
    solo = Solo()
    solo.tick(8)
    solo.hear(PreVoteReply(TWO, ONE, Term(0), granted=False))
    assert [one.to for one in solo.tick()] == [TWO, THREE]
    solo.hear(PreVoteReply(TWO, ONE, Term(1), granted=True))
    assert [type(one) for one in solo.tick()] == [VoteRequest] * 2


def test_a_pre_vote_for_another_term_is_none() -> None:
    solo = Solo()
    solo.tick(8)
    solo.hear(PreVoteReply(TWO, ONE, Term(7), granted=True))
    assert (solo.node.term, solo.node.leadership) == (0, None)


def test_who_asks_at_the_same_time_yields_to_the_better_log_then_to_the_lower_number() -> None:
    one, three = Solo(), Solo(me=THREE)
    one.tick(8)
    three.tick(8)
    to_three = PreVoteRequest(ONE, THREE, Term(1), Index(0), Term(0))
    assert three.hear(to_three) == [PreVoteReply(THREE, ONE, Term(1), granted=True)]
    assert three.tick() == []
    one.hear(pre_ask(THREE, 1))
    assert [one.to for one in one.tick()] == [TWO, THREE]
    one.hear(pre_ask(THREE, 1, last=(1, 1)))
    assert one.tick() == []


def test_a_death_that_is_known_begins_an_election_at_once() -> None:
    solo = Solo()
    solo.hear(beat(TWO, 1))
    solo.node.peer_gone(THREE)
    assert solo.collect() == []
    solo.node.peer_gone(TWO)
    assert [type(one) for one in solo.collect()] == [PreVoteRequest] * 2
    other = Solo()
    other.hear(beat(TWO, 1))
    other.node.peer_gone(TWO)
    granted = PreVoteReply(ONE, THREE, Term(2), granted=True)
    assert granted in other.hear(pre_ask(THREE, 2))


def test_only_a_voter_campaigns() -> None:
    learner = Solo(me=FOUR)
    assert learner.tick(50) == []
    learner.node.step(Heartbeat(TWO, FOUR, Term(1), Index(0), round=0))
    learner.node.step(TimeoutNow(TWO, FOUR, Term(1)))
    learner.node.peer_gone(TWO)
    assert learner.node.term == 1
    came_again = Solo(me=voter(1, directory=9))
    assert came_again.tick(50) == []


def test_votes_of_others_than_the_voters_do_not_count() -> None:
    solo = Solo()
    solo.tick(8)
    for source in (FOUR, FIVE, voter(2, directory=9)):
        solo.hear(PreVoteReply(source, ONE, Term(1), granted=True))
    assert solo.node.term == 0


def test_what_is_meant_for_another_directory_is_not_taken() -> None:
    solo = Solo()
    former = voter(1, directory=9)
    assert solo.hear(VoteRequest(TWO, former, Term(4), Index(0), Term(0), transferred=False)) == []
    assert solo.node.term == 0


def test_a_leader_without_a_quorum_resigns() -> None:
    solo = Solo()
    solo.lead()
    solo.tick(7)
    assert solo.node.leadership is not None
    solo.tick(1)  # node 2 was heard in this period
    solo.tick(7)
    assert solo.node.leadership is not None
    solo.tick(1)
    assert solo.node.leadership is None
    assert (solo.node.leader, solo.node.term) == (None, 1)


def test_elections_begin_by_chance_not_together() -> None:
    member = Solo(limits=RaftLimits(election_ticks=8, election_jitter_ticks=5)).node._member
    seen = set()
    for _ in range(100):
        member.restart_timer()
        seen.add(member.timeout)
    assert seen == {8, 9, 10, 11, 12}
