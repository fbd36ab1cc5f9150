"""A leader: what it sends, what it counts, what is committed."""

from collections.abc import Iterator

import pytest

from cluster.raft.entry import Entry, EntryKind
from cluster.raft.limits import RaftLimits
from cluster.raft.membership import Refusal, RefusedError
from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Heartbeat,
    Message,
    NewerTerm,
    PreVoteReply,
    VoteReply,
)
from cluster.raft.progress import Feeding, Progress
from cluster.raft.start import Start
from model.ids import Index, Term
from tests.raft_solo import ONE, SURE, THREE, TWO, Solo, entry, terms, voter


def appends(messages: list[Message], to: object) -> Iterator[list[int]]:
    """Yield the indexes of each append to somebody."""
    for message in messages:
        if isinstance(message, AppendRequest) and message.to == to:
            yield [one.index for one in message.entries]


def refuse(source: object, prev: int, hint: tuple[int, int], *, attempt: int = 0) -> AppendRefusal:
    assert isinstance(source, type(ONE))
    at, index = Index(prev), Index(hint[0])
    return AppendRefusal(
        source, ONE, Term(1), at, attempt=attempt, hint_index=index, hint_term=Term(hint[1])
    )


def test_a_leader_begins_its_term_with_an_entry_and_an_empty_log_with_the_quorum() -> None:
    solo = Solo()
    solo.lead(surely=False)
    kinds = [one.kind for one in solo.node.log.read(Index(1), Index(3))]
    assert kinds == [EntryKind.VOTERS, EntryKind.LEADER]
    assert solo.node.log.committed == 0


def test_a_majority_commits() -> None:
    solo = Solo()
    solo.lead()
    index = solo.propose(b"news")
    assert solo.node.log.committed == index - 1
    solo.acknowledge(THREE)
    assert solo.node.log.committed == index
    assert solo.applied[-1].payload == b"news"


def test_a_leader_counts_itself_only_once_its_disk_has_the_entry() -> None:
    solo = Solo()
    solo.lead()
    index = solo.node.propose(b"news")
    solo.collect()
    solo.node.step(AppendReply(TWO, ONE, Term(1), index))
    assert solo.node.log.committed == index - 1
    solo.sync()
    assert solo.node.log.committed == index


def test_two_followers_commit_before_the_leaders_own_disk() -> None:
    solo = Solo()
    solo.lead()
    index = solo.node.propose(b"news")
    solo.collect()
    for follower in (TWO, THREE):
        solo.node.step(AppendReply(follower, ONE, Term(1), index))
    assert solo.node.log.committed == index
    solo.collect()
    assert solo.applied[-1].index == index - 1  # the machine waits for the disk
    solo.sync()
    assert solo.applied[-1].index == index


def test_entries_of_an_older_term_are_not_committed_by_counting() -> None:
    """They may still be overwritten, though a majority has them (Raft 5.4.2, figure 8)."""
    solo = Solo(entries=terms(1, 1))
    solo.lead(surely=False)
    solo.acknowledge(TWO, 2)
    assert solo.node.log.committed == 0
    solo.acknowledge(TWO, 3)
    assert solo.node.log.committed == 3


def test_what_nobody_can_have_is_a_bug() -> None:
    solo = Solo()
    solo.lead()
    with pytest.raises(AssertionError, match="RAFT_MATCHED_IS_IN_THE_LOG"):
        solo.acknowledge(TWO, 99)


def test_a_leader_of_a_term_commits_nothing_below_its_first_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solo = Solo(entries=terms(1, 1))
    solo.lead(surely=False)
    leader = solo.node.leadership
    assert leader is not None
    monkeypatch.setattr(type(leader), "_is_of_this_term", lambda *_: True)
    with pytest.raises(AssertionError, match="RAFT_COMMITS_ITS_OWN_TERM"):
        solo.acknowledge(TWO, 2)


def test_appends_leave_before_the_leaders_own_disk_and_gather() -> None:
    solo = Solo()
    solo.lead()
    for _ in range(3):
        solo.node.propose(b"x")
    said = solo.collect()
    assert list(appends(said, TWO)) == [[3, 4, 5]]
    assert len(solo.jobs) == 1


def test_but_not_before_its_term_is_durable() -> None:
    """One voter and a learner: it leads at once, and its first words wait for the vote."""
    start = Start(me=ONE, term=Term(0), voted_for=None, voters=(ONE,), snapshot=None, entries=())
    solo = Solo.of(start)
    assert solo.said == []
    assert solo.node.leadership is not None
    member = solo.node._member
    member.send(Heartbeat(ONE, TWO, member.term, Index(0), round=0))
    assert solo.collect() == []
    assert [type(one) for one in solo.sync()] == [Heartbeat]


def test_appends_do_not_wait_for_answers_as_far_as_the_window_reaches() -> None:
    solo = Solo(limits=RaftLimits(election_jitter_ticks=1, window_appends_max=2))
    solo.lead()
    for _ in range(3):
        solo.propose()
    assert solo.node.leadership is not None
    assert list(appends(solo.said, TWO))[-2:] == [[3], [4]]
    assert list(appends(solo.acknowledge(TWO, 3), TWO)) == [[5]]


