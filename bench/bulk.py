"""Bulk: as many records as librdkafka moves, into one partition and out of it again.

What bounds it: with 100 B records the client's own core; with 1 KiB the page cache. Both servers
write without a sync (flush=async; Kafka's default), and both are asked in turn by the same client.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.rows import Row, paired
from bench.server import Server, cpu_s
from bench.tidelog_node import tidelog

PRODUCER: Final = (
    "acks=1", "linger.ms=5", "batch.size=1000000", "batch.num.messages=100000",
    "queue.buffering.max.messages=1000000",
)  # fmt: skip
CONSUMER: Final = ("queued.min.messages=1000000", "fetch.message.max.bytes=1048576")
CASES: Final = ((100, 1_000_000), (1_024, 200_000))
"""Bytes of a value, records of a run."""
PAIRS: Final = 5
QUICK_PAIRS: Final = 2
CPU_TARGETS: Final = {
    ("produce", 100): 0.35,
    ("consume", 100): 1.1,
    ("produce", 1_024): 0.8,
    ("consume", 1_024): 0.7,
}


class Run(NamedTuple):
    """One run of the client."""

    rate: float
    """Records a second."""
    cpu_us: float
    """Of the server, a record."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the rows of bulk produce and consume."""
    try:
        client = compiled("bulk", "rdkafka")
    except Missing as missing:
        yield Row(question="bulk", unit="", ours=None, skipped=str(missing))
        return
    with scratch() as root, ExitStack() as running:
        node = tidelog(Path(root, "tidelog"), "topic_defaults.tidelog.flush=async")
        servers: list[Server] = [running.enter_context(node)]
        try:
            servers.append(running.enter_context(kafka(Path(root, "kafka"))))
        except Missing as missing:
            yield Row(question="kafka", unit="", ours=None, skipped=str(missing))
        for size_bytes, records in CASES:
            yield from _case(client, servers, (size_bytes, records), quick=quick)


def _case(
    client: Path, servers: list[Server], case: tuple[int, int], *, quick: bool
) -> Iterator[Row]:
    size_bytes, records = case
    records = records // 4 if quick else records
    runs: dict[tuple[str, str], list[Run]] = {}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):  # the first warms a JVM up
        order = servers if number % 2 else servers[::-1]
        topic = f"bulk-{size_bytes}-{number + 1}"
        for verb, settings in (("produce", PRODUCER), ("consume", CONSUMER)):
            for server in order:
                if verb == "produce":  # the topic exists before the clock runs
                    _run(client, server, ("produce", topic, 1, 1), settings=PRODUCER)
                run = _run(client, server, (verb, topic, records, size_bytes), settings=settings)
                if number >= 0:
                    runs.setdefault((verb, server.name), []).append(run)
    for verb in ("produce", "consume"):
        yield from _rows(verb, size_bytes, runs)


def _run(
    client: Path, server: Server, what: tuple[str, str, int, int], *, settings: tuple[str, ...]
) -> Run:
    verb, topic, records, size_bytes = what
    command = [str(client), verb, server.brokers, topic, "1", str(records), str(size_bytes)]
    before = cpu_s(server.pid)
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{server.name}: {' '.join(command)}: {done.stderr.strip()[-500:]}")
    told = json.loads(done.stdout)
    return Run(records / told["seconds"], (cpu_s(server.pid) - before) / records * 1e6)


def _rows(verb: str, size_bytes: int, runs: Mapping[tuple[str, str], list[Run]]) -> Iterator[Row]:
    what = f"bulk {verb} {size_bytes} B"
    ours, peer = runs[verb, "tidelog"], runs.get((verb, "kafka"))
    rates, costs = [run.rate for run in ours], [run.cpu_us for run in ours]
    if peer is None:
        yield Row(question=what, unit="records/s", ours=median(rates))
        yield Row(question=what, unit="CPU us/record", ours=median(costs))
        return
    ratio, spread = paired(rates, [run.rate for run in peer])
    yield Row(
        question=what,
        unit="records/s",
        ours=median(rates),
        peer=median(run.rate for run in peer),
        ratio=ratio,
        spread=spread,
        at_least=1.0,
        gated=size_bytes == 100,
    )
    peer_costs = [run.cpu_us for run in peer]
    ratio, spread = paired(costs, peer_costs)
    yield Row(
        question=what,
        unit="CPU us/record",
        ours=median(costs),
        peer=median(peer_costs),
        ratio=ratio,
        spread=spread,
        at_most=CPU_TARGETS[verb, size_bytes],
    )
