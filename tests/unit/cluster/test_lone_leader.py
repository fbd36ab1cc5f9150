"""A leader without followers: its own disk commits, nobody is asked."""

from dataclasses import replace

import pytest

from cluster.replication.events import (
    Appended,
    Committed,
    Judged,
    Persisted,
    RuleChanged,
    TickEnded,
)
from cluster.replication.leader import PartitionLeader
from logstore.settings import Flush
from model.ids import AppendTimeMs, MonotonicMs, Offset
from tests.replica import RULE, assignment, ends, leading, log

EARLY, LATE = MonotonicMs(0), MonotonicMs(2_501)


def lone_leader(
    end: int = 0, written: int | None = None, flushed: int | None = None, *, least: int = 1
) -> PartitionLeader:
    said = assignment(replicas=[1], isr=[1])
    rule = replace(RULE, min_insync_replicas=least)
    return leading(log(ends(end, written, flushed)), said, rule=rule)


def test_a_lone_leader_has_committed_what_its_disk_holds() -> None:
    assert lone_leader(7).high_watermark == 7
    assert lone_leader(7, 7, 5).high_watermark is None


def test_a_lone_leader_sends_nothing_and_asks_nobody() -> None:
    one = lone_leader()
    assert one.step(LATE, Appended(Offset(3))) == []
    assert one.step(LATE, Persisted(Offset(3), Offset(2), Offset(2))) == [Committed(Offset(2))]
    assert one.step(LATE, TickEnded()) == []
    assert one.step(LATE, Judged({}, session_held=True)) == []
    assert not one.alone
    assert one.ends == ends(3, 3, 2)


def test_settings_that_change_count_at_once_and_never_take_back() -> None:
    one = lone_leader(5, 5, 2)
    written = replace(RULE, flush=Flush.ASYNC, min_insync_replicas=1)
    assert one.step(EARLY, RuleChanged(written)) == [Committed(Offset(5))]
    assert one.step(EARLY, RuleChanged(replace(written, flush=Flush.QUORUM))) == []
    assert one.step(EARLY, Persisted(Offset(5), Offset(5), Offset(5))) == []
    one.step(EARLY, Appended(Offset(6)))
    one.step(EARLY, RuleChanged(replace(written, min_insync_replicas=2)))
    assert one.step(EARLY, Persisted(Offset(6), Offset(6), Offset(6))) == []
    assert one.high_watermark == 5
    assert not one.enough_in_sync


def test_a_lone_disk_ahead_of_the_log_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="FLUSHED_IS_WRITTEN"):
        lone_leader(1).step(EARLY, Persisted(Offset(2), Offset(1), Offset(1)))


def test_a_lone_leader_closes_time_alone() -> None:
    assert lone_leader().closed_time(AppendTimeMs(900), {}) == 900


def test_a_lone_leader_without_a_session_is_alone() -> None:
    one = lone_leader()
    one.step(LATE, Judged({}, session_held=False))
    assert one.alone
