"""DeleteTopics (key 20): by name, and by id from v6 on (KIP-516).

One answer for each; what a request names twice is refused, and answered once, as Kafka does.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from api.errors import KafkaContext, kafka_number
from api.kafka.deadline import within
from api.kafka.frame import UUID_ZERO
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from cluster.controller.image import TopicImage
from cluster.controller.topics import DeleteTopic
from model.errors import ErrorCode, RequestError
from model.ids import TopicId

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 20
VERSION_MIN: Final = 1
VERSION_MAX: Final = 6
FLEXIBLE_FROM: Final = 4
BY_ID_FROM: Final = 6


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer when the topics are gone, or the client's time is up."""
    request.connection.door.spawn.start(_answer(broker, request, message), "kafka delete topics")


async def _answer(broker: "BrokerPort", request: Request, message: Message) -> None:
    times = Counter(_named(request.version, message))
    plans = {named: _plan(*named, times=count) for named, count in times.items()}
    wanted = [plan for plan in plans.values() if isinstance(plan, DeleteTopic)]
    work = broker.delete_topics(request.connection.principal, wanted)
    answers = iter(await within(message["timeout"], work, count=len(wanted)))
    rows = [
        _row(*named, next(answers) if isinstance(plan, DeleteTopic) else plan)
        for named, plan in plans.items()
    ]
    request.respond(write_response(KEY, request.version, {"throttle_time": 0, "responses": rows}))


def _named(version: int, message: Message) -> list[tuple[str | None, bytes]]:
    """Return what is to go as a list of name and id, whatever the version."""
    if version >= BY_ID_FROM:
        return [(topic["name"], topic["topic_id"]) for topic in message["topics"]]
    return [(name, UUID_ZERO) for name in message["topic_names"]]


def _plan(name: str | None, topic_id: bytes, *, times: int) -> DeleteTopic | RequestError:
    """Return what to ask of the controller, or why not to ask."""
    if (name is None) == (topic_id == UUID_ZERO):
        return RequestError(ErrorCode.INVALID_REQUEST, "give the topic's name or its id, not both")
    if times > 1:
        return RequestError(
            ErrorCode.INVALID_REQUEST, f"the request names this topic {times} times"
        )
    if name is not None:
        return DeleteTopic(name=name)
    return DeleteTopic(topic_id=TopicId(topic_id))


def _row(name: str | None, topic_id: bytes, outcome: TopicImage | RequestError) -> Message:
    """Return one topic's part of the answer."""
    if not isinstance(outcome, RequestError):
        return {
            "name": outcome.name,
            "topic_id": outcome.topic_id,
            "error_code": 0,
            "error_message": None,
        }
    context = KafkaContext.TOPIC_ID if topic_id != UUID_ZERO else None
    return {
        "name": name,
        "topic_id": topic_id,
        "error_code": kafka_number(outcome.code, context),
        "error_message": outcome.detail,
    }


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="DeleteTopics",
    version_min=VERSION_MIN,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
