"""Produce (key 0): append record batches. By hand, for it is most of what a node does.

Request: transactional id (v3+), acks, timeout, topics by name (v13+: by id), partitions, records.
Records stay where they lie in the read buffer until the broker copies them. Versions 0-2 are
advertised, for old librdkafka only compresses when it sees 0, but answered with error 35, as Kafka
does.
"""

from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from api.broker.acks import Acks, Produced
from api.errors import KafkaOnly
from api.kafka.current_leader import (
    PRODUCE_FROM,
    CurrentLeader,
    current_leader,
)
from api.kafka.frame import (
    I32,
    UNREADABLE,
    read_bytes,
    read_compact_count,
    read_compact_name,
    read_count,
    read_name,
    read_uuid,
    read_varint,
    skip_tags,
)
from api.kafka.k00_answer import (
    FLEXIBLE_FROM,
    TOPIC_ID_FROM,
    UNKNOWN,
    Records,
    Topic,
    wants_log_start,
    write_refusal,
    write_response,
    write_success,
)
from api.kafka.request import Api, Request, Shared
from api.kafka.schema import ITEMS_MAX
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import TopicId
from model.record import COMPRESSION_MASK, COVERED_FROM, TRANSACTIONAL

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort
    from cluster.shell.hosted_partition import HostedPartition

KEY: Final = 0
VERSION_MAX: Final = 13
SERVED_FROM: Final = 3
ZSTD: Final = 4
ZSTD_FROM: Final = 7
"""KIP-110: older clients cannot mean zstd."""

ACKS: Final = {acks.value: acks for acks in Acks}
REQUEST_HEAD: Final = Struct(">hi")  # acks, timeout
PARTITION_HEAD: Final = Struct(">ii")  # partition, length of the records


class ProduceRequest(NamedTuple):
    """The body of a request."""

    acks: int
    timeout_ms: int
    topics: list[Topic]
    transactional: bool = False


def parse(request: Request) -> ProduceRequest:
    """Read the body; the records are slices of the frame.

    Raises:
        MalformedError: it does not parse.
    """
    try:
        if request.version >= FLEXIBLE_FROM:
            return _parse_compact(request)
        return _parse_fixed(request)
    except UNREADABLE as error:
        raise MalformedError("Produce", request.at, str(error)) from error


def _parse_fixed(request: Request) -> ProduceRequest:
    frame, at = request.frame, request.at
    transactional = False
    if request.version >= SERVED_FROM:
        transactional = frame[at] != 0xFF
        at = read_name(frame, at)[1] if transactional else at + 2
    acks, timeout_ms = REQUEST_HEAD.unpack_from(frame, at)
    topic_count, at = read_count(frame, at + 6)
    topics: list[Topic] = []
    room = ITEMS_MAX
    for _ in range(topic_count):
        name, at = read_name(frame, at)
        count, at = read_count(frame, at)
        room = _spend(room, count)
        parts: list[tuple[int, Records]] = []
        for _ in range(count):
            number, size = PARTITION_HEAD.unpack_from(frame, at)
            at += 8
            if size < 0:
                parts.append((number, None))
                continue
            parts.append((number, read_bytes(frame, at, size)))
            at += size
        topics.append((name, parts))
    return ProduceRequest(acks, timeout_ms, topics, transactional)


def _parse_compact(request: Request) -> ProduceRequest:
    frame, at = request.frame, request.at
    transactional = frame[at] != 0
    at = read_compact_name(frame, at)[1] if transactional else at + 1
    acks, timeout_ms = REQUEST_HEAD.unpack_from(frame, at)
    topic_count, at = read_compact_count(frame, at + 6)
    read_topic = read_uuid if request.version >= TOPIC_ID_FROM else read_compact_name
    topics: list[Topic] = []
    room = ITEMS_MAX
    for _ in range(topic_count):
        name, at = read_topic(frame, at)
        count, at = read_compact_count(frame, at)
        room = _spend(room, count)
        parts: list[tuple[int, Records]] = []
        for _ in range(count):
            (number,) = I32.unpack_from(frame, at)
            size, at = read_varint(frame, at + 4)
            if size == 0:
                parts.append((number, None))
            else:
                parts.append((number, read_bytes(frame, at, size - 1)))
                at += size - 1
            at = skip_tags(frame, at)
        topics.append((name, parts))
        at = skip_tags(frame, at)
    skip_tags(frame, at)
    return ProduceRequest(acks, timeout_ms, topics, transactional)


def _spend(room: int, count: int) -> int:
    """Count topics and partitions against one bound: an answer has a row for each."""
    room -= count + 1
    if room < 0:
        raise MalformedError("Produce", 0, f"more than {ITEMS_MAX} topics and partitions")
    return room


def handle(broker: "BrokerPort", request: Request, body: ProduceRequest) -> None:
    """Append every batch; answer when each is as durable as `acks` asks for."""
    _Producing(broker, request, body).begin()


