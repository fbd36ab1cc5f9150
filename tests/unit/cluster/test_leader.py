"""The leader's decisions about whom to count in sync, step by step."""

from dataclasses import replace

import pytest

from cluster.peer.replica import Batches, Progress
from cluster.replication.events import (
    Appended,
    Committed,
    IsrDecided,
    Persisted,
    ProposeIsr,
    RuleChanged,
    TickEnded,
)
from cluster.replication.high_watermark import CommitRule, Ends
from cluster.replication.leader import PartitionLeader
from logstore.settings import Flush
from model.ids import MonotonicMs, NodeId, Offset, RegistrationEpoch
from tests.planted import HIGH_WATERMARK

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
EARLY, JUST_IN_TIME, LATE = MonotonicMs(0), MonotonicMs(2_500), MonotonicMs(2_501)
RULE = CommitRule(flush=Flush.QUORUM, min_insync_replicas=2, replica_lag_ms_max=2_500)


def leader(*, log: int = 10, written: int = 10) -> PartitionLeader:
    return PartitionLeader(
        ONE,
        ends=Ends(Offset(log), Offset(written), Offset(written)),
        replicas=[ONE, TWO, THREE],
        isr=frozenset([ONE, TWO]),
        rule=RULE,
        now=EARLY,
    )


def progress(node: NodeId, log_end: int, *, epoch: int = 0) -> Progress:
    return Progress(node, RegistrationEpoch(epoch), *[Offset(log_end)] * 3)


def partly(node: NodeId, *ends: int) -> Progress:
    """Report a log, written and flushed end that differ."""
    return Progress(node, RegistrationEpoch(0), *[Offset(end) for end in ends])


def test_a_log_end_that_falls_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="LOG_END_NEVER_FALLS"):
        leader(written=8).step(EARLY, Appended(Offset(9)))


def test_a_mark_that_falls_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    one = leader()
    one.step(EARLY, progress(TWO, 10))
    planted = HIGH_WATERMARK["forgets how far it was"]
    monkeypatch.setattr("cluster.replication.leader.high_watermark", planted)
    with pytest.raises(AssertionError, match="HW_NEVER_FALLS"):
        one.step(EARLY, progress(TWO, 9, epoch=1))


def test_acks_wait_for_the_second_flush() -> None:
    one = leader()
    assert one.step(EARLY, Appended(Offset(11))) == []
    assert one.step(EARLY, progress(TWO, 11)) == [Committed(Offset(10))]
    assert one.step(EARLY, Persisted(Offset(11), Offset(10))) == []
    assert one.step(EARLY, Persisted(Offset(11), Offset(11))) == [Committed(Offset(11))]


def test_a_new_leader_gives_its_followers_time() -> None:
    effects = leader().step(JUST_IN_TIME, TickEnded())
    assert all(isinstance(effect, Batches) for effect in effects)


def test_followers_are_sent_what_no_disk_has_yet() -> None:
    one = leader()
    one.step(EARLY, Appended(Offset(12)))
    one.step(EARLY, partly(TWO, 11, 9, 8))
    one.step(EARLY, Persisted(Offset(11), Offset(10)))
    assert one.step(EARLY, TickEnded()) == [
        Batches(TWO, Offset(11), Offset(12), Offset(8)),
        Batches(THREE, Offset(0), Offset(12), Offset(8)),
    ]


def test_who_keeps_up_does_so_in_memory() -> None:
    one = leader()
    one.step(LATE, partly(TWO, 10, 9, 8))
    assert isinstance(one.step(LATE, TickEnded())[0], Batches)


def test_who_moves_but_never_arrives_leaves() -> None:
    one = leader()
    one.step(EARLY, Appended(Offset(20)))
    one.step(EARLY, progress(TWO, 10))
    one.step(LATE, progress(TWO, 19))
    assert one.step(LATE, TickEnded())[0] == ProposeIsr({})


def test_who_never_reported_does_not_join_an_empty_log() -> None:
    one = leader(log=0, written=0)
    assert isinstance(one.step(EARLY, TickEnded())[0], Batches)


def test_who_joins_has_written_the_epochs_start() -> None:
    one = leader()
    one.step(EARLY, partly(THREE, 10, 9, 9))
    assert not isinstance(one.step(EARLY, TickEnded())[0], ProposeIsr)
    one.step(EARLY, partly(THREE, 10, 10, 9))
    proposed = {node: RegistrationEpoch(0) for node in (TWO, THREE)}
    assert one.step(EARLY, TickEnded())[0] == ProposeIsr(proposed)


