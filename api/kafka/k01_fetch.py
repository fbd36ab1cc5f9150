"""Fetch (key 1): read on in many partitions, with a long poll. By hand, as Produce.

Batches leave as they are stored, in whatever codec their producer chose; the answer is a list of
buffers. No fetch sessions are kept: every answer says session 0, which tells a client to send full
requests (KIP-227); one that names a session all the same is told that there is none. Topic ids
from v13 (KIP-516), who leads what was refused (`current_leader`) from v16.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from api.broker.fetch import Fetched, Want
from api.errors import KafkaContext, KafkaOnly, kafka_number
from api.kafka.current_leader import (
    FETCH_FROM,
    FETCH_TAG,
    CurrentLeader,
    current_leader,
    endpoint_tags,
    leader_tags,
)
from api.kafka.frame import (
    COMPACT,
    FIXED,
    I32,
    UNREADABLE,
    Spelling,
    read_bytes,
    read_uuid,
    read_varint,
    skip_tags,
    write_varint,
)
from api.kafka.request import Api, Buffer, Request
from api.kafka.schema import ITEMS_MAX
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import Offset, TopicId

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort
    from cluster.shell.hosted_partition import HostedPartition

KEY: Final = 1
VERSION_MIN: Final = 4
VERSION_MAX: Final = 18
LOG_START_FROM, SESSION_FROM, EPOCH_FROM, RACK_FROM = 5, 7, 9, 11
FLEXIBLE_FROM, TOPIC_ID_FROM, REPLICA_STATE_FROM = 12, 13, 15
REPLICA_STATE_TAG: Final = 1
READ_COMMITTED: Final = 1
CONSUMER: Final = -1
NEW_SESSION_EPOCH: Final = 0
NO_SESSION_EPOCH: Final = -1
NOBODY: Final[Mapping[int, CurrentLeader]] = MappingProxyType({})

REQUEST_HEAD: Final = Struct(">iiib")  # longest wait, min bytes, max bytes, isolation
SESSION: Final = Struct(">ii")  # id, epoch
PART_4: Final = Struct(">iqi")  # partition, offset, max bytes
PART_5: Final = Struct(">iqqi")  # partition, offset, follower's log start, max bytes
PART_9: Final = Struct(">iiqqi")  # partition, leader epoch, offset, log start, max bytes
PART_12: Final = Struct(">iiqiqi")  # the same, last fetched epoch behind the offset


class Part(NamedTuple):
    """What is asked of one partition."""

    number: int
    leader_epoch: int
    offset: int
    max_bytes: int


Topic: TypeAlias = tuple[bytes, list[Part]]
"""Name or id, and what is asked of its partitions."""


class FetchRequest(NamedTuple):
    """The body of a request."""

    replica: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    read_committed: bool
    session_id: int
    session_epoch: int
    topics: list[Topic]


def parse(request: Request) -> FetchRequest:
    """Read the body.

    Raises:
        MalformedError: it does not parse.
    """
    try:
        return _parse(request)
    except UNREADABLE as error:
        raise MalformedError("Fetch", request.at, str(error)) from error


def _parse(request: Request) -> FetchRequest:
    frame, at, version = request.frame, request.at, request.version
    spelling = COMPACT if version >= FLEXIBLE_FROM else FIXED
    replica = CONSUMER
    if version < REPLICA_STATE_FROM:
        (replica,) = I32.unpack_from(frame, at)
        at += 4
    max_wait_ms, min_bytes, max_bytes, isolation = REQUEST_HEAD.unpack_from(frame, at)
    at += REQUEST_HEAD.size
    session_id, session_epoch = 0, NO_SESSION_EPOCH
    if version >= SESSION_FROM:
        session_id, session_epoch = SESSION.unpack_from(frame, at)
        at += SESSION.size
    topics, at = _topics(frame, at, (version, spelling))
    if version >= REPLICA_STATE_FROM:
        at = _forgotten(frame, at)
        replica = _replica_of_tags(frame, at)
    return FetchRequest(
        replica,
        max(max_wait_ms, 0),
        min_bytes,
        max(max_bytes, 0),
        isolation == READ_COMMITTED,
        session_id,
        session_epoch,
        topics,
    )


def _topics(frame: memoryview, at: int, form: tuple[int, Spelling]) -> tuple[list[Topic], int]:
    version, spelling = form
    read_topic = read_uuid if version >= TOPIC_ID_FROM else spelling.read_name
    read_part, flexible = _part_reader(version), version >= FLEXIBLE_FROM
    count, at = spelling.read_count(frame, at)
    topics: list[Topic] = []
    room = ITEMS_MAX
    for _ in range(count):
        name, at = read_topic(frame, at)
        part_count, at = spelling.read_count(frame, at)
        room -= part_count + 1
        if room < 0:
            raise MalformedError("Fetch", at, f"more than {ITEMS_MAX} topics and partitions")
        parts = []
        for _ in range(part_count):
            part, at = read_part(frame, at)
            parts.append(part)
            if flexible:
                at = skip_tags(frame, at)
        topics.append((name, parts))
        if flexible:
            at = skip_tags(frame, at)
    return topics, at


def _part_reader(version: int) -> Callable[[memoryview, int], tuple[Part, int]]:
    """Return what reads one partition's part of a request."""
    if version >= FLEXIBLE_FROM:

        def read(frame: memoryview, at: int) -> tuple[Part, int]:
            number, epoch, offset, _, _, max_bytes = PART_12.unpack_from(frame, at)
            return Part(number, epoch, offset, max_bytes), at + PART_12.size

    elif version >= EPOCH_FROM:

        def read(frame: memoryview, at: int) -> tuple[Part, int]:
            number, epoch, offset, _, max_bytes = PART_9.unpack_from(frame, at)
            return Part(number, epoch, offset, max_bytes), at + PART_9.size

    elif version >= LOG_START_FROM:

        def read(frame: memoryview, at: int) -> tuple[Part, int]:
            number, offset, _, max_bytes = PART_5.unpack_from(frame, at)
            return Part(number, -1, offset, max_bytes), at + PART_5.size

    else:

        def read(frame: memoryview, at: int) -> tuple[Part, int]:
            number, offset, max_bytes = PART_4.unpack_from(frame, at)
            return Part(number, -1, offset, max_bytes), at + PART_4.size

    return read


