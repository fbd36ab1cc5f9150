"""The leader's decisions: what is committed, whom to count in sync, whom to refuse."""

from dataclasses import replace

import pytest

from cluster.peer.replica import Diverging, Leave, Refused
from cluster.replication.events import (
    AnswerFor,
    Appended,
    Committed,
    IsrDecided,
    IsrRefused,
    Judged,
    Persisted,
    ProposeIsr,
    RuleChanged,
    Taken,
)
from cluster.replication.leader import PartitionLeader
from cluster.replication.leader_events import Effect
from logstore.settings import Flush
from model.errors import ErrorCode
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch
from tests.planted import HIGH_WATERMARK
from tests.replica import (
    ONE,
    RULE,
    THREE,
    TWO,
    assignment,
    ends,
    epochs,
    leading,
    log,
    open_,
    progress,
)

CLOCK = AppendTimeMs(500)
EARLY, JUST_IN_TIME, LATE = MonotonicMs(0), MonotonicMs(2_500), MonotonicMs(2_501)


def leader(
    end: int = 10, written: int | None = None, *, isr: tuple[int, ...] = (1, 2)
) -> PartitionLeader:
    """Return a leader of epoch 0 whose followers have opened with as much as it has."""
    one = leading(log(ends(end, written)), assignment(isr=isr))
    for node in (TWO, THREE):
        one.step(EARLY, open_(node, end))
    return one


def taken(to: NodeId, end: int) -> Taken:
    return Taken(to, Offset(end), CLOCK)


def judged(*heard: NodeId, at: MonotonicMs = LATE, session_held: bool = True) -> Judged:
    return Judged(dict.fromkeys(heard, at), session_held)


def proposals(effects: list[Effect]) -> list[ProposeIsr]:
    return [effect for effect in effects if isinstance(effect, ProposeIsr)]


def proposed(effects: list[Effect]) -> list[int]:
    """Return whom the leader asks to be counted in sync beside itself."""
    return [node for effect in proposals(effects) for node in effect.followers]


def test_a_log_end_that_falls_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="LOG_END_NEVER_FALLS"):
        leader().step(EARLY, Appended(Offset(9)))


def test_a_mark_that_falls_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    one = leader()
    one.step(EARLY, progress(TWO, 10))
    planted = HIGH_WATERMARK["forgets how far it was"]
    monkeypatch.setattr("cluster.replication.leader.high_watermark", planted)
    one.step(EARLY, open_(TWO, 9, registration=1))
    with pytest.raises(AssertionError, match="HW_NEVER_FALLS"):
        one.step(EARLY, progress(TWO, 9, registration=1))


def test_acks_wait_for_the_second_flush() -> None:
    one = leader()
    assert one.step(EARLY, progress(TWO, 10)) == [Committed(Offset(10))]
    one.step(EARLY, Appended(Offset(11)))
    one.step(EARLY, taken(TWO, 11))
    assert one.step(EARLY, progress(TWO, 11)) == []
    assert one.step(EARLY, Persisted(Offset(11), Offset(10), Offset(10))) == []
    assert one.step(EARLY, Persisted(Offset(11), Offset(11), Offset(11))) == [Committed(Offset(11))]


def test_a_follower_whose_log_parts_is_told_where_and_counts_for_nothing() -> None:
    table = epochs(e1=0, e4=6)
    one = leading(log(ends(10), table), assignment(leader_epoch=5, isr=(1, 2)))
    told = one.step(EARLY, open_(TWO, 9, epoch=5, last_epoch=3))
    assert told == [Diverging(TWO, LeaderEpoch(5), LeaderEpoch(1), Offset(6))]
    assert one.step(EARLY, progress(TWO, 9, epoch=5)) == []
    one.step(EARLY, open_(TWO, 6, epoch=5, last_epoch=1))
    assert one.step(EARLY, progress(TWO, 6, epoch=5)) == [Committed(Offset(6))]


