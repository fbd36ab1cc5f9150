"""The Kafka listener: who may connect, who is watched, and how it ends.

One sweep a second looks at every connection: silence for `idle_ms_max` with nothing under way ends
it (P57), and so does standing still for `stalled_ms_max` within a request or with answers unread
(P58), but not while a client waits for memory that others have. Who keeps such memory and does not
send is cut off much sooner (`api/broker/read_room.py`). Limits count all connections and those of
one address (P54); near the process's limit of descriptors new clients are refused, so that the log
still has some (P59).
"""

import asyncio
from collections.abc import Callable

from api.crowd import Crowd
from api.kafka.connection import Door, KafkaConnection
from api.kafka_settings import SWEEP_MS
from cluster.shell.accept import Acceptor, bind
from model.ids import MonotonicMs
from model.limits import FILE_DESCRIPTORS_PERCENT_MAX
from model.ports import Clock


class _Watched:
    """What the last sweep saw of a connection."""

    __slots__ = ("host", "progress", "since")

    def __init__(self, host: str, since: MonotonicMs) -> None:
        self.host = host
        self.progress = (-1, -1, -1)
        self.since = since


class KafkaListener:
    """One address that Kafka clients connect to. Loop only."""

    def __init__(
        self, door: Door, *, clock: Clock, descriptors_max: int, crowd: Crowd | None = None
    ) -> None:
        """`descriptors_max`: the process's limit of open files.

        `crowd`: clients of all listeners of the node; None: this is the only one.
        """
        self._door = door
        self._clock = clock
        self._descriptors_max = descriptors_max * FILE_DESCRIPTORS_PERCENT_MAX.value // 100
        self._connections: dict[KafkaConnection, _Watched] = {}
        self._crowd = Crowd() if crowd is None else crowd
        self._acceptor: Acceptor | None = None
        self._cancel_sweep: Callable[[], None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept clients from now on; return the address, with the port that was found for 0.

        Raises:
            OSError: the address cannot be had.
        """
        self._acceptor = Acceptor(bind(host, port), self, self._door.spawn)
        self._sweep()
        return self._acceptor.address

    async def stop(self, *, grace_ms: int) -> None:
        """Accept no more; answer what was accepted; hang up on all after `grace_ms`."""
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        for connection in list(self._connections):
            connection.stop()
        deadline = MonotonicMs(self._clock.monotonic_ms() + grace_ms)
        cancel = self._clock.call_at(deadline, self._abort_all)
        await self._empty.wait()
        cancel()
        if self._cancel_sweep is not None:
            self._cancel_sweep()

    @property
    def connections(self) -> int:
        """Clients that are connected now."""
        return len(self._connections)

    # cluster.shell.accept.Gate

    def admit(self, host: str, descriptor: int) -> KafkaConnection | None:
        """Let a client in, or turn it away."""
        settings, counters = self._door.settings, self._door.counters
        if descriptor >= self._descriptors_max:
            counters.refused_descriptors += 1
        elif self._crowd.size >= settings.connections_max:
            counters.refused_full += 1
        elif self._crowd.by_host[host] >= settings.connections_per_address_max:
            counters.refused_address_full += 1
        else:
            connection = KafkaConnection(self._door, self)
            self._watch(connection, host)
            return connection
        self._door.note("kafka_connection_refused", host=host, connections=self.connections)
        return None

    def exhausted(self) -> None:
        """No descriptor was left for a client."""
        self._door.counters.accept_errors += 1
        self._door.note("kafka_accept_failed", connections=self.connections)

    def _watch(self, connection: KafkaConnection, host: str) -> None:
        self._connections[connection] = _Watched(host, self._clock.monotonic_ms())
        self._crowd.enter(host)
        self._empty.clear()
        counters = self._door.counters
        counters.accepted += 1
        counters.connections = self._crowd.size

    # api.kafka.connection.Watcher

    def closed(self, connection: KafkaConnection) -> None:
        """A connection has gone."""
        watched = self._connections.pop(connection, None)
        if watched is None:
            return
        self._crowd.leave(watched.host)
        self._door.counters.connections = self._crowd.size
        if not self._connections:
            self._empty.set()

    # Silence and stalls.

    def _sweep(self) -> None:
        now = self._clock.monotonic_ms()
        self._door.room.look(now)
        for connection, watched in list(self._connections.items()):
            self._look_at(connection, watched, now)
        next_look = MonotonicMs(now + SWEEP_MS)
        self._cancel_sweep = self._clock.call_at(next_look, self._sweep)

    def _look_at(self, connection: KafkaConnection, watched: _Watched, now: MonotonicMs) -> None:
        """Close a connection that has stood still for too long."""
        connection.count_unread()
        unwritten = connection.unwritten_bytes
        # Behind so much unread nothing is handled: sending more, a byte at a time, is no progress.
        is_held = unwritten > connection.limits.unwritten_bytes_max
        received = -1 if is_held else connection.received_bytes
        progress = (received, connection.written_bytes, unwritten)
        is_paused = connection.waits_for_us and not is_held
        if progress != watched.progress or is_paused:
            watched.progress, watched.since = progress, now
            return
        connection.shrink()
        silent_ms = now - watched.since
        settings, counters = self._door.settings, self._door.counters
        if unwritten or connection.waits_for_client:
            if silent_ms >= settings.stalled_ms_max:
                counters.closed_stalled += 1
                self._door.note("kafka_connection_stalled", host=watched.host, unread=unwritten)
                connection.abort()
        elif not connection.in_flight and silent_ms >= settings.idle_ms_max:
            counters.closed_idle += 1
            self._door.note("kafka_connection_idle", host=watched.host)
            connection.end()

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()
