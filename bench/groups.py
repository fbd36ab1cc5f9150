"""Groups: commits, the time in which members come to rest, and a member that is killed.

*Commits* go through one Consume stream, 100 unanswered, each of ten cursors, and are on disk when
they are answered. Kafka's go over one connection, 100 unanswered, each of one offset, and are in
its memory. What bounds it: the client and the node in Python, for each message and for each cursor.

*Members*: 50 from one process on 100 partitions, until every partition is held once and nothing has
moved for 6 s (a member of Kafka hears of a change within 3 s; the 6 s are not counted). Kafka waits
3 s for more members before it first assigns (`group.initial.rebalance.delay.ms`); what bounds ours
is opening 50 connections in one Python process, and handing partitions over one member at a time.

*Killed*: a member in a process of its own holds a tenth of 100 partitions, and is killed. Until the
others have read the first record of each of them. What bounds it: the resume timeout of 2 s.

About 5 minutes.
"""

import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from bench.crowd import crowd, settled
from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.python_client import command, run
from bench.requests import make_topics
from bench.rows import Row, compared, skipped
from bench.server import Running, cpu_s
from bench.tidelog_node import tidelog

PAIRS: Final = 5
QUICK_PAIRS: Final = 2
OURS: Final = "tidelog"
TOPIC: Final = "groups"
COMMITTED_TOPIC: Final = "commits"
PARTITIONS: Final = 100
MEMBERS: Final = 50
CURSORS: Final = 10
OFFSETS: Final = 100
IN_FLIGHT: Final = 100
COMMITS: Final = 20_000
"""Messages of either."""
WARM_COMMITS: Final = 100_000
"""Of Kafka alone, before any that counts: its JVM gets faster for as long as that."""
QUICK_SHARE: Final = 5
"""Of the commits, one in so many."""
COMMITS_MIN: Final = 1.5
QUIET_S: Final = 6.0
JOIN_MAX: Final = 0.3
OTHERS: Final = 9
"""Members that are not killed."""
KILLS: Final = 5
KILLED_QUIET_S: Final = 1.0
SERVED_S_MAX: Final = 3.0
FIND_COORDINATOR: Final = (10, 0, 1)
OFFSET_COMMIT: Final = (8, 5, 1)
"""API key, version, correlation id."""
READY_S_MAX: Final = 60


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield cursors/s, the time to rest, and how long a killed member's partitions wait."""
    with scratch() as made, ExitStack() as running:
        root = Path(made)
        ours = running.enter_context(tidelog(root / "tidelog"))
        run("filled_topic", ours.doors["grpc"], TOPIC, str(PARTITIONS), "1")
        run("filled_topic", ours.doors["grpc"], COMMITTED_TOPIC, str(CURSORS), str(OFFSETS))
        servers = [ours]
        try:
            compiled("small")
            compiled("members", "rdkafka")
            node = kafka(root / "kafka", **{"num.partitions": str(PARTITIONS)})
            servers.append(running.enter_context(node))
        except Missing as missing:
            yield skipped("kafka", str(missing))
        yield from _commits(servers, root, quick=quick)
        yield _joins(servers, root, quick=quick)
        yield _killed(ours, root, quick=quick)


def _commits(servers: Sequence[Running], root: Path, *, quick: bool) -> Iterator[Row]:
    """Yield cursors/s, messages/s and CPU of each server."""
    commits = COMMITS // (QUICK_SHARE if quick else 1)
    for peer in servers[1:]:
        make_topics(peer, root, [TOPIC.encode()])
        _wait_for_coordinator(peer)
        (root / "commit.request").write_bytes(_offset_commit())
        _replayed_commits(peer, root / "commit.request", WARM_COMMITS)
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for server in servers if number % 2 else servers[::-1]:
            before = cpu_s(server.pid)
            if server.name == OURS:
                seconds = _stream_of_commits(server, number, commits)
            else:
                seconds = _replayed_commits(server, root / "commit.request", commits)
            if number >= 0:
                rates[server.name].append(commits / seconds)
                costs[server.name].append((cpu_s(server.pid) - before) / commits * 1e6)
    for peer in servers[1:]:
        _wait_for_coordinator(peer)  # it still takes them
    cursors = {name: [rate * _cursors(name) for rate in each] for name, each in rates.items()}
    per_cursor = {name: [cost / _cursors(name) for cost in each] for name, each in costs.items()}
    yield _row("commits, 100 in flight", "cursors/s", cursors, at_least=COMMITS_MIN)
    yield _row("commits, 100 in flight", "messages/s", rates)
    yield _row("commits, 100 in flight", "CPU us/cursor", per_cursor)


def _cursors(name: str) -> int:
    return CURSORS if name == OURS else 1


