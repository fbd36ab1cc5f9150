"""The partitions that this node hosts: it follows the metadata, nothing else creates or deletes.

Invariants:
    PARTITION_HOSTED_ONCE       a partition has one object on a node, for as long as it exists.
    OUTLET_BEFORE_PARTITIONS    whoever is hosted knows from the beginning how to speak.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cluster.controller.image import MetadataDelta, MetadataImage, TopicImage
from cluster.controller.unknown_topic import unknown_id, unknown_name
from cluster.replication.high_watermark import CommitRule
from cluster.shell.hosted_partition import HostedPartition, led_elsewhere
from cluster.shell.no_replicas import NO_REPLICAS
from cluster.shell.replica_outlet import Here, Outlet
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId, PartitionId, TopicId
from model.ports import Clock


class _Topic(NamedTuple):
    image: TopicImage
    hosted: tuple[HostedPartition, ...]
    """In the order of their numbers."""

    def at(self, number: int) -> HostedPartition:
        """Return a partition; say where it is if it is not here."""
        hosted, image = self.hosted, self.image
        if 0 <= number < len(hosted) and hosted[number].number == number:
            return hosted[number]
        if not 0 <= number < len(image.partitions):
            raise _no_such_partition(image, number)
        for one in hosted:
            if one.number == number:
                return one
        raise led_elsewhere(image, number)


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
        whose topic was deleted, or whose replica goes to another node, before its log is.
        """
        self._here = Here(node, NO_REPLICAS)
        self._directory = directory
        self._clock = clock
        self.replica_lag_ms_max = replica_lag_ms_max
        """A follower that is behind, or not heard, for longer leaves the ISR."""
        self._changed = changed
        self._dropped = dropped
        self._by_id: dict[PartitionId, HostedPartition] = {}
        self._by_name: dict[str, _Topic] = {}
        self._names: dict[TopicId, str] = {}
        self._is_early = False

    def wait_for_metadata(self) -> None:
        """Call no topic unknown before `load`: the metadata that would know it are awaited."""
        self._is_early = True

    def speak_by(self, outlet: Outlet) -> None:
        """Let replicas speak to other nodes by this outlet. Once, before anything is hosted."""
        assert not self._by_name, "OUTLET_BEFORE_PARTITIONS"
        self._here = self._here._replace(outlet=outlet)

    def __iter__(self) -> Iterator[HostedPartition]:
        """Yield every hosted partition."""
        yield from list(self._by_id.values())

    def __len__(self) -> int:
        """Return how many are hosted."""
        return len(self._by_id)

    def get(self, topic: str, number: int) -> HostedPartition:
        """Return a partition by its topic's name. It need not be led by this node.

        Raises:
            RequestError: UNKNOWN_TOPIC (with the nearest name), UNKNOWN_PARTITION; NOT_LEADER or
                LEADER_NOT_AVAILABLE, this node holds no replica of it; NO_QUORUM, it knows no
                topics yet.
        """
        known = self._by_name.get(topic)
        if known is None:
            raise self._unknown(topic)
        return known.at(number)

    def get_by_id(self, topic: TopicId, number: int) -> HostedPartition:
        """Return a partition by its topic's id. It need not be led by this node.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOT_LEADER, LEADER_NOT_AVAILABLE.
        """
        name = self._names.get(topic)
        if name is None:
            raise self._too_early() if self._is_early else unknown_id(topic)
        return self._by_name[name].at(number)

    def by_id(self, partition: PartitionId) -> HostedPartition | None:
        """Return a partition; None if this node holds no replica of it."""
        return self._by_id.get(partition)

    def of_topic(self, topic: str) -> tuple[HostedPartition, ...]:
        """Return all partitions of a topic that have a replica here, by number.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        known = self._by_name.get(topic)
        if known is None:
            raise self._unknown(topic)
        return known.hosted

    def of_topic_id(self, topic_id: TopicId) -> tuple[HostedPartition, ...]:
        """Return the same by the topic's id; none if it is not there any more."""
        name = self._names.get(topic_id)
        return () if name is None else self._by_name[name].hosted

    def by_log(self, log: PartitionLog) -> HostedPartition | None:
        """Return the hosted partition of a log; None once it is deleted, or another's place."""
        found = self._by_id.get(log.id)
        return found if found is not None and found.log is log else None

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow committed metadata: host what is new, drop what is gone, take over changes."""
        for topic_id in delta.deleted:
            self._drop(topic_id)
        for topic in delta.created:
            self._take(topic, fresh=True)
        for topic in delta.changed:
            self._take(topic)
        if delta.created or delta.deleted or delta.changed:
            self._changed()
        del image

    def load(self, topics: Iterable[TopicImage]) -> None:
        """Host everything that the metadata holds at start."""
        self._is_early = False
        for topic in topics:
            self._take(topic, fresh=True)

    def _unknown(self, topic: str) -> RequestError:
        return self._too_early() if self._is_early else unknown_name(topic, self._by_name)

    def _too_early(self) -> RequestError:
        detail = f"node {self._here.node} has not joined its cluster, and knows no topics yet"
        return RequestError(ErrorCode.NO_QUORUM, detail, node=str(self._here.node))

    def _take(self, topic: TopicImage, *, fresh: bool = False) -> None:
        """Host, go on with, or drop the partitions of a topic, as its rows say."""
        now, rule, node = self._clock.monotonic_ms(), self._rule(topic), self._here.node
        hosted = []
        for row in topic.partitions:
            place = PartitionId(topic.topic_id, row.number)
            one = self._by_id.get(place)
            assert one is None or not fresh, "PARTITION_HOSTED_ONCE"
            if one is not None:
                for ack in one.changed(topic, rule, now):
                    ack.tell(None)
            if node not in row.replicas:
                if one is not None:
                    self._forget(one)
                continue
            if one is None:
                one = self._host(topic, place, rule=rule, now=now)
            hosted.append(one)
        self._by_name[topic.name] = _Topic(topic, tuple(hosted))
        self._names[topic.topic_id] = topic.name

    def _host(
        self, topic: TopicImage, place: PartitionId, *, rule: CommitRule, now: MonotonicMs
    ) -> HostedPartition:
        """Take a partition's log from the directory, or make it; play the part that is given."""
        settings = topic.settings.partition_settings()
        log = self._directory.partitions.get(place)
        if log is None:
            log = self._directory.create(place, settings)
        else:
            log.configure(settings)
        one = HostedPartition(topic, place.number, log=log, here=self._here, rule=rule, now=now)
        self._by_id[place] = one
        return one

    def _rule(self, topic: TopicImage) -> CommitRule:
        return CommitRule(
            flush=topic.settings.flush,
            min_insync_replicas=topic.settings.min_insync_replicas,
            replica_lag_ms_max=self.replica_lag_ms_max,
        )

    def _drop(self, topic_id: TopicId) -> None:
        name = self._names.pop(topic_id, None)
        if name is not None:
            for one in self._by_name.pop(name).hosted:
                self._forget(one)

    def _forget(self, one: HostedPartition) -> None:
        del self._by_id[one.log.id]
        self._here.outlet.forget(one.log.id)
        self._dropped(one)
        self._directory.delete(one.log.id)


def _no_such_partition(topic: TopicImage, number: int) -> RequestError:
    partitions = len(topic.partitions)
    return RequestError(
        ErrorCode.UNKNOWN_PARTITION,
        f'topic "{topic.name}" has partitions 0 to {partitions - 1}, not {number}',
        topic=topic.name,
        partition=str(number),
        partitions=str(partitions),
    )
