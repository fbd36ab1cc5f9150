"""One Kafka client: its requests in, their answers out in the same order.

A handler is a plain call; one that has to wait keeps the request and answers later. So requests
overlap, but their answers do not: an answer that is ready waits for those before it. No further
request is taken from a client that has too many under way, that leaves too many bytes unread, or
whose Fetch is still waiting: that one answer may be large, and its client sends nothing behind it.

Bytes that make no sense end the connection, after the answers that are due, with one line in the
log. Nothing that a client sends raises past here.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from api.broker.read_room import ReadRoom
from api.kafka.broker_port import BrokerPort
from api.kafka.counters import KafkaCounters
from api.kafka.frame import HEADER, HEADER_BYTES, UNREADABLE, skip_tags
from api.kafka.k00_produce import KEY as PRODUCE
from api.kafka.k00_produce import ProduceRequest
from api.kafka.k00_repeat import Repeated, Repeats
from api.kafka.k18_api_versions import KEY as API_VERSIONS
from api.kafka.k18_api_versions import refuse_version
from api.kafka.request import Api, Buffer, Request
from api.kafka_settings import KafkaSettings
from cluster.shell.tick import Tick
from cluster.shell.wire import FrameConnection
from cluster.shell.wire_limits import Memory, WireLimits
from model.errors import MalformedError, RequestError
from model.limits import NAME_CHARACTERS_MAX
from model.ports import Spawn
from model.principal import ANONYMOUS

NO_CLIENT_ID: Final = b""


class Note(Protocol):
    """Write one line to the log; whoever implements it escapes and limits the rate."""

    def __call__(self, event: str, /, **fields: str | int) -> None:
        """`event` is a name from the closed list."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What all connections of one listener share."""

    name: str
    broker: BrokerPort
    apis: Mapping[int, Api]
    settings: KafkaSettings
    counters: KafkaCounters
    tick: Tick
    memory: Memory
    room: ReadRoom
    answers: Memory
    spawn: Spawn
    note: Note

    def wire_limits(self) -> WireLimits:
        """Return what a connection's socket may hold."""
        settings = self.settings
        return WireLimits(
            frame_bytes_max=settings.request_bytes_max,
            read_buffer_bytes=settings.read_buffer_bytes,
            kept_buffer_bytes_max=max(
                settings.read_buffer_bytes, settings.connection_buffer_bytes_max * 5 // 4
            ),
            unwritten_bytes_max=settings.connection_buffer_bytes_max,
        )


class Watcher(Protocol):
    """Whoever counts connections."""

    def closed(self, connection: "KafkaConnection") -> None:
        """It has gone."""
        ...


