"""The map of the cluster as this node knows it."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from api.broker.health import PartitionFaults, Verdict, faults_of, verdict
from cluster.controller.feature_level import SUPPORTED
from cluster.controller.image import BrokerImage, Endpoint, MetadataImage
from model.ids import Index, NodeId, WallMs
from model.principal import Principal

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
    brokers: Sequence[BrokerRow]
    applied: Index
    health: Verdict
    feature_level: int
    """In force."""
    feature_level_max: int
    """The highest that every broker knows."""


class Cluster:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext) -> None:
        """Look at this node's image."""
        self._node = context
        self._started = context.clock.wall_ms()
        self._seen: tuple[MetadataImage, PartitionFaults] | None = None
        """What was looked at last: who watches asks again and again."""

    def __call__(
        self,
        principal: Principal,
        endpoints: Mapping[str, tuple[str, int]],
        others: Sequence[str] = (),
    ) -> ClusterMap:
        """Return the map.

        Args:
            principal: Who asks.
            endpoints: Where this node's own doors are, by listener.
            others: What is wrong on other nodes, as they have told.
        """
        del principal
        image = self._node.quorum.image
        faults = self._faults(image)
        controller = self._controller()
        here = {name: address_of(Endpoint(name, *at)) for name, at in endpoints.items()}
        brokers = [
            BrokerRow(
                broker,
                {end.listener: address_of(end) for end in broker.endpoints}
                | (here if node == self._node.node else {}),
                faults.leaders.get(node, 0),
                faults.replicas.get(node, 0),
                self._disk() if node == self._node.node else None,
                self._started if node == self._node.node else None,
            )
            for node, broker in sorted(image.brokers.items())
        ]
        levels = [row.broker.levels.greatest for row in brokers]
        return ClusterMap(
            cluster_id=image.cluster_id,
            controller=controller,
            brokers=brokers,
            applied=image.applied,
            health=verdict(
                image,
                self._node.quorum.status,
                faults,
                controller=controller,
                own=(*self.own_troubles(), *others),
            ),
            feature_level=image.feature_level,
            feature_level_max=min(levels, default=SUPPORTED.greatest),
        )

    def own_troubles(self) -> list[str]:
        """Return what is wrong with this node's own disk, and what it lacks, in sentences."""
        failed = self._node.directory.offline
        where = f"node {self._node.node}"
        told = [] if failed is None else [f"the log directory of {where} is offline: {failed}"]
        places = self._node.damage.places[:DAMAGE_TOLD_MAX]
        told += [f"damaged on the disk of {where}: {place}" for place in places]
        return told + [
            f"{one.topic.name}/{one.number} has no coordinator: {where} leads it and waits for a "
            f"replica in sync that has its state, for here some is missing: {one.companion.lacks}"
            for one in self._node.partitions
            if one.leads and one.companion is not None and one.companion.lacks is not None
        ]

    def _faults(self, image: MetadataImage) -> PartitionFaults:
        if self._seen is None or self._seen[0] is not image:
            self._seen = (image, faults_of(image))
        return self._seen[1]

    def _controller(self) -> NodeId | None:
        asked = self._node.controller
        return self._node.node if asked is None else asked()

    def _disk(self) -> tuple[int, int]:
        used = sum(one.log.size_bytes for one in self._node.partitions)
        return used, self._node.directory.disk_bytes


def address_of(endpoint: Endpoint) -> str:
    """Return host and port as people write them."""
    host, port = endpoint.host, endpoint.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
