"""A metadata machine on a bench: each command is decided, replayed through its bytes, and frozen.

After every decision the invariants of the rows are checked, and that a snapshot brings an empty
machine to the same image.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.codec import decode, encode
from cluster.controller.configs import TopicKind
from cluster.controller.election import awaited, roster_of, settled
from cluster.controller.feature_level import RaiseFeatureLevel
from cluster.controller.image import (
    EMPTY,
    NO_INCARNATION,
    Endpoint,
    FeatureLevels,
    LogEnd,
    MetadataDelta,
    MetadataImage,
    PartitionImage,
    Standing,
    TopicImage,
)
from cluster.controller.isr import (
    AlterIsr,
    AnswerForUnclean,
    IsrProposal,
    RowVersion,
)
from cluster.controller.leadership import (
    ElectPreferred,
    ElectUnclean,
    RecoveredLog,
    TellRecovered,
    TransferLeader,
)
from cluster.controller.machine import ControllerMachine
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds
from cluster.controller.request import Circumstances, Request
from cluster.controller.snapshot import snapshot
from cluster.controller.standing import RemoveBroker, SetStanding
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from model.errors import RequestError
from model.ids import Index, LeaderEpoch, NodeId, Offset, RegistrationEpoch, TopicId, WallMs
from tests.controller_shown import changes, shown
from tests.datadriven import Command


class CountingRand:
    """Ids that a script can tell apart: 1, 2, 3, ... in 16 bytes."""

    def __init__(self) -> None:
        self.made = 0

    def randrange(self, stop: int, /) -> int:
        return stop - 1

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
        self.log: list[bytes] = []

    def decide(self, request: Request[object]) -> tuple[object, MetadataDelta]:
        result = self.machine.handle(request, self.circumstances)
        before = self.image
        self.log.append(encode(result.records))
        for record in decode(self.log[-1]):
            self.machine.replay(record)
        self.index += 1
        self.image, delta = self.machine.freeze(Index(self.index))
        check_changes(before, self.image)
        check_image(self.image)
        return result.response, delta

    def execute(self, command: Command) -> str:
        if command.name == "show":
            return self.shown_in_full(command.arguments["name"])
        if command.name == "live":
            nodes = frozenset(node_list(command.arguments["nodes"]))
            self.circumstances = replace(self.circumstances, live=nodes)
            return ""
        try:
            response, delta = self.decide(self.request(command))
        except RequestError as refused:
            return f"{refused.code.name}: {refused.detail}"
        if isinstance(response, TopicImage):
            self.etag = response.etag
        return "\n".join([shown(response), *changes(delta)])

    def request(self, command: Command) -> Request[object]:
        given = command.arguments
        return {**self.topic_requests(given), **self.cluster_requests(given)}[command.name]()

    def topic_requests(self, given: dict[str, str]) -> dict[str, Callable[[], Request[object]]]:
        return {
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
            "removed": lambda: TopicRemoved(
                topic_id=topic_id(given["id"]), node=NodeId(int(given["node"]))
            ),
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

    def cluster_requests(self, given: dict[str, str]) -> dict[str, Callable[[], Request[object]]]:
        return {
            "form": lambda: FormCluster(cluster_id=given["id"]),
            "register": lambda: self.registration(given),
            "stand": lambda: SetStanding(
                nodes=tuple((n, self.epoch_of(n, given)) for n in node_list(given["nodes"])),
                standing=Standing[given["as"].upper()],
            ),
            "remove": lambda: RemoveBroker(node=NodeId(int(given["node"]))),
            "level": lambda: RaiseFeatureLevel(
                level=int(given["to"]), validate_only="dry" in given
            ),
            "isr": lambda: self.isr_change(given),
            "answer": lambda: AnswerForUnclean(
                leader=(leader := NodeId(int(given["leader"]))),
                registration_epoch=self.epoch_of(leader, given),
                rows=tuple(self.version(at, given) for at in given["at"].split(",")),
            ),
            "tell": lambda: self.recovered(given),
            "transfer": lambda: TransferLeader(
                topic=place(given)[0],
                number=place(given)[1],
                to=NodeId(int(given["to"])),
                validate_only="dry" in given,
            ),
            "unclean": lambda: ElectUnclean(
                topic=place(given)[0],
                number=place(given)[1],
                replica=NodeId(int(given["replica"])),
                validate_only="dry" in given,
            ),
            "preferred": ElectPreferred,
        }

    def registration(self, given: dict[str, str]) -> RegisterBroker:
        """Return a registration; without `remembered` the directory's next epoch is right."""
        node = NodeId(int(given["node"]))
        remembered = number(given, "remembered")
        host = given.get("host")
        return RegisterBroker(
            node=node,
            directory=bytes.fromhex(given.get("directory", f"{node:02x}" * 16)),
            clean=given.get("clean", "yes") == "yes",
            endpoints=() if host is None else (Endpoint("peer", host, 9093),),
            rack=given.get("rack"),
            version=given.get("version", ""),
            cluster_id=given.get("cluster"),
            remembered=None if remembered is None else RegistrationEpoch(remembered),
            incarnation=bytes.fromhex(given["process"] * 16) if "process" in given
            else NO_INCARNATION,
            levels=FeatureLevels(*map(int, given.get("levels", "1-1").split("-"))),
        )  # fmt: skip

    def isr_change(self, given: dict[str, str]) -> AlterIsr:
        leader = NodeId(int(given["leader"]))
        followers = node_list(given.get("with", ""))
        return AlterIsr(
            leader=leader,
            registration_epoch=self.epoch_of(leader, given),
            rows=tuple(
                IsrProposal(
                    self.version(at, given),
                    tuple((node, self.epoch_of(node, given, f"of{node}")) for node in followers),
                )
                for at in given["at"].split(",")
            ),
        )

    def recovered(self, given: dict[str, str]) -> TellRecovered:
        node = NodeId(int(given["node"]))
        version = self.version(given["at"], given)
        last_epoch, log_end = map(int, given["end"].split(":"))
        end = LogEnd(LeaderEpoch(last_epoch), Offset(log_end))
        log = RecoveredLog(version.topic_id, version.number, version.leader_epoch, end)
        epoch = self.epoch_of(node, given)
        return TellRecovered(node=node, registration_epoch=epoch, logs=(log,))

    def version(self, at: str, given: dict[str, str]) -> RowVersion:
        """Return a row's version as it is, or as the command says."""
        name, _, partition = at.partition("/")
        topic = self.image.topics.get(name)  # type: ignore[call-overload]
        if topic is None or int(partition) >= len(topic.partitions):
            return RowVersion(topic_id("999"), int(partition), LeaderEpoch(0), 0)
        row = topic.partitions[int(partition)]
        return RowVersion(
            topic.topic_id,
            row.number,
            LeaderEpoch(int(given.get("epoch", row.leader_epoch))),
            int(given.get("version", row.partition_epoch)),
        )

    def epoch_of(
        self, node: NodeId, given: dict[str, str], key: str = "registration"
    ) -> RegistrationEpoch:
        broker = self.image.brokers.get(node)
        known = 0 if broker is None else broker.registration_epoch
        return RegistrationEpoch(int(given.get(key, known)))

    def row(self, name: str, partition: int = 0) -> PartitionImage:
        return self.image.topics[name].partitions[partition]  # type: ignore[index]

    def shown_in_full(self, name: str) -> str:
        """Print a topic's rows, and for whom those without a leader wait."""
        roster = roster_of(self.image.brokers)
        lines = []
        for row in self.image.topics[name].partitions:  # type: ignore[index]
            waits = ", ".join(
                f"{one.node} ({one.need.value}, {'clean' if one.clean else 'unclean'})"
                for one in awaited(row, roster)
            )
            lines.append(shown(row) + (f" waits for {waits}" if waits else ""))
        return "\n".join(lines)