def test_the_window_is_also_one_of_bytes_and_appends_are_cut_to_size() -> None:
    limits = RaftLimits(election_jitter_ticks=1, append_bytes_max=10, window_bytes_max=20)
    solo = Solo(limits=limits)
    solo.lead()
    for payload in (b"x" * 6, b"y" * 4, b"z" * 50, b"w"):
        solo.node.propose(payload)
    assert list(appends(solo.collect(), TWO)) == [[3, 4], [5]]


def test_a_follower_is_probed_with_one_append_until_it_agrees() -> None:
    solo = Solo(entries=terms(1, 1, 1, 1))
    solo.lead(surely=False)
    assert list(appends(solo.said, TWO)) == [[5]]
    solo.propose()
    assert list(appends(solo.said, TWO)) == [[5]]
    refusal = AppendRefusal(
        TWO, ONE, Term(2), Index(4), attempt=0, hint_index=Index(2), hint_term=Term(1)
    )
    assert list(appends(solo.hear(refusal), TWO)) == [[3, 4, 5, 6]]
    solo.acknowledge(TWO, 6)
    assert solo.node.log.committed == 6


def test_a_hint_skips_whole_terms() -> None:
    solo = Solo(entries=terms(1, 1, 1, 4, 4, 4))
    solo.lead(surely=False)
    refusal = AppendRefusal(
        TWO, ONE, Term(5), Index(6), attempt=0, hint_index=Index(6), hint_term=Term(3)
    )
    assert list(appends(solo.hear(refusal), TWO)) == [[4, 5, 6, 7]]


def test_what_an_earlier_probing_had_under_way_is_refused_without_meaning() -> None:
    solo = Solo()
    solo.lead()
    for _ in range(4):
        solo.propose()
    said = solo.hear(refuse(TWO, 5, (2, 1)))
    assert list(appends(said, TWO)) == [[3, 4, 5, 6]]
    assert solo.hear(refuse(TWO, 4, (2, 1))) == []
    assert list(appends(solo.hear(refuse(TWO, 2, (1, 1), attempt=1)), TWO)) == []


def test_a_lost_append_is_noticed_by_the_second_heartbeat() -> None:
    solo = Solo()
    solo.lead()
    solo.propose()
    solo.beat(TWO, round_=0)
    said = solo.beat(TWO, round_=0)
    assert list(appends(said, TWO)) == [[]]
    assert list(appends(solo.hear(refuse(TWO, 3, (2, 1))), TWO)) == [[3]]


def test_a_reset_link_sends_anew() -> None:
    solo = Solo()
    solo.lead()
    solo.propose()
    solo.node.peer_gone(TWO)
    assert list(appends(solo.collect(), TWO)) == [[3]]


def test_followers_hear_of_a_commit_at_once() -> None:
    solo = Solo()
    solo.lead()
    index = solo.propose()
    said = solo.acknowledge(TWO)
    assert Heartbeat(ONE, TWO, Term(1), index, round=0) in said
    assert not [one for one in said if one.to == THREE]  # it is not known to have it


def test_words_of_strangers_and_of_former_directories_do_not_count() -> None:
    solo = Solo()
    solo.lead()
    index = solo.propose()
    for source in (voter(4), voter(2, directory=9)):
        solo.acknowledge(source)
    assert solo.node.log.committed == index - 1


def test_only_a_leader_decides() -> None:
    with pytest.raises(RefusedError) as refused:
        Solo().node.propose(b"x")
    assert refused.value.refusal is Refusal.NOT_LEADER


def test_a_leader_cuts_nothing_of_its_own() -> None:
    """Its entries stay when it is deposed, until the next leader's take their place."""
    solo = Solo()
    solo.lead()
    solo.propose()
    solo.hear(NewerTerm(TWO, ONE, Term(2)))
    assert solo.log == [(1, 1), (2, 1), (3, 1)]


def test_a_new_leader_commits_what_its_predecessor_left() -> None:
    solo = Solo(entries=[Entry(Term(1), Index(1), EntryKind.LEADER, b""), entry(2, 1)])
    solo.tick(8)
    solo.hear(PreVoteReply(TWO, ONE, Term(2), granted=True))
    solo.hear(VoteReply(TWO, ONE, Term(2), granted=True))
    solo.acknowledge(THREE)
    assert [one.index for one in solo.applied] == [1, 2, 3]


def test_nothing_is_sent_that_is_known_to_be_there() -> None:
    progress = Progress(SURE, next_index=Index(5))
    progress.acknowledged(Index(4))
    assert (progress.feeding, progress.next) == (Feeding.REPLICATE, 5)
    progress.next = Index(3)
    with pytest.raises(AssertionError, match="RAFT_NEXT_IS_BEHIND_MATCHED"):
        progress.refused(Index(4), attempt=0, retry=Index(1))
