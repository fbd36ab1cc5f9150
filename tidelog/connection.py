"""The way to a cluster: a list of addresses, of which any will do, and calls that try again.

A node that cannot be reached or does not answer is left for the next one. Whether a call was sent
at all is known, because a node is connected to before it is: so "could not connect" never means
"may have taken effect".
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from tidelog.auth import Auth
from tidelog.calls import Call, Effect
from tidelog.clock import Clock
from tidelog.errors import TidelogError
from tidelog.retry import Budget, Retry
from tidelog.wire_errors import Failure, failure_of_status, harmless, unreachable

if TYPE_CHECKING:
    from grpc.aio import (
        StreamStreamCall,
        StreamStreamMultiCallable,
        UnaryStreamCall,
        UnaryStreamMultiCallable,
    )

    from tidelog.commits import Commits

DEFAULT_PORT: Final = 9095
UNIX_SCHEME: Final = "tidelog+unix"
CALL_TIMEOUT_S: Final = 10.0
"""Of one try of a call that is no stream, if its budget has so much left."""
CONNECT_TIMEOUT_S: Final = 5.0
"""Of one try to reach a node, likewise."""
TRY_S_MIN: Final = 0.1
"""What the last try of a budget has at least: less would be none."""
SILENT_S: Final = 3.0
"""A call that reaches nobody for so long says that it goes on trying; once, until one does."""
DNS_LABELS_MAX: Final = 253
LOGGER: Final = logging.getLogger("tidelog.client")

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # ours know what may be repeated
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),  # another client's troubles are not ours
    ("grpc.max_receive_message_length", 8 << 20),  # nodes stay below 4 MiB
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where nodes are: `host:port`, or `unix://path`; `tls`: whether the way there is encrypted."""

    hosts: tuple[str, ...]
    tls: bool = False


def parse_url(url: str) -> Addresses:
    """Return the addresses of `tidelog://host:port,host:port`; the port may be left out (9095).

    `tidelog+unix:///path` is a socket of this machine, such as `tidelog.testing` listens on.

    Raises:
        ValueError: it is not of that shape.
        TypeError: it is no text, such as a list of addresses.
    """
    if not isinstance(url, str):
        raise TypeError(f"a url is {url!r}; write one text: tidelog://host:port,host:port")
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tidelog", url
    if scheme == UNIX_SCHEME:
        if not rest.startswith("/"):
            raise ValueError(f"{url!r}: {rest!r} is no absolute path; write {UNIX_SCHEME}:///path")
        return Addresses((f"unix://{rest}",))
    if scheme not in {"tidelog", "tidelogs"}:
        raise ValueError(
            f"{url!r} begins with {scheme}://; write tidelog:// (or tidelogs:// for TLS)"
        )
    return Addresses(
        tuple(_address(one.strip(), url) for one in rest.rstrip("/").split(",")),
        tls=scheme == "tidelogs",
    )


def _address(text: str, url: str) -> str:
    host, _, port = text.rpartition(":") if _has_port(text) else (text, "", str(DEFAULT_PORT))
    legal = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536
    if not host or not legal or len(host) > DNS_LABELS_MAX or any(c in host for c in "/@? "):
        raise ValueError(f"{url!r}: {text!r} is no address; write tidelog://host:port,host:port")
    return f"{host}:{port}"


def _has_port(text: str) -> bool:
    return ":" in text.rpartition("]")[2]


class Node:
    """One address and the channel to it."""

    def __init__(self, address: str, credentials: "grpc.ChannelCredentials | None") -> None:
        """Remember the address; the channel is opened when it is needed."""
        self.address = address
        self._credentials = credentials
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> "grpc.aio.Channel":
        """The channel to it."""
        if self._channel is None:
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self.address, _OPTIONS)
            else:
                self._channel = grpc.aio.secure_channel(self.address, self._credentials, _OPTIONS)
        return self._channel

    async def connect(self, within_s: float = CONNECT_TIMEOUT_S) -> bool:
        """Return whether it can be reached now."""
        channel = self.channel
        state = channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(within_s):
                while state is not grpc.ChannelConnectivity.READY:
                    if state in {
                        grpc.ChannelConnectivity.TRANSIENT_FAILURE,
                        grpc.ChannelConnectivity.SHUTDOWN,
                    }:
                        return False
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


class Consuming(Protocol):
    """A consumer's place in its group, as others may look at it."""

    commits: "Commits"
    """Those that have no answer yet."""

    @property
    def member(self) -> tuple[str, str] | None:
        """Group and member id, once a node has confirmed it and until it is lost."""
        ...

    @property
    def is_heard(self) -> bool:
        """Whether it has a stream over which a node hears it."""
        ...