def test_a_silent_follower_leaves_and_a_restarted_one_catches_up_anew() -> None:
    one = leader()
    one.step(LATE, progress(THREE, 10))
    proposed, *batches = one.step(LATE, TickEnded())
    assert proposed == ProposeIsr({THREE: RegistrationEpoch(0)})
    assert batches == [
        Batches(TWO, Offset(0), Offset(10), Offset(0)),
        Batches(THREE, Offset(10), Offset(10), Offset(0)),
    ]
    one.step(LATE, IsrDecided(frozenset([ONE, THREE])))
    one.step(LATE, progress(THREE, 10, epoch=1))
    assert one.step(LATE, TickEnded())[0] == ProposeIsr({})


def test_what_a_former_registration_sent_is_ignored() -> None:
    one = leader()
    assert one.step(EARLY, progress(TWO, 9, epoch=1)) == [Committed(Offset(9))]
    assert one.step(EARLY, progress(TWO, 10, epoch=0)) == []


def test_a_new_leader_tells_no_mark_below_its_epoch_start() -> None:
    one = leader()
    one.step(EARLY, progress(TWO, 9))
    assert one.high_watermark is None
    one.step(EARLY, progress(TWO, 10))
    assert one.high_watermark == 10


def test_an_epoch_starts_where_the_log_ends_written_or_not() -> None:
    one = leader(written=8)
    one.step(LATE, progress(TWO, 9))
    assert one.high_watermark is None
    assert one.step(LATE, TickEnded())[0] == ProposeIsr({})


def lone_leader(*, log: int, written: int, flushed: int, least: int = 1) -> PartitionLeader:
    return PartitionLeader(
        ONE,
        ends=Ends(Offset(log), Offset(written), Offset(flushed)),
        replicas=[ONE],
        isr=frozenset([ONE]),
        rule=replace(RULE, min_insync_replicas=least),
        now=EARLY,
    )


def test_a_lone_leader_has_committed_what_its_disk_holds() -> None:
    assert lone_leader(log=7, written=7, flushed=7).high_watermark == 7
    assert lone_leader(log=7, written=7, flushed=5).high_watermark is None


def test_a_lone_leader_sends_nothing_and_asks_nobody() -> None:
    one = lone_leader(log=0, written=0, flushed=0)
    assert one.step(LATE, Appended(Offset(3))) == []
    assert one.step(LATE, Persisted(Offset(3), Offset(2))) == [Committed(Offset(2))]
    assert one.step(LATE, TickEnded()) == []
    assert one.ends == Ends(Offset(3), Offset(3), Offset(2))


def test_settings_that_change_count_at_once_and_never_take_back() -> None:
    one = lone_leader(log=5, written=5, flushed=2)
    written = replace(RULE, flush=Flush.ASYNC, min_insync_replicas=1)
    assert one.step(EARLY, RuleChanged(written)) == [Committed(Offset(5))]
    assert one.step(EARLY, RuleChanged(replace(written, flush=Flush.QUORUM))) == []
    assert one.step(EARLY, Persisted(Offset(5), Offset(5))) == []
    one.step(EARLY, Appended(Offset(6)))
    one.step(EARLY, RuleChanged(replace(written, min_insync_replicas=2)))
    assert one.step(EARLY, Persisted(Offset(6), Offset(6))) == []
    assert one.high_watermark == 5


def test_too_few_in_sync_shows() -> None:
    assert leader().enough_in_sync
    assert not lone_leader(log=0, written=0, flushed=0, least=2).enough_in_sync


@pytest.mark.parametrize("members", [frozenset([TWO]), frozenset[NodeId]()])
def test_a_leader_that_is_not_in_sync_with_itself_is_a_bug(members: frozenset[NodeId]) -> None:
    with pytest.raises(AssertionError, match="LEADER_IS_A_REPLICA"):
        leader().step(EARLY, IsrDecided(members))


def test_a_lone_disk_ahead_of_the_log_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="FLUSHED_IS_WRITTEN"):
        lone_leader(log=1, written=1, flushed=1).step(EARLY, Persisted(Offset(2), Offset(1)))