def _stream_of_commits(server: Running, number: int, commits: int) -> float:
    """Return the seconds that so many commits took over one stream."""
    numbers = map(str, (CURSORS, OFFSETS, IN_FLIGHT, commits))
    group = f"commits-{number + 1}"
    told = run("commit_stream", server.doors["grpc"], group, COMMITTED_TOPIC, *numbers)
    return told["seconds"]


def _replayed_commits(server: Running, request: Path, commits: int) -> float:
    """Return the same of one connection to Kafka."""
    port = server.brokers.rpartition(":")[2]
    program = str(compiled("small"))
    command_line = [program, port, str(request), "1", str(IN_FLIGHT), str(commits)]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{server.name}: {done.stderr.strip()}")
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def _offset_commit() -> bytes:
    """Return a commit of one offset by nobody's member, which Kafka takes for an empty group."""
    body = _text(b"commits") + struct.pack(">i", -1) + _text(b"")
    body += struct.pack(">i", 1) + _text(TOPIC.encode())
    body += struct.pack(">iiq", 1, 0, 1) + _text(b"")
    return _framed(OFFSET_COMMIT, body)


def _wait_for_coordinator(server: Running) -> None:
    """Commit until it is taken: the first request for a group has Kafka make the topic of offsets.

    Raises:
        TimeoutError: it never is; with the error code.
    """
    host, _, port = server.brokers.rpartition(":")
    give_up = time.monotonic() + READY_S_MAX
    with socket.create_connection((host, int(port)), READY_S_MAX) as connection:
        while True:
            _answer(connection, _framed(FIND_COORDINATOR, _text(b"commits")))
            (code,) = struct.unpack(">h", _answer(connection, _offset_commit())[-2:])
            if code == 0:
                return
            if time.monotonic() > give_up:
                raise TimeoutError(f"{server.name}: commits are refused with error {code}")
            time.sleep(0.1)


def _answer(connection: socket.socket, request: bytes) -> bytes:
    """Return what answers a request, without its length."""
    connection.sendall(request)
    with connection.makefile("rb") as answers:
        (length,) = struct.unpack(">i", answers.read(4))
        return answers.read(length)


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _framed(head: tuple[int, int, int], body: bytes) -> bytes:
    whole = struct.pack(">hhi", *head) + _text(b"bench") + body
    return struct.pack(">i", len(whole)) + whole


def _joins(servers: Sequence[Running], root: Path, *, quick: bool) -> Row:
    """Return the seconds from the first member of a new group to rest."""
    took: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for server in servers if number % 2 else servers[::-1]:
            what = (f"joins-{number + 1}", TOPIC, str(MEMBERS))
            if server.name == OURS:
                members = command("stream_members", server.doors["grpc"], *what)
            else:
                members = [str(compiled("members", "rdkafka")), server.brokers, *what]
            with crowd(members, root / f"{server.name}.members.log") as one:
                last = settled([one], members=MEMBERS, partitions=PARTITIONS, quiet_s=QUIET_S)
                if number >= 0:
                    took[server.name].append(last - one.began())
    return _row(f"{MEMBERS} members on {PARTITIONS} partitions", "s", took, at_most=JOIN_MAX)


def _killed(node: Running, root: Path, *, quick: bool) -> Row:
    """Return how long the partitions of a killed member were not read, the longest of all kills."""
    took: list[float] = []
    log = root / "killed.log"
    others = command("stream_members", node.doors["grpc"], "killed", TOPIC, str(OTHERS))
    alone = command("stream_members", node.doors["grpc"], "killed", TOPIC, "1")
    with crowd(others, log) as rest:
        for _ in range(QUICK_PAIRS if quick else KILLS):
            with crowd(alone, log) as victim:
                every = [rest, victim]
                settled(every, members=OTHERS + 1, partitions=PARTITIONS, quiet_s=KILLED_QUIET_S)
                (orphans,) = victim.held().values()
                victim.child.kill()
                killed = time.monotonic()
            settled([rest], members=OTHERS, partitions=PARTITIONS, quiet_s=KILLED_QUIET_S)
            took.append(rest.all_read(orphans, since=killed) - killed)
    return Row(
        question="a killed member's partitions, until read",
        unit="s at most",
        ours=max(took),
        ratio=max(took) / SERVED_S_MAX,
        spread=(min(took), max(took)),
        at_most=1.0,
    )


def _row(
    question: str,
    unit: str,
    figures: dict[str, list[float]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    ours = figures[OURS]
    peers = [each for name, each in figures.items() if name != OURS]
    if not peers:
        return Row(question=question, unit=unit, ours=median(ours))
    return compared(
        question,
        unit=unit,
        ours=ours,
        peer=peers[0],
        at_least=at_least,
        at_most=at_most,
    )
