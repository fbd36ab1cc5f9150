"""Rows of partitions that change together: one record for each topic, each row one epoch further.

Every decision that touches nodes or rows ends here, so that every row is settled by the rule of
`cluster.controller.election` for the brokers as they will be, and everything of one decision is in
one entry of the log.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from cluster.controller.election import Roster, roster_of, settled
from cluster.controller.image import BrokerImage, PartitionImage, TopicImage
from cluster.controller.records import PartitionsChanged
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, TopicId

Alter: TypeAlias = Callable[[PartitionImage, int], PartitionImage]
"""A row and its topic's min.insync.replicas in; the row as the event leaves it out."""


def least_in_sync(topic: TopicImage) -> int:
    """Return k: min.insync.replicas of a topic."""
    return topic.settings.min_insync_replicas


def follow(
    state: MetadataState, brokers: Mapping[NodeId, BrokerImage], alter: Alter | None = None
) -> tuple[PartitionsChanged, ...]:
    """Return what changes in all partitions when the brokers are these.

    `alter` is done to each row before it is settled.
    """
    roster = roster_of(brokers)
    changes = []
    for topic in state.topics.values():
        k = least_in_sync(topic)
        rows = []
        for row in topic.partitions:
            after = settled(row if alter is None else alter(row, k), roster, k)
            if after is not row and after != row:
                rows.append(_next(row, after))
        if rows:
            changes.append(PartitionsChanged(topic_id=topic.topic_id, partitions=tuple(rows)))
    return tuple(changes)


def roster(state: MetadataState) -> Roster:
    """Return who is on duty now."""
    return roster_of(state.brokers)


def stand(state: MetadataState, *changed: BrokerImage) -> dict[NodeId, BrokerImage]:
    """Return the brokers as they will be."""
    return state.brokers | {broker.node: broker for broker in changed}


class Rows:
    """The rows that one decision changes, as they will be; of several topics."""

    def __init__(self, state: MetadataState) -> None:
        """Begin with the rows as they are."""
        self._state = state
        self._changed: dict[TopicId, dict[int, PartitionImage]] = {}

    def get(self, topic_id: TopicId, number: int) -> PartitionImage | None:
        """Return a row as it will be; None if there is no such partition."""
        changed = self._changed.get(topic_id, {}).get(number)
        if changed is not None:
            return changed
        topic = self._state.topics_by_id.get(topic_id)
        if topic is None or not 0 <= number < len(topic.partitions):
            return None
        return topic.partitions[number]

    def least_in_sync(self, topic_id: TopicId) -> int:
        """Return k of a topic that is there."""
        return least_in_sync(self._state.topics_by_id[topic_id])

    def put(self, topic_id: TopicId, row: PartitionImage) -> PartitionImage:
        """Change a row; return it with its next partition epoch, or as it is if nothing changes."""
        before = self.get(topic_id, row.number)
        if before is None or row == before:
            return row
        after = _next(before, row)
        self._changed.setdefault(topic_id, {})[row.number] = after
        return after

    def records(self) -> tuple[PartitionsChanged, ...]:
        """Return one record for each topic."""
        return tuple(
            PartitionsChanged(topic_id=topic_id, partitions=tuple(rows.values()))
            for topic_id, rows in self._changed.items()
        )


def named(state: MetadataState, name: str, number: int) -> tuple[TopicImage, PartitionImage]:
    """Return a partition that a person names.

    Raises:
        RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
    """
    topic = state.topic(name)
    if not 0 <= number < len(topic.partitions):
        raise RequestError(
            ErrorCode.UNKNOWN_PARTITION,
            f'topic "{topic.name}" has partitions 0 to {len(topic.partitions) - 1}, not {number}',
            topic=topic.name,
            partition=str(number),
            partitions=str(len(topic.partitions)),
        )
    return topic, topic.partitions[number]


def nodes_text(nodes: Iterable[NodeId]) -> str:
    """Return node ids for a sentence."""
    return ", ".join(map(str, nodes)) or "none"


def _next(before: PartitionImage, after: PartitionImage) -> PartitionImage:
    return after._replace(partition_epoch=before.partition_epoch + 1)