def _forgotten(frame: memoryview, at: int) -> int:
    """Pass over the partitions to forget, which only sessions have, and the rack."""
    count, at = COMPACT.read_count(frame, at)
    for _ in range(count):
        _, at = read_uuid(frame, at)
        numbers, at = COMPACT.read_count(frame, at)
        read_bytes(frame, at, numbers * 4)
        at = skip_tags(frame, at + numbers * 4)
    return COMPACT.read_name(frame, at)[1]


def _replica_of_tags(frame: memoryview, at: int) -> int:
    """Return the follower's number from the tagged field that v15+ has for it (KIP-903)."""
    count, at = read_varint(frame, at)
    replica = CONSUMER
    for _ in range(count):
        tag, at = read_varint(frame, at)
        size, at = read_varint(frame, at)
        body = read_bytes(frame, at, size)
        if tag == REPLICA_STATE_TAG:
            (replica,) = I32.unpack_from(body)
        at += size
    return replica


def handle(broker: "BrokerPort", request: Request, body: FetchRequest) -> None:
    """Answer with what there is, or wait for more."""
    if body.session_id and body.session_epoch not in {NEW_SESSION_EPOCH, NO_SESSION_EPOCH}:
        request.respond_parts(write_head(request.version, KafkaOnly.FETCH_SESSION_ID_NOT_FOUND, 0))
        return
    door = request.connection
    max_bytes = min(body.max_bytes, door.door.settings.fetch_bytes_max)
    wants = [
        Want(
            _partition(broker, request, body, place=(topic, part.number)),
            Offset(part.offset),
            min(max(part.max_bytes, 0), max_bytes),
            part.leader_epoch,
        )
        for topic, parts in body.topics
        for part in parts
    ]

    def done(results: Sequence[Fetched]) -> None:
        leaders = _leaders(request, body, results)
        request.respond_parts(write_response(request.version, body, results, leaders=leaders))

    if not wants:
        done(())
        return
    cancel = broker.fetch(
        door.principal,
        wants,
        min_bytes=body.min_bytes,
        max_bytes=max_bytes,
        max_wait_ms=body.max_wait_ms,
        done=done,
    )
    if request.answer is None:
        request.cancel = cancel
        door.wait_for_fetch(request)


def _partition(
    broker: "BrokerPort", request: Request, body: FetchRequest, *, place: tuple[bytes, int]
) -> "HostedPartition | RequestError":
    topic, number = place
    if body.replica >= 0:
        return RequestError(
            ErrorCode.ACCESS_DENIED, "followers copy over the link between nodes, not with Fetch"
        )
    try:
        if request.version >= TOPIC_ID_FROM:
            return broker.partition_by_id(TopicId(topic), number)
        return broker.partition(str(topic, "utf-8", "replace"), number)
    except RequestError as error:
        return error


