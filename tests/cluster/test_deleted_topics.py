"""A topic that is deleted while a node is down is gone from it once it is back, however it learns.

The node either goes on in the log of the metadata, or is sent a snapshot, since the others have let
go of what it lacks. Its own start knows nothing: it keeps no snapshot, and its log's entries count
only once somebody says that they are committed.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest

from api.node.cluster_node import ClusterNode
from cluster.controller.image import Standing, TopicImage
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.raft_quorum import RaftQuorum
from logstore.paths import PARTITIONS, partition_directory
from model.errors import RequestError
from model.ids import NodeId, PartitionId
from model.limits import REMOVALS_AWAITED_MAX
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes, ids

TOPIC: Final = "orders"
AWAY: Final = 3
SOON: Final = ("cluster.quorum_snapshot_entries=1", "cluster.quorum_file_bytes=1KiB")


@pytest.fixture(params=["log", "snapshot"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Three nodes, of which the last one learns by the log or by a snapshot."""
    made = Nodes(3, settings={1: SOON, 2: SOON} if request.param == "snapshot" else {})
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def quorum_of(life: Life) -> RaftQuorum:
    member = life.node._membership
    assert isinstance(member, ClusterNode)
    assert member._raft is not None
    return member._raft


def directories(nodes: Nodes, topic: TopicImage, *, at: int) -> list[str]:
    """Return what the disk of a node still has of a topic."""
    prefix = partition_directory(PartitionId(topic.topic_id, 0)).rpartition("/")[2][:-1]
    return [name for name in nodes.disks[at].list(PARTITIONS) if name.startswith(prefix)]


async def fenced(nodes: Nodes) -> None:
    """Kill a node, and wait until the others know."""
    await nodes.kill(AWAY)
    life = nodes.lives[1]
    await nodes.until(lambda: life.image.brokers[NodeId(AWAY)].standing is Standing.FENCED)


async def deleted(nodes: Nodes, topic: TopicImage) -> None:
    """Delete a topic, and wait until only the node that is away is waited for, with it alone."""
    broker = nodes.lives[1].node.broker
    (answer,) = await nodes.done(broker.delete_topics(ANONYMOUS, [DeleteTopic(name=topic.name)]))
    assert not isinstance(answer, RequestError)
    await nodes.until(
        lambda: all(
            life.image.deleted == {topic.topic_id: {NodeId(AWAY)}} for life in nodes.lives.values()
        )
    )


async def gone_meanwhile(nodes: Nodes, *values: bytes) -> TopicImage:
    """Have a topic deleted while a node is down that has a replica of it."""
    topic = await nodes.create(1, TOPIC)
    await nodes.in_sync(TOPIC)
    for value in values:
        await nodes.produce(await nodes.leader(TOPIC), TOPIC, value)
    await nodes.until(lambda: directories(nodes, topic, at=AWAY) != [])
    last = quorum_of(nodes.lives[AWAY])._node.log.last_index
    await fenced(nodes)
    await deleted(nodes, topic)
    lives = list(nodes.lives.values())
    for number in range(20):  # so that what the node lacks lies well behind
        await nodes.create(1, f"t{number}", replicas=1)
    for life in lives:
        log = quorum_of(life)._node.log
        assert (log.snapshot is not None and log.snapshot.last_index > last) is bool(nodes.settings)
    assert directories(nodes, topic, at=AWAY) != []
    return topic


async def removed(nodes: Nodes, topic: TopicImage) -> None:
    """Wait until nobody waits for the node any more: then nothing of the topic is left there."""
    await nodes.until(lambda: all(not life.image.deleted for life in nodes.lives.values()))
    assert directories(nodes, topic, at=AWAY) == []
    assert nodes.lives[AWAY].node.stray == ()


@pytest.mark.parametrize("values", [(), (b"a",)], ids=["empty", "written"])
async def test_what_was_deleted_meanwhile_is_gone(nodes: Nodes, values: tuple[bytes, ...]) -> None:
    topic = await gone_meanwhile(nodes, *values)
    await nodes.start(AWAY)
    await removed(nodes, topic)


async def test_a_node_that_dies_between_learning_and_removing_removes_it_later(
    nodes: Nodes,
) -> None:
    topic = await gone_meanwhile(nodes, b"a")
    (life,) = await nodes.begin(AWAY)
    member = life.node._membership
    assert isinstance(member, ClusterNode)

    def knows() -> bool:
        return member._raft is not None and topic.topic_id in member._raft.image.deleted

    await nodes.until(knows)
    await nodes.kill(AWAY)
    assert directories(nodes, topic, at=AWAY) != []
    await nodes.start(AWAY)
    await removed(nodes, topic)


async def test_a_wiped_node_has_nothing_left_and_says_so(nodes: Nodes) -> None:
    topic = await gone_meanwhile(nodes, b"a")
    del nodes.disks[AWAY]
    await nodes.start(AWAY)
    await removed(nodes, topic)


async def test_a_topic_that_came_and_went_while_a_node_heard_nothing_is_not_waited_for_long(
    nodes: Nodes,
) -> None:
    """The node runs, and what it is told at last names a topic that it never hosted."""
    away, here = nodes.lives[AWAY], nodes.lives[1]
    away.host.cut = True
    brokers = here.node.broker
    await nodes.until(lambda: brokers.image.brokers[NodeId(AWAY)].standing is Standing.FENCED)
    request = CreateTopic(name=TOPIC, assignments=(ids(1, AWAY),))
    (topic,) = await nodes.done(brokers.create_topics(ANONYMOUS, [request]))
    assert isinstance(topic, TopicImage)
    (answer,) = await nodes.done(brokers.delete_topics(ANONYMOUS, [DeleteTopic(name=TOPIC)]))
    assert not isinstance(answer, RequestError)
    await nodes.until(lambda: here.image.deleted == {topic.topic_id: {NodeId(AWAY)}})
    away.host.cut = False
    await nodes.until(lambda: not here.image.deleted)
    assert directories(nodes, topic, at=AWAY) == []


async def test_what_is_given_up_stays_on_the_disk_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody remembers that it was deleted: and what nobody knows is never removed (P46)."""
    few = replace(REMOVALS_AWAITED_MAX, value=1)
    monkeypatch.setattr("cluster.controller.deleted_topics.REMOVALS_AWAITED_MAX", few)
    nodes = Nodes(3, settings={1: SOON, 2: SOON})
    try:
        await nodes.start()
        topics = [await nodes.create(1, name) for name in ("older", "newer")]
        for topic in topics:
            await nodes.in_sync(topic.name)
            await nodes.produce(await nodes.leader(topic.name), topic.name, b"a")
        await fenced(nodes)
        older, newer = topics
        await deleted(nodes, older)
        await deleted(nodes, newer)
        for life in nodes.lives.values():
            told = [fields for event, fields in life.lines if event == "removals_given_up"]
            assert told == [{"broker": AWAY, "topics": 1}]
        for number in range(20):  # so that the node is sent a snapshot
            await nodes.create(1, f"t{number}", replicas=1)
        await nodes.start(AWAY)
        await nodes.until(lambda: all(not life.image.deleted for life in nodes.lives.values()))
        assert directories(nodes, newer, at=AWAY) == []
        assert directories(nodes, older, at=AWAY) != []
        back = nodes.lives[AWAY]
        assert back.node.stray == (PartitionId(older.topic_id, 0),)
        told = [fields for event, fields in back.lines if event == "partition_stray"]
        assert told == [{"topic_id": older.topic_id.hex(), "partition": 0}]
    finally:
        await nodes.close()
