"""Every partition of the cluster by name and by id, as groups need it: members may be given any.

Also how far each one goes. A replica that follows hears a moment later than a reader what is
committed; what leaders have told for readers here is remembered until it has heard.
"""

from collections.abc import Sequence
from weakref import WeakValueDictionary

from api.broker.context import BrokerContext
from api.broker.distant import DistantPartition, Watched
from api.broker.readable import Readable
from cluster.controller.image import MetadataDelta, MetadataImage, TopicImage
from cluster.controller.unknown_topic import unknown_id, unknown_name
from model.errors import RequestError
from model.ids import Offset, PartitionId, TopicId, TopicName


class EveryPartition:
    """See the module. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Know those that are hosted, and of others what the metadata say."""
        self._node = context
        self.watched = Watched(context.clock, context.spawn)
        """Those elsewhere that somebody waits for."""
        self._distant: WeakValueDictionary[PartitionId, DistantPartition] = WeakValueDictionary()
        self._told: dict[PartitionId, Offset] = {}
        context.quorum.subscribe(self._changed)

    def get(self, topic: str, number: int) -> Readable:
        """Return a partition by its topic's name.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        topics = self._node.quorum.image.topics
        found = topics.get(TopicName(topic))
        if found is None:
            raise unknown_name(topic, topics)
        return self._of(found, number)

    def get_by_id(self, topic: TopicId, number: int) -> Readable:
        """Return a partition by its topic's id; raises as `get`."""
        found = self._node.quorum.image.topics_by_id.get(topic)
        if found is None:
            raise unknown_id(topic)
        return self._of(found, number)

    def by_id(self, partition: PartitionId) -> Readable | None:
        """Return a partition; None: its topic is gone."""
        try:
            return self.get_by_id(*partition)
        except RequestError:
            return None

    def of_topic_id(self, topic: TopicId) -> Sequence[Readable]:
        """Return all partitions of a topic, by number; none if it is gone."""
        found = self._node.quorum.image.topics_by_id.get(topic)
        return [self._of(found, row.number) for row in found.partitions] if found else []

    def end_of(self, partition: Readable) -> Offset:
        """Return the greatest end that is known of what is committed in a partition."""
        told, mark = self._told.get(partition.id), partition.high_watermark
        if told is None:
            return mark
        if told <= mark:
            del self._told[partition.id]
        return max(told, mark)

    def told(self, partition: Readable, end: Offset) -> None:
        """Remember that so much of a partition is committed, as its leader says."""
        if end > max(partition.high_watermark, self._told.get(partition.id, end - 1)):
            self._told[partition.id] = end

    def _of(self, topic: TopicImage, number: int) -> Readable:
        place = PartitionId(topic.topic_id, number)
        hosted = self._node.partitions.by_id(place)
        if hosted is not None:
            return hosted
        if not 0 <= number < len(topic.partitions):
            return self._node.partitions.get_by_id(*place)  # which says what there is
        distant = self._distant.get(place)
        if distant is None:
            distant = self._distant[place] = DistantPartition(topic, number, self.watched)
        return distant

    def _changed(self, _: MetadataImage, delta: MetadataDelta) -> None:
        """Forget partitions of topics that are gone."""
        if not delta.deleted:
            return
        gone = frozenset(delta.deleted)
        self._told = {at: end for at, end in self._told.items() if at.topic not in gone}
        for place, distant in list(self._distant.items()):
            if place.topic in gone:
                distant.gone()
