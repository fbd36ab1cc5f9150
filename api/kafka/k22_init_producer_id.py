"""InitProducerId (key 22): an identity for an idempotent producer (KIP-98).

Or a higher epoch of the one it has (KIP-360, v3+). Transactions are not built: a transactional id
is refused as such.
"""

from typing import TYPE_CHECKING, Any, Final

from api.errors import kafka_number
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from model.errors import ErrorCode, RequestError
from model.ids import ProducerEpoch, ProducerId

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 22
VERSION_MAX: Final = 6
FLEXIBLE_FROM: Final = 2
NONE: Final = -1


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer when the id is given out: mostly from a block that this node has."""
    request.connection.door.spawn.start(_answer(broker, request, message), "kafka init producer id")


async def _answer(broker: "BrokerPort", request: Request, message: Message) -> None:
    try:
        current = _current(message)
        producer_id, epoch = await broker.init_producer_id(request.connection.principal, current)
    except RequestError as error:
        _respond(request, kafka_number(error.code), (NONE, NONE))
        return
    _respond(request, 0, (producer_id, epoch))


def _current(message: Message) -> tuple[ProducerId, ProducerEpoch] | None:
    """Return the identity that the client has.

    Raises:
        RequestError: INVALID_REQUEST for half of one, NOT_IMPLEMENTED for a transactional id.
    """
    transactional_id = message["transactional_id"]
    if transactional_id == "":
        raise RequestError(ErrorCode.INVALID_REQUEST, "the transactional id is empty")
    if transactional_id is not None or message.get("enable2_pc"):
        raise RequestError(ErrorCode.NOT_IMPLEMENTED, "this node has no transactions yet")
    producer_id, epoch = message.get("producer_id", NONE), message.get("producer_epoch", NONE)
    if (producer_id == NONE) != (epoch == NONE) or min(producer_id, epoch) < NONE:
        raise RequestError(ErrorCode.INVALID_REQUEST, "producer id and epoch go together")
    if producer_id == NONE:
        return None
    return ProducerId(producer_id), ProducerEpoch(epoch)


def _respond(request: Request, code: int, identity: tuple[int, int]) -> None:
    body = {
        "throttle_time": 0,
        "error_code": code,
        "producer_id": identity[0],
        "producer_epoch": identity[1],
        "ongoing_txn_producer_id": NONE,
        "ongoing_txn_producer_epoch": NONE,
    }
    request.respond(write_response(KEY, request.version, body))


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="InitProducerId",
    version_min=0,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
