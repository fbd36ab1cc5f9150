"""Topics come and go: create, delete, and each node's word that a deleted one's files are gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cluster.controller.configs import TopicKind
from cluster.controller.image import PartitionImage, TopicImage
from cluster.controller.partitions import assign, check_partition_count
from cluster.controller.placement import Spread, check_factor, loads_of
from cluster.controller.records import (
    MetadataRecord,
    TopicCreated,
    TopicDeleted,
    TopicFilesRemoved,
)
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, TopicId
from model.limits import TOPICS_MAX
from model.names import check_topic_name, is_internal
from model.result import Result

TOPIC_ID_BYTES: Final = 16
NO_TOPIC_ID: Final = TopicId(bytes(TOPIC_ID_BYTES))
"""Stands for "none" on Kafka's wire; no topic has it."""
PARTITIONS_DEFAULT: Final = 1
REPLICATION_FACTOR_DEFAULT: Final = 3
"""Or as many as there are brokers."""
KIND: Final = "tidelog.kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopic(Request[TopicImage]):
    """Create a topic; answered with it. With `validate_only` its id is all zeros."""

    name: str
    partitions: int | None = None
    """None: 1."""
    replication_factor: int | None = None
    """None: 3, or as many as there are brokers."""
    config: Mapping[str, str] = field(default_factory=dict)
    kind: TopicKind | None = None
    """None: what `tidelog.kind` in the config says, else LOG."""
    assignments: tuple[tuple[NodeId, ...], ...] | None = None
    """Replicas of each partition, chosen by the asker; then the two counts are not given."""
    internal: bool = False
    """One of Tidelog's own; clients never set it."""
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTopic(Request[TopicImage]):
    """Delete a topic by name, by id, or by both; answered with the topic as it was."""

    name: str | None = None
    topic_id: TopicId | None = None
    """With a name: only if that name belongs to this topic, not to a later one."""
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRemoved(Request[None]):
    """Say that no file of a deleted topic is left on a node. Twice is as good as once."""

    topic_id: TopicId
    node: NodeId


def create_topic(
    state: MetadataState, request: CreateTopic, circumstances: Circumstances
) -> Result[MetadataRecord, TopicImage]:
    """Decide.

    Raises:
        RequestError: INVALID_TOPIC_NAME, POLICY_VIOLATION (a name of Tidelog's own),
            TOPIC_ALREADY_EXISTS, LIMIT_EXCEEDED, INVALID_PARTITION_COUNT,
            INVALID_REPLICATION_FACTOR, INVALID_CONFIG, NOT_IMPLEMENTED, INVALID_REQUEST,
            NO_ELIGIBLE_LEADER.
    """
    name = check_topic_name(request.name)
    if is_internal(name) and not request.internal:
        detail = f'topic "{name}": names that begin with __ are Tidelog\'s own'
        raise RequestError(ErrorCode.POLICY_VIOLATION, detail, topic=name)
    if name in state.topics:
        detail = f'topic "{name}" exists'
        raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, detail, topic=name)
    if len(state.topics) >= TOPICS_MAX.value:
        detail = f"the cluster has {len(state.topics)} topics, at most {TOPICS_MAX.value}"
        raise RequestError(ErrorCode.LIMIT_EXCEEDED, detail, limit=str(TOPICS_MAX.value))
    config = _config(request)
    partitions = _partitions(state, request, circumstances)
    settings = state.settings_of(config, len(partitions[0].replicas))
    created = TopicCreated(
        topic_id=NO_TOPIC_ID if request.validate_only else _new_id(state, circumstances),
        name=name,
        kind=settings.kind,
        internal=request.internal,
        created_at=circumstances.now,
        config_version=0,
        config=config,
        partitions=partitions,
    )
    records = () if request.validate_only else (created,)
    return Result(records, state.new_image(created))


def delete_topic(
    state: MetadataState, request: DeleteTopic, _: Circumstances
) -> Result[MetadataRecord, TopicImage]:
    """Decide.

    Raises:
        RequestError: UNKNOWN_TOPIC, INVALID_REQUEST (neither name nor id), POLICY_VIOLATION (one
            of Tidelog's own).
    """
    if request.name is not None:
        topic = state.topic(request.name)
        if request.topic_id not in {None, topic.topic_id}:
            raise RequestError(
                ErrorCode.UNKNOWN_TOPIC,
                f'topic "{topic.name}" is another one now: its id is {topic.topic_id.hex()}',
                topic=topic.name,
                topic_id=topic.topic_id.hex(),
            )
    elif request.topic_id is not None:
        topic = state.topic_by_id(request.topic_id)
    else:
        detail = "name the topic to delete, or give its id"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="name")
    check_not_internal(topic, "is not deleted")
    if request.validate_only:
        return Result((), topic)
    deleted = TopicDeleted(topic_id=topic.topic_id, nodes=tuple(sorted(topic.holders)))
    return Result((deleted,), topic)


