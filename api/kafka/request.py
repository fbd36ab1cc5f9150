"""One request on its way through the listener, and its place in the row of answers."""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from api.kafka_settings import KafkaSettings
from model.ports import Spawn
from model.principal import Principal

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

Buffer: TypeAlias = bytes | bytearray | memoryview

HEAD: Final = Struct(">ii")
"""What every answer begins with: its length, and the correlation id of its request."""
LENGTH_BYTES: Final = 4
"""Of the length, which does not count itself."""


class Shared(Protocol):
    """What a request needs of its listener."""

    @property
    def name(self) -> str:
        """Of the listener: which address its clients are told."""
        ...

    @property
    def broker(self) -> "BrokerPort":
        """The node."""
        ...

    @property
    def settings(self) -> KafkaSettings:
        """What one request may ask for."""
        ...

    @property
    def spawn(self) -> Spawn:
        """Tasks of requests that wait for more than an append or a fetch."""
        ...


class Client(Protocol):
    """What a request needs of the connection it came by."""

    principal: Principal

    @property
    def door(self) -> Shared:
        """What all connections of the listener share."""
        ...

    def answered(self, size_bytes: int) -> None:
        """A request has its answer."""
        ...

    def forget(self, request: "Request") -> None:
        """A request gets no answer."""
        ...

    def wait_for_fetch(self, request: "Request") -> None:
        """Take no further request before this one is answered."""
        ...

    def end(self) -> None:
        """Hang up, once the answers that are due have left."""
        ...


class Request:
    """What a handler gets, and answers exactly once: now, or later on the loop.

    `frame` and whatever was sliced from it are valid only until the handler returns. Answers leave
    in the order of the requests, whichever is ready first: that is Kafka's contract.
    """

    __slots__ = (
        "answer",
        "at",
        "cancel",
        "connection",
        "correlation_id",
        "flexible",
        "frame",
        "version",
    )

    def __init__(
        self, connection: Client, frame: memoryview, head: tuple[int, int, int, bool]
    ) -> None:
        """Take the frame; `head`: version, correlation id, where the body begins, flexible."""
        self.connection = connection
        self.frame = frame
        self.version, self.correlation_id, self.at, self.flexible = head
        self.answer: Sequence[Buffer] | None = None
        self.cancel: Callable[[], None] | None = None
        """What ends a wait for nobody, once the client has gone."""

    def respond(self, body: bytes) -> None:
        """Answer; the header is v1 for flexible versions, else v0."""
        if self.flexible:
            whole = HEAD.pack(len(body) + 5, self.correlation_id) + b"\0" + body
        else:
            whole = HEAD.pack(len(body) + 4, self.correlation_id) + body
        self._put((whole,), len(whole))

    def respond_plain(self, body: bytes) -> None:
        """Answer under a header of v0, as ApiVersions does in every version (KIP-511)."""
        self.flexible = False
        self.respond(body)

    def respond_parts(self, parts: list[Buffer]) -> None:
        """Answer with a body that lies in several buffers; none is copied here."""
        size = sum(map(len, parts)) + (5 if self.flexible else 4)
        head = HEAD.pack(size, self.correlation_id)
        self._put([head + b"\0" if self.flexible else head, *parts], LENGTH_BYTES + size)

    def needs_no_answer(self) -> None:
        """Leave the row of answers: the client waits for none."""
        self.connection.forget(self)

    def _put(self, answer: Sequence[Buffer], size_bytes: int) -> None:
        self.answer = answer
        self.cancel = None
        self.connection.answered(size_bytes)


class Api(NamedTuple):
    """One API key: which versions are served, and by whom."""

    key: int
    name: str
    version_min: int
    version_max: int
    flexible_from: int
    """First version with compact lengths and tagged fields."""
    request_bytes_max: int
    parse: Callable[[Request], Any]
    """Read the body. Raises MalformedError: nothing of the request was done."""
    handle: "Callable[[BrokerPort, Request, Any], None]"
    """Do what the parsed body asks for, and see to the answer."""
