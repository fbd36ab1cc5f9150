"""One record a request, over many connections: the client, and what servers are asked.

The client replays one request, which costs it next to nothing, and understands answers of Kafka's
protocol, of Redis and of NATS. Servers are asked in turn, changing who is first; the first time
warms them up and is not counted.
"""

import json
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench import nats_node, redis_node
from bench.machine import compiled
from bench.rows import Row, compared
from bench.server import Server, cpu_s
from logstore.batch import encode_batch
from model.record import NewRecord

STREAM: Final = b"small"
VALUE: Final = b"v" * 100
TIMEOUT_MS: Final = 30_000
PRODUCE_V7: Final = (0, 7, 1)
METADATA_V4: Final = (3, 4, 1)
"""API key, version, correlation id."""
PAIRS: Final = 5
QUICK_PAIRS: Final = 2
QUICK_SHARE: Final = 5
"""Of the requests, one in so many."""


class Load(NamedTuple):
    """How the client asks."""

    connections: int
    in_flight: int
    """Unanswered requests of each."""
    requests: int

    def __str__(self) -> str:
        """Return it as the table has it."""
        plural = "" if self.connections == 1 else "s"
        depth = "" if self.in_flight == 1 else f" x {self.in_flight}"
        return f"{self.connections} connection{plural}{depth}"


class Target(NamedTuple):
    """One figure of a load that is judged against a peer."""

    peer: str
    figure: str
    """A name of `UNITS`."""
    at_least: float | None = None
    at_most: float | None = None


UNITS: Final = {
    "rate": "requests/s",
    "cpu": "CPU us/request",
    "p50": "p50 us",
    "p99": "p99 ms",
}


@dataclass(slots=True)
class Asked:
    """A server, the request it gets, and what was measured."""

    name: str
    server: Server
    request: Path
    client: tuple[str, ...] = ()
    """What the client must know of its answers."""
    requests_max: int = 1 << 62
    """It is so slow that more would take too long."""
    figures: dict[str, list[float]] = field(default_factory=dict)


def kafka_request(topic: bytes, acks: int = -1, *, value: bytes = VALUE) -> bytes:
    """Return one Produce request of one record, with its length in front."""
    batch = bytes(encode_batch([NewRecord(1_700_000_000_000, None, value)]))
    body = struct.pack(">h", -1) + struct.pack(">hi", acks, TIMEOUT_MS)  # no transaction
    body += struct.pack(">ih", 1, len(topic)) + topic
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    return framed(PRODUCE_V7, body)


def metadata_request(topics: Sequence[bytes]) -> bytes:
    """Return one Metadata request that has topics made which are not there."""
    body = struct.pack(">i", len(topics))
    body += b"".join(struct.pack(">h", len(topic)) + topic for topic in topics)
    return framed(METADATA_V4, body + b"\x01")


def framed(head: tuple[int, int, int], body: bytes) -> bytes:
    """Return a request with its length in front; `head`: API key, version, correlation id."""
    client = b"bench"
    whole = struct.pack(">hhih", *head, len(client)) + client + body
    return struct.pack(">i", len(whole)) + whole


def of_kafka(name: str, server: Server, root: Path, *, requests_max: int = 1 << 62) -> Asked:
    """Ask a server that speaks Kafka's protocol; its topic is there afterwards."""
    request = root / "kafka.request"
    request.write_bytes(kafka_request(STREAM))
    make_topics(server, root, [STREAM])
    return Asked(name, server, request, requests_max=requests_max)


def of_redis(server: Server, root: Path) -> Asked:
    """Ask Redis."""
    request = root / "redis.request"
    request.write_bytes(redis_node.append(STREAM, VALUE))
    return Asked("redis", server, request, ("2",))


def of_nats(server: Server, root: Path, *, requests_max: int = 1 << 62) -> Asked:
    """Ask NATS, whose connections say first where their answers go."""
    request, greeting = root / "nats.request", root / "nats.greeting"
    request.write_bytes(nats_node.publish(STREAM, VALUE))
    greeting.write_bytes(nats_node.GREETING)
    client = ("2", str(greeting), str(nats_node.GREETED_LINES))
    return Asked("nats", server, request, client, requests_max)


def make_topics(server: Server, root: Path, topics: Sequence[bytes]) -> None:
    """Have topics made, and wait until each takes a record.

    A server may answer before it has made them; its client asks again, as every client does.
    """
    asking = root / "make.request"
    asking.write_bytes(metadata_request(topics))
    bare = Asked("", server, asking)
    for _ in range(3):
        ask(bare, Load(1, 1, 1))


def measure(servers: Sequence[Asked], load: Load, *, quick: bool) -> None:
    """Ask each server so often, in turn; what was measured before is dropped."""
    for asked in servers:
        asked.figures = {figure: [] for figure in UNITS}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for asked in servers if number % 2 else servers[::-1]:
            count = min(load.requests // (QUICK_SHARE if quick else 1), asked.requests_max)
            before = cpu_s(asked.server.pid)
            told = ask(asked, load._replace(requests=count))
            cost = cpu_s(asked.server.pid) - before
            if number < 0:
                continue
            asked.figures["rate"].append(count / told["seconds"])
            asked.figures["cpu"].append(cost / count * 1e6)
            asked.figures["p50"].append(told["p50_us"])
            asked.figures["p99"].append(told["p99_us"] / 1_000)


def ask(asked: Asked, load: Load) -> dict[str, float]:
    """Ask one server once; return seconds, p50_us and p99_us."""
    port = asked.server.brokers.rpartition(":")[2]
    what = [port, str(asked.request), str(load.connections), str(load.in_flight)]
    command = [str(compiled("small")), *what, str(load.requests), *asked.client]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{asked.name}: {done.stderr.strip()}")
    told: dict[str, float] = json.loads(done.stdout)
    return told


def judged(
    question: str, ours: Asked, peers: Sequence[Asked], *, targets: Sequence[Target]
) -> Iterator[Row]:
    """Yield a row for each target whose peer is there, and for each other figure against Kafka."""
    by_name = {peer.name: peer for peer in peers}
    for target in targets:
        peer = by_name.get(target.peer)
        mine = ours.figures[target.figure]
        name = question if target.peer == "kafka" else f"{question}, {target.peer}"
        if peer is None:
            yield Row(question=name, unit=UNITS[target.figure], ours=median(mine))
            continue
        theirs = peer.figures[target.figure]
        yield compared(
            name,
            unit=UNITS[target.figure],
            ours=mine,
            peer=theirs,
            at_least=target.at_least,
            at_most=target.at_most,
        )
