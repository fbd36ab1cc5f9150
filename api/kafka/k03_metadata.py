"""Metadata (key 3): brokers, topics, and who leads what; topics come into being on first use.

An empty list means all topics in v0 and none since; null means all since v1. Topics by id are
answered from v12 on: v10 and v11 have the field, but clients must leave it zero (KIP-516).

A node that has not joined its cluster knows neither brokers nor topics, and says that there are
none: clients take such an answer for none, keep what they know, and ask another broker.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from api.errors import KafkaContext, kafka_number
from api.kafka.frame import UUID_ZERO
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka.whereabouts import reached
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from cluster.controller.image import MetadataImage, PartitionImage, TopicImage
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, TopicId, TopicName
from model.names import check_topic_name

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 3
VERSION_MAX: Final = 13
FLEXIBLE_FROM: Final = 9
CREATION_OPTIONAL_FROM: Final = 4
BY_ID_FROM: Final = 12
NO_LEADER: Final = -1
OPERATIONS_NOT_ASKED: Final = -(2**31)


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer from the image, at once unless topics are to be created first."""
    absent = _to_create(broker, request.version, message)
    if absent:
        answer = _create_and_answer(broker, request, message, absent=absent)
        request.connection.door.spawn.start(answer, "kafka metadata")
    else:
        _respond(broker, request, message)


def _to_create(broker: "BrokerPort", version: int, message: Message) -> list[str]:
    """Return the names that are asked for, absent, legal, and may come into being."""
    may = version < CREATION_OPTIONAL_FROM or message["allow_auto_topic_creation"]
    if not may or not broker.auto_create_topics:
        return []
    topics = broker.image.topics
    names = [topic["name"] for topic in message["topics"] or () if _names(topic)]
    return [name for name in dict.fromkeys(names) if name not in topics and _is_legal(name)]


def _names(topic: Message) -> bool:
    """Tell whether a topic is asked for by name."""
    return topic.get("name") is not None and topic.get("topic_id", UUID_ZERO) == UUID_ZERO


def _is_legal(name: str) -> bool:
    try:
        check_topic_name(name)
    except RequestError:
        return False
    return True


async def _create_and_answer(
    broker: "BrokerPort", request: Request, message: Message, *, absent: list[str]
) -> None:
    answers = await broker.ensure_topics(request.connection.principal, absent)
    refusals = {
        name: answer.code
        for name, answer in zip(absent, answers, strict=True)
        if isinstance(answer, RequestError)
    }
    _respond(broker, request, message, refusals=refusals)


def _respond(
    broker: "BrokerPort",
    request: Request,
    message: Message,
    *,
    refusals: Mapping[str, ErrorCode] = MappingProxyType({}),
) -> None:
    image, version = broker.image, request.version
    has_joined = bool(broker.cluster_id)
    asked = message["topics"]
    if not has_joined:
        topics = []
    elif asked is None or (not asked and version == 0):
        topics = [_topic(image.topics[name]) for name in sorted(image.topics)]
    else:
        topics = [_asked(image, version, topic, refusals=refusals) for topic in asked]
    brokers = list(_brokers(broker, request.connection.door.name)) if has_joined else []
    _without_unreachable(topics, {row["node_id"] for row in brokers})
    body = {
        "throttle_time": 0,
        "brokers": brokers,
        "cluster_id": broker.cluster_id,
        "controller_id": broker.node_id,
        "topics": topics,
        "cluster_authorized_operations": OPERATIONS_NOT_ASKED,
        "error_code": 0,
    }
    request.respond(write_response(KEY, version, body))


def _brokers(broker: "BrokerPort", listener: str) -> Iterator[Message]:
    """Yield every broker that clients of this listener can reach now; this node first."""
    me = broker.node_id
    for node in (me, *sorted(broker.image.brokers.keys() - {me})):
        known = reached(broker, node, listener)
        if known is not None:
            yield known._asdict()


def _without_unreachable(topics: Sequence[Message], reachable: Set[NodeId]) -> None:
    """Leave no partition with a leader that is no broker of the answer: clients would hang on it.

    So it is with a leader whose node lacks the listener that the client came in by.
    """
    for topic in topics:
        for partition in topic["partitions"]:
            if partition["leader_id"] not in reachable:
                partition["leader_id"] = NO_LEADER
                partition["error_code"] = kafka_number(ErrorCode.LEADER_NOT_AVAILABLE)


def _asked(
    image: MetadataImage, version: int, topic: Message, *, refusals: Mapping[str, ErrorCode]
) -> Message:
    """Return the entry of one topic that was asked for, by name or by id."""
    name, topic_id = topic.get("name"), topic.get("topic_id", UUID_ZERO)
    if topic_id != UUID_ZERO:
        if version < BY_ID_FROM:
            return _absent(kafka_number(ErrorCode.INVALID_REQUEST), name or "", topic_id)
        known = image.topics_by_id.get(TopicId(topic_id))
        if known is not None:
            return _topic(known)
        missing = kafka_number(ErrorCode.UNKNOWN_TOPIC, KafkaContext.TOPIC_ID)
        return _absent(missing, None, topic_id)
    if name is None:
        unnamed = None if version >= BY_ID_FROM else ""
        return _absent(kafka_number(ErrorCode.INVALID_REQUEST), unnamed, UUID_ZERO)
    known = image.topics.get(TopicName(name))
    if known is not None:
        return _topic(known)
    absent = ErrorCode.UNKNOWN_TOPIC if _is_legal(name) else ErrorCode.INVALID_TOPIC_NAME
    return _absent(kafka_number(refusals.get(name, absent)), name, UUID_ZERO)


def _absent(code: int, name: str | None, topic_id: bytes) -> Message:
    return {
        "error_code": code,
        "name": name,
        "topic_id": topic_id,
        "is_internal": False,
        "partitions": [],
        "topic_authorized_operations": OPERATIONS_NOT_ASKED,
    }


def _topic(topic: TopicImage) -> Message:
    return {
        "error_code": 0,
        "name": topic.name,
        "topic_id": topic.topic_id,
        "is_internal": topic.internal,
        "partitions": [_partition(partition) for partition in topic.partitions],
        "topic_authorized_operations": OPERATIONS_NOT_ASKED,
    }


def _partition(partition: PartitionImage) -> Message:
    led = partition.leader is not None
    offline: list[NodeId] = []  # whoever is not in sync may still be alive: nobody is accused
    return {
        "error_code": 0 if led else kafka_number(ErrorCode.LEADER_NOT_AVAILABLE),
        "partition_index": partition.number,
        "leader_id": partition.leader if led else NO_LEADER,
        "leader_epoch": partition.leader_epoch,
        "replica_nodes": partition.replicas,
        "isr_nodes": partition.isr,
        "offline_replicas": offline,
    }


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="Metadata",
    version_min=0,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
