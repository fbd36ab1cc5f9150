"""What a coordinator must know of the cluster's topics."""

from typing import NamedTuple, Protocol

from model.errors import ErrorCode, RequestError
from model.ids import PartitionId, TopicId, TopicName


class TopicPartitions(NamedTuple):
    """A topic's id and how many partitions it has: numbers 0..partitions - 1."""

    topic: TopicId
    partitions: int


class TopicView(Protocol):
    """The topics as one committed image of the metadata shows them."""

    def find(self, name: TopicName) -> TopicPartitions | None:
        """Return the topic that has this name now; None when there is none."""
        ...

    def name_of(self, topic: TopicId) -> TopicName | None:
        """Return a topic's name; None when the topic does not exist, or no longer."""
        ...


def absent(topics: TopicView, partition: PartitionId) -> RequestError | None:
    """Return the refusal of a partition that is not there now; None when it is."""
    name = topics.name_of(partition.topic)
    found = None if name is None else topics.find(name)
    if name is None or found is None:
        topic = partition.topic.hex()
        detail = f"there is no topic with the id {topic}, or no longer"
        return RequestError(ErrorCode.UNKNOWN_TOPIC, detail, topic_id=topic)
    if 0 <= partition.number < found.partitions:
        return None
    return RequestError(
        ErrorCode.UNKNOWN_PARTITION,
        f'topic "{name}" has {found.partitions} partitions, none of them is {partition.number}',
        topic=name,
        partition=str(partition.number),
    )


def shown(topics: TopicView, partition: PartitionId) -> str:
    """Return a partition as people write it: `orders/0`; by the topic's id when it has no name."""
    name = topics.name_of(partition.topic)
    return f"{partition.topic.hex() if name is None else name}/{partition.number}"
