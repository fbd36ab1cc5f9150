"""Many partitions: what a restart after a clean stop costs, and what each takes while it is idle.

1,000 partitions, then 5,000, with one record each. A node is ready when ListOffsets answers for
every one of them, with its true end. CPU is counted from before exec until then. What bounds it:
reading the state of each partition and making its objects, in Python; imports for few partitions.

Memory and open files are those of a node that nobody talks to, less those of one with a single
partition. Files are counted twice: a while after a record was written to every partition, and
after a restart.

Takes 15 minutes, nearly all of them Kafka's (quick: 3 minutes, with 200 partitions and 1,000).
"""

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, TypeAlias

from bench.kafka_node import CLEAN_STOP, kafka
from bench.machine import Missing, compiled, scratch
from bench.requests import TIMEOUT_MS, VALUE, make_topics
from bench.rows import Row, compared, skipped
from bench.server import Server, cpu_s, rss_mib
from bench.tidelog_node import tidelog
from logstore.batch import encode_batch
from logstore.paths import CLEAN
from model.record import NewRecord

PER_TOPIC: Final = 1_000
"""A topic of ours has no more."""
QUICK_PER_TOPIC: Final = 200
FEW: Final = 1
MANY: Final = 5
"""Topics."""
PAIRS: Final = 5
QUICK_PAIRS: Final = 1
READY_S_MAX: Final = 300
ASK_AGAIN_S: Final = 0.05
ANSWER_S_MAX: Final = 60
SETTLE_S: Final = 5
WRITTEN_S: Final = 60
"""Longer than any timer of a node that has to do with its files."""
CPU_MAX: Final = 0.15
"""Of Kafka's."""
LINEAR_MAX: Final = 5.5
"""Five times as many partitions, and a tenth for what is measured beside them."""
RSS_BYTES_MAX: Final = 25_000
PRODUCE_V7: Final = (0, 7, 1)
LIST_OFFSETS_V1: Final = (2, 1, 1)
"""API key, version, correlation id."""
LATEST: Final = -1
PRODUCED: Final = struct.Struct(">ihqqq")
"""Partition, error, offset, append time, log start."""
LISTED: Final = struct.Struct(">ihqq")
"""Partition, error, time, offset."""

Started: TypeAlias = AbstractContextManager[Server]


class Restart(NamedTuple):
    """One start of a node on what it had."""

    cpu_s: float
    """Until every partition answered."""
    rss_mib: float
    files: int


@dataclass(slots=True)
class Node:
    """A node's directory, how it is started, and what was measured."""

    name: str
    start: Callable[[], Started]
    clean_stop: Path
    """Is there after a clean stop, and only then."""
    topics: Sequence[bytes]
    per_topic: int
    restarts: list[Restart] = field(default_factory=list)
    written_files: int = 0
    """Open a while after a record was written to each partition."""

    @property
    def partitions(self) -> int:
        """How many it has."""
        return len(self.topics) * self.per_topic


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield what restarts cost, then what an idle partition takes."""
    try:
        compiled("small")
    except Missing as missing:
        yield skipped("partitions", str(missing))
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers
    per_topic = QUICK_PER_TOPIC if quick else PER_TOPIC
    idle_s = SETTLE_S if quick else WRITTEN_S
    with scratch() as made:
        root = Path(made)
        sizes = ((1, 1), (FEW, per_topic), (MANY, per_topic))
        nodes = [_tidelog(root, *size) for size in sizes]
        for node in nodes:
            _fill(node, root, idle_s=idle_s)
        peers = [_kafka(root, *size) for size in sizes[1:]]
        try:
            for peer in peers:
                _fill(peer, root, idle_s=0)
        except Missing as missing:
            yield skipped("kafka", str(missing))
            peers = []
        _restart_in_turn([*nodes, *peers], quick=quick)
    one, few, many = nodes
    yield _restart_row(few, peers[0] if peers else None)
    yield _restart_row(many, peers[1] if peers else None)
    yield _linear_row(few, many)
    yield _memory_row(one, many)
    yield _files_row("written to", many, [many.written_files - one.written_files])
    both = zip(many.restarts, one.restarts, strict=True)
    yield _files_row("restarted", many, [all_.files - alone.files for all_, alone in both])


def _tidelog(root: Path, topics: int, per_topic: int) -> Node:
    data = root / f"tidelog-{topics * per_topic}"
    start = partial(tidelog, data, f"topics.auto_create_partitions={per_topic}")
    return Node("tidelog", start, data / CLEAN, _names(topics), per_topic)


def _kafka(root: Path, topics: int, per_topic: int) -> Node:
    data = root / f"kafka-{topics * per_topic}"
    start = partial(kafka, data, **{"num.partitions": str(per_topic)})
    return Node("kafka", start, data / CLEAN_STOP, _names(topics), per_topic)


def _names(topics: int) -> list[bytes]:
    return [b"many-%d" % number for number in range(topics)]


def _fill(node: Node, root: Path, *, idle_s: float) -> None:
    """Write a record to each partition, and count the open files after so long in peace.

    Raises:
        RuntimeError: a partition took none, or the node did not stop cleanly.
    """
    with node.start() as server:
        make_topics(server, root, node.topics)
        _wait_until_ready(node, server, records=0)
        for topic in node.topics:
            for number, error, *_ in _produce(server, topic, node.per_topic):
                if error:
                    raise RuntimeError(f"{node.name}: partition {number}: error {error}")
        time.sleep(idle_s)
        node.written_files = _open_files(server)
    _check_stop(node)


def _restart_in_turn(nodes: Sequence[Node], *, quick: bool) -> None:
    """Restart each so often, alone, changing who is first; the first time is not counted."""
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for node in nodes if number % 2 else nodes[::-1]:
            with node.start() as server:
                _wait_until_ready(node, server, records=1)
                cost = cpu_s(server.pid)
                if node.name == "tidelog":
                    time.sleep(SETTLE_S)
                restart = Restart(cost, rss_mib(server.pid), _open_files(server))
            _check_stop(node)
            if number >= 0:
                node.restarts.append(restart)


def _wait_until_ready(node: Node, server: Server, *, records: int) -> None:
    """Return once each partition tells its end, which must lie behind so many records.

    Raises:
        RuntimeError: it takes too long, or a partition has another end.
    """
    give_up = time.monotonic() + READY_S_MAX
    for topic in node.topics:
        rows = _list_offsets(server, topic, node.per_topic)
        while any(error for _, error, *_ in rows):
            if time.monotonic() > give_up:
                raise RuntimeError(f"{node.name} did not get ready: {rows[:3]}")
            time.sleep(ASK_AGAIN_S)
            rows = _list_offsets(server, topic, node.per_topic)
        if {end for *_, end in rows} != {records} or len(rows) != node.per_topic:
            raise RuntimeError(f"{node.name} has lost or found records: {rows[:3]}")


def _check_stop(node: Node) -> None:
    if not node.clean_stop.exists():
        raise RuntimeError(f"{node.name} with {node.partitions} partitions did not stop cleanly")


def _open_files(server: Server) -> int:
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def _produce(server: Server, topic: bytes, partitions: int) -> list[tuple[int, ...]]:
    """Append one record to each partition with one request; return the answer's rows."""
    batch = bytes(encode_batch([NewRecord(int(time.time() * 1000), None, VALUE)]))
    parts = [struct.pack(">ii", number, len(batch)) + batch for number in range(partitions)]
    head = struct.pack(">hhi", -1, -1, TIMEOUT_MS)  # no transaction, acks=all
    return _asked(server, PRODUCE_V7, head + _of_topic(topic, parts), row=PRODUCED)


