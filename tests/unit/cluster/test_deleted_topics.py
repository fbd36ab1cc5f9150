"""A deleted topic's id is remembered until every node that had replicas says that they are gone.

Of a node that stays away only the newest ones are: `REMOVALS_AWAITED_MAX`, each node by itself.
"""

import struct
from dataclasses import replace
from random import Random

import pytest

from cluster.controller.brokers import RegisterBroker
from cluster.controller.codec import decode, encode
from cluster.controller.deleted_topics import DeletedTopics, GivenUp
from cluster.controller.image import MetadataDelta, MetadataImage, Standing, TopicImage
from cluster.controller.machine import ControllerMachine
from cluster.controller.snapshot import snapshot
from cluster.controller.standing import RemoveBroker, SetStanding
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from model.errors import ErrorCode, RequestError
from model.ids import Index, NodeId, TopicId
from model.limits import REMOVALS_AWAITED_MAX
from tests.controller_bench import Bench

NODES = tuple(NodeId(number) for number in (1, 2, 3, 4))
HOLDERS = NODES[:3]
LIMIT = "cluster.controller.deleted_topics.REMOVALS_AWAITED_MAX"
AWAY = HOLDERS[2]
ITS_WAIT = frozenset({AWAY})


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    for node in NODES:
        made.decide(RegisterBroker(node=node, directory=bytes([node] * 16), clean=True))
    return made


def made_topic(bench: Bench) -> TopicImage:
    """Return a topic of two partitions on three nodes of four."""
    answer, _ = bench.decide(CreateTopic(name="orders", assignments=(HOLDERS[:2], HOLDERS[1:])))
    assert isinstance(answer, TopicImage)
    return answer


def deleted(bench: Bench) -> TopicId:
    topic = made_topic(bench)
    bench.decide(DeleteTopic(name="orders"))
    return topic.topic_id


def missed(bench: Bench, *, by: NodeId = AWAY) -> tuple[TopicId, MetadataDelta]:
    """Delete a topic that all but one holder remove; return what is told of the deletion."""
    topic = made_topic(bench)
    _, delta = bench.decide(DeleteTopic(name="orders"))
    for node in HOLDERS:
        if node != by:
            bench.decide(TopicRemoved(topic_id=topic.topic_id, node=node))
    return topic.topic_id, delta


def restored(payload: bytes) -> MetadataImage:
    machine = ControllerMachine({})
    for record in decode(payload):
        machine.replay(record)
    image, _ = machine.freeze(Index(1))
    return image


def first_layout(kind: int, topic_id: TopicId) -> bytes:
    """Return a record as the release wrote it that named no node."""
    return struct.pack(">IBB", 22, kind, 1) + topic_id


def test_each_node_that_had_replicas_is_waited_for(bench: Bench) -> None:
    gone = deleted(bench)
    left = set(HOLDERS)
    assert bench.image.deleted == {gone: left}
    for node in (HOLDERS[1], HOLDERS[1], NODES[3], HOLDERS[0]):
        bench.decide(TopicRemoved(topic_id=gone, node=node))
        left -= {node}
        assert bench.image.deleted == {gone: left}
        assert restored(encode(snapshot(bench.image))).deleted == {gone: left}
    bench.decide(TopicRemoved(topic_id=gone, node=HOLDERS[2]))
    assert bench.image.deleted == {}
    assert restored(encode(snapshot(bench.image))).deleted == {}


def test_who_is_removed_from_the_cluster_is_waited_for_no_more(bench: Bench) -> None:
    gone = deleted(bench)
    for node in HOLDERS[:2]:
        bench.decide(TopicRemoved(topic_id=gone, node=node))
    epoch = bench.image.brokers[HOLDERS[2]].registration_epoch
    bench.decide(SetStanding(nodes=((HOLDERS[2], epoch),), standing=Standing.FENCED))
    assert bench.image.deleted == {gone: {HOLDERS[2]}}
    bench.decide(RemoveBroker(node=HOLDERS[2]))
    assert bench.image.deleted == {}


def test_a_topic_that_is_there_is_not_told_gone(bench: Bench) -> None:
    topic = made_topic(bench)
    with pytest.raises(RequestError) as refused:
        bench.decide(TopicRemoved(topic_id=topic.topic_id, node=HOLDERS[0]))
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_a_record_that_names_no_node_means_those_that_had_replicas(bench: Bench) -> None:
    topic = made_topic(bench)
    log = encode(snapshot(bench.image)) + first_layout(7, topic.topic_id)
    assert restored(log).deleted == {topic.topic_id: set(HOLDERS)}
    assert restored(log + first_layout(8, topic.topic_id)).deleted == {}


