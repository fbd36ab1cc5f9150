"""Small requests: one record of 100 B a request, from the socket to its acknowledgement.

What bounds it: Python, a request at a time, on the event loop; with flush=quorum also the sync,
which all that arrived together share. The client replays one frame, which costs it next to nothing.
Kafka has nothing synced in the rows without a sync, and syncs each append
(`log.flush.interval.messages=1`) in those with one: the only way to get the same promise from it.
"""

import json
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from bench.bulk import PAIRS, PRODUCER, QUICK_PAIRS
from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.rows import Row, paired
from bench.server import Server, cpu_s
from bench.tidelog_node import tidelog
from logstore.batch import encode_batch
from model.record import NewRecord

TOPIC: Final = b"small"
VALUE_BYTES: Final = 100
CONNECTIONS: Final = 64
REQUESTS: Final = 100_000
SYNCED_REQUESTS_OF_KAFKA: Final = 2_000
TIMEOUT_MS: Final = 30_000
PRODUCE_V7: Final = (0, 7, 1)
"""API key, version, correlation id."""


def frame(acks: int) -> bytes:
    """Return one Produce request with its length in front."""
    batch = bytes(encode_batch([NewRecord(1_700_000_000_000, None, b"v" * VALUE_BYTES)]))
    client = b"bench"
    body = struct.pack(">hhih", *PRODUCE_V7, len(client)) + client
    body += struct.pack(">hhi", -1, acks, TIMEOUT_MS)  # no transaction
    body += struct.pack(">ih", 1, len(TOPIC)) + TOPIC
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    return struct.pack(">i", len(body)) + body


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield rate, CPU and wait of small requests, without a sync and with one."""
    try:
        clients = compiled("small"), compiled("bulk", "rdkafka")
    except Missing as missing:
        yield Row(question="small", unit="", ours=None, skipped=str(missing))
        return
    for flush, of_kafka, synced in (
        ("async", {}, False),
        ("quorum", {"log.flush.interval.messages": "1"}, True),
    ):
        with scratch() as root, ExitStack() as running:
            request = Path(root, "request")
            request.write_bytes(frame(acks=-1))
            node = tidelog(Path(root, "tidelog"), f"topic_defaults.tidelog.flush={flush}")
            servers: list[Server] = [running.enter_context(node)]
            try:
                servers.append(running.enter_context(kafka(Path(root, "kafka"), **of_kafka)))
            except Missing as missing:
                yield Row(question="kafka", unit="", ours=None, skipped=str(missing))
            for server in servers:
                what = ["produce", server.brokers, TOPIC.decode(), "1", "1", "1"]
                subprocess.run([str(clients[1]), *what, *PRODUCER], check=True, capture_output=True)
            yield from _rows(clients[0], request, servers, synced=synced, quick=quick)


def _rows(
    client: Path, request: Path, servers: list[Server], *, synced: bool, quick: bool
) -> Iterator[Row]:
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    waits: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for server in servers if number % 2 else servers[::-1]:
            count = REQUESTS // 5 if quick else REQUESTS
            if synced and server.name == "kafka":
                count = min(count, SYNCED_REQUESTS_OF_KAFKA)
            port = server.brokers.rpartition(":")[2]
            command = [str(client), port, str(request), str(CONNECTIONS), "1", str(count)]
            before = cpu_s(server.pid)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{server.name}: {done.stderr.strip()}")
            told = json.loads(done.stdout)
            if number >= 0:
                rates[server.name].append(count / told["seconds"])
                costs[server.name].append((cpu_s(server.pid) - before) / count * 1e6)
                waits[server.name].append(told["p99_us"] / 1000)
    name = f"{CONNECTIONS} connections, {'synced' if synced else 'not synced'}"
    targets = ((18.0, None), (None, 0.5)) if synced else ((1.4, None), (None, 0.5))
    for unit, figures, (at_least, at_most) in (
        ("requests/s", rates, targets[0]),
        ("CPU us/request", costs, targets[1]),
        ("p99 ms", waits, (None, None)),
    ):
        ours = figures["tidelog"]
        if "kafka" not in figures:
            yield Row(question=name, unit=unit, ours=median(ours))
            continue
        ratio, spread = paired(ours, figures["kafka"])
        yield Row(
            question=name,
            unit=unit,
            ours=median(ours),
            peer=median(figures["kafka"]),
            ratio=ratio,
            spread=spread,
            at_least=at_least,
            at_most=at_most,
        )
