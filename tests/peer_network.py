"""Nodes that reach each other through memory: every byte moves when the test says so.

A connection is two ends. What one end writes waits there until `run` carries it over, as far as
the other end reads. Hosts refuse, are dark, or are cut off; a process can be killed, or stopped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from api.sim.clock import SimClock
from cluster.peer.hello import Hello, LinkRefused
from cluster.shell.accept import Gate
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_links import LinkEvents, PeerLinks
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address, Failed
from cluster.shell.tick import Tick
from model.ids import MonotonicMs, NodeId, WallMs
from tests.wire_transport import ManualTick

SECRET = b"a secret that every node of the cluster has"


class End(asyncio.Transport):
    """One end of a connection, as asyncio's transports behave."""

    def __init__(self, host: "Host", protocol: asyncio.BufferedProtocol) -> None:
        super().__init__({"peername": ("192.0.2.7", 40_000)})
        self.host = host
        self.protocol = protocol
        self.other: End
        self.buffer: deque[bytes] = deque()
        self.gone = False
        self.written: list[bytes] = []
        self._closing = False
        self._reading = True
        self._paused = False
        self._high = 0

    def write(self, data: Any) -> None:
        if not self._closing:
            self.buffer.append(bytes(data))
            self.written.append(bytes(data))
            if self.get_write_buffer_size() > self._high and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.buffer))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True
        self.buffer.clear()

    def lose(self, error: Exception | None) -> None:
        """The kernel tells this end that the connection is no more."""
        if not self.gone:
            self.gone = self._closing = True
            if self.host.lives:
                self.protocol.connection_lost(error)

    def carry(self) -> bool:
        """Move what was written to the other end, or the end itself; tell whether that did."""
        moved = False
        while self.buffer and self._can_take(self.other):
            moved = True
            data = self.buffer.popleft()
            room = memoryview(self.other.protocol.get_buffer(-1))
            part, rest = data[: len(room)], data[len(room) :]
            if rest:
                self.buffer.appendleft(rest)
            room[: len(part)] = part
            self.other.protocol.buffer_updated(len(part))
        if self._paused and self.get_write_buffer_size() <= self._high // 4 and not self.gone:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing and not self.buffer and not self.gone and self.host.runs:
            moved = True
            self.lose(None)
        if self.gone and not self.other.gone and self._reaches(self.other):
            moved = True
            self.other.lose(None)
        return moved

    def _reaches(self, other: "End") -> bool:
        return not (self.host.cut or other.host.cut) and self.host.runs and other.host.runs

    def _can_take(self, other: "End") -> bool:
        alive = not other.gone and not other._closing and self.host.lives
        return alive and other._reading and self._reaches(other)


class Host:
    """Where one process runs. It is `cluster.shell.peer_network.Network` for it."""

    def __init__(self, net: "MemoryNetwork", address: Address) -> None:
        self.net = net
        self.address = address
        self.gate: Gate | None = None
        self.lives = True
        self.stopped = False
        self.cut = False
        self.dials: list[tuple[int, Address]] = []
        """When which address was dialled."""

    @property
    def runs(self) -> bool:
        """The process handles what comes."""
        return self.lives and not self.stopped

    def dial(
        self, address: Address, protocol: asyncio.BaseProtocol, failed: Failed
    ) -> Callable[[], None]:
        assert isinstance(protocol, asyncio.BufferedProtocol)
        self.dials.append((self.net.clock.monotonic_ms(), address))
        attempt = Attempt(self, address, protocol=protocol, failed=failed)
        self.net.attempts.append(attempt)
        return attempt.give_up


class Attempt:
    """One dialling that is under way."""

    def __init__(
        self,
        host: Host,
        address: Address,
        *,
        protocol: asyncio.BufferedProtocol,
        failed: Failed,
    ) -> None:
        self.host, self.address, self.protocol, self.failed = host, address, protocol, failed
        self.given_up = False

    def give_up(self) -> None:
        self.given_up = True

    def go(self) -> None:
        net = self.host.net
        if self.given_up or not self.host.runs or self.host.cut or self.address in net.dark:
            return
        if self.address in net.unknown:
            self.failed(OSError("the name leads nowhere"))
            return
        address = net.aliases.get(self.address, self.address)
        there = next((one for one in net.hosts if one.address == address and one.lives), None)
        if there is None or there.gate is None:
            if there is None or not there.cut:
                self.failed(ConnectionRefusedError())
            return
        if there.cut:
            return
        protocol = there.gate.admit("192.0.2.7", 40)
        if protocol is None:
            protocol = asyncio.BufferedProtocol()
        assert isinstance(protocol, asyncio.BufferedProtocol)
        near, far = End(self.host, self.protocol), End(there, protocol)
        near.other, far.other = far, near
        net.ends += [near, far]
        near.protocol.connection_made(near)
        far.protocol.connection_made(far)
        if type(protocol) is asyncio.BufferedProtocol:
            far.close()