def topic_removed(
    state: MetadataState, request: TopicRemoved, _: Circumstances
) -> Result[MetadataRecord, None]:
    """Decide; nothing to do for an id that does not wait for this node.

    Raises:
        RequestError: INVALID_REQUEST, the topic was not deleted.
    """
    if request.topic_id in state.topics_by_id:
        detail = f"topic {request.topic_id.hex()} has not been deleted"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="topic_id")
    if request.topic_id not in state.deleted.of(request.node):
        return Result((), None)
    return Result((TopicFilesRemoved(topic_id=request.topic_id, node=request.node),), None)


def check_not_internal(topic: TopicImage, what: str) -> None:
    """Refuse to do to one of Tidelog's own topics what only the node does.

    Raises:
        RequestError: POLICY_VIOLATION.
    """
    if topic.internal:
        detail = f'topic "{topic.name}" is one of Tidelog\'s own and {what}'
        raise RequestError(ErrorCode.POLICY_VIOLATION, detail, topic=topic.name)


def replay_created(state: MetadataState, created: TopicCreated) -> None:
    """Add the topic."""
    state.add_topic(state.new_image(created))


def replay_deleted(state: MetadataState, deleted: TopicDeleted) -> None:
    """Forget the topic, remember its id and who had it."""
    state.delete_topic(deleted.topic_id, frozenset(deleted.nodes))


def replay_files_removed(state: MetadataState, removed: TopicFilesRemoved) -> None:
    """Wait for that node no more."""
    state.files_removed(removed.topic_id, removed.node)


def _config(request: CreateTopic) -> Mapping[str, str]:
    """Return the config with the kind in it, if one was given."""
    config = dict(request.config)
    if request.kind is not None:
        if config.setdefault(KIND, request.kind.value) != request.kind.value:
            detail = f"{KIND}={config[KIND]!r} contradicts the kind {request.kind.value!r}"
            raise RequestError(ErrorCode.INVALID_CONFIG, detail, name=KIND, value=config[KIND])
        if request.kind is TopicKind.LOG:  # needs no place in the config
            del config[KIND]
    return MappingProxyType(config)


def _partitions(
    state: MetadataState, request: CreateTopic, circumstances: Circumstances
) -> tuple[PartitionImage, ...]:
    """Return the topic's partitions with their replicas."""
    if request.assignments is not None:
        if request.partitions is not None or request.replication_factor is not None:
            detail = "give counts or assignments, not both"
            raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="assignments")
        check_partition_count(len(request.assignments))
        for replicas in request.assignments:
            _check_assignment(state, replicas, len(request.assignments[0]))
        return assign(state, request.assignments, first=0)
    partitions = PARTITIONS_DEFAULT if request.partitions is None else request.partitions
    check_partition_count(partitions)
    factor = request.replication_factor
    if factor is None:
        factor = min(REPLICATION_FACTOR_DEFAULT, len(state.brokers))
    check_factor(factor, len(state.brokers))
    spread = Spread(
        state.brokers,
        present=(),
        loads=loads_of(state),
        rand=circumstances.rand,
    )
    return assign(state, spread.place(partitions, factor), first=0)


def _check_assignment(state: MetadataState, replicas: tuple[NodeId, ...], factor: int) -> None:
    """Refuse replicas that are none, twice the same, unknown, or not as many as the first has."""
    unknown = [node for node in replicas if node not in state.brokers]
    if not replicas or len(set(replicas)) != len(replicas) or len(replicas) != factor or unknown:
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"replicas {list(replicas)}: each partition needs {factor} different brokers, of "
            f"{sorted(state.brokers)}",
            replicas=",".join(map(str, replicas)),
        )


def _new_id(state: MetadataState, circumstances: Circumstances) -> TopicId:
    """Return 16 bytes that no topic has or, as chance goes, ever had."""
    while True:
        topic_id = TopicId(circumstances.rand.randbytes(TOPIC_ID_BYTES))
        if (
            topic_id != NO_TOPIC_ID
            and topic_id not in state.topics_by_id
            and topic_id not in state.deleted
        ):
            return topic_id
