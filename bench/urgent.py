"""`python -m bench.urgent`: how long a heartbeat takes while its link carries bulk at full rate.

Two nodes' links over loopback, in one process, with a relay between them that passes so many bytes
a second: a slow network, whose own queue is small. One node keeps 16 MiB of batches under way, as a
replica stream does, and asks for a heartbeat every 20 ms. Told are round trips and the bulk rate.
"""

import asyncio
import socket
import sys
from functools import partial
from threading import Thread
from time import monotonic, sleep
from typing import Final

from api.node.system_clock import SystemClock
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from cluster.controller.answer_frames import encode as encode_answer
from cluster.controller.request_frames import BrokerHeartbeat
from cluster.controller.request_frames import encode as encode_request
from cluster.controller.sessions import Heard
from cluster.peer.hello import Hello
from cluster.peer.table import HEAD, Family, Frame, FrameType
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_links import LinkEvents, PeerLinks
from cluster.shell.peer_network import Address, SocketNetwork
from cluster.shell.tick import Tick
from model.errors import RequestError
from model.ids import NodeId, RegistrationEpoch

WINDOW: Final = 16 << 20
FRAMES: Final = {"1 MiB": 1 << 20, "16 MiB": 16 << 20}
QUEUE: Final = 64 << 10
"""Of the relay, on either side: the kernel doubles it."""
RATES: Final = {"100 Mbit/s": 12_500_000, "1 Gbit/s": 125_000_000, "loopback": None}
SECONDS: Final = 6.0
EVERY_S: Final = 0.02
SECRET: Final = b"what both of them know"
TWO: Final = NodeId(2)


def relay(listening: socket.socket, there: Address, rate: int | None) -> None:
    """Pass one connection on, so many bytes a second each way."""
    here, _ = listening.accept()
    other = socket.socket()
    for one in (here, other):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE)
    other.connect(tuple(there))
    for one in (here, other):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for source, sink in ((here, other), (other, here)):
        Thread(target=carry, args=(source, sink, rate), daemon=True).start()


def carry(source: socket.socket, sink: socket.socket, rate: int | None) -> None:
    """Carry one direction."""
    due = monotonic()
    try:
        while data := source.recv(QUEUE):
            sink.sendall(data)
            if rate is not None:
                due = max(due, monotonic() - 0.005) + len(data) / rate
                sleep(max(0.0, due - monotonic()))
    except OSError:
        return


def links_of(number: int) -> PeerLinks:
    """Return a node's links."""
    loop = asyncio.get_running_loop()
    spawn = SystemSpawn(lambda error: sys.exit(repr(error)))
    me = Hello(NodeId(number), bytes([number] * 16), bytes([number] * 16), bytes(32), "bench")
    return PeerLinks(
        PeerDoors(
            me=me,
            secret=SECRET,
            clock=SystemClock(loop),
            rand=SystemRand(),
            tick=Tick(loop.call_soon),
            network=SocketNetwork(spawn),
        )
    )


class Measured(LinkEvents):
    """Two nodes, of which one sends the other bulk and heartbeats."""

    def __init__(self, frame_bytes: int) -> None:
        """Send nothing yet."""
        self.one, self.two = links_of(1), links_of(2)
        self.two.route(Family.REPLICA, self._batches)
        self.two.route(Family.CONTROLLER, self._heartbeat)
        self.is_up = asyncio.Event()
        self.one.subscribe(self)
        self.trips: list[float] = []
        """Round trips in ms."""
        self.unanswered = 0
        """Heartbeats that had no answer in 2.5 s."""
        self.arrived = 0
        self._under_way = 0
        self._body = bytes(frame_bytes)

    def up(self, node: NodeId, peer: Hello) -> None:
        """Note that both can be spoken to."""
        if node == TWO:
            self.is_up.set()

    async def bulk(self, until: float) -> None:
        """Keep a whole window under way."""
        size = len(self._body)
        while monotonic() < until:
            while self._under_way + size <= WINDOW:
                assert self.one.say(TWO, [HEAD.pack(FrameType.BATCHES, 0, 0), self._body])
                self._under_way += size
            await asyncio.sleep(0.001)

    async def beat(self) -> None:
        """Ask for one heartbeat."""
        asked = monotonic()
        ask = partial(encode_request, BrokerHeartbeat(NodeId(1), RegistrationEpoch(1)))
        try:
            await self.one.ask(TWO, ask, timeout_ms=2_500)
        except RequestError:
            self.unanswered += 1
        else:
            self.trips.append((monotonic() - asked) * 1_000)

    def _batches(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        self.arrived += len(frame.body)
        self._under_way -= len(frame.body)

    def _heartbeat(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        assert answer is not None
        answer(encode_answer(Heard.FINE, correlation=frame.correlation))


async def measure(rate: int | None, frame_bytes: int) -> tuple[Measured, float]:
    """Return what was measured, and bulk in MB/s."""
    made = Measured(frame_bytes)
    spawn = SystemSpawn(lambda error: sys.exit(repr(error)))
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
    there = made.two.listen("127.0.0.1", 0, spawn)
    Thread(target=relay, args=(listening, there, rate), daemon=True).start()
    way = there if rate is None else Address(*listening.getsockname()[:2])
    made.one.know({NodeId(1): way, TWO: way})
    await made.is_up.wait()
    begun = monotonic()
    sending = asyncio.ensure_future(made.bulk(begun + SECONDS))
    await asyncio.sleep(0.5)
    beats = []
    while not sending.done():
        beats.append(asyncio.ensure_future(made.beat()))
        await asyncio.sleep(EVERY_S)
    bulk_rate = made.arrived / (monotonic() - begun) / 1e6
    await asyncio.gather(*beats)
    await asyncio.gather(made.one.stop(grace_ms=100), made.two.stop(grace_ms=100))
    return made, bulk_rate


def main() -> None:
    """Print a row for each rate and size of frame."""
    for name, rate in RATES.items():
        for size, frame_bytes in FRAMES.items():
            made, bulk_rate = asyncio.run(measure(rate, frame_bytes))
            trips, lost = sorted(made.trips), made.unanswered
            p50, p99 = (trips[int(len(trips) * part)] if trips else 0 for part in (0.5, 0.99))
            most = trips[-1] if trips else 0
            print(
                f"{name}, frames of {size}: heartbeat p50 {p50:.1f} p99 {p99:.1f} most {most:.1f} "
                f"ms, {lost} lost of {lost + len(trips)}; bulk {bulk_rate:.0f} MB/s"
            )


if __name__ == "__main__":
    main()