class Connection:
    """Calls to whichever node answers. Belongs to the event loop in which it is first used."""

    def __init__(
        self,
        addresses: Addresses,
        *,
        auth: Auth | None,
        client_id: str,
        retry: Retry,
        clock: Clock,
        chance: Random,
    ) -> None:
        """Take the addresses; nothing is opened yet.

        Raises:
            ValueError: proof of identity that would travel unencrypted.
        """
        if auth is not None and not addresses.tls:
            raise ValueError("auth goes over TLS only: connect to tidelogs://host:port")
        credentials = _credentials(auth) if addresses.tls else None
        self.retry = retry
        self.clock = clock
        self.chance = chance
        self._auth = auth
        self._client_id = client_id
        self._nodes = [Node(address, credentials) for address in addresses.hosts]
        self._current = chance.randrange(len(self._nodes))
        self.consumers: set[Consuming] = set()
        """Those that are open on it."""
        self.closed = False
        self._said_so = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def addresses(self) -> Sequence[str]:
        """Every address, as it was given."""
        return [node.address for node in self._nodes]

    def budget(self, retry: Retry | None = None) -> Budget:
        """Return the time that one call has for all its tries."""
        return Budget(retry or self.retry, self.clock, self.chance)

    def leave(self, node: Node) -> None:
        """Take the next node from now on, unless somebody has left this one already."""
        if self._nodes[self._current] is node:
            self._current = (self._current + 1) % len(self._nodes)

    async def reach(self, within_s: float = CONNECT_TIMEOUT_S) -> Node | None:
        """Return a node that is connected; None: every address was tried once, for so long."""
        if self.closed:
            raise RuntimeError("the client is closed; use it inside `async with`")
        self.check_loop()
        for _ in self._nodes:
            node = self._nodes[self._current]
            if await node.connect(within_s):
                return node
            self.leave(node)
        return None

    def check_loop(self) -> None:
        """Refuse another event loop: what is awaited there would never come."""
        running = asyncio.get_running_loop()
        self._loop = self._loop or running
        if self._loop is not running:
            raise RuntimeError(
                "the client belongs to the event loop in which it was first used, which is not "
                "this one; make one here (pytest-asyncio: fixture and test need one loop_scope)"
            )

    async def ready(self, budget: Budget) -> Node:
        """Return a node that is connected.

        Raises:
            ConnectError: none is, within the budget.
        """
        while (node := await self.reach(_try_s(budget, CONNECT_TIMEOUT_S))) is None:
            error = self.unreachable()
            wait_s = budget.failed(error)
            if not self._said_so and budget.spent_s >= SILENT_S:
                self._said_so = True
                LOGGER.warning("%s; trying for %.0f s more", error.text, budget.left_s)
            await self.clock.sleep(wait_s)
        self._said_so = False
        return node

    def unreachable(self) -> TidelogError:
        """Return the error of having tried every address."""
        return unreachable(f"no node answers at {', '.join(self.addresses)}")

    async def call(
        self,
        call: Call[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> ResponseT:
        """Make a call; try again what may be tried again, on another node if need be.

        Raises:
            TidelogError: as the table of reasons has it; `OutcomeUnknown` if it may have taken
                effect and a second try would not be harmless.
        """
        budget = self.budget()
        while True:
            node = await self.ready(budget)
            invoke = node.channel.unary_unary(
                call.path,
                request_serializer=call.request.SerializeToString,
                response_deserializer=call.response.FromString,
            )
            try:
                response: ResponseT = await invoke(
                    request, timeout=_try_s(budget, timeout_s), metadata=self.metadata()
                )
            except grpc.aio.AioRpcError as status:
                failure = failure_of_status(status, node.address)
                error = _judged(failure, call.effect)
                if failure.other_node:
                    self.leave(node)
                await self.clock.sleep(budget.failed(error, failure.retry_after_s))
            else:
                return response

    def subscribe(
        self, node: Node, call: Call[RequestT, ResponseT], request: RequestT
    ) -> "UnaryStreamCall[RequestT, ResponseT]":
        """Begin a stream of answers."""
        invoke: UnaryStreamMultiCallable[RequestT, ResponseT] = node.channel.unary_stream(
            call.path,
            request_serializer=call.request.SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return invoke(request, metadata=self.metadata())

    def pipe(
        self, node: Node, call: Call[RequestT, ResponseT]
    ) -> "StreamStreamCall[RequestT, ResponseT]":
        """Begin a stream both ways."""
        invoke: StreamStreamMultiCallable[RequestT, ResponseT] = node.channel.stream_stream(
            call.path,
            request_serializer=call.request.SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return invoke(metadata=self.metadata())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with every call."""
        pairs: Mapping[str, str | None] = {
            "tidelog-client-id": self._client_id or None,
            "authorization": self._auth.header() if self._auth and self._auth.header else None,
        }
        return tuple((name, value) for name, value in pairs.items() if value is not None)

    async def close(self) -> None:
        """Close every channel."""
        self.closed = True
        for node in self._nodes:
            await node.close()


def _try_s(budget: Budget, longest_s: float) -> float:
    """Return how long one try may take: what is left, but for a budget of a single try."""
    left_s = longest_s if budget.is_single else budget.left_s
    return max(min(longest_s, left_s), TRY_S_MIN)


def _judged(failure: Failure, effect: Effect) -> TidelogError:
    """Return the error of a try if there may be another one; raise it if not."""
    error = harmless(failure.error) if effect is Effect.NONE else failure.error
    unclear = effect is Effect.SECOND and error.outcome == "unknown"
    if unclear or not error.retryable:
        raise error
    return error


def _credentials(auth: Auth | None) -> "grpc.ChannelCredentials":
    if auth is None or auth.certificate is None:
        return grpc.ssl_channel_credentials()
    key, chain = auth.certificate
    return grpc.ssl_channel_credentials(private_key=key, certificate_chain=chain)
