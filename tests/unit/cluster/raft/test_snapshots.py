"""Snapshots: the machine's own, and the leader's in chunks."""

import pytest

from cluster.raft.limits import RaftLimits
from cluster.raft.log import SnapshotFile
from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Message,
    SnapshotChunk,
    SnapshotReply,
)
from cluster.raft.snapshot import decode
from cluster.raft.start import Start
from cluster.raft.storage import file_of
from cluster.raft.voters import Configuration
from model.ids import Index, Term
from tests.raft_solo import (
    ONE,
    SURE,
    THREE,
    TRIO,
    TWO,
    Solo,
    append,
    entry,
    snapshot,
    terms,
    voters_entry,
)

SMALL = RaftLimits(election_jitter_ticks=1, kept_entries=0, snapshot_chunk_bytes=50)


def chunk(file: SnapshotFile, offset: int, size: int, *, term: int = 5) -> SnapshotChunk:
    head = (TWO, ONE, Term(term), file.last_index, file.last_term, offset)
    return SnapshotChunk(*head, file.content[offset : offset + size], len(file.content))


def whole(file: SnapshotFile, *, term: int = 5) -> SnapshotChunk:
    return chunk(file, 0, len(file.content), term=term)


def received(file: SnapshotFile, count: int) -> SnapshotReply:
    return SnapshotReply(ONE, TWO, Term(5), file.last_index, count)


def compacted(solo: Solo, index: int, payload: bytes = b"state") -> SnapshotFile:
    file = file_of(solo.node.snapshot_at(Index(index), payload))
    solo.node.compact(file)
    return file


def chunks(messages: list[Message]) -> list[tuple[int, int]]:
    return [(one.offset, len(one.chunk)) for one in messages if isinstance(one, SnapshotChunk)]


def test_a_snapshot_in_chunks_takes_the_place_of_the_log() -> None:
    solo = Solo(entries=terms(1, 1, 1))
    file = snapshot(7, 4, (ONE, TWO))
    assert solo.hear(chunk(file, 0, 60)) == [received(file, 60)]
    solo.node.step(chunk(file, 60, 999))
    assert solo.collect() == []
    work = solo.jobs[-1][0]
    assert work is not None
    assert (work.snapshot, work.cut, work.entries) == (file, None, ())
    assert solo.sync() == [AppendReply(ONE, TWO, Term(5), Index(7))]
    assert solo.restored == [file]
    assert (solo.log, solo.node.log.committed, solo.node.delivered) == ([], 7, 7)
    more = append(ONE, term=5, prev=(7, 4), entries=[entry(8, 5)], commit=8)
    assert solo.hear(more) == [AppendReply(ONE, TWO, Term(5), Index(8))]
    assert [one.index for one in solo.applied] == [8]


def test_the_configuration_comes_with_it() -> None:
    solo = Solo()
    solo.hear(whole(snapshot(7, 4, (ONE, TWO))))
    assert solo.node.configuration == Configuration((ONE, TWO))
    again = Start(
        me=ONE, term=Term(5), voted_for=None, voters=TRIO, snapshot=snapshot(7, 4), entries=()
    )
    assert Solo.of(again).node.configuration == Configuration(TRIO)


def test_and_is_the_one_as_of_its_last_entry() -> None:
    solo = Solo(entries=(*terms(1, 1), voters_entry(3, 1, (ONE, TWO))))
    solo.hear(append(ONE, term=1, prev=(3, 1), commit=3))
    assert solo.node.snapshot_at(Index(2), b"").configuration == Configuration(TRIO)
    assert solo.node.snapshot_at(Index(3), b"").configuration == Configuration((ONE, TWO))


def test_an_older_snapshot_changes_nothing() -> None:
    solo = Solo(entries=terms(1, 1, 1))
    solo.hear(append(ONE, term=1, prev=(3, 1), commit=3))
    assert solo.hear(whole(snapshot(2, 1, (ONE,)))) == [AppendReply(ONE, TWO, Term(5), Index(2))]
    assert (len(solo.log), solo.node.log.committed, solo.restored) == (3, 3, [])
    assert solo.node.configuration == Configuration(TRIO)
    with pytest.raises(AssertionError, match="RAFT_SNAPSHOT_IS_NEWER"):
        solo.node.log.restore(snapshot(2, 1))


def test_one_whose_last_entry_is_there_only_commits() -> None:
    solo = Solo(entries=terms(1, 1, 1, 1))
    assert solo.hear(whole(snapshot(3, 1))) == [AppendReply(ONE, TWO, Term(5), Index(3))]
    assert (len(solo.log), solo.node.log.committed, solo.restored) == (4, 3, [])