def test_a_snapshot_that_names_no_node_means_every_broker(bench: Bench) -> None:
    """Who had replicas is not known any more; whoever had none says so at once."""
    gone = TopicId(bytes(range(16)))
    log = encode(snapshot(bench.image)) + first_layout(7, gone)
    assert restored(log).deleted == {gone: set(NODES)}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three removals be awaited of a node, no more."""
    monkeypatch.setattr(LIMIT, replace(REMOVALS_AWAITED_MAX, value=3))


@pytest.mark.usefixtures("few")
def test_of_a_node_that_stays_away_the_oldest_are_given_up(bench: Bench) -> None:
    gone = []
    for _ in range(3):
        topic_id, delta = missed(bench)
        gone.append(topic_id)
        assert delta.given_up == ()
    for _ in range(3):
        topic_id, delta = missed(bench)
        gone.append(topic_id)
        assert delta.given_up == (GivenUp(AWAY, gone[-4]),)
        assert bench.image.deleted == dict.fromkeys(gone[-3:], ITS_WAIT)
        assert list(bench.image.deleted) == gone[-3:]
    _, delta = bench.decide(TopicRemoved(topic_id=gone[-2], node=AWAY))
    assert delta.given_up == ()
    assert bench.image.deleted == dict.fromkeys((gone[-3], gone[-1]), ITS_WAIT)
    topic_id, delta = missed(bench)
    assert delta.given_up == ()
    assert bench.image.deleted == dict.fromkeys((gone[-3], gone[-1], topic_id), ITS_WAIT)


@pytest.mark.usefixtures("few")
def test_what_one_node_misses_counts_against_no_other(bench: Bench) -> None:
    """A node that is only started again is waited for with all that it missed meanwhile."""
    back_soon = HOLDERS[0]
    both = deleted(bench)
    bench.decide(TopicRemoved(topic_id=both, node=HOLDERS[1]))
    given_up = [missed(bench)[1].given_up for _ in range(5)]
    assert given_up == [(), (), *((GivenUp(AWAY, one.topic_id),) for (one,) in given_up[2:])]
    assert bench.image.deleted[both] == {back_soon}
    assert list(bench.image.deleted.of(back_soon)) == [both]
    assert len(bench.image.deleted.of(AWAY)) == 3


@pytest.mark.usefixtures("few")
def test_a_controller_that_was_sent_a_snapshot_gives_up_the_same(bench: Bench) -> None:
    """Ids are random, and what is oldest is not told by them: a snapshot is in order."""
    bench.circumstances = replace(bench.circumstances, rand=Random(3))
    for _ in range(4):
        missed(bench)
    other = ControllerMachine({})
    for record in decode(encode(snapshot(bench.image))):
        other.replay(record)
    other.freeze(bench.image.applied)
    known = len(bench.log)
    for _ in range(4):
        _, delta = missed(bench)
        for record in decode(b"".join(bench.log[known:])):
            other.replay(record)
        known = len(bench.log)
        image, its_delta = other.freeze(bench.image.applied)
        assert its_delta.given_up == delta.given_up != ()
        assert list(image.deleted.items()) == list(bench.image.deleted.items())


def test_a_deletion_beside_ten_thousand_others_copies_next_to_nothing_of_them() -> None:
    """Of 64 parts of what is remembered of a node one is made anew, or two where one is given up.

    So a thousand deletions take a thousand small steps, however many others are remembered.
    """
    draw = Random(1)
    topics = [TopicId(draw.randbytes(16)) for _ in range(REMOVALS_AWAITED_MAX.value + 100)]
    deleted_topics = DeletedTopics()
    for number, topic_id in enumerate(topics):
        before = deleted_topics.of(AWAY)._shards
        deleted_topics, given_up = deleted_topics.deleted(topic_id, {AWAY})
        after = deleted_topics.of(AWAY)._shards
        changed = [new for old, new in zip(before, after, strict=True) if new is not old]
        assert len(given_up) == (number >= REMOVALS_AWAITED_MAX.value)
        assert 1 <= len(changed) <= 1 + len(given_up)
        assert max(map(len, changed)) < 300
    before = deleted_topics.of(AWAY)._shards
    after = deleted_topics.removed(topics[-1], HOLDERS).of(AWAY)._shards
    assert sum(new is not old for old, new in zip(before, after, strict=True)) == 1
    assert list(deleted_topics.of(AWAY)) == topics[100:]
