"""The controller's decisions, told as scripts; each command is decided, replayed and frozen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.codec import decode, encode
from cluster.controller.configs import TopicKind
from cluster.controller.image import EMPTY, MetadataDelta, TopicImage
from cluster.controller.machine import ControllerMachine, snapshot
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from cluster.controller.records import (
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
)
from cluster.controller.request import Circumstances, Request
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from model.errors import RequestError
from model.ids import Index, LeaderEpoch, NodeId, ProducerId, TopicId, WallMs
from model.limits import PARTITIONS_PER_NODE_MAX, TOPICS_MAX
from tests.datadriven import Command, run_script


class CountingRand:
    """Ids that a script can tell apart: 1, 2, 3, ... in 16 bytes."""

    def __init__(self) -> None:
        self.made = 0

    def randrange(self, stop: int, /) -> int:
        return 0

    def randbytes(self, size: int, /) -> bytes:
        self.made += 1
        return self.made.to_bytes(size, "big")


class Bench:
    """A machine with its log: every record passes through its bytes."""

    def __init__(self, defaults: dict[str, str] | None = None) -> None:
        self.machine = ControllerMachine(defaults or {})
        self.circumstances = Circumstances(now=WallMs(1_000), rand=CountingRand())
        self.index = 0
        self.image = EMPTY
        self.etag = ""

    def decide(self, request: Request[object]) -> tuple[object, MetadataDelta]:
        result = self.machine.handle(request, self.circumstances)
        for record in decode(encode(result.records)):
            self.machine.replay(record)
        self.index += 1
        self.image, delta = self.machine.freeze(Index(self.index))
        return result.response, delta

    def execute(self, command: Command) -> str:
        try:
            response, delta = self.decide(self.request(command))
        except RequestError as refused:
            return f"{refused.code.name}: {refused.detail}"
        if isinstance(response, TopicImage):
            self.etag = response.etag
        changes = [f"created {topic.name}" for topic in delta.created]
        changes += [f"changed {topic.name}" for topic in delta.changed]
        changes += [f"deleted {int.from_bytes(topic, 'big')}" for topic in delta.deleted]
        changes += [f"registered {broker.node}" for broker in delta.brokers]
        return "\n".join([shown(response), *changes])

    def request(self, command: Command) -> Request[object]:
        given = command.arguments
        requests: dict[str, Callable[[], Request[object]]] = {
            "form": lambda: FormCluster(cluster_id=given["id"]),
            "register": lambda: RegisterBroker(
                node=NodeId(int(given["node"])),
                directory=bytes.fromhex(given.get("directory", "00" * 16)),
                clean=given.get("clean", "yes") == "yes",
            ),
            "create": lambda: CreateTopic(
                name=given["name"],
                partitions=number(given, "partitions"),
                replication_factor=number(given, "replicas"),
                config=pairs(given.get("config", "")),
                kind=TopicKind(given["kind"]) if "kind" in given else None,
                assignments=assignments(given.get("on")),
                internal="internal" in given,
                validate_only="dry" in given,
            ),
            "delete": lambda: DeleteTopic(
                name=given.get("name"), topic_id=topic_id(given["id"]) if "id" in given else None
            ),
            "removed": lambda: TopicRemoved(topic_id=topic_id(given["id"])),
            "grow": lambda: AddPartitions(
                name=given["name"], partitions=int(given["to"]), validate_only="dry" in given
            ),
            "alter": lambda: AlterTopicConfig(
                name=given["name"],
                set=pairs(given.get("set", "")),
                unset=tuple(filter(None, given.get("unset", "").split(","))),
                etag=self.etag if given.get("etag") == "last" else given.get("etag"),
                validate_only="dry" in given,
            ),
            "producers": lambda: AllocateProducerIds(node=NodeId(int(given["node"]))),
        }
        return requests[command.name]()


def number(given: dict[str, str], key: str) -> int | None:
    return int(given[key]) if key in given else None


def pairs(text: str) -> dict[str, str]:
    return dict((word.split(":", 1)[0], word.split(":", 1)[1]) for word in text.split(",") if word)


def assignments(text: str | None) -> tuple[tuple[NodeId, ...], ...] | None:
    if text is None:
        return None
    rows = text.split("/")
    return tuple(tuple(NodeId(int(node)) for node in row.split("+") if node) for row in rows)


def topic_id(text: str) -> TopicId:
    return TopicId(int(text).to_bytes(16, "big"))


def shown(response: object) -> str:
    """Print a topic as `name id config partitions`, a partition as number:replicas@leader.epoch."""
    if not isinstance(response, TopicImage):
        return str(response)
    rows = [
        f"{row.number}:{'+'.join(map(str, row.replicas))}@{row.leader}.{row.leader_epoch}"
        for row in response.partitions
    ]
    said = ",".join(f"{key}:{value}" for key, value in sorted(response.config.items()))
    name = f"{response.name} id={int.from_bytes(response.topic_id, 'big')}"
    return f"{name} v{response.config_version} [{said}] {' '.join(rows)}"


@pytest.mark.parametrize("script", ["topics", "cluster", "configs"])
def test_script(script: str, scripts: Path, rewrite: bool) -> None:
    bench = Bench()
    run_script(scripts / f"controller/{script}.txt", bench.execute, rewrite=rewrite)
    restored = ControllerMachine({})
    for record in decode(encode(snapshot(bench.image))):
        restored.replay(record)
    image, _ = restored.freeze(bench.image.applied)
    assert image == bench.image


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


def replays_of_a_bug(topic: TopicImage) -> dict[str, object]:
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
    absent = TopicId(bytes(16))
    return {
        "METADATA_NAME_IS_FREE": again,
        "METADATA_TOPIC_EXISTS": TopicConfigured(topic_id=absent, config_version=1, config={}),
        "METADATA_PARTITIONS_NUMBERED": PartitionsAdded(
            topic_id=topic.topic_id, partitions=topic.partitions
        ),
        "METADATA_EPOCH_NEVER_FALLS": PartitionsChanged(
            topic_id=topic.topic_id,
            partitions=(topic.partitions[0]._replace(leader_epoch=LeaderEpoch(-1)),),
        ),
        "PRODUCER_ID_ONCE": ProducerIdsAllocated(
            node=NodeId(0), first=ProducerId(999), count=1_000
        ),
    }


@pytest.mark.parametrize(
    "invariant",
    [
        "METADATA_NAME_IS_FREE",
        "METADATA_TOPIC_EXISTS",
        "METADATA_PARTITIONS_NUMBERED",
        "METADATA_EPOCH_NEVER_FALLS",
        "PRODUCER_ID_ONCE",
    ],
)
def test_a_log_that_contradicts_itself_is_a_bug(invariant: str) -> None:
    bench = lone_node()
    topic, _ = bench.decide(CreateTopic(name="orders"))
    bench.decide(AllocateProducerIds(node=NodeId(0)))
    assert isinstance(topic, TopicImage)
    replay: Callable[[object], None] = bench.machine.replay  # type: ignore[assignment]
    with pytest.raises(AssertionError, match=invariant):
        replay(replays_of_a_bug(topic)[invariant])


def test_many_topics_share_their_settings() -> None:
    bench = lone_node()
    bench.circumstances = replace(bench.circumstances, rand=Random(1))
    for name in range(50):
        bench.decide(CreateTopic(name=f"t{name}", config={"retention.ms": str(name % 2)}))
    assert len({id(topic.settings) for topic in bench.image.topics.values()}) == 2
