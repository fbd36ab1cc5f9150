"""Partitions: where their replicas go, how many a topic has, who leads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.controller.configs import TopicKind
from cluster.controller.image import PartitionImage, TopicImage
from cluster.controller.records import MetadataRecord, PartitionsAdded, PartitionsChanged
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId
from model.limits import PARTITIONS_PER_NODE_MAX, PARTITIONS_PER_TOPIC_MAX
from model.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPartitions(Request[TopicImage]):
    """Let a topic grow to `partitions` in all; answered with the topic."""

    name: str
    partitions: int
    validate_only: bool = False


def add_partitions(
    state: MetadataState, request: AddPartitions, _: Circumstances
) -> Result[MetadataRecord, TopicImage]:
    """Decide; as many as there are already is nothing to do.

    Raises:
        RequestError: UNKNOWN_TOPIC, INVALID_PARTITION_COUNT (fewer, or too many), POLICY_VIOLATION
            (a kind whose keys would move), LIMIT_EXCEEDED.
    """
    topic = state.topic(request.name)
    present = len(topic.partitions)
    check_partition_count(request.partitions)
    if request.partitions < present:
        raise RequestError(
            ErrorCode.INVALID_PARTITION_COUNT,
            f'topic "{topic.name}" has {present} partitions; {request.partitions} would be fewer, '
            "and partitions are never removed",
            topic=topic.name,
            partitions=str(present),
        )
    if request.partitions == present:
        return Result((), topic)
    if topic.kind is not TopicKind.LOG or topic.internal:
        raise RequestError(
            ErrorCode.POLICY_VIOLATION,
            f'topic "{topic.name}" cannot grow: its keys would move to other partitions',
            topic=topic.name,
        )
    added = place(
        state, range(present, request.partitions), replication_factor=topic.replication_factor
    )
    grown = replace(topic, partitions=topic.partitions + added)
    if request.validate_only:
        return Result((), grown)
    return Result((PartitionsAdded(topic_id=topic.topic_id, partitions=added),), grown)


def check_partition_count(partitions: int) -> None:
    """Accept a number of partitions for one topic.

    Raises:
        RequestError: INVALID_PARTITION_COUNT with the bounds.
    """
    if not 1 <= partitions <= PARTITIONS_PER_TOPIC_MAX.value:
        raise RequestError(
            ErrorCode.INVALID_PARTITION_COUNT,
            f"{partitions} partitions; a topic has 1 to {PARTITIONS_PER_TOPIC_MAX.value}",
            partitions=str(partitions),
            partitions_max=str(PARTITIONS_PER_TOPIC_MAX.value),
        )


def place(
    state: MetadataState, numbers: range, *, replication_factor: int
) -> tuple[PartitionImage, ...]:
    """Return new partitions with their replicas spread over the brokers, in turn.

    Each begins one broker further than the one before, and a topic where the one before it would
    have gone on, so that leaders are even. Raises:
        RequestError: LIMIT_EXCEEDED, a broker would hold too many.
    """
    brokers = sorted(state.brokers)
    start = sum(state.replicas_held.values()) // replication_factor - numbers.start
    return assign(
        state,
        [
            tuple(brokers[(start + number + i) % len(brokers)] for i in range(replication_factor))
            for number in numbers
        ],
        first=numbers.start,
    )


def assign(
    state: MetadataState, assignments: Sequence[tuple[NodeId, ...]], *, first: int
) -> tuple[PartitionImage, ...]:
    """Return new partitions on those replicas: all in sync, led by the first, in epoch 0.

    Raises:
        RequestError: LIMIT_EXCEEDED, a broker would hold too many.
    """
    held = dict(state.replicas_held)
    for replicas in assignments:
        for node in replicas:
            held[node] = held.get(node, 0) + 1
    for node, count in held.items():
        if count > PARTITIONS_PER_NODE_MAX.value:
            raise RequestError(
                ErrorCode.LIMIT_EXCEEDED,
                f"broker {node} would hold {count} partitions, at most "
                f"{PARTITIONS_PER_NODE_MAX.value}",
                node=str(node),
                limit=str(PARTITIONS_PER_NODE_MAX.value),
            )
    return tuple(
        PartitionImage(first + i, replicas[0], LeaderEpoch(0), replicas, replicas)
        for i, replicas in enumerate(assignments)
    )


def leadership_renewed(state: MetadataState, node: NodeId) -> tuple[PartitionsChanged, ...]:
    """Return a new leader epoch for every partition that a node leads, one record for each topic.

    After an unclean stop its log may end earlier than anybody was told: what it writes from here
    on must not be taken for what it had written there before (KIP-101).
    """
    changes = []
    for topic in state.topics.values():
        led = tuple(
            partition._replace(leader_epoch=LeaderEpoch(partition.leader_epoch + 1))
            for partition in topic.partitions
            if partition.leader == node
        )
        if led:
            changes.append(PartitionsChanged(topic_id=topic.topic_id, partitions=led))
    return tuple(changes)


def replay_added(state: MetadataState, added: PartitionsAdded) -> None:
    """Let the topic grow."""
    state.add_partitions(added.topic_id, added.partitions)


def replay_changed(state: MetadataState, changed: PartitionsChanged) -> None:
    """Replace the partitions."""
    state.change_partitions(changed.topic_id, changed.partitions)