class _Producing:
    """One request whose batches are on their way."""

    __slots__ = ("_acks", "_body", "_broker", "_leaders", "_missing", "_request", "_rows")

    def __init__(self, broker: "BrokerPort", request: Request, body: ProduceRequest) -> None:
        self._broker = broker
        self._request = request
        self._body = body
        self._acks = ACKS.get(body.acks)
        self._rows: list[bytes] = []
        self._leaders: list[CurrentLeader] = []
        """Of what was refused because others lead it."""
        self._missing = 0

    def begin(self) -> None:
        """Offer every batch to the broker."""
        request, topics = self._request, self._body.topics
        if self._acks is Acks.NONE:
            request.needs_no_answer()
        self._missing = sum([len(parts) for _, parts in topics])
        if not self._missing:
            self._respond()
            return
        self._rows = [b""] * self._missing
        slot = 0
        for topic, parts in topics:
            for number, records in parts:
                done = partial(self._done, slot, (topic, number))
                self._offer(topic, number, records, done=done)
                slot += 1

    def _offer(self, topic: bytes, number: int, records: Records, *, done: "partial[None]") -> None:
        """Hand one batch over, or refuse it at the door."""
        if (refusal := self._door_refuses(records)) is not None or records is None:
            done(refusal)
            return
        try:
            partition = self._partition(topic, number)
        except RequestError as error:
            called = named(topic, self._request.version)
            self._broker.batch_not_found(called, number, records, refusal=error)
            done(error)
            return
        self._broker.produce(
            self._request.connection.principal,
            partition,
            records,
            acks=self._acks or Acks.NONE,
            timeout_ms=self._body.timeout_ms,
            done=done,
        )

    def _partition(self, topic: bytes, number: int) -> "HostedPartition":
        return partition_of(self._broker, topic, number, version=self._request.version)

    def _log_start(self, topic: bytes, number: int) -> int:
        try:
            return self._partition(topic, number).log_start
        except RequestError:
            return UNKNOWN  # it has gone since

    def _door_refuses(self, records: Records) -> RequestError | KafkaOnly | None:
        """Return why a batch never reaches the broker."""
        version = self._request.version
        if self._acks is None:
            return KafkaOnly.INVALID_REQUIRED_ACKS
        if version < SERVED_FROM:
            return RequestError(ErrorCode.NOT_IMPLEMENTED, f"Produce v{version}: send v3 or newer")
        if self._body.transactional or (records and is_transactional(records)):
            return RequestError(ErrorCode.NOT_IMPLEMENTED, "this node has no transactions yet")
        if not records:
            return RequestError(ErrorCode.INVALID_REQUEST, "a partition was sent without records")
        if version < ZSTD_FROM and is_zstd(records):
            return RequestError(
                ErrorCode.UNSUPPORTED_COMPRESSION, f"zstd needs Produce v{ZSTD_FROM} or newer"
            )
        return None

    def _done(
        self, slot: int, place: tuple[bytes, int], result: Produced | RequestError | KafkaOnly
    ) -> None:
        """Take one partition's outcome; the last one sends the answer."""
        if self._acks is Acks.NONE:
            self._outcome_unasked(result)
            return
        if isinstance(result, RequestError | KafkaOnly):
            self._rows[slot] = self._refusal(place, result)
        else:
            self._rows[slot] = write_success(self._request.version, place[1], result)
        self._missing -= 1
        if not self._missing:
            self._respond()

    def _refusal(self, place: tuple[bytes, int], refusal: RequestError | KafkaOnly) -> bytes:
        """Return the row of a batch that is not in the log, with what its client goes on by."""
        version = self._request.version
        log_start = self._log_start(*place) if wants_log_start(refusal) else UNKNOWN
        door = self._request.connection.door
        leader = leader_instead(door, version, place, refusal=refusal)
        if leader is not None:
            self._leaders.append(leader)
        return write_refusal(version, place[1], refusal, log_start=log_start, leader=leader)

    def _outcome_unasked(self, result: Produced | RequestError | KafkaOnly) -> None:
        """With acks=0 nobody is told: hanging up makes the client ask where to send, as Kafka."""
        if type(result) is not Produced:
            self._request.connection.end()

    def _respond(self) -> None:
        if self._acks is not Acks.NONE:
            version = self._request.version
            body = write_response(version, self._body.topics, self._rows, leaders=self._leaders)
            self._request.respond(body)


def named(topic: bytes, version: int) -> str | TopicId:
    """Return what a request calls a topic: its name, or its id."""
    return TopicId(topic) if version >= TOPIC_ID_FROM else str(topic, "utf-8", "replace")


def partition_of(
    broker: "BrokerPort", topic: bytes, number: int, *, version: int
) -> "HostedPartition":
    """Return the partition that a request names.

    Raises:
        RequestError: it is not here.
    """
    called = named(topic, version)
    if isinstance(called, str):
        return broker.partition(called, number)
    return broker.partition_by_id(called, number)


def leader_instead(
    door: Shared, version: int, place: tuple[bytes, int], *, refusal: RequestError | KafkaOnly
) -> CurrentLeader | None:
    """Return whom a request of this version is told to ask for a partition that is not led here."""
    topic, number = place
    if version < PRODUCE_FROM:
        return None
    return current_leader(door, (named(topic, version), number), refusal)


def is_transactional(batch: memoryview) -> bool:
    """Tell whether a batch says that it is part of a transaction."""
    return len(batch) > COVERED_FROM + 1 and bool(batch[COVERED_FROM + 1] & TRANSACTIONAL)


def is_zstd(batch: memoryview) -> bool:
    """Tell whether a batch says that its records are compressed with zstd."""
    return len(batch) > COVERED_FROM + 1 and batch[COVERED_FROM + 1] & COMPRESSION_MASK == ZSTD


def api(request_bytes_max: int) -> Api:
    """Return how this listener serves Produce."""
    return Api(
        key=KEY,
        name="Produce",
        version_min=0,
        version_max=VERSION_MAX,
        flexible_from=FLEXIBLE_FROM,
        request_bytes_max=request_bytes_max,
        parse=parse,
        handle=handle,
    )
