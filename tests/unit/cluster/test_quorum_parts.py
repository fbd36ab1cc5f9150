"""Parts of the quorum's shell by themselves."""

from dataclasses import replace
from random import Random

import pytest

from api.sim.disk import SimDisk
from cluster.controller.codec import encode
from cluster.controller.image import EMPTY
from cluster.controller.image_diff import image_diff
from cluster.controller.request import Circumstances
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.ready import DiskWork, Durable
from cluster.raft.stable import open_member
from cluster.raft.storage import RaftStorage
from cluster.shell.raft_disk import RaftDisk
from cluster.shell.raft_metadata import RaftMetadata
from model.ids import Index, Term, WallMs
from tests.quorum import ME, REGISTER, Runner, turns
from tests.quorum_world import create

NOW = Circumstances(now=WallMs(1), rand=Random(1))


def decided(metadata: RaftMetadata, *names: str) -> list[Entry]:
    """Decide on a registration and topics, ahead of the log; return the entries."""
    entries = []
    for request in (REGISTER, *map(create, names)):
        records = metadata.decide(request, NOW).records
        index = Index(metadata.ahead + 1)
        metadata.replay_ahead(records, index)
        metadata.freeze_ahead()
        entries.append(Entry(Term(1), index, EntryKind.RECORDS, encode(records)))
    return entries


def test_what_is_ahead_is_shown_as_far_as_it_is_committed() -> None:
    metadata = RaftMetadata({})
    entries = decided(metadata, "a", "b")
    assert metadata.image.applied == 0
    assert [set(step.image.topics) for step in metadata.apply(entries[:2])] == [set(), {"a"}]
    assert [set(step.image.topics) for step in metadata.apply(entries[2:])] == [{"a", "b"}]


def test_what_is_abandoned_is_made_anew_from_what_is_committed() -> None:
    metadata = RaftMetadata({})
    entries = decided(metadata, "a", "b", "c")
    metadata.apply(entries[:2])
    (step,) = metadata.abandon(entries[2:3])
    assert [topic.name for topic in step.delta.created] == ["b"]
    assert set(step.image.topics) == {"a", "b"}
    assert metadata.ahead == step.image.applied == 3
    assert metadata.decide(create("c"), NOW).records


def test_decisions_are_replayed_in_the_order_of_their_entries() -> None:
    metadata = RaftMetadata({})
    decided(metadata, "a")
    with pytest.raises(AssertionError, match="QUORUM_AHEAD_IN_ORDER"):
        metadata.replay_ahead((), metadata.ahead)


def test_a_jump_is_told_as_one_step() -> None:
    metadata = RaftMetadata({})
    metadata.apply(decided(metadata, "a", "b"))
    before = metadata.image
    (topic,) = (t for t in before.topics_by_id.values() if t.name == "a")
    (broker,) = before.brokers.values()
    changed = replace(topic, config_version=7)
    after = replace(before, topics_by_id={topic.topic_id: changed}, brokers={broker.node: broker})
    delta = image_diff(before, after)
    assert (delta.created, delta.changed, len(delta.deleted)) == ((), (changed,), 1)
    assert (delta.brokers, delta.brokers_removed) == ((), ())
    back = image_diff(after, EMPTY)
    assert (back.deleted, back.brokers_removed) == ((topic.topic_id,), (broker.node,))
    assert image_diff(EMPTY, after).brokers == (broker,)


def test_a_message_waits_for_work_or_for_nothing() -> None:
    stable = open_member(SimDisk(), Random(1), me=ME, voters=(ME,), file_bytes_max=1_024)
    disk = RaftDisk(RaftStorage(stable, me=ME), Runner(), ended=lambda: None)
    with pytest.raises(AssertionError, match="QUORUM_WORK_IS_AWAITED"):
        disk.wait(())


async def test_files_are_let_go_once_the_thread_is_done_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stable = open_member(SimDisk(), Random(1), me=ME, voters=(ME,), file_bytes_max=1_024)
    storage, runner, done = RaftStorage(stable, me=ME), Runner(), []
    monkeypatch.setattr(storage, "perform", lambda _: done.append("performed"))
    monkeypatch.setattr(storage, "close", lambda: done.append("closed"))
    disk = RaftDisk(storage, runner, ended=lambda: None)
    runner.hold()
    disk.put(DiskWork(None, None, None, entries=(), durable=Durable(0, 0, Index(0))), ())
    disk.begin()
    await turns()
    disk.close()
    await turns()
    assert done == []
    runner.release()
    await turns()
    assert done == ["performed", "closed"]
