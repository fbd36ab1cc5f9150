"""CreateTopics (key 19): one answer for each topic, in the order of the request.

A name that stands twice in a request is refused, and answered once, as Kafka does. The topic's
settings are listed from v5 on: always a list, for Java's client does not survive a null there
(KIP-525).
"""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from api.errors import KafkaOnly, kafka_number
from api.kafka.deadline import within
from api.kafka.frame import UUID_ZERO
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from cluster.controller.describe_config import Source, describe
from cluster.controller.image import TopicImage
from cluster.controller.topics import CreateTopic
from model.errors import ErrorCode, RequestError
from model.ids import NodeId

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 19
VERSION_MIN: Final = 2
VERSION_MAX: Final = 7
FLEXIBLE_FROM: Final = 5
BROKER_DEFAULT: Final = -1
"""A count that the client leaves to us (KIP-464)."""
SOURCES: Final = {Source.RESOURCE: 1, Source.STATIC: 4, Source.DEFAULT: 5}
"""DYNAMIC_TOPIC_CONFIG, STATIC_BROKER_CONFIG, DEFAULT_CONFIG."""


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer when the topics can be used, or the client's time is up."""
    request.connection.door.spawn.start(_answer(broker, request, message), "kafka create topics")


async def _answer(broker: "BrokerPort", request: Request, message: Message) -> None:
    validate_only = message["validate_only"]
    repeated = Counter(topic["name"] for topic in message["topics"])
    named = {topic["name"]: topic for topic in message["topics"]}.values()
    plans = [
        _plan(topic, validate_only=validate_only, times=repeated[topic["name"]]) for topic in named
    ]
    wanted = [plan for plan in plans if isinstance(plan, CreateTopic)]
    work = broker.create_topics(request.connection.principal, wanted)
    answers = iter(await within(message["timeout"], work, count=len(wanted)))
    rows = []
    for topic, plan in zip(named, plans, strict=True):
        outcome = next(answers) if isinstance(plan, CreateTopic) else plan
        rows.append(_row(broker, topic, outcome))
    request.respond(write_response(KEY, request.version, {"throttle_time": 0, "topics": rows}))


def _plan(topic: Message, *, validate_only: bool, times: int) -> CreateTopic | RequestError:
    """Return what to ask of the controller, or why not to ask."""
    try:
        if times > 1:
            raise RequestError(
                ErrorCode.INVALID_REQUEST, f"the request names this topic {times} times"
            )
        assignments = _assignments(topic)
        counts = topic["num_partitions"], topic["replication_factor"]
        return CreateTopic(
            name=topic["name"],
            partitions=None if counts[0] == BROKER_DEFAULT else counts[0],
            replication_factor=None if counts[1] == BROKER_DEFAULT else counts[1],
            config=_config(topic),
            assignments=assignments,
            validate_only=validate_only,
        )
    except RequestError as error:
        return error


def _assignments(topic: Message) -> tuple[tuple[NodeId, ...], ...] | None:
    """Return the replicas that the client chose, by partition."""
    rows = {row["partition_index"]: tuple(row["broker_ids"]) for row in topic["assignments"]}
    if not rows:
        return None
    if sorted(rows) != list(range(len(topic["assignments"]))):
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "the assignments are not of partitions 0, 1, 2, ... once each",
        )
    return tuple(rows[number] for number in range(len(rows)))


def _config(topic: Message) -> dict[str, str]:
    config = {}
    for row in topic["configs"]:
        if row["value"] is None:
            raise RequestError(ErrorCode.INVALID_CONFIG, f"{row['name']} has no value")
        config[row["name"]] = row["value"]
    return config


def _row(broker: "BrokerPort", topic: Message, outcome: TopicImage | RequestError) -> Message:
    """Return one topic's part of the answer."""
    name = topic["name"]
    if isinstance(outcome, RequestError):
        code = kafka_number(outcome.code)
        if outcome.code is ErrorCode.INVALID_REPLICATION_FACTOR and topic["assignments"]:
            code = KafkaOnly.INVALID_REPLICA_ASSIGNMENT  # the client named the brokers itself
        return {
            "name": name,
            "topic_id": UUID_ZERO,
            "error_code": code,
            "error_message": outcome.detail,
            "num_partitions": -1,
            "replication_factor": -1,
            "configs": [],
        }
    return {
        "name": name,
        "topic_id": outcome.topic_id,
        "error_code": 0,
        "error_message": None,
        "num_partitions": len(outcome.partitions),
        "replication_factor": outcome.replication_factor,
        "configs": _configs(broker, outcome),
    }


def _configs(broker: "BrokerPort", topic: TopicImage) -> list[Message]:
    listed = describe(
        topic.config,
        defaults=broker.topic_defaults,
        replication_factor=topic.replication_factor,
    )
    return [
        {
            "name": config.name,
            "value": config.value,
            "read_only": config.read_only,
            "config_source": SOURCES[config.source],
            "is_sensitive": False,
        }
        for config in listed
    ]


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="CreateTopics",
    version_min=VERSION_MIN,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
