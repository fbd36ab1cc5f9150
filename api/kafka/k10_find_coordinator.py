"""FindCoordinator (key 10): which node coordinates a group or a transaction.

A group's coordinator is the leader of the internal partition that the group belongs to; between two
leaders there is none, and clients ask again. Before the first group there are no such partitions:
then, and for transactions, which are not built yet, it is the node that is asked.

Kafka's classic groups are not built yet either. The coordinator is named all the same: what a
client asks of it next is not advertised (JoinGroup) or refused (InitProducerId), and of that
clients make an error at once, while most of them take any refusal here for a coordinator on its way
and ask again for ever. Without this key librdkafka would besides take us for a broker that cannot
read lz4, and send plain batches.
"""

from typing import TYPE_CHECKING, Any, Final

from api.errors import kafka_number
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka.whereabouts import address_of
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
    """Answer at once: where a coordinator is follows from its key and the metadata."""
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
    node = broker.coordinator_of(key) if kind == GROUP else broker.node_id
    if node is None:
        return _unavailable(key, f'nobody coordinates group "{key}" now; ask again')
    place = address_of(broker, node, listener)
    if place is None:
        why = f'node {node} coordinates group "{key}", and has no listener "{listener}"'
        return _unavailable(key, why)
    host, port = place
    told = {"node_id": node, "host": host, "port": port}
    return {"key": key, "error_code": 0, "error_message": None, **told}


def _unavailable(key: str, why: str) -> Message:
    """Return the answer for a group that no client can be sent to the coordinator of."""
    code = kafka_number(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return {"key": key, "error_code": code, "error_message": why, **NOBODY}


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