def _list_offsets(server: Server, topic: bytes, partitions: int) -> list[tuple[int, ...]]:
    """Ask for the end of each partition; return the answer's rows."""
    parts = [struct.pack(">iq", number, LATEST) for number in range(partitions)]
    head = struct.pack(">i", -1)  # no replica
    return _asked(server, LIST_OFFSETS_V1, head + _of_topic(topic, parts), row=LISTED)


def _of_topic(topic: bytes, parts: Sequence[bytes]) -> bytes:
    name = struct.pack(">ih", 1, len(topic)) + topic
    return name + struct.pack(">i", len(parts)) + b"".join(parts)


def _asked(
    server: Server, head: tuple[int, int, int], body: bytes, *, row: struct.Struct
) -> list[tuple[int, ...]]:
    """Send a request about one topic; return its partitions' rows of the answer.

    A topic that is not known to the server has rows all the same, each with an error.
    """
    client = b"bench"
    whole = struct.pack(">hhih", *head, len(client)) + client + body
    host, _, port = server.brokers.partition(":")
    with (
        socket.create_connection((host, int(port)), ANSWER_S_MAX) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(struct.pack(">i", len(whole)) + whole)
        answer = answers.read(*struct.unpack(">i", answers.read(4)))
    (name_bytes,) = struct.unpack_from(">h", answer, 8)  # behind correlation id and topic count
    (count,) = struct.unpack_from(">i", answer, 10 + name_bytes)
    start = 14 + name_bytes
    return list(row.iter_unpack(answer[start : start + count * row.size]))


def _restart_row(ours: Node, peer: Node | None) -> Row:
    question, unit = f"restart, {ours.partitions:,} partitions", "CPU s"
    costs = [restart.cpu_s for restart in ours.restarts]
    if peer is None:
        return Row(question=question, unit=unit, ours=median(costs))
    peer_costs = [restart.cpu_s for restart in peer.restarts]
    return compared(
        question,
        unit=unit,
        ours=costs,
        peer=peer_costs,
        at_most=CPU_MAX,
    )


def _linear_row(few: Node, many: Node) -> Row:
    more, less = ([restart.cpu_s for restart in node.restarts] for node in (many, few))
    return compared(
        f"restart, {many.partitions:,} beside {few.partitions:,}",
        unit="CPU s",
        ours=more,
        peer=less,
        at_most=LINEAR_MAX,
    )


def _memory_row(one: Node, many: Node) -> Row:
    more = many.partitions - one.partitions
    both = zip(many.restarts, one.restarts, strict=True)
    each = [(all_.rss_mib - alone.rss_mib) * 2**20 / more for all_, alone in both]
    return Row(
        question=f"idle partition, one of {many.partitions:,}",
        unit="RSS bytes",
        ours=median(each),
        ratio=median(each) / RSS_BYTES_MAX,
        spread=(min(each), max(each)),
        at_most=1.0,
    )


def _files_row(how: str, many: Node, files: Sequence[int]) -> Row:
    """Return how many files are open for the partitions; the ratio is what each of them holds."""
    return Row(
        question=f"idle, {many.partitions:,} partitions, {how}",
        unit="open files",
        ours=median(files),
        ratio=median(files) / many.partitions,
        spread=(min(files), max(files)),
        at_most=0.0,
    )
