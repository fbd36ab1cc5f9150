"""Elections that may have lost records: each is told and counted by the node that leads by it.

A person has asked for one, or all that is left of a partition was unclean when a copy was gone.
The metadata say of each partition which leader epoch was the last such one; the node that leads in
it writes an ERROR to its log, and adds one to a counter that monitoring watches (P14).
"""

from api.broker.context import BrokerContext
from cluster.controller.image import MetadataDelta, MetadataImage, TopicImage


class LossyElections:
    """See the module. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Hear of what is elected from here on."""
        self._node = context
        self._before: MetadataImage | None = None
        self.count = 0
        """By which this node leads something that may lack records, since its start."""
        context.quorum.subscribe(self._published)

    def _published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        before, self._before = self._before, image
        for topic in delta.changed:
            known = None if before is None else before.topics_by_id.get(topic.topic_id)
            self._look(topic, known)

    def _look(self, topic: TopicImage, before: TopicImage | None) -> None:
        """Tell of rows in whose lossy epoch this node leads, and did not before.

        Without a topic of before, it is what this node hears first after its start: a leader that
        restarts leads in another epoch, so an old election is not told again.
        """
        for row in topic.partitions:
            if row.leader != self._node.node or row.lossy_epoch != row.leader_epoch:
                continue
            known = () if before is None else before.partitions[row.number : row.number + 1]
            if known and known[0].lossy_epoch == row.lossy_epoch:
                continue
            self.count += 1
            self._node.note(
                "unclean_election",
                topic=topic.name,
                partition=row.number,
                leader_epoch=row.leader_epoch,
            )
