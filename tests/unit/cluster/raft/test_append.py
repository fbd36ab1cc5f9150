"""A follower's log: what it takes, what it acknowledges, what it cuts off, what it commits."""

import pytest

from cluster.raft.log import SnapshotFile
from cluster.raft.messages import AppendRefusal, AppendReply, Heartbeat, HeartbeatReply
from cluster.raft.storage import file_of
from model.ids import Index, Term
from tests.raft_solo import ONE, TWO, Solo, append, entry, terms


def reply(matched: int, *, term: int) -> AppendReply:
    return AppendReply(ONE, TWO, Term(term), Index(matched))


def test_entries_are_durable_before_they_are_acknowledged() -> None:
    solo = Solo(term=1)
    solo.node.step(append(ONE, term=1, entries=terms(1, 1)))
    assert solo.collect() == []
    work, _ = solo.jobs[0]
    assert work is not None
    assert work.entries == terms(1, 1)
    assert solo.sync() == [reply(2, term=1)]


def test_a_request_that_comes_again_waits_for_the_disk_too() -> None:
    solo = Solo(term=1)
    for _ in range(2):
        solo.node.step(append(ONE, term=1, entries=terms(1, 1)))
        assert solo.collect() == []
    assert solo.sync() == [reply(2, term=1)] * 2


def test_what_is_acknowledged_is_what_the_request_brought() -> None:
    """Behind it lie entries that the new leader may not have."""
    solo = Solo(entries=terms(1, 1, 1, 1, 1))
    assert solo.hear(append(ONE, term=2, prev=(2, 1))) == [reply(2, term=2)]
    more = [entry(3, 1)]
    assert solo.hear(append(ONE, term=2, prev=(2, 1), entries=more)) == [reply(3, term=2)]
    assert solo.log[-1] == (5, 1)


def test_an_old_request_cuts_nothing_off() -> None:
    solo = Solo(term=1)
    solo.hear(append(ONE, term=1, entries=terms(1, 1, 1)))
    assert solo.hear(append(ONE, term=1, entries=terms(1))) == [reply(1, term=1)]
    assert solo.hear(append(ONE, term=1)) == [reply(0, term=1)]
    assert solo.log == [(1, 1), (2, 1), (3, 1)]
    assert not solo.jobs


