"""The gRPC door: one port with tidelog.v1, health, and reflection where that is switched on."""

import asyncio
from typing import TYPE_CHECKING, Final

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from api.broker.broker import Broker
from api.door import Address, DoorTaken
from api.rpc.cluster_service import ClusterService
from api.rpc.config_service import ConfigService
from api.rpc.coordinated import coordinated
from api.rpc.forwarded import ForwardedCalls
from api.rpc.group_service import GroupService
from api.rpc.guard import GrpcCounters, Guard, Note
from api.rpc.handlers import Handler
from api.rpc.log_service import LogService
from api.rpc.port_probe import why_taken
from api.rpc.pulled import PulledStreams
from api.rpc.remote_commits import RemoteCommits
from api.rpc.remote_reads import RemoteReads
from api.rpc.surface import generic_handlers, served_services
from api.rpc.topic_service import TopicService
from model.limits import (
    CONNECTION_AGE_GRACE_MS,
    CONNECTION_AGE_MS_MAX,
    CONNECTION_IDLE_MS_MAX,
    CONNECTIONS_MAX,
    GRPC_REQUEST_BYTES_MAX,
    HANDSHAKE_MS_MAX,
    KEEPALIVE_INTERVAL_MS,
    KEEPALIVE_TIMEOUT_MS,
    MIB,
    PING_INTERVAL_MS_MIN,
    STREAMS_PER_CONNECTION_MAX,
)
from model.ports import Rand

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_GRACE_S: Final = 10
"""For calls that wait for acks; what waits for records was ended by `drain`."""
LAST_WORD_GRACE_S: Final = 0.5
"""For the statuses of the last calls; health watchers never end by themselves."""

OPTIONS: Final["Sequence[tuple[str, int]]"] = (
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX.value),
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_MS_MAX.value),
    ("grpc.max_receive_message_length", GRPC_REQUEST_BYTES_MAX.value),
    ("grpc.max_send_message_length", 4 * MIB),  # what every client accepts untold
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX.value),
    ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS.value),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS.value),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN.value),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_MS_MAX.value),
    ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_MS.value),
    ("grpc.so_reuseport", 0),  # a second node on the same port is told so
)


class GrpcDoor:
    """`api.door.Door` for gRPC. Loop only."""

    def __init__(
        self,
        broker: Broker,
        bind: Address,
        *,
        reflection: bool,
        rand: Rand,
        note: Note,
        connections_max: int = CONNECTIONS_MAX.value,
    ) -> None:
        """Serve a broker at `bind`; port 0 takes a free one.

        Beyond `connections_max` gRPC hangs up on new connections; it has no bound for each address.
        """
        self._options = (*OPTIONS, ("grpc.max_allowed_incoming_connections", connections_max))
        self._broker = broker
        self._bind = bind
        self._reflection = reflection
        self._guard = Guard(broker, rand=rand, note=note)
        self._health = health.HealthServicer()
        self._server: aio.Server | None = None

    @property
    def name(self) -> str:
        """What the banner and the ports file call it."""
        return "grpc"

    @property
    def guard(self) -> Guard:
        """What stands around its calls."""
        return self._guard

    @property
    def counters(self) -> GrpcCounters:
        """What is counted of its calls."""
        return self._guard.counters

    async def start(self) -> Address:
        """Bind and serve.

        Raises:
            DoorTaken: the address is in use or not ours.
        """
        server = aio.server(options=self._options)
        handlers = handlers_of(self._broker, self._guard)
        server.add_generic_rpc_handlers(generic_handlers(self._guard, handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._reflection:
            shown = (*served_services(), "grpc.health.v1.Health", reflection.SERVICE_NAME)
            reflection.enable_server_reflection(shown, server)
        address = self._listen(server)
        await server.start()
        for service in served_services():
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        return address

    def _listen(self, server: aio.Server) -> Address:
        """Bind a server, and tell clients where it is."""
        host, port = self._bind
        if (why := why_taken(host, port)) is not None:
            raise DoorTaken("grpc", self._bind, why)
        try:
            found = server.add_insecure_port(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            )
        except RuntimeError as refused:
            why = why_taken(host, port) or str(refused).partition(";")[0]
            raise DoorTaken("grpc", self._bind, why) from refused
        self._broker.advertise("grpc", host, found)
        return Address(host, found)

    async def drain(self) -> None:
        """Tell health checks first, then refuse new calls and end those that wait for records.

        Members of groups whose streams end by it stay members: they resume when a node is back.
        """
        await self._health.enter_graceful_shutdown()
        self._broker.members.stop()
        self._guard.drain()

    async def stop(self) -> None:
        """Let calls that wait for acks end, then close every connection."""
        if self._server is None:
            return
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._guard.idle()
        except TimeoutError:
            pass  # their clients learn nothing: the outcome is unknown, and is called so
        await self._server.stop(LAST_WORD_GRACE_S)
        self._server = None


def handlers_of(broker: Broker, guard: Guard) -> dict[str, Handler]:
    """Return what serves each call."""
    return (
        LogService(broker, guard).handlers()
        | TopicService(broker).handlers()
        | ConfigService(broker).handlers()
        | ClusterService(broker, guard).handlers()
        | coordinated(broker, GroupService(broker, guard).handlers())
    )


def serve_other_nodes(
    broker: Broker, *, rand: Rand, note: Note, guard: Guard | None = None
) -> None:
    """Answer what other nodes bring of their clients' calls; a node that is alone has none.

    `guard`: of the door for this node's own clients: they end together. None: there is no such one.
    """
    context = broker.context
    forwarding = context.forwarding
    if forwarding is not None:
        guard = guard or Guard(broker, rand=rand, note=note)
        broker.read_elsewhere_by(RemoteReads(broker, forwarding))
        broker.group_standing.remote = RemoteCommits(forwarding)
        streams = PulledStreams(context.spawn, context.clock, context.shares.relayed)
        handlers = handlers_of(broker, guard)
        calls = ForwardedCalls(guard, handlers, streams, memory=context.memory, clock=context.clock)
        forwarding.serve(calls, streams.lost)
