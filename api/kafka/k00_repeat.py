"""A producer's next request says the same as the one before, but for the records.

Client, acks, timeout, topic and partition come in the same bytes every time. So the connection
keeps, for the requests that carry one batch, those bytes with what they meant; a request that
begins with them is not parsed again, and its answer is one `pack`. Whatever differs in any byte
outside the records takes the long way, and is what the next one is compared with.
"""

from struct import Struct
from typing import TYPE_CHECKING, Final

from api.broker.acks import Acks, Produced
from api.kafka.frame import COMPACT, FIXED, I32, NO_TAGS, read_varint, write_varint
from api.kafka.k00_answer import (
    FLEXIBLE_FROM,
    NO_TEXT_COMPACT,
    NO_TEXT_FIXED,
    NOT_THROTTLED,
    TEXT_FROM,
    TOPIC_ID_FROM,
    UNKNOWN,
    Topic,
    wants_log_start,
    write_refusal,
    write_response,
)
from api.kafka.k00_produce import (
    ACKS,
    ZSTD_FROM,
    ProduceRequest,
    leader_instead,
    named,
    partition_of,
)
from api.kafka.request import Request
from model.errors import RequestError

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort
    from cluster.shell.hosted_partition import HostedPartition

REMEMBERED_MAX: Final = 64
"""Of one connection: a producer that sends to more partitions fills larger requests."""
MOVES_MAX: Final = 16
"""How often a connection may go over to requests of another length before that is given up."""
SAME_FROM: Final = 8
"""Key, version and correlation id come before; the first two are compared as numbers."""
COMPACT_TAIL: Final = 3 * NO_TAGS  # of the partition, the topic and the request
ROW: Final = "ihqqq"  # as k00_answer.ROW_5


class Template:
    """What a request of one batch says beside the records, and how its answer looks."""

    __slots__ = (
        "_after",
        "_before",
        "_partition",
        "_shape",
        "_size",
        "_topic",
        "acks",
        "connection",
        "number",
        "principal",
        "tail",
        "timeout_ms",
        "version",
    )

    def __init__(self, request: Request, body: ProduceRequest, acks: Acks) -> None:
        """Take over the meaning of a request that was parsed: one topic, one partition."""
        self.connection = request.connection
        self.principal = request.connection.principal
        self.version = version = request.version
        self.acks, self.timeout_ms = acks, body.timeout_ms
        (self._topic, ((self.number, _),)) = body.topics[0]
        self._partition: HostedPartition | None = None
        flexible = version >= FLEXIBLE_FROM
        spelling = COMPACT if flexible else FIXED
        one, topic = spelling.write_count(1), self._topic
        name = topic if version >= TOPIC_ID_FROM else spelling.write_name(topic)
        self.tail = len(COMPACT_TAIL) if flexible else 0
        self._before = (NO_TAGS if flexible else b"") + one + name + one
        text = NO_TEXT_COMPACT if flexible else NO_TEXT_FIXED if version >= TEXT_FROM else b""
        self._after = text + spelling.tags + NOT_THROTTLED + spelling.tags
        self._shape = Struct(f">ii{len(self._before)}s{ROW}{len(self._after)}s")
        self._size = self._shape.size - 4

    def partition(self, broker: "BrokerPort") -> "HostedPartition":
        """Return the partition as it is now.

        Raises:
            RequestError: it has gone, or is led elsewhere.
        """
        partition = self._partition
        if partition is None or partition.gone:
            self._partition = None  # also if there is no other: what has gone is held by nobody
            partition = partition_of(broker, self._topic, self.number, version=self.version)
            self._partition = partition
        return partition

    def not_found(
        self, broker: "BrokerPort", records: memoryview, refusal: RequestError
    ) -> RequestError:
        """Note that a batch was refused since its partition is not here; return why."""
        called = named(self._topic, self.version)
        broker.batch_not_found(called, self.number, records, refusal=refusal)
        return refusal

    def success(self, correlation_id: int, produced: Produced) -> bytes:
        """Return the whole answer, its length included."""
        base_offset, append_time, log_start, _, stamped = produced
        return self._shape.pack(
            self._size,
            correlation_id,
            self._before,
            self.number,
            0,
            -1 if base_offset is None else base_offset,
            append_time if stamped else -1,
            log_start,
            self._after,
        )

    def refusal(self, correlation_id: int, error: RequestError, *, log_start: int) -> bytes:
        """Return the whole answer, its length included."""
        place = (self._topic, self.number)
        leader = leader_instead(self.connection.door, self.version, place, refusal=error)
        row = write_refusal(self.version, self.number, error, log_start=log_start, leader=leader)
        topics: list[Topic] = [(self._topic, [(self.number, None)])]
        leaders = () if leader is None else (leader,)
        body = write_response(self.version, topics, [row], leaders=leaders)
        head = I32.pack(correlation_id) + (NO_TAGS if self.tail else b"")
        return I32.pack(len(head) + len(body)) + head + body