def test_another_leaders_entry_cuts_the_rest_off() -> None:
    solo = Solo(entries=terms(1, 1, 1, 1))
    solo.node.step(append(ONE, term=2, prev=(2, 1), entries=[entry(3, 2)]))
    solo.collect()
    work, _ = solo.jobs[0]
    assert work is not None
    assert (work.cut, work.entries, work.durable.generation) == (3, (entry(3, 2),), 1)
    assert solo.sync() == [reply(3, term=2)]
    assert solo.log == [(1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize(
    ("ours", "prev", "hint"),
    [
        ((1, 1, 1), (3, 2), (3, 1)),
        ((1, 1, 1), (9, 2), (3, 1)),
        ((1, 1, 2, 2, 2), (4, 1), (2, 1)),
        ((2, 2, 2), (3, 1), (0, 0)),
        ((), (5, 4), (0, 0)),
    ],
)
def test_where_the_logs_part_is_hinted(
    ours: tuple[int, ...], prev: tuple[int, int], hint: tuple[int, int]
) -> None:
    """A term a round, not an entry a round (Raft 5.3)."""
    solo = Solo(entries=terms(*ours))
    wanted = AppendRefusal(
        ONE,
        TWO,
        Term(5),
        prev_index=Index(prev[0]),
        attempt=0,
        hint_index=Index(hint[0]),
        hint_term=Term(hint[1]),
    )
    assert solo.hear(append(ONE, term=5, prev=prev, entries=[entry(prev[0] + 1, 5)])) == [wanted]
    assert solo.log == [(at, term) for at, term in enumerate(ours, 1)]


def test_commit_stops_where_the_leaders_word_does() -> None:
    """What lies behind it may be another leader's: only what was compared is committed."""
    solo = Solo(entries=terms(1, 1, 1))
    solo.hear(append(ONE, term=2, prev=(1, 1), commit=3))
    assert solo.node.log.committed == 1
    solo.hear(append(ONE, term=2, prev=(1, 1), entries=[entry(2, 2)], commit=1))
    assert solo.node.log.committed == 1
    assert [one.index for one in solo.applied] == [1]


def test_what_was_committed_is_never_cut_off() -> None:
    solo = Solo(entries=terms(1, 1))
    solo.hear(append(ONE, term=1, prev=(2, 1), commit=2))
    with pytest.raises(AssertionError, match="RAFT_TRUNCATES_ABOVE_COMMIT"):
        solo.hear(append(ONE, term=2, prev=(1, 1), entries=[entry(2, 2)]))


def test_a_heartbeat_commits_and_is_answered() -> None:
    solo = Solo(entries=terms(1, 1))
    beat = Heartbeat(TWO, ONE, Term(1), Index(1), round=4)
    assert solo.hear(beat) == [HeartbeatReply(ONE, TWO, Term(1), round=4)]
    assert [one.index for one in solo.applied] == [1]
    with pytest.raises(AssertionError, match="RAFT_COMMIT_IS_IN_THE_LOG"):
        solo.hear(Heartbeat(TWO, ONE, Term(1), Index(3), round=4))


def test_a_machine_is_given_what_is_durable_here_too() -> None:
    solo = Solo(term=1)
    solo.node.step(append(ONE, term=1, entries=terms(1, 1), commit=2))
    solo.collect()
    assert (solo.node.log.committed, solo.applied) == (2, [])
    solo.sync()
    assert solo.applied == list(terms(1, 1))


def test_the_disks_word_about_what_was_cut_off_is_none() -> None:
    """The entry that took its place has the same index."""
    solo = Solo(term=1)
    solo.node.step(append(ONE, term=1, entries=terms(1, 1)))
    solo.collect()
    solo.node.step(append(ONE, term=2, prev=(1, 1), entries=[entry(2, 2)], commit=2))
    solo.collect()
    solo.sync_one()
    assert (solo.node.log.stable, solo.applied) == (0, [])
    assert solo.sync() == [reply(2, term=2)]
    assert [one.term for one in solo.applied] == [1, 2]


def test_entries_from_below_the_snapshot_are_skipped() -> None:
    solo = Solo(entries=terms(1, 1, 1, 1))
    solo.hear(append(ONE, term=1, prev=(4, 1), commit=3))
    log = solo.node.log
    log.compact(_file(solo, 3), kept_entries=0)
    assert solo.log == [(4, 1)]
    assert solo.hear(append(ONE, term=1, entries=terms(1, 1, 1, 1, 1))) == [reply(5, term=1)]
    assert solo.hear(append(ONE, term=1, entries=terms(1, 1))) == [reply(2, term=1)]
    assert solo.log == [(4, 1), (5, 1)]


def _file(solo: Solo, index: int) -> SnapshotFile:
    return file_of(solo.node.snapshot_at(Index(index), b""))


def test_a_gap_and_a_falling_term_are_bugs() -> None:
    log = Solo(entries=terms(1, 2)).node.log
    for wrong in (entry(4, 2), entry(3, 1)):
        with pytest.raises(AssertionError, match="RAFT_ENTRIES_FOLLOW"):
            log.append([wrong])


def test_the_disk_cannot_have_what_it_was_not_given() -> None:
    solo = Solo(term=1)
    solo.node.step(append(ONE, term=1, entries=terms(1, 1)))
    with pytest.raises(AssertionError, match="RAFT_DURABLE_WAS_HANDED"):
        solo.node.log.persisted(0, Index(2))


def test_the_disks_word_comes_in_order() -> None:
    solo = Solo(term=1)
    for term in (2, 3):
        solo.node.step(append(ONE, term=term))
        solo.collect()
    first, last = (job[0] for job in (solo.jobs[0], solo.jobs[-1]))
    assert first is not None
    assert last is not None
    solo.node.persisted(last.durable)
    with pytest.raises(AssertionError, match="RAFT_DURABLE_NEVER_FALLS"):
        solo.node.persisted(first.durable)