@pytest.mark.parametrize(
    ("epoch", "last_epoch", "code"),
    [
        (3, 2, ErrorCode.FENCED_EPOCH),
        (5, 2, ErrorCode.UNKNOWN_EPOCH),
        (4, 5, ErrorCode.UNKNOWN_EPOCH),
    ],
)
def test_another_leadership_than_mine_is_refused(
    epoch: int, last_epoch: int, code: ErrorCode
) -> None:
    one = leading(log(ends(10)), assignment(leader_epoch=4))
    opened = open_(TWO, 10, epoch=epoch, last_epoch=last_epoch)
    assert one.step(EARLY, opened) == [Refused(TWO, LeaderEpoch(4), code)]
    assert one.step(EARLY, progress(TWO, 10, epoch=4)) == []


def test_who_holds_no_replica_is_refused() -> None:
    four = NodeId(4)
    said = leader().step(EARLY, open_(four, 10))
    assert said == [Refused(four, LeaderEpoch(0), ErrorCode.FENCED_EPOCH)]
    assert leader().step(EARLY, progress(four, 10)) == []


def test_what_was_told_another_leadership_counts_for_nothing() -> None:
    one = leading(log(ends(10)), assignment(leader_epoch=4, isr=(1, 2)))
    one.step(EARLY, open_(TWO, 10, epoch=4))
    assert one.step(EARLY, progress(TWO, 10, epoch=3)) == []
    assert one.step(EARLY, progress(TWO, 10, epoch=4)) == [Committed(Offset(10))]


@pytest.mark.parametrize(
    "late", [progress(TWO, 12), progress(TWO, 10, 8), progress(TWO, 10, 10, 8)]
)
def test_ends_that_cannot_be_are_ignored(late: object) -> None:
    one = leader()
    one.step(EARLY, Appended(Offset(11)))  # not sent yet
    one.step(EARLY, progress(TWO, 10, 9, 9))
    assert isinstance(late, type(progress(TWO, 0)))
    one.step(EARLY, late)
    one.step(EARLY, Persisted(Offset(11), Offset(11), Offset(11)))
    assert one.step(EARLY, progress(TWO, 10)) == [Committed(Offset(10))]


def test_who_opened_twice_is_not_sent_twice_what_it_holds() -> None:
    one = leader(12)
    one.step(EARLY, open_(TWO, 10))
    one.step(EARLY, taken(TWO, 12))
    one.step(EARLY, open_(TWO, 10))
    assert one.next_to_send(TWO) == 10
    assert one.step(EARLY, progress(TWO, 12)) == [Committed(Offset(12))]
    assert one.next_to_send(TWO) == 12


def test_what_a_former_registration_sent_is_ignored() -> None:
    one = leader()
    one.step(EARLY, open_(TWO, 9, registration=1))
    assert one.step(EARLY, progress(TWO, 10)) == []
    assert one.step(EARLY, open_(TWO, 10)) == []
    assert one.step(EARLY, progress(TWO, 9, registration=1)) == [Committed(Offset(9))]


def test_a_new_leader_tells_no_mark_below_its_epoch_start() -> None:
    one = leader()
    one.step(EARLY, open_(TWO, 9, registration=1))
    one.step(EARLY, progress(TWO, 9, registration=1))
    assert one.high_watermark is None
    one.step(EARLY, taken(TWO, 10))
    one.step(EARLY, progress(TWO, 10, registration=1))
    assert one.high_watermark == 10


def test_what_a_follower_was_told_counts_when_it_leads() -> None:
    one = leading(log(ends(10), mark=7), assignment())
    one.step(EARLY, open_(TWO, 8))
    one.step(EARLY, open_(THREE, 8))
    one.step(EARLY, progress(TWO, 8))
    assert one.step(EARLY, progress(THREE, 7)) == []
    assert one.step(EARLY, progress(THREE, 8)) == [Committed(Offset(8))]


@pytest.mark.parametrize("flush", Flush)
def test_who_joins_has_the_epochs_start_as_durable_as_an_ack_asks(flush: Flush) -> None:
    one, synced = leader(), flush is Flush.QUORUM
    one.step(EARLY, RuleChanged(replace(RULE, flush=flush)))
    one.step(EARLY, progress(TWO, 8))
    assert proposed(one.step(EARLY, progress(THREE, 10, 9 + synced, 9))) == []
    assert proposed(one.step(EARLY, progress(THREE, 10, 10, 9 + synced))) == [TWO, THREE]