class Repeated(Request):
    """A request that was recognised: its place in the row of answers."""

    __slots__ = ("partition", "template")

    def __init__(self, template: Template, correlation_id: int) -> None:
        """Take the place behind all requests before it."""
        self.template = template
        self.partition: HostedPartition | None = None
        """Where the records go, once that is known."""
        self.connection = template.connection
        self.correlation_id = correlation_id
        self.answer = None
        self.cancel = None

    def done(self, result: Produced | RequestError) -> None:
        """Answer."""
        template = self.template
        if isinstance(result, RequestError):
            log_start = UNKNOWN
            if self.partition is not None and wants_log_start(result):
                log_start = self.partition.log_start
            whole = template.refusal(self.correlation_id, result, log_start=log_start)
        else:
            whole = template.success(self.correlation_id, result)
        self.answer = (whole,)
        self.connection.answered(len(whole))


class Repeats:
    """The templates of one connection, all for requests whose records begin at the same byte."""

    __slots__ = ("_by_bytes", "_end", "_moves_left")

    def __init__(self) -> None:
        """Know none yet."""
        self._by_bytes: dict[bytes, Template] = {}
        self._end = SAME_FROM
        self._moves_left = MOVES_MAX

    def forget(self) -> None:
        """Know none any more: each holds its connection, which holds them, and the client is gone.

        Such circles wait for Python's collector, which looks seldom.
        """
        self._by_bytes.clear()

    def again(
        self, frame: memoryview, version: int, correlation_id: int
    ) -> tuple[Repeated, memoryview] | None:
        """Return the request and its records if it says what one before it said, else None."""
        at = self._end
        template = self._by_bytes.get(bytes(frame[SAME_FROM:at]))
        if template is None or template.version != version:
            return None
        tail = template.tail
        if tail:
            size, at = read_varint(frame, at)
            size -= 1
        else:
            (size,) = I32.unpack_from(frame, at)
            at += 4
        end = at + size
        if size <= 0 or end + tail != len(frame) or frame[end:] != COMPACT_TAIL[:tail]:
            return None  # more follows than that
        return Repeated(template, correlation_id), frame[at:end]

    def learn(self, request: Request, body: ProduceRequest) -> None:
        """Remember a request of one batch, unless it needs looks that only the long way has."""
        if len(body.topics) != 1 or len(body.topics[0][1]) != 1:
            return
        frame, acks = request.frame, ACKS.get(body.acks)
        if acks is None or acks is Acks.NONE or body.transactional or request.version < ZSTD_FROM:
            return
        records = body.topics[0][1][0][1]
        if not records:
            return
        tail, size_bytes = 0, I32.size
        if request.version >= FLEXIBLE_FROM:
            tail, size_bytes = len(COMPACT_TAIL), len(write_varint(len(records) + 1))
        end = len(frame) - len(records) - size_bytes - tail
        if end != self._end:
            if not self._moves_left:
                return
            self._moves_left -= 1
            self._end = end
            self._by_bytes.clear()
        elif len(self._by_bytes) >= REMEMBERED_MAX:
            self._by_bytes.clear()
        same = bytes(frame[SAME_FROM:end])
        self._by_bytes[same] = Template(request, body, acks)
        if self.again(frame, request.version, request.correlation_id) is None:
            del self._by_bytes[same]