class MemoryNetwork:
    """All hosts, one clock, one loop's ticks."""

    def __init__(self) -> None:
        self.clock = SimClock(wall=WallMs(0), monotonic=MonotonicMs(1_000_000))
        self.tick = ManualTick()
        self.hosts: list[Host] = []
        self.ends: list[End] = []
        self.attempts: list[Attempt] = []
        self.dark: set[Address] = set()
        self.unknown: set[Address] = set()
        self.aliases: dict[Address, Address] = {}

    def host(self, address: Address) -> Host:
        host = Host(self, address)
        self.hosts.append(host)
        return host

    def kill(self, host: Host, error: Exception | None = None) -> None:
        """End a process: its kernel ends its connections."""
        host.lives = False
        for end in self.ends:
            if end.host is host:
                end.gone = True
                if not host.cut:
                    end.other.lose(error)

    def run(self) -> None:
        """Let everything happen that needs no time."""
        moved = True
        while moved:
            attempts, self.attempts = self.attempts, []
            for attempt in attempts:
                attempt.go()
            ticks = bool(self.tick.due)
            self.tick.end()
            carried = [end.carry() for end in list(self.ends)]
            moved = ticks or bool(attempts) or any(carried) or bool(self.attempts)
        self.ends = [end for end in self.ends if not (end.gone and end.other.gone)]

    def after(self, ms: int) -> None:
        """Let time pass, from timer to timer."""
        until = self.clock.monotonic_ms() + ms
        self.run()
        while (timer := self.clock.next_timer()) is not None and timer <= until:
            self.clock.advance(max(0, timer - self.clock.monotonic_ms()))
            self.run()
        self.clock.advance(until - self.clock.monotonic_ms())
        self.run()


class Chance:
    """Adds the least or the most that it may; its bytes are never the same twice."""

    def __init__(self, seed: int, *, most: bool = False) -> None:
        self.most = most
        self._seed = seed.to_bytes(4, "big")
        self._count = 0

    def randrange(self, stop: int, /) -> int:
        return stop - 1 if self.most else 0

    def randbytes(self, size: int, /) -> bytes:
        self._count += 1
        return self._seed + self._count.to_bytes(size - 4, "big")


class Seen(LinkEvents):
    """Everything that was told, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def up(self, node: NodeId, peer: Hello) -> None:
        assert peer.node == node
        self.lines.append(f"up {node}")

    def lost(self, node: NodeId, loss: Loss) -> None:
        self.lines.append(f"lost {node} {loss.name}")

    def refused(self, node: NodeId) -> None:
        self.lines.append(f"refused {node}")

    def barred(self, address: Address, refusal: LinkRefused) -> None:
        by = "there" if refusal.by_peer else "here"
        self.lines.append(f"barred {address} {refusal.reason.name} {by}")

    def came(self, peer: Hello, number: int) -> None:
        self.lines.append(f"came {peer.node} #{number}")

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        self.lines.append(f"went {peer.node} #{number} {loss.name}")

    def turned_away(self, host: str, refusal: LinkRefused) -> None:
        by = "there" if refusal.by_peer else "here"
        self.lines.append(f"turned away {refusal.reason.name} {by}")

    def seed_up(self, address: Address, peer: Hello) -> None:
        self.lines.append(f"seed {address} is {peer.node}")

    def taken(self) -> list[str]:
        """Return what was told since the last call."""
        lines, self.lines = self.lines, []
        return lines


def address_of(number: int) -> Address:
    return Address(f"n{number}", 7_000)


def hello_of(number: int, *, incarnation: int = 1, directory: int | None = None) -> Hello:
    uuid = bytes([number if directory is None else directory]) * 16
    return Hello(NodeId(number), uuid, bytes([number, incarnation]) * 8, bytes(32), "tide")


class Process:
    """One node's links, on one host."""

    def __init__(
        self,
        net: MemoryNetwork,
        me: Hello,
        *,
        secret: bytes = SECRET,
        address: Address | None = None,
        most: bool = False,
    ) -> None:
        self.net = net
        self.me = me
        self.host = net.host(address or address_of(me.node))
        self.doors = PeerDoors(
            me=me,
            secret=secret,
            clock=net.clock,
            rand=Chance(len(net.hosts), most=most),
            tick=Tick(net.tick.call_soon),
            network=self.host,
        )
        self.links = PeerLinks(self.doors)
        self.host.gate = self.links.listener
        self.seen = Seen()
        self.links.subscribe(self.seen)

    def know(self, *numbers: int) -> None:
        self.links.know({NodeId(number): address_of(number) for number in numbers})
        self.net.run()

    def kill(self, error: Exception | None = None) -> None:
        self.net.kill(self.host, error)
        self.net.run()