def check_image(image: MetadataImage) -> None:
    """Hold an image against what is true of every one."""
    roster = roster_of(image.brokers)
    for topic in image.topics.values():
        k = topic.settings.min_insync_replicas
        for row in topic.partitions:
            assert settled(row, roster, k) == row, f"NOT_SETTLED: {topic.name} {row}"
            members = {*row.isr, *row.elr}
            assert members <= set(row.replicas), "ISR_AND_ELR_ARE_REPLICAS"
            assert not set(row.isr) & set(row.elr), "ISR_AND_ELR_ARE_APART"
            assert row.leader is None or row.leader in row.isr, "LEADER_IS_IN_SYNC"
            assert row.leader is None or set(row.isr) <= roster.up, "ISR_IS_UP_WHILE_LED"
            assert row.marked <= set(row.elr), "MARKS_ARE_ON_THE_ELR"
    restored = ControllerMachine({})
    for record in decode(encode(snapshot(image))):
        restored.replay(record)
    again, _ = restored.freeze(image.applied)
    assert again == image, "SNAPSHOT_IS_THE_IMAGE"


def check_changes(before: MetadataImage, after: MetadataImage) -> None:
    """Hold two images in a row against each other."""
    for topic_id_, topic in after.topics_by_id.items():
        was = before.topics_by_id.get(topic_id_)
        for old, new in zip(was.partitions if was else (), topic.partitions, strict=False):
            assert new.leader_epoch - old.leader_epoch in {0, 1}, "EPOCHS_RISE_BY_ONE"
            assert new.partition_epoch - old.partition_epoch == (new != old), "VERSIONS_COUNT"
            if new.leader_epoch == old.leader_epoch:
                assert new.leader in {old.leader, None}, "ONE_LEADER_PER_EPOCH"
                continue
            assert new.leader is not None, "AN_EPOCH_HAS_A_LEADER"
            if new.lossy_epoch != new.leader_epoch:
                assert new.leader in old.candidates, "LEADERS_COME_FROM_ISR_AND_ELR"


def node_list(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(int(node)) for node in text.split("+") if node)


def command(text: str) -> Command:
    name, *words = text.split()
    return Command(name, dict(word.split("=", 1) for word in words))


def place(given: dict[str, str]) -> tuple[str, int]:
    name, _, partition = given["at"].partition("/")
    return name, int(partition)


def number(given: dict[str, str], key: str) -> int | None:
    return int(given[key]) if key in given else None


def pairs(text: str) -> dict[str, str]:
    return dict((word.split(":", 1)[0], word.split(":", 1)[1]) for word in text.split(",") if word)


def assignments(text: str | None) -> tuple[tuple[NodeId, ...], ...] | None:
    if text is None:
        return None
    return tuple(node_list(row) for row in text.split("/"))


def topic_id(text: str) -> TopicId:
    return TopicId(int(text).to_bytes(16, "big"))


@dataclass
class Cluster:
    """Nodes 1 to `size` on a bench, registered, with a topic `orders` on all of them."""

    size: int = 3
    partitions: int = 1
    config: str = ""

    def bench(self) -> Bench:
        bench = Bench()
        for node in range(1, self.size + 1):
            bench.decide(bench.registration({"node": str(node)}))
        row = tuple(NodeId(node) for node in range(1, self.size + 1))
        bench.decide(
            CreateTopic(
                name="orders", assignments=(row,) * self.partitions, config=pairs(self.config)
            )
        )
        return bench
