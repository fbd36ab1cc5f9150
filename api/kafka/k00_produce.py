"""Produce (key 0): append record batches. By hand, for it is most of what a node does.

Request: transactional id (v3+), acks, timeout, topics by name (v13+: by id), partitions, records.
Records stay where they lie in the read buffer until the broker copies them. Versions 0-2 are
advertised, for old librdkafka only compresses when it sees 0, but answered with error 35, as Kafka
does. Answers: KIP-467 error text from v8, topic ids from v13 (KIP-516).
"""

from collections.abc import Sequence
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from api.broker.acks import Acks, Produced
from api.errors import KafkaContext, KafkaOnly, kafka_number
from api.kafka.frame import (
    COMPACT,
    FIXED,
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
from api.kafka.request import Api, Request
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
TIME_FROM, LOG_START_FROM, TEXT_FROM, FLEXIBLE_FROM, TOPIC_ID_FROM = 2, 5, 8, 9, 13
ZSTD: Final = 4
ZSTD_FROM: Final = 7
"""KIP-110: older clients cannot mean zstd."""
UNKNOWN: Final = -1
CHECKSUM: Final = "checksum"
"""Stands in the metadata of a CORRUPT_BATCH that may have been damaged on its way."""

ACKS: Final = {acks.value: acks for acks in Acks}
REQUEST_HEAD: Final = Struct(">hi")  # acks, timeout
PARTITION_HEAD: Final = Struct(">ii")  # partition, length of the records
NOT_THROTTLED: Final = I32.pack(0)

Records: TypeAlias = memoryview | None
Topic: TypeAlias = tuple[bytes, list[tuple[int, Records]]]
"""Name or id, and what goes to which partition."""


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

    __slots__ = ("_acks", "_body", "_broker", "_missing", "_request", "_rows")

    def __init__(self, broker: "BrokerPort", request: Request, body: ProduceRequest) -> None:
        self._broker = broker
        self._request = request
        self._body = body
        self._acks = ACKS.get(body.acks)
        self._rows: list[bytes] = []
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
        version, (_, number) = self._request.version, place
        if isinstance(result, RequestError | KafkaOnly):
            log_start = self._log_start(*place) if wants_log_start(result) else UNKNOWN
            self._rows[slot] = write_refusal(version, number, result, log_start=log_start)
        else:
            self._rows[slot] = write_success(version, number, result)
        self._missing -= 1
        if not self._missing:
            self._respond()

    def _outcome_unasked(self, result: Produced | RequestError | KafkaOnly) -> None:
        """With acks=0 nobody is told: hanging up makes the client ask where to send, as Kafka."""
        if type(result) is not Produced:
            self._request.connection.end()

    def _respond(self) -> None:
        if self._acks is not Acks.NONE:
            version = self._request.version
            self._request.respond(write_response(version, self._body.topics, self._rows))


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


def is_transactional(batch: memoryview) -> bool:
    """Tell whether a batch says that it is part of a transaction."""
    return len(batch) > COVERED_FROM + 1 and bool(batch[COVERED_FROM + 1] & TRANSACTIONAL)


def is_zstd(batch: memoryview) -> bool:
    """Tell whether a batch says that its records are compressed with zstd."""
    return len(batch) > COVERED_FROM + 1 and batch[COVERED_FROM + 1] & COMPRESSION_MASK == ZSTD


# Rows: partition, error code, base offset; append time (v2+); log start (v5+); record errors and
# error text (v8+), for a success both absent: that part is constant.
ROW_0: Final = Struct(">ihq")
ROW_2: Final = Struct(">ihqq")
ROW_5: Final = Struct(">ihqqq")
NO_TEXT_FIXED: Final = I32.pack(0) + b"\xff\xff"
NO_TEXT_COMPACT: Final = b"\x01\x00\x00"  # no record errors, null, no tagged fields


def write_success(version: int, number: int, produced: Produced) -> bytes:
    """Return the row of a batch that is in the log."""
    base = -1 if produced.base_offset is None else produced.base_offset
    time = -1
    if produced.log_append_time and produced.append_time is not None:
        time = produced.append_time
    if version >= FLEXIBLE_FROM:
        return ROW_5.pack(number, 0, base, time, produced.log_start) + NO_TEXT_COMPACT
    if version >= LOG_START_FROM:
        row = ROW_5.pack(number, 0, base, time, produced.log_start)
        return row + NO_TEXT_FIXED if version >= TEXT_FROM else row
    return (
        ROW_2.pack(number, 0, base, time) if version >= TIME_FROM else ROW_0.pack(number, 0, base)
    )


def wants_log_start(refusal: RequestError | KafkaOnly) -> bool:
    """Tell whether a refusal says where the log starts: Java's producer else asks again for ever.

    By it the client sees whether its last batch was deleted, and begins a new epoch (KIP-360).
    """
    return isinstance(refusal, RequestError) and refusal.code is ErrorCode.UNKNOWN_PRODUCER_ID


def write_refusal(
    version: int, number: int, refusal: RequestError | KafkaOnly, *, log_start: int = UNKNOWN
) -> bytes:
    """Return the row of a batch that is not in the log, or not known to be."""
    code, text = _spelled(version, refusal)
    if version >= FLEXIBLE_FROM:
        row = ROW_5.pack(number, code, UNKNOWN, UNKNOWN, log_start)
        return row + b"\x01" + COMPACT.write_text(text) + b"\x00"
    if version >= LOG_START_FROM:
        row = ROW_5.pack(number, code, UNKNOWN, UNKNOWN, log_start)
        return row + I32.pack(0) + FIXED.write_text(text) if version >= TEXT_FROM else row
    if version >= TIME_FROM:
        return ROW_2.pack(number, code, UNKNOWN, UNKNOWN)
    return ROW_0.pack(number, code, UNKNOWN)


def _spelled(version: int, refusal: RequestError | KafkaOnly) -> tuple[int, str]:
    if isinstance(refusal, KafkaOnly):
        return int(refusal), refusal.name
    if refusal.code is ErrorCode.UNKNOWN_TOPIC and version >= TOPIC_ID_FROM:
        return kafka_number(refusal.code, KafkaContext.TOPIC_ID), refusal.detail
    if refusal.code is ErrorCode.CORRUPT_BATCH and CHECKSUM not in refusal.metadata:
        # Its lengths contradict each other, and will when it is sent again: 2 is retried, 87 not.
        return int(KafkaOnly.INVALID_RECORD), refusal.detail
    if refusal.code is ErrorCode.PRODUCER_FENCED:  # Produce kept the number, KIP-588 or not
        return kafka_number(refusal.code, KafkaContext.OLD_VERSION), refusal.detail
    return kafka_number(refusal.code, KafkaContext.PRODUCE_OR_FETCH), refusal.detail


def write_response(version: int, topics: Sequence[Topic], rows: Sequence[bytes]) -> bytes:
    """Return the body of an answer: one row for each partition, in the order of the request."""
    spelling = COMPACT if version >= FLEXIBLE_FROM else FIXED
    write_count, tags = spelling.write_count, spelling.tags
    out = [write_count(len(topics))]
    slot = 0
    for topic, parts in topics:
        out.append(topic if version >= TOPIC_ID_FROM else spelling.write_name(topic))
        count = len(parts)
        out.append(write_count(count))
        out += rows[slot : slot + count]
        out.append(tags)
        slot += count
    if version >= 1:
        out.append(NOT_THROTTLED)
    out.append(tags)
    return b"".join(out)


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
