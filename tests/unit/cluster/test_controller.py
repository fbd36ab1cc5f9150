"""The controller's decisions, told as scripts; each command is decided, replayed and frozen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.brokers import RegisterBroker
from cluster.controller.election import Roster, led_by, recovered_heir
from cluster.controller.image import (
    LogEnd,
    MetadataDelta,
    PartitionImage,
    Standing,
    TopicImage,
    Unclean,
)
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from cluster.controller.records import (
    BrokerRemoved,
    BrokerStandingChanged,
    FeatureLevelRaised,
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
)
from cluster.controller.request import Request
from cluster.controller.topics import CreateTopic, DeleteTopic
from model.errors import RequestError
from model.ids import (
    Index,
    LeaderEpoch,
    NodeId,
    Offset,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.limits import PARTITIONS_PER_NODE_MAX, TOPICS_MAX
from tests.controller_bench import Bench, CountingRand
from tests.datadriven import run_script


@pytest.mark.parametrize("script", ["topics", "cluster", "configs"])
def test_script(script: str, scripts: Path, rewrite: bool) -> None:
    bench = Bench()
    run_script(scripts / f"controller/{script}.txt", bench.execute, rewrite=rewrite)


def lone_node() -> Bench:
    bench = Bench()
    bench.decide(RegisterBroker(node=NodeId(0), directory=bytes(16), clean=True))
    return bench


def test_deciding_changes_nothing() -> None:
    bench = lone_node()
    bench.decide(CreateTopic(name="orders"))
    requests: list[Request[object]] = [
        CreateTopic(name="other"),
        DeleteTopic(name="orders"),
        AddPartitions(name="orders", partitions=4),
        AlterTopicConfig(name="orders", set={"retention.ms": "1"}),
        AllocateProducerIds(node=NodeId(0)),
        RegisterBroker(node=NodeId(0), directory=bytes(16), clean=False),
    ]
    for request in requests:
        assert bench.machine.handle(request, bench.circumstances).records
    image, delta = bench.machine.freeze(bench.image.applied)
    assert image == bench.image
    assert delta == MetadataDelta()


def test_an_image_stays_as_it_was_and_shares_what_did_not_change() -> None:
    bench = lone_node()
    bench.decide(CreateTopic(name="orders"))
    before = bench.image
    bench.decide(CreateTopic(name="other"))
    assert list(before.topics) == ["orders"]
    assert bench.image.topics["orders"] is before.topics["orders"]  # type: ignore[index]
    assert bench.image.brokers is before.brokers
    bench.decide(AllocateProducerIds(node=NodeId(0)))
    assert bench.image.topics_by_id is not before.topics_by_id
    again = bench.image
    bench.decide(AllocateProducerIds(node=NodeId(0)))
    assert bench.image.topics is again.topics


def test_what_comes_and_goes_in_one_round_is_in_no_delta() -> None:
    bench = lone_node()
    for request in (CreateTopic(name="orders"), DeleteTopic(name="orders")):
        for record in bench.machine.handle(request, bench.circumstances).records:
            bench.machine.replay(record)
    image, delta = bench.machine.freeze(Index(9))
    assert delta == MetadataDelta()
    assert len(image.deleted) == 1


def test_a_topic_id_is_never_one_that_was_seen_nor_all_zeros() -> None:
    bench = lone_node()
    drawn = [bytes(16), bytes([7] * 16), bytes([7] * 16), bytes([8] * 16), bytes([9] * 16)]

    class Repeating(CountingRand):
        def randbytes(self, size: int, /) -> bytes:
            return drawn.pop(0)

    bench.circumstances = replace(bench.circumstances, rand=Repeating())
    first, _ = bench.decide(CreateTopic(name="a"))
    bench.decide(DeleteTopic(name="a"))
    second, _ = bench.decide(CreateTopic(name="b"))
    assert isinstance(first, TopicImage)
    assert isinstance(second, TopicImage)
    assert (first.topic_id[0], second.topic_id[0]) == (7, 8)


def test_there_is_an_end_to_topics_and_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = lone_node()
    bench.decide(CreateTopic(name="a", partitions=6))
    few = replace(PARTITIONS_PER_NODE_MAX, value=10)
    monkeypatch.setattr("cluster.controller.partitions.PARTITIONS_PER_NODE_MAX", few)
    with pytest.raises(RequestError, match="LIMIT_EXCEEDED: broker 0 would hold 11 partitions"):
        bench.decide(CreateTopic(name="b", partitions=5))
    with pytest.raises(RequestError, match="LIMIT_EXCEEDED: broker 0 would hold 11 partitions"):
        bench.decide(AddPartitions(name="a", partitions=11))
    bench.decide(CreateTopic(name="b", partitions=4))
    bench.decide(DeleteTopic(name="a"))
    bench.decide(CreateTopic(name="c", partitions=6))
    monkeypatch.setattr("cluster.controller.topics.TOPICS_MAX", replace(TOPICS_MAX, value=2))
    with pytest.raises(RequestError, match="LIMIT_EXCEEDED: the cluster has 2 topics"):
        bench.decide(CreateTopic(name="d"))


def test_producer_ids_end_before_they_turn() -> None:
    bench = lone_node()
    last = ProducerId((1 << 63) - 1_500)
    bench.machine.replay(ProducerIdsAllocated(node=NodeId(0), first=last, count=100))
    block, _ = bench.decide(AllocateProducerIds(node=NodeId(0)))
    assert block == ProducerIds(ProducerId(last + 100), 1_000)
    with pytest.raises(RequestError, match="LIMIT_EXCEEDED"):
        bench.decide(AllocateProducerIds(node=NodeId(0)))


def replays_of_a_bug(topic: TopicImage) -> dict[str, list[object]]:
    again = TopicCreated(
        topic_id=topic.topic_id,
        name=topic.name,
        kind=topic.kind,
        internal=False,
        created_at=WallMs(0),
        config_version=0,
        config={},
        partitions=topic.partitions,
    )
    row = topic.partitions[0]._replace(partition_epoch=1)
    nobody, stranger = NodeId(5), NodeId(7)

    def changed(*rows: PartitionImage) -> list[object]:
        return [PartitionsChanged(topic_id=topic.topic_id, partitions=(one,)) for one in rows]

    absent = TopicId(bytes(16))
    fenced = BrokerStandingChanged(
        node=NodeId(0), registration_epoch=RegistrationEpoch(9), standing=Standing.FENCED
    )
    return {
        "METADATA_NAME_IS_FREE": [again],
        "METADATA_TOPIC_EXISTS": [TopicConfigured(topic_id=absent, config_version=1, config={})],
        "METADATA_PARTITIONS_NUMBERED": [
            PartitionsAdded(topic_id=topic.topic_id, partitions=topic.partitions)
        ],
        "METADATA_EPOCH_NEVER_FALLS": changed(row._replace(leader_epoch=LeaderEpoch(-1))),
        "METADATA_ROW_MOVES_ON": changed(topic.partitions[0]),
        "METADATA_ROW_IS_WHOLE": changed(
            row._replace(leader=stranger),
            row._replace(isr=(*row.isr, stranger)),
            row._replace(elr=row.isr),
            row._replace(unclean=(Unclean(NodeId(0)),)),
        ),
        "ONE_LEADER_PER_EPOCH": changed(
            row._replace(leader=nobody, isr=(nobody,), replicas=(NodeId(0), nobody))
        ),
        "METADATA_BROKER_EXISTS": [
            fenced,
            replace(fenced, node=stranger),
            BrokerRemoved(node=stranger),
        ],
        "FEATURE_LEVEL_NEVER_FALLS": [FeatureLevelRaised(level=0)],
        "PRODUCER_ID_ONCE": [
            ProducerIdsAllocated(node=NodeId(0), first=ProducerId(999), count=1_000)
        ],
    }


@pytest.mark.parametrize(
    "invariant",
    [
        "METADATA_NAME_IS_FREE",
        "METADATA_TOPIC_EXISTS",
        "METADATA_PARTITIONS_NUMBERED",
        "METADATA_EPOCH_NEVER_FALLS",
        "METADATA_ROW_MOVES_ON",
        "METADATA_ROW_IS_WHOLE",
        "METADATA_BROKER_EXISTS",
        "ONE_LEADER_PER_EPOCH",
        "FEATURE_LEVEL_NEVER_FALLS",
        "PRODUCER_ID_ONCE",
    ],
)
def test_a_log_that_contradicts_itself_is_a_bug(invariant: str) -> None:
    bench = lone_node()
    topic, _ = bench.decide(CreateTopic(name="orders"))
    bench.decide(AllocateProducerIds(node=NodeId(0)))
    assert isinstance(topic, TopicImage)
    replay: Callable[[object], None] = bench.machine.replay  # type: ignore[assignment]
    for record in replays_of_a_bug(topic)[invariant]:
        with pytest.raises(AssertionError, match=invariant):
            replay(record)


def test_an_election_of_nobodys_candidate_is_a_bug() -> None:
    row = PartitionImage(0, NodeId(1), LeaderEpoch(0), (NodeId(1), NodeId(2)), (NodeId(1),))
    up = frozenset({NodeId(1)})
    with pytest.raises(AssertionError, match="ELECTION_OF_A_CANDIDATE"):
        led_by(row, NodeId(2), Roster(up | {NodeId(2)}, frozenset(), up), k=1)
    with pytest.raises(AssertionError, match="ELECTION_OF_A_CANDIDATE"):
        led_by(row._replace(elr=(NodeId(2),)), NodeId(2), Roster(up, frozenset(), up), k=1)


def test_a_mark_that_is_not_on_a_candidate_is_a_bug_before_it_decides_an_election() -> None:
    nodes = (NodeId(1), NodeId(2), NodeId(3))
    end = LogEnd(LeaderEpoch(0), Offset(9))
    row = PartitionImage(
        0,
        None,
        LeaderEpoch(0),
        nodes,
        (),
        nodes[:2],
        unclean=tuple(Unclean(node, end) for node in nodes),
    )
    with pytest.raises(AssertionError, match="RECOVERY_ELECTION_WAITS_FOR_ALL"):
        recovered_heir(row, Roster(frozenset(nodes), frozenset(), frozenset(nodes)))


def test_many_topics_share_their_settings() -> None:
    bench = lone_node()
    bench.circumstances = replace(bench.circumstances, rand=Random(1))
    for name in range(50):
        bench.decide(CreateTopic(name=f"t{name}", config={"retention.ms": str(name % 2)}))
    assert len({id(topic.settings) for topic in bench.image.topics.values()}) == 2