class KafkaConnection(FrameConnection):
    """Dispatches one client's requests. Loop only."""

    def __init__(self, door: Door, watcher: Watcher) -> None:
        """Wait for the socket."""
        super().__init__(
            door.wire_limits(),
            door.tick,
            memory=door.memory,
            room=door.room,
            answers=door.answers,
        )
        self.door = door
        self.principal = ANONYMOUS
        self._watcher = watcher
        self._apis = door.apis
        self._broker = door.broker
        self._client_id = NO_CLIENT_ID
        self._pending: deque[Request] = deque()
        self._held_bytes = 0  # of answers that wait for earlier ones
        self._fetch: Request | None = None  # which waits, and with it all that follows
        self._in_flight_max = door.settings.requests_in_flight_max
        self._counters = door.counters
        self._repeats = Repeats()

    # What handlers call.

    def answered(self, size_bytes: int) -> None:
        """An answer is ready; it leaves by the end of the tick if it is its turn."""
        self._held_bytes += size_bytes
        if self._held_bytes > self.limits.unwritten_bytes_max:
            self.hold()
            self.count_unread()
        if len(self._pending) == 1:
            self.flush_alone()
        else:
            self.flush_later()

    def forget(self, request: Request) -> None:
        """A request needs no answer."""
        self._pending.remove(request)

    def wait_for_fetch(self, request: Request) -> None:
        """Take nothing more from this client until its Fetch is answered."""
        self._fetch = request
        self.hold()

    @property
    def in_flight(self) -> int:
        """Requests that await their answer or their turn."""
        return len(self._pending)

    @property
    def waits_for_client(self) -> bool:
        """A request has begun, and nothing of ours keeps it from being read on."""
        return self.buffered_bytes > 0 and not self._pending

    # What the wire calls.

    def opened(self, host: str) -> None:
        """Note where the client is."""
        self.principal = replace(self.principal, host=host)

    def frame(self, frame: memoryview) -> None:
        """Read the header and hand the body to its handler."""
        self._counters.requests += 1
        try:
            head = HEADER.unpack_from(frame)
            again = self._repeats.again(frame, head[1], head[2]) if head[0] == PRODUCE else None
            fresh = self._read(frame, *head) if again is None else None
        except (MalformedError, *UNREADABLE) as error:
            self._malformed(error)
            return
        if again is not None:
            self._produce_again(*again)
        elif fresh is not None:
            api, request, body = fresh
            self._accept(request)
            api.handle(self._broker, request, body)

    def _read(  # noqa: PLR0917 - as they stand on the wire
        self, frame: memoryview, key: int, version: int, correlation_id: int, length: int
    ) -> tuple[Api, Request, Any] | None:
        """Read a request and its body; None if it is not served, which is seen to then."""
        at = HEADER_BYTES + max(length, 0)
        if at > len(frame):
            raise MalformedError("request header", HEADER_BYTES, "the client id runs over the end")
        client_id = bytes(frame[HEADER_BYTES:at])
        if client_id != self._client_id:
            self._named(client_id)
        api = self._apis.get(key)
        if api is None or not api.version_min <= version <= api.version_max:
            self._unsupported(key, version, correlation_id)
            return None
        if len(frame) > api.request_bytes_max:
            raise MalformedError(api.name, 0, f"{len(frame)} bytes are too many for it")
        flexible = version >= api.flexible_from
        if flexible:
            at = skip_tags(frame, at)
        request = Request(self, frame, (version, correlation_id, at, flexible))
        body = api.parse(request)
        if type(body) is ProduceRequest:
            self._repeats.learn(request, body)
        return api, request, body

    def _accept(self, request: Request) -> None:
        """Give a request its place in the row of answers."""
        pending = self._pending
        pending.append(request)
        if len(pending) >= self._in_flight_max:
            self.hold()

    def _produce_again(self, request: Repeated, records: memoryview) -> None:
        """Produce what was recognised without being parsed."""
        self._accept(request)
        template = request.template
        try:
            request.partition = partition = template.partition(self._broker)
        except RequestError as error:
            request.done(template.not_found(self._broker, records, error))
            return
        self._broker.produce(
            template.principal,
            partition,
            records,
            acks=template.acks,
            timeout_ms=template.timeout_ms,
            done=request.done,
        )

    def gather(self) -> list[Buffer]:
        """Return the answers whose turn it is."""
        parts: list[Buffer] = []
        pending = self._pending
        while pending and (answer := pending[0].answer) is not None:
            pending.popleft()
            parts += answer
        if not pending:
            self._held_bytes = 0
        elif parts:
            self._held_bytes -= sum(map(len, parts))
        return parts

    def flushed(self) -> None:
        """Go on with the client's next requests if nothing speaks against it."""
        if self._fetch is not None:
            if self._fetch.answer is None:
                return
            self._fetch = None
        if (
            len(self._pending) < self._in_flight_max
            and self._held_bytes <= self.limits.unwritten_bytes_max
        ):
            self.release()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of answers that wait for earlier ones."""
        return max(0, self._held_bytes)

    def settled(self) -> bool:
        """Tell whether every answer that was due has left."""
        return not self._pending

    def refused(self, length: int) -> None:
        """Note a length that cannot be: another protocol, or a client with a larger limit."""
        self._counters.oversized += 1
        self._note("kafka_request_too_large", length=length, limit=self.limits.frame_bytes_max)

    @property
    def is_whole(self) -> bool:
        """Behind a Fetch that waits for records nothing is handled: that is its client's choice."""
        return self._fetch is None and super().is_whole

    def too_slow(self) -> None:
        """Hang up on a client that keeps room for its request from others, and does not send it."""
        if self.is_open:
            self._counters.closed_slow += 1
            self._note("kafka_connection_slow", received=self.buffered_bytes)
            self.abort()

    def closed(self, error: Exception | None) -> None:
        """Wake nobody for a client that has gone."""
        del error  # a reset is how many clients say goodbye
        self._drop_waits()
        self._pending.clear()
        self._repeats.forget()
        self._watcher.closed(self)

    def stop(self) -> None:
        """End in good order: what was accepted is answered, long polls are not waited for."""
        self._drop_waits()
        self.end()

    def _drop_waits(self) -> None:
        waits = [request for request in self._pending if request.cancel is not None]
        for request in waits:
            if request.cancel is not None:
                request.cancel()
            self._pending.remove(request)

    # What goes wrong.

    def _named(self, client_id: bytes) -> None:
        """Take over what the client calls itself; trusted for nothing."""
        text = str(client_id[: NAME_CHARACTERS_MAX.value * 4], "utf-8", "replace")
        shown = text.encode("unicode_escape").decode("ascii")[: NAME_CHARACTERS_MAX.value]
        self.principal = replace(self.principal, client_id=shown)
        self._client_id = client_id

    def _unsupported(self, key: int, version: int, correlation_id: int) -> None:
        """Answer where the client can read the answer, else hang up: it would wait for ever."""
        self._counters.unsupported += 1
        if key == API_VERSIONS:
            request = Request(self, memoryview(b""), (0, correlation_id, 0, False))
            self._accept(request)
            refuse_version(request)
            return
        self._note("kafka_api_unsupported", key=key, version=version)
        self.end()

    def _malformed(self, error: Exception) -> None:
        self._counters.malformed += 1
        self._note("kafka_request_malformed", why=str(error))
        self.end()

    def _note(self, event: str, **fields: str | int) -> None:
        principal = self.principal
        self.door.note(event, host=principal.host, client_id=principal.client_id, **fields)
