"""A deleted topic's id is remembered until every node that had replicas says that they are gone."""

import struct

import pytest

from cluster.controller.brokers import RegisterBroker
from cluster.controller.codec import decode, encode
from cluster.controller.image import MetadataImage, Standing, TopicImage
from cluster.controller.machine import ControllerMachine
from cluster.controller.snapshot import snapshot
from cluster.controller.standing import RemoveBroker, SetStanding
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from model.errors import ErrorCode, RequestError
from model.ids import Index, NodeId, TopicId
from tests.controller_bench import Bench

NODES = tuple(NodeId(number) for number in (1, 2, 3, 4))
HOLDERS = NODES[:3]


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
