"""The metadata while it changes: what the machine replays into and decides upon.

Ahead of the committed image by whatever is on its way to the disk, so that the next decision sees
the one before. Only `replay` calls the methods that change it.

Invariants:
    METADATA_TOPIC_EXISTS         a record changes a topic that is there.
    METADATA_NAME_IS_FREE         two topics never share a name, nor an id, at any time.
    METADATA_PARTITIONS_NUMBERED  a topic's partitions count from 0 without a gap.
    METADATA_EPOCH_NEVER_FALLS    leader epochs of a partition only rise.
    METADATA_ROW_MOVES_ON         a changed row has a higher partition epoch.
    ONE_LEADER_PER_EPOCH          a leader other than before, or one at all, has a new epoch.
    METADATA_ROW_IS_WHOLE         leader in ISR, ISR and ELR disjoint and of replicas, marks on ELR.
    METADATA_BROKER_EXISTS        a record changes a broker that is there, and means this process.
    FEATURE_LEVEL_NEVER_FALLS     the feature level only rises.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from types import MappingProxyType

from cluster.controller.configs import TopicSettings, parse
from cluster.controller.deleted_topics import DeletedTopics, GivenUp
from cluster.controller.image import (
    EMPTY,
    BrokerImage,
    MetadataDelta,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from cluster.controller.records import BrokerStandingChanged, ClusterFormed, TopicCreated
from cluster.controller.unknown_topic import unknown_id, unknown_name
from model.ids import GroupId, Index, NodeId, ProducerId, TopicId, TopicName, WallMs


class MetadataState:
    """Mutable; one owner. Its values (topics, brokers) are immutable and shared with images."""

    def __init__(self, defaults: Mapping[str, str]) -> None:
        """Start empty on a node with those defaults for its topics, by topic setting's name."""
        self.defaults = defaults
        self.cluster_id = ""
        self.formed_at = WallMs(0)
        self.topics: dict[TopicName, TopicImage] = {}
        self.topics_by_id: dict[TopicId, TopicImage] = {}
        self.brokers: dict[NodeId, BrokerImage] = {}
        self.deleted = DeletedTopics()
        self.votes_withheld: Mapping[NodeId, bytes] = MappingProxyType({})
        """Whose vote an operator has taken, and under which directory; replaced whole."""
        self.next_producer_id = ProducerId(0)
        self.feature_level = 1
        self.group_configs: dict[GroupId, Mapping[str, str]] = {}
        self.replicas_held: dict[NodeId, int] = {}
        """Replicas on each node, of all topics."""
        self.preferred_held: dict[NodeId, int] = {}
        """Partitions of which each node is the preferred leader."""
        self._image = EMPTY
        self._given_up: list[GivenUp] = []
        self._touched: dict[TopicId, None] = {}
        self._brokers_touched: dict[NodeId, None] = {}
        self._groups_touched = False
        self._settings: dict[tuple[frozenset[tuple[str, str]], int], TopicSettings] = {}

    def topic(self, name: str) -> TopicImage:
        """Return the topic of a name.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        topic = self.topics.get(TopicName(name))
        if topic is None:
            raise unknown_name(name, self.topics)
        return topic

    def topic_by_id(self, topic_id: TopicId) -> TopicImage:
        """Return the topic of an id.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        topic = self.topics_by_id.get(topic_id)
        if topic is None:
            raise unknown_id(topic_id)
        return topic

    def settings_of(self, config: Mapping[str, str], replication_factor: int) -> TopicSettings:
        """Return the settings in force under a config; most topics share a few of them."""
        key = (frozenset(config.items()), replication_factor)
        settings = self._settings.get(key)
        if settings is None:
            settings = parse(config, defaults=self.defaults, replication_factor=replication_factor)
            if len(self._settings) >= 1_000:  # a cache, bounded: begin anew
                self._settings.clear()
            self._settings[key] = settings
        return settings

    def new_image(self, created: TopicCreated) -> TopicImage:
        """Return the topic that a record describes."""
        return TopicImage(
            name=created.name,
            topic_id=created.topic_id,
            kind=created.kind,
            partitions=created.partitions,
            config=created.config,
            config_version=created.config_version,
            settings=self.settings_of(created.config, len(created.partitions[0].replicas)),
            created_at=created.created_at,
            internal=created.internal,
        )

    def form(self, formed: ClusterFormed) -> None:
        """Take the cluster's identity."""
        self.cluster_id = formed.cluster_id
        self.formed_at = formed.formed_at

    def add_topic(self, topic: TopicImage) -> None:
        """Add a topic."""
        assert topic.name not in self.topics, "METADATA_NAME_IS_FREE"
        assert topic.topic_id not in self.topics_by_id, "METADATA_NAME_IS_FREE"
        assert topic.topic_id not in self.deleted, "METADATA_NAME_IS_FREE"
        _check_whole(topic.partitions)
        self._put(topic)
        self._count(topic.partitions, 1)

    def add_partitions(self, topic_id: TopicId, added: tuple[PartitionImage, ...]) -> None:
        """Let a topic grow."""
        topic = self._existing(topic_id)
        _check_whole(added)
        self._put(replace(topic, partitions=topic.partitions + added))
        self._count(added, 1)

    def change_partitions(self, topic_id: TopicId, changed: tuple[PartitionImage, ...]) -> None:
        """Replace some partitions of a topic."""
        topic = self._existing(topic_id)
        _check_whole(changed)
        partitions = list(topic.partitions)
        for partition in changed:
            before = partitions[partition.number]
            _check_next(before, partition)
            partitions[partition.number] = partition
            if partition.replicas != before.replicas:
                self._count((before,), -1)
                self._count((partition,), 1)
        self._put(replace(topic, partitions=tuple(partitions)))

    def configure(self, topic_id: TopicId, version: int, config: Mapping[str, str]) -> None:
        """Replace a topic's config."""
        topic = self._existing(topic_id)
        settings = self.settings_of(config, topic.replication_factor)
        self._put(replace(topic, config=config, config_version=version, settings=settings))

    def configure_group(self, group: GroupId, config: Mapping[str, str]) -> None:
        """Replace what is set for a group."""
        self.group_configs.pop(group, None)
        if config:
            self.group_configs[group] = config
        self._groups_touched = True

    def delete_topic(self, topic_id: TopicId, nodes: AbstractSet[NodeId]) -> None:
        """Forget a topic; remember its id until these nodes have said that its files are gone.

        No nodes: who recorded it did not say; then all that had replicas, or may have had some. Of
        a node with too many of them the oldest are given up.
        """
        topic = self.topics_by_id.pop(topic_id, None)  # None: a snapshot tells of an earlier one
        if topic is not None:
            del self.topics[topic.name]
            self._touched[topic_id] = None
            self._count(topic.partitions, -1)
        holders = nodes or (self.brokers.keys() if topic is None else topic.holders)
        self.deleted, given_up = self.deleted.deleted(topic_id, frozenset(holders))
        self._given_up += given_up

    def files_removed(self, topic_id: TopicId, node: NodeId | None) -> None:
        """Wait for a node no more; forget a deleted topic's id with the last one. None: for all."""
        nodes = self.deleted.get(topic_id, frozenset()) if node is None else {node}
        self.deleted = self.deleted.removed(topic_id, nodes)

    def register(self, broker: BrokerImage) -> None:
        """Take a node's newest registration; under a new directory it is another member."""
        if self.votes_withheld.get(broker.node, broker.directory) != broker.directory:
            self.withhold_vote(broker.node, None)
        self.brokers[broker.node] = broker
        self._brokers_touched[broker.node] = None

    def set_standing(self, changed: BrokerStandingChanged) -> None:
        """Change what a node may do."""
        broker = self.brokers.get(changed.node)
        assert broker is not None, "METADATA_BROKER_EXISTS"
        assert broker.registration_epoch == changed.registration_epoch, "METADATA_BROKER_EXISTS"
        self.register(replace(broker, standing=changed.standing))

    def remove_broker(self, node: NodeId) -> None:
        """Forget a node."""
        assert node in self.brokers, "METADATA_BROKER_EXISTS"
        del self.brokers[node]
        self._brokers_touched[node] = None
        self.deleted = self.deleted.without(node)
        self.withhold_vote(node, None)

    def withhold_vote(self, node: NodeId, directory: bytes | None) -> None:
        """Remember that a node's vote was taken under that directory; None: nothing of it."""
        others = {one: there for one, there in self.votes_withheld.items() if one != node}
        more = {} if directory is None else {node: directory}
        self.votes_withheld = MappingProxyType(others | more)

    def raise_feature_level(self, level: int) -> None:
        """Take a feature level."""
        assert level >= self.feature_level, "FEATURE_LEVEL_NEVER_FALLS"
        self.feature_level = level

    def freeze(self, applied: Index) -> tuple[MetadataImage, MetadataDelta]:
        """Return the state as an image, and what has changed since the last one."""
        before = self._image
        delta = self._delta(before)
        image = replace(
            before,
            applied=applied,
            cluster_id=self.cluster_id,
            formed_at=self.formed_at,
            deleted=self.deleted,
            votes_withheld=self.votes_withheld,
            next_producer_id=self.next_producer_id,
            feature_level=self.feature_level,
        )
        if self._touched:
            image = replace(
                image,
                topics=MappingProxyType(self.topics.copy()),
                topics_by_id=MappingProxyType(self.topics_by_id.copy()),
            )
        if self._brokers_touched:
            image = replace(image, brokers=MappingProxyType(self.brokers.copy()))
        if self._groups_touched:
            image = replace(image, group_configs=MappingProxyType(self.group_configs.copy()))
        self._touched.clear()
        self._brokers_touched.clear()
        self._groups_touched = False
        self._given_up.clear()
        self._image = image
        return image, delta

    def _delta(self, before: MetadataImage) -> MetadataDelta:
        created, changed, deleted = [], [], []
        for topic_id in self._touched:
            was, now = before.topics_by_id.get(topic_id), self.topics_by_id.get(topic_id)
            if now is None:
                if was is not None:  # else it came and went within one batch
                    deleted.append(topic_id)
            elif was is None:
                created.append(now)
            else:
                changed.append(now)
        touched = self._brokers_touched
        gone = (node for node in touched if node in before.brokers and node not in self.brokers)
        return MetadataDelta(
            created=tuple(created),
            changed=tuple(changed),
            deleted=tuple(deleted),
            brokers=tuple(self.brokers[node] for node in touched if node in self.brokers),
            brokers_removed=tuple(gone),
            given_up=tuple(self._given_up),
        )

    def _existing(self, topic_id: TopicId) -> TopicImage:
        assert topic_id in self.topics_by_id, "METADATA_TOPIC_EXISTS"
        return self.topics_by_id[topic_id]

    def _put(self, topic: TopicImage) -> None:
        numbers = [partition.number for partition in topic.partitions]
        assert numbers == list(range(len(numbers))), "METADATA_PARTITIONS_NUMBERED"
        self.topics[topic.name] = topic
        self.topics_by_id[topic.topic_id] = topic
        self._touched[topic.topic_id] = None

    def _count(self, partitions: tuple[PartitionImage, ...], change: int) -> None:
        for partition in partitions:
            first = partition.replicas[0]
            self.preferred_held[first] = self.preferred_held.get(first, 0) + change
            for node in partition.replicas:
                self.replicas_held[node] = self.replicas_held.get(node, 0) + change


def _check_next(before: PartitionImage, after: PartitionImage) -> None:
    """Hold a changed row against the one that it replaces."""
    assert after.leader_epoch >= before.leader_epoch, "METADATA_EPOCH_NEVER_FALLS"
    assert after.partition_epoch > before.partition_epoch, "METADATA_ROW_MOVES_ON"
    if after.leader is not None and after.leader_epoch == before.leader_epoch:
        assert after.leader == before.leader, "ONE_LEADER_PER_EPOCH"


def _check_whole(rows: tuple[PartitionImage, ...]) -> None:
    """Hold each row against itself."""
    for row in rows:
        replicas, isr, elr = set(row.replicas), set(row.isr), set(row.elr)
        assert row.leader is None or row.leader in isr, "METADATA_ROW_IS_WHOLE"
        assert isr | elr <= replicas, "METADATA_ROW_IS_WHOLE"
        assert not isr & elr, "METADATA_ROW_IS_WHOLE"
        assert row.marked <= elr, "METADATA_ROW_IS_WHOLE"
