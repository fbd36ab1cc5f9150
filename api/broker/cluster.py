"""The map of the cluster as this node knows it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from cluster.controller.image import BrokerImage, PartitionImage, TopicImage
from model.ids import Index, NodeId, WallMs
from model.principal import Principal

Place = tuple[str, int]
"""A topic's name and a partition's number."""
FEATURE_LEVEL: Final = 1
"""Of everything that this program writes to disk and wire; there is no other yet (P66)."""
DAMAGE_TOLD_MAX: Final = 10


class BrokerRow(NamedTuple):
    """One broker and what it carries."""

    broker: BrokerImage
    endpoints: Mapping[str, str]
    leaders: int
    replicas: int
    disk: tuple[int, int] | None
    """Bytes of its segments, and of the file system; None: only that node knows."""
    started: WallMs | None
    """When it began to serve; None: only that node knows."""


class ClusterMap(NamedTuple):
    """Brokers, and which partitions are not as they should be."""

    cluster_id: str
    controller: NodeId | None
    """None: nobody is known to lead the quorum."""
    answers: NodeId
    """The node whose view this is."""
    brokers: Sequence[BrokerRow]
    applied: Index
    leaderless: Sequence[Place]
    under_replicated: Sequence[Place]
    under_min_isr: Sequence[Place]
    offline: str | None
    """What took this node's log directory offline; None while it works."""
    damage: Sequence[str]
    """Places on this node's disk that cannot be read."""


class Cluster:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext) -> None:
        """Look at this node's image."""
        self._node = context
        self._started = context.clock.wall_ms()

    def __call__(
        self, principal: Principal, endpoints: Mapping[str, tuple[str, int]]
    ) -> ClusterMap:
        """Return the map. `endpoints`: where this node's own doors are, by listener."""
        del principal
        image = self._node.quorum.image
        partitions = [(topic, one) for topic in image.topics.values() for one in topic.partitions]
        leaders = Counter(one.leader for _, one in partitions)
        replicas = Counter(node for _, one in partitions for node in one.replicas)
        here = {name: _address(*place) for name, place in endpoints.items()}
        failed = self._node.directory.offline
        return ClusterMap(
            cluster_id=image.cluster_id,
            controller=self._controller(),
            answers=self._node.node,
            brokers=[
                BrokerRow(
                    broker,
                    {end.listener: _address(end.host, end.port) for end in broker.endpoints}
                    | (here if node == self._node.node else {}),
                    leaders[node],
                    replicas[node],
                    self._disk() if node == self._node.node else None,
                    self._started if node == self._node.node else None,
                )
                for node, broker in sorted(image.brokers.items())
            ],
            applied=image.applied,
            leaderless=[_place(*at) for at in partitions if at[1].leader is None],
            under_replicated=[
                _place(*at) for at in partitions if len(at[1].isr) < len(at[1].replicas)
            ],
            under_min_isr=[
                _place(*at)
                for at in partitions
                if len(at[1].isr) < at[0].settings.min_insync_replicas
            ],
            offline=None if failed is None else str(failed),
            damage=[str(place) for place in self._node.damage.places[:DAMAGE_TOLD_MAX]],
        )

    def _controller(self) -> NodeId | None:
        asked = self._node.controller
        return self._node.node if asked is None else asked()

    def _disk(self) -> tuple[int, int]:
        used = sum(one.log.size_bytes for one in self._node.partitions)
        return used, self._node.directory.disk_bytes


def _place(topic: TopicImage, partition: PartitionImage) -> Place:
    return topic.name, partition.number


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
