"""ListOffsets (key 2): the offset of a place in a partition: an end, or a time.

Negative times are names. A time is an event time, as Kafka's clients mean it: the answer is the
first record at or after it, with that record's time; -1 when there is none yet. Nothing is tiered
here, so what Kafka says of a log without a remote part holds: its local part is all of it.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from api.broker.place import AtTime, Earliest, Latest, MaxTimestamp, Place
from api.broker.resolve import Resolved
from api.errors import KafkaContext, kafka_number
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from model.errors import ErrorCode, RequestError
from model.record import ClockKind

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort
    from cluster.shell.hosted_partition import HostedPartition

KEY: Final = 2
VERSION_MIN: Final = 1
VERSION_MAX: Final = 11
FLEXIBLE_FROM: Final = 6

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6
NAMED_FROM: Final = {
    LATEST: 0,
    EARLIEST: 0,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""First version that has each name (KIP-734, KIP-405, KIP-1005, KIP-1023)."""
READ_COMMITTED: Final = 1
NOTHING: Final = -1


def handle(broker: "BrokerPort", request: Request, message: Message) -> None:
    """Answer when every place is found: a time may need a look at the disk."""
    answer = _answer(broker, request, message)
    request.connection.door.spawn.start(answer, "kafka list offsets")


async def _answer(broker: "BrokerPort", request: Request, message: Message) -> None:
    committed = message.get("isolation_level", 0) == READ_COMMITTED
    find = partial(_row, broker, request, committed=committed)
    topics = [
        {
            "name": topic["name"],
            "partitions": [await find(asked, topic=topic["name"]) for asked in topic["partitions"]],
        }
        for topic in message["topics"]
    ]
    request.respond(write_response(KEY, request.version, {"throttle_time": 0, "topics": topics}))


async def _row(
    broker: "BrokerPort", request: Request, asked: Message, *, topic: str, committed: bool
) -> Message:
    """Return one partition's part of the answer."""
    number, time = asked["partition_index"], asked["timestamp"]
    try:
        _check_name(time, request.version)
        partition = broker.partition(topic, number)
        _check_epoch(partition, asked.get("current_leader_epoch", -1))
        if time in {LATEST_TIERED, EARLIEST_PENDING_UPLOAD}:
            return _found(number, NOTHING, NOTHING)
        resolved = await broker.resolve(request.connection.principal, partition, _place(time))
    except RequestError as error:
        code = kafka_number(error.code, KafkaContext.PRODUCE_OR_FETCH)
        return {**_found(number, NOTHING, NOTHING), "error_code": code}
    return _resolved(number, time, resolved, committed=committed)


def _check_name(time: int, version: int) -> None:
    if time < 0 and version < NAMED_FROM.get(time, VERSION_MAX + 1):
        raise RequestError(
            ErrorCode.NOT_IMPLEMENTED, f"ListOffsets v{version} has no timestamp {time}"
        )


def _check_epoch(partition: "HostedPartition", asked: int) -> None:
    """Refuse an asker whose view of the leadership differs (KIP-320)."""
    here = partition.leader_epoch
    if asked not in {-1, here}:
        code = ErrorCode.FENCED_EPOCH if asked < here else ErrorCode.UNKNOWN_EPOCH
        raise RequestError(code, f"leader epoch {asked}, here {here}")


def _place(time: int) -> Place:
    """Return the place that a timestamp of the wire means."""
    if time == LATEST:
        return Latest()
    if time in {EARLIEST, EARLIEST_LOCAL}:
        return Earliest()
    if time == MAX_TIMESTAMP:
        return MaxTimestamp()
    return AtTime(time, ClockKind.EVENT)


def _resolved(number: int, time: int, resolved: Resolved, *, committed: bool) -> Message:
    """Spell a place that was found as Kafka does: ends carry no time."""
    epoch = resolved.leader_epoch
    if time == LATEST:
        end = resolved.last_stable_offset if committed else resolved.high_watermark
        return _found(number, NOTHING, end, leader_epoch=epoch)
    if time in {EARLIEST, EARLIEST_LOCAL}:
        return _found(number, NOTHING, resolved.log_start, leader_epoch=epoch)
    offset, found_ms = resolved.offset, resolved.time_ms
    hidden = committed and offset is not None and offset >= resolved.last_stable_offset
    if offset is None or hidden:
        return _found(number, NOTHING, NOTHING)
    return _found(number, NOTHING if found_ms is None else found_ms, offset, leader_epoch=epoch)


def _found(number: int, time_ms: int, offset: int, *, leader_epoch: int = -1) -> Message:
    return {
        "partition_index": number,
        "error_code": 0,
        "timestamp": time_ms,
        "offset": offset,
        "leader_epoch": leader_epoch,
    }


def parse(request: Request) -> Any:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


API: Final = Api(
    key=KEY,
    name="ListOffsets",
    version_min=VERSION_MIN,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
