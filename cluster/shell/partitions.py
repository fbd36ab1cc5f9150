"""The partitions that this node hosts: it follows the metadata, nothing else creates or deletes.

Invariants:
    PARTITION_HOSTED_ONCE    a partition has one object on a node, for as long as it exists.
"""

from collections.abc import Callable, Iterable, Iterator

from cluster.controller.image import MetadataDelta, MetadataImage, TopicImage
from cluster.controller.unknown_topic import unknown_id, unknown_name
from cluster.replication.high_watermark import CommitRule
from cluster.shell.hosted_partition import HostedPartition
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, PartitionId, TopicId
from model.ports import Clock


class Partitions:
    """Every hosted partition, by topic name and by topic id. Loop only."""

    def __init__(
        self,
        node: NodeId,
        *,
        directory: LogDirectory,
        clock: Clock,
        replica_lag_ms_max: int,
        changed: Callable[[], None],
        dropped: Callable[[HostedPartition], None],
    ) -> None:
        """Host nothing yet.

        `changed` is called when the directory has something to write, `dropped` for a partition
        whose topic was deleted, before its log is.
        """
        self._node = node
        self._directory = directory
        self._clock = clock
        self._replica_lag_ms_max = replica_lag_ms_max
        self._changed = changed
        self._dropped = dropped
        self._by_id: dict[PartitionId, HostedPartition] = {}
        self._by_name: dict[str, tuple[HostedPartition, ...]] = {}
        self._topics: dict[TopicId, TopicImage] = {}

    def __iter__(self) -> Iterator[HostedPartition]:
        """Yield every hosted partition."""
        yield from list(self._by_id.values())

    def __len__(self) -> int:
        """Return how many are hosted."""
        return len(self._by_id)

    def get(self, topic: str, number: int) -> HostedPartition:
        """Return a partition by its topic's name.

        Raises:
            RequestError: UNKNOWN_TOPIC (with the nearest name), UNKNOWN_PARTITION.
        """
        hosted = self._by_name.get(topic)
        if hosted is None:
            raise unknown_name(topic, self._by_name)
        return _at(hosted, number)

    def get_by_id(self, topic: TopicId, number: int) -> HostedPartition:
        """Return a partition by its topic's id.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        image = self._topics.get(topic)
        if image is None:
            raise unknown_id(topic)
        return _at(self._by_name[image.name], number)

    def of_topic(self, topic: str) -> tuple[HostedPartition, ...]:
        """Return all partitions of a topic, by number.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        hosted = self._by_name.get(topic)
        if hosted is None:
            raise unknown_name(topic, self._by_name)
        return hosted

    def of_topic_id(self, topic_id: TopicId) -> tuple[HostedPartition, ...]:
        """Return all partitions of a topic by its id; none if it is not there any more."""
        image = self._topics.get(topic_id)
        return () if image is None else self._by_name[image.name]

    def by_log(self, log: PartitionLog) -> HostedPartition | None:
        """Return the hosted partition of a log; None once it is deleted."""
        return self._by_id.get(log.id)

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow committed metadata: host what is new, drop what is gone, take over settings."""
        for topic_id in delta.deleted:
            self._drop(topic_id)
        for topic in delta.created:
            self._host(topic)
        for topic in delta.changed:
            self._change(topic)
        if delta.created or delta.deleted:
            self._changed()
        del image

    def load(self, topics: Iterable[TopicImage]) -> None:
        """Host everything that the metadata holds at start."""
        for topic in topics:
            self._host(topic)

    def _host(self, topic: TopicImage) -> None:
        settings = topic.settings.partition_settings()
        hosted = []
        for partition in topic.partitions:
            place = PartitionId(topic.topic_id, partition.number)
            assert place not in self._by_id, "PARTITION_HOSTED_ONCE"
            log = self._directory.partitions.get(place)
            if log is None:
                log = self._directory.create(place, settings)
            else:
                log.configure(settings)
            one = self._lead(topic, partition.number, log)
            self._by_id[place] = one
            hosted.append(one)
        self._by_name[topic.name] = tuple(hosted)
        self._topics[topic.topic_id] = topic

    def _lead(self, topic: TopicImage, number: int, log: PartitionLog) -> HostedPartition:
        return HostedPartition(
            topic,
            number,
            log=log,
            node=self._node,
            rule=self._rule(topic),
            now=self._clock.monotonic_ms(),
        )

    def _rule(self, topic: TopicImage) -> CommitRule:
        return CommitRule(
            flush=topic.settings.flush,
            min_insync_replicas=topic.settings.min_insync_replicas,
            replica_lag_ms_max=self._replica_lag_ms_max,
        )

    def _change(self, topic: TopicImage) -> None:
        hosted = list(self._by_name[topic.name])
        now, rule = self._clock.monotonic_ms(), self._rule(topic)
        for one in hosted:
            for ack in one.changed(topic, rule, now):
                ack.tell(None)
        settings = topic.settings.partition_settings()
        for partition in topic.partitions[len(hosted) :]:
            place = PartitionId(topic.topic_id, partition.number)
            one = self._lead(topic, partition.number, self._directory.create(place, settings))
            self._by_id[place] = one
            hosted.append(one)
        self._by_name[topic.name] = tuple(hosted)
        self._topics[topic.topic_id] = topic
        self._changed()

    def _drop(self, topic_id: TopicId) -> None:
        topic = self._topics.pop(topic_id, None)
        if topic is None:
            return
        for one in self._by_name.pop(topic.name):
            del self._by_id[one.log.id]
            self._dropped(one)
            self._directory.delete(one.log.id)


def _at(hosted: tuple[HostedPartition, ...], number: int) -> HostedPartition:
    if 0 <= number < len(hosted):
        return hosted[number]
    topic = hosted[0].topic.name
    raise RequestError(
        ErrorCode.UNKNOWN_PARTITION,
        f'topic "{topic}" has partitions 0 to {len(hosted) - 1}, not {number}',
        topic=topic,
        partition=str(number),
        partitions=str(len(hosted)),
    )