def _leaders(
    request: Request, body: FetchRequest, results: Sequence[Fetched]
) -> Mapping[int, CurrentLeader]:
    """Return whom the client is told to ask instead, by the row's place in the answer."""
    if request.version < FETCH_FROM or all([row.error is None for row in results]):
        return NOBODY
    places = [(TopicId(topic), part.number) for topic, parts in body.topics for part in parts]
    door = request.connection.door
    found = {
        slot: current_leader(door, place, row.error)
        for slot, (place, row) in enumerate(zip(places, results, strict=True))
    }
    return {slot: leader for slot, leader in found.items() if leader is not None}


# Rows: partition, error code, high watermark, last stable offset; log start (v5+); aborted
# transactions (null, or none for READ_COMMITTED); preferred replica (v11+: none); records.
ROW_4: Final = Struct(">ihqqii")
ROW_5: Final = Struct(">ihqqqii")
ROW_11: Final = Struct(">ihqqqiii")
ROW_12: Final = Struct(">ihqqqBi")
HEAD_4: Final = Struct(">i")  # throttle time
HEAD_7: Final = Struct(">ihi")  # throttle time, error code, session id
NO_REPLICA: Final = -1


def write_head(version: int, error: int, topic_count: int) -> list[Buffer]:
    """Return the beginning of an answer; the whole of it when there are no topics."""
    spelling = COMPACT if version >= FLEXIBLE_FROM else FIXED
    head = HEAD_7.pack(0, error, 0) if version >= SESSION_FROM else HEAD_4.pack(0)
    head += spelling.write_count(topic_count)
    return [head] if topic_count else [head + spelling.tags]


def write_response(
    version: int,
    body: FetchRequest,
    results: Sequence[Fetched],
    *,
    leaders: Mapping[int, CurrentLeader] = NOBODY,
) -> list[Buffer]:
    """Return the body of an answer, in parts; the records are the store's own buffers.

    `leaders`: who leads what was refused, by the row's place, from v16.
    """
    spelling = COMPACT if version >= FLEXIBLE_FROM else FIXED
    out = write_head(version, 0, len(body.topics))
    rows = enumerate(results)
    for topic, parts in body.topics:
        name = topic if version >= TOPIC_ID_FROM else spelling.write_name(topic)
        out.append(name + spelling.write_count(len(parts)))
        for part in parts:
            slot, row = next(rows)
            code = _code(version, row)
            size = 0 if code else row.size_bytes
            out.append(_row(version, (part.number, code, size, body.read_committed), row))
            if size:
                out += row.buffers
            if spelling.tags:
                out.append(leader_tags(leaders.get(slot), FETCH_TAG) if leaders else spelling.tags)
        if spelling.tags:
            out.append(spelling.tags)
    if spelling.tags and body.topics:
        out.append(endpoint_tags(leaders.values()) if leaders else spelling.tags)
    return out


def _row(version: int, told: tuple[int, int, int, bool], row: Fetched) -> bytes:
    """Return one partition's part of an answer, up to its records."""
    number, code, size, read_committed = told
    mark, stable = row.high_watermark, row.last_stable_offset
    aborted = 0 if read_committed else -1
    if version >= FLEXIBLE_FROM:
        return ROW_12.pack(
            number, code, mark, stable, row.log_start, aborted + 1, NO_REPLICA
        ) + write_varint(size + 1)
    if version >= RACK_FROM:
        return ROW_11.pack(number, code, mark, stable, row.log_start, aborted, NO_REPLICA, size)
    if version >= LOG_START_FROM:
        return ROW_5.pack(number, code, mark, stable, row.log_start, aborted, size)
    return ROW_4.pack(number, code, mark, stable, aborted, size)


def _code(version: int, row: Fetched) -> int:
    """Return one partition's error code."""
    if row.error is None:
        return 0
    code = row.error.code
    if code is ErrorCode.UNKNOWN_TOPIC and version >= TOPIC_ID_FROM:
        return kafka_number(code, KafkaContext.TOPIC_ID)
    return kafka_number(code, KafkaContext.PRODUCE_OR_FETCH)


API: Final = Api(
    key=KEY,
    name="Fetch",
    version_min=VERSION_MIN,
    version_max=VERSION_MAX,
    flexible_from=FLEXIBLE_FROM,
    request_bytes_max=SMALL_REQUEST_BYTES_MAX,
    parse=parse,
    handle=handle,
)