def test_chunks_count_in_their_order_and_from_one_sender() -> None:
    solo = Solo()
    file = snapshot(7, 4)
    assert solo.hear(chunk(file, 50, 50)) == [received(file, 0)]
    assert solo.hear(chunk(file, 0, 50)) == [received(file, 50)]
    assert solo.hear(chunk(file, 70, 20)) == [received(file, 50)]
    assert solo.hear(chunk(file, 0, 20)) == [received(file, 20)]  # another begins it anew
    other = snapshot(9, 4)
    assert solo.hear(chunk(other, 0, 30)) == [received(other, 30)]
    assert solo.restored == []


def test_what_its_checksums_deny_is_taken_anew() -> None:
    solo = Solo()
    file = snapshot(7, 4)
    wrong = whole(file)._replace(chunk=file.content[:-1] + b"?")
    assert solo.hear(wrong) == [received(file, 0)]
    lying = whole(file)._replace(last_term=Term(3))
    assert solo.hear(lying) == [received(file, 0)]
    assert solo.restored == []
    solo.hear(whole(file))
    assert solo.restored == [file]


def test_one_that_is_too_long_is_not_taken() -> None:
    solo = Solo(limits=RaftLimits(snapshot_bytes_max=60))
    file = snapshot(7, 4)
    assert solo.hear(whole(file)) == [received(file, 0)]


def test_a_follower_that_lacks_what_is_gone_is_sent_the_snapshot() -> None:
    solo = Solo(limits=SMALL)
    solo.lead()
    file = compacted(solo, 2, b"s" * 60)
    assert decode(file.content).configuration == Configuration(TRIO)
    refusal = AppendRefusal(
        THREE, ONE, Term(1), Index(0), attempt=0, hint_index=Index(0), hint_term=Term(0)
    )
    solo.propose()
    refusal = refusal._replace(prev_index=Index(2))
    assert chunks(solo.hear(refusal)) == [(0, 50)]
    assert chunks(solo.tick()) == []
    progress = SnapshotReply(THREE, ONE, Term(1), file.last_index, 50)
    assert chunks(solo.hear(progress)) == [(50, 50)]
    assert chunks(solo.hear(progress)) == []  # said twice
    assert chunks(solo.beat(THREE, round_=0)) == []
    assert chunks(solo.beat(THREE, round_=0)) == [(50, 50)]  # it was lost
    newer = compacted(solo, 2, b"t" * 60)
    assert newer.content != file.content
    size = len(file.content)
    assert chunks(solo.hear(progress._replace(received=100))) == [(100, 50)]
    assert chunks(solo.hear(progress._replace(received=size - 10))) == [(size - 10, 10)]
    said = solo.acknowledge(THREE, 2)
    assert [len(one.entries) for one in said if isinstance(one, AppendRequest)] == [1]


def test_what_is_gone_without_a_snapshot_is_a_bug() -> None:
    solo = Solo(limits=SMALL)
    solo.lead()
    compacted(solo, 2)
    solo.node.log.snapshot = None
    follower = solo.node.leadership.followers[THREE] if solo.node.leadership else None
    assert follower is not None
    follower.probe(Index(1))
    with pytest.raises(AssertionError, match="RAFT_SNAPSHOT_COVERS_THE_GONE"):
        solo.collect()


def test_a_machine_is_snapshotted_as_of_what_it_was_given() -> None:
    solo = Solo(entries=terms(1, 1))
    with pytest.raises(AssertionError, match="RAFT_SNAPSHOT_IS_APPLIED"):
        solo.node.snapshot_at(Index(1), b"")


def test_some_entries_are_kept_for_followers_that_are_a_little_behind() -> None:
    solo = Solo(entries=terms(1, 1, 1, 1), limits=RaftLimits(kept_entries=2))
    solo.hear(append(ONE, term=1, prev=(4, 1), commit=4))
    compacted(solo, 4)
    assert solo.log == [(3, 1), (4, 1)]
    late = file_of(solo.node.snapshot_at(Index(3), b""))
    solo.node.compact(late)
    assert solo.log == [(3, 1), (4, 1)]


def test_a_member_begins_behind_its_snapshot() -> None:
    start = Start(
        me=ONE,
        term=Term(4),
        voted_for=None,
        voters=TRIO,
        snapshot=snapshot(7, 4),
        entries=(entry(8, 4),),
    )
    solo = Solo.of(start, limits=SURE)
    assert (solo.log, solo.node.log.committed, solo.node.delivered) == ([(8, 4)], 7, 7)
    assert solo.applied == []
