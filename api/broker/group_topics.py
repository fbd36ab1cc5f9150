"""The cluster's topics as coordinators of groups look at them: one committed image."""

from dataclasses import dataclass

from cluster.controller.image import MetadataImage
from consumer_groups.topics import TopicPartitions
from model.ids import TopicId, TopicName


@dataclass(frozen=True, slots=True)
class ImageTopics:
    """`consumer_groups.topics.TopicView` of an image."""

    image: MetadataImage

    def find(self, name: TopicName) -> TopicPartitions | None:
        """Return the topic that has this name now; None when there is none."""
        topic = self.image.topics.get(name)
        return None if topic is None else TopicPartitions(topic.topic_id, len(topic.partitions))

    def name_of(self, topic: TopicId) -> TopicName | None:
        """Return a topic's name; None when the topic does not exist, or no longer."""
        found = self.image.topics_by_id.get(topic)
        return None if found is None else found.name