def test_who_never_reported_does_not_join_an_empty_log() -> None:
    one = leading(log(ends(0)), assignment(isr=(1, 2)))
    assert proposed(one.step(EARLY, judged(TWO, THREE, at=EARLY))) == []
    one.step(EARLY, open_(THREE, 0))
    assert proposed(one.step(EARLY, progress(THREE, 0))) == [TWO, THREE]


def test_one_proposal_at_a_time_and_a_refused_one_waits() -> None:
    one = leader(isr=(1,))
    assert proposed(one.step(EARLY, progress(TWO, 10))) == [TWO]
    assert proposed(one.step(EARLY, progress(THREE, 10))) == []
    assert one.isr.maximal == {ONE, TWO}
    assert one.step(EARLY, IsrRefused(0)) == []
    assert one.isr.maximal == {ONE}
    assert proposed(one.step(EARLY, progress(THREE, 10))) == []
    assert proposed(one.step(EARLY, judged(TWO, THREE))) == [TWO, THREE]


def test_late_words_of_the_controller_change_nothing() -> None:
    one = leading(log(ends(10)), assignment(isr=(1, 2), partition_epoch=7))
    for node in (TWO, THREE):
        one.step(EARLY, open_(node, 10))
    one.step(EARLY, progress(THREE, 10))
    assert one.isr.maximal == {ONE, TWO, THREE}
    assert one.step(EARLY, IsrDecided(frozenset([ONE]), 7)) == []
    assert one.step(EARLY, IsrRefused(6)) == []
    assert one.isr.maximal == {ONE, TWO, THREE}
    one.step(EARLY, IsrDecided(frozenset([ONE, TWO]), 8))
    assert one.isr.maximal == {ONE, TWO}


def test_a_silent_follower_leaves_and_an_idle_one_stays() -> None:
    one = leader(isr=(1, 2, 3))
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 10))
        one.step(EARLY, progress(node, 10))
    assert proposals(one.step(LATE, judged(THREE))) == [
        ProposeIsr({THREE: RegistrationEpoch(0)}, 0)
    ]
    assert one.isr.minimal == {ONE, THREE}


def test_a_new_leader_gives_its_followers_time() -> None:
    one = leading(log(ends(10)), assignment())
    assert proposed(one.step(JUST_IN_TIME, judged())) == []
    assert one.step(LATE, judged()) == [ProposeIsr({}, 0)]


def test_who_moves_but_never_arrives_leaves() -> None:
    one = leader()
    one.step(EARLY, Appended(Offset(20)))
    one.step(EARLY, taken(TWO, 20))
    one.step(EARLY, progress(TWO, 10))
    one.step(LATE, progress(TWO, 19))
    assert proposals(one.step(LATE, judged(TWO))) == [ProposeIsr({}, 0)]


def test_who_keeps_up_does_so_in_memory() -> None:
    one = leader()
    one.step(LATE, progress(TWO, 10, 9, 8))
    assert one.step(LATE, judged(TWO)) == []


def test_a_restarted_follower_catches_up_anew() -> None:
    one = leader()
    one.step(LATE, progress(TWO, 10))
    one.step(LATE, open_(TWO, 8, registration=1))
    assert one.step(LATE, judged(TWO)) == [ProposeIsr({}, 0)]


def test_who_would_not_be_confirmed_is_alone() -> None:
    one = leader(isr=(1, 2, 3))
    assert not one.alone
    one.step(JUST_IN_TIME, judged())
    assert not one.alone  # nobody has had the time to be heard
    one.step(LATE, judged())
    assert one.alone
    one.step(LATE, judged(THREE))
    assert not one.alone
    one.step(LATE, judged(TWO, THREE, session_held=False))
    assert one.alone


