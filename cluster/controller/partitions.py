"""Partitions: how many a topic has, on which brokers, and how a new one begins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.controller.configs import TopicKind
from cluster.controller.image import PartitionImage, TopicImage
from cluster.controller.placement import Assignment, Spread, loads_of
from cluster.controller.records import MetadataRecord, PartitionsAdded, PartitionsChanged
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch
from model.limits import PARTITIONS_PER_NODE_MAX, PARTITIONS_PER_TOPIC_MAX
from model.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPartitions(Request[TopicImage]):
    """Let a topic grow to `partitions` in all; answered with the topic."""

    name: str
    partitions: int
    validate_only: bool = False


def add_partitions(
    state: MetadataState, request: AddPartitions, circumstances: Circumstances
) -> Result[MetadataRecord, TopicImage]:
    """Decide; as many as there are already is nothing to do.

    Raises:
        RequestError: UNKNOWN_TOPIC, INVALID_PARTITION_COUNT (fewer, or too many), POLICY_VIOLATION
            (a kind whose keys would move), LIMIT_EXCEEDED, NO_ELIGIBLE_LEADER.
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
    spread = Spread(
        state.brokers,
        present=[row.replicas for row in topic.partitions],
        loads=loads_of(state),
        rand=circumstances.rand,
    )
    assignments = spread.place(request.partitions - present, topic.replication_factor)
    added = assign(state, assignments, first=present)
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


def assign(
    state: MetadataState, assignments: Sequence[Assignment], *, first: int
) -> tuple[PartitionImage, ...]:
    """Return new partitions on those replicas, in epoch 0: who is up is in sync.

    The first that is running leads. Raises:
        RequestError: LIMIT_EXCEEDED, a broker would hold too many; NO_ELIGIBLE_LEADER, none of the
            replicas of a partition is running.
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
    return tuple(_new(state, first + i, replicas) for i, replicas in enumerate(assignments))


def _new(state: MetadataState, number: int, replicas: Assignment) -> PartitionImage:
    """Return a partition as it begins. Who is down has an empty log, and joins as others do."""
    in_sync = tuple(node for node in replicas if state.brokers[node].standing.may_join)
    able = [node for node in in_sync if state.brokers[node].standing.may_lead]
    if not able:
        raise RequestError(
            ErrorCode.NO_ELIGIBLE_LEADER,
            f"partition {number} on brokers {list(replicas)}: none of them is running",
            replicas=",".join(map(str, replicas)),
        )
    return PartitionImage(number, able[0], LeaderEpoch(0), replicas, in_sync)


def replay_added(state: MetadataState, added: PartitionsAdded) -> None:
    """Let the topic grow."""
    state.add_partitions(added.topic_id, added.partitions)


def replay_changed(state: MetadataState, changed: PartitionsChanged) -> None:
    """Replace the partitions."""
    state.change_partitions(changed.topic_id, changed.partitions)
