"""FindCoordinator (key 10): which node coordinates a group or a transaction. One alone: this one.

Neither is built yet. The coordinator is named all the same: what a client asks of it next is not
advertised (JoinGroup) or refused (InitProducerId), and of that clients make an error at once, while
most of them take any refusal here for a coordinator on its way and ask again for ever. Without this
key librdkafka would besides take us for a broker that cannot read lz4, and send plain batches.
"""

from typing import TYPE_CHECKING, Any, Final

from api.errors import kafka_number
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from model.errors import ErrorCode

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 10
VERSION_MAX: Final = 6
FLEXIBLE_FROM: Final = 3
BATCHED_FROM: Final = 4
"""First version that asks for several at once (KIP-699)."""

GROUP: Final = 0
TRANSACTION: Final = 1
NOBODY: Final = {"node_id": -1, "host": "", "port": -1}
UNTHROTTLED: Final = {"throttle_time": 0}


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer at once: where a coordinator is follows from its key alone."""
    kind = message.get("key_type", GROUP)  # v0 knows only groups
    batched = request.version >= BATCHED_FROM
    keys = message["coordinator_keys"] if batched else [message["key"]]
    listener = request.connection.door.name
    rows = [_row(broker, listener, kind=kind, key=key) for key in keys]
    body = {"throttle_time": 0, "coordinators": rows} if batched else rows[0] | UNTHROTTLED
    request.respond(write_response(KEY, request.version, body))


def _row(broker: "BrokerPort", listener: str, *, kind: int, key: str) -> Message:
    """Return the answer for one key."""
    if kind not in {GROUP, TRANSACTION}:
        why = f"nothing of kind {kind} is coordinated here"
        code = kafka_number(ErrorCode.INVALID_REQUEST)
        return {"key": key, "error_code": code, "error_message": why, **NOBODY}
    host, port = broker.kafka_endpoint(listener)
    told = {"node_id": broker.node_id, "host": host, "port": port}
    return {"key": key, "error_code": 0, "error_message": None, **told}


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="FindCoordinator",
    version_min=0,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