def test_a_leader_answers_for_what_is_committed_once_its_disk_holds_it() -> None:
    one = leader(10, 10)
    one.step(EARLY, progress(TWO, 10))
    assert one.step(EARLY, judged(TWO, at=EARLY)) == []
    one.step(EARLY, IsrDecided(frozenset([ONE, TWO]), 1, answer_wanted=True))
    one.step(EARLY, RuleChanged(replace(RULE, flush=Flush.ASYNC)))
    one.step(EARLY, Appended(Offset(12)))
    one.step(EARLY, taken(TWO, 12))
    one.step(EARLY, Persisted(Offset(12), Offset(11), Offset(11)))
    one.step(EARLY, progress(TWO, 12))
    assert AnswerFor(1) not in one.step(EARLY, judged(TWO, at=EARLY))
    one.step(EARLY, Persisted(Offset(12), Offset(12), Offset(12)))
    assert one.step(EARLY, judged(TWO, at=EARLY)) == [AnswerFor(1)]


def test_who_is_heard_but_not_in_sync_keeps_nobody_company() -> None:
    one = leader(isr=(1, 2))
    one.step(LATE, judged(THREE))
    assert one.alone


def test_too_few_in_sync_shows() -> None:
    assert leader().enough_in_sync
    one = leader()
    one.step(EARLY, IsrDecided(frozenset([ONE]), 1))
    assert not one.enough_in_sync
    one.step(EARLY, RuleChanged(replace(RULE, min_insync_replicas=1)))
    assert one.enough_in_sync


def test_a_time_is_closed_once_every_member_stamps_nothing_below_it() -> None:
    def closed(one: PartitionLeader, own: int, **answered: int) -> int:
        said = {NodeId(int(name[1:])): AppendTimeMs(time) for name, time in answered.items()}
        return one.closed_time(AppendTimeMs(own), said)

    one = leader()
    assert closed(one, 500, n3=400) == 0
    assert closed(one, 500, n2=300) == 300
    assert closed(one, 500, n2=200) == 300
    one.step(EARLY, progress(THREE, 10))
    assert closed(one, 500, n2=400) == 300  # 3 may be in sync already
    assert closed(one, 500, n2=400, n3=600) == 400
    one.step(EARLY, IsrDecided(frozenset([ONE]), 1))
    assert closed(one, 900) == 400  # whoever has left may be elected
    one = leader(isr=(1, 2))
    one.step(EARLY, Leave(TWO, LeaderEpoch(7)))
    assert closed(one, 500, n2=300) == 300
    one.step(EARLY, Leave(TWO, LeaderEpoch(0)))
    assert closed(one, 500, n2=400) == 300  # 2 may lead by now


@pytest.mark.parametrize("members", [frozenset([TWO]), frozenset[NodeId]()])
def test_a_leader_that_is_not_in_sync_with_itself_is_a_bug(members: frozenset[NodeId]) -> None:
    with pytest.raises(AssertionError, match="LEADER_IS_A_REPLICA"):
        leader().step(EARLY, IsrDecided(members, 1))


def test_a_member_that_has_not_opened_yet_stays_under_no_registration_of_ours() -> None:
    one = leading(log(ends(10)), assignment(isr=(1, 2, 3)))
    one.step(EARLY, open_(THREE, 10))
    one.step(JUST_IN_TIME, progress(THREE, 10))
    one.step(JUST_IN_TIME, IsrDecided(frozenset([ONE, TWO]), 1))
    assert one.step(JUST_IN_TIME, progress(THREE, 10)) == [
        ProposeIsr({TWO: None, THREE: RegistrationEpoch(0)}, 1)
    ]


def test_who_has_opened_and_not_reported_yet_is_given_its_time_too() -> None:
    one = leading(log(ends(10)), assignment(isr=(1, 2, 3)))
    one.step(EARLY, open_(TWO, 10))
    assert proposed(one.step(JUST_IN_TIME, judged(TWO, THREE, at=JUST_IN_TIME))) == []
    one.step(JUST_IN_TIME, open_(TWO, 10, registration=1))
    assert one.step(JUST_IN_TIME, judged(TWO, THREE, at=JUST_IN_TIME)) == [
        ProposeIsr({THREE: None}, 0)
    ]
