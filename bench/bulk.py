"""Bulk: as many records as librdkafka moves, into one partition and out of it again.

What bounds it: with 100 B records the client's own core; with 1 KiB the page cache. Both servers
write without a sync (flush=async; Kafka's default), and both are asked in turn by the same client.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.kafka_node import kafka
from bench.machine import Missing, compiled, lend_memory, scratch
from bench.rows import Row, compared, skipped
from bench.server import Server, cpu_s
from bench.tidelog_node import tidelog

PRODUCER: Final = (
    "acks=1", "linger.ms=5", "batch.size=1000000", "batch.num.messages=100000",
    "queue.buffering.max.messages=1000000",
)  # fmt: skip
CONSUMER: Final = ("queued.min.messages=1000000", "fetch.message.max.bytes=1048576")


class Case(NamedTuple):
    """What a run moves."""

    size_bytes: int
    """Of a value."""
    records: int
    codec: str = "none"
    produce_only: bool = False

    def __str__(self) -> str:
        """Return it as the table has it."""
        return f"{self.size_bytes} B" + ("" if self.codec == "none" else f" {self.codec}")


CASES: Final = {
    1: (
        Case(100, 1_000_000),
        Case(100, 1_000_000, "lz4", produce_only=True),
        Case(100, 1_000_000, "zstd", produce_only=True),
        Case(1_024, 200_000),
    ),
    6: (Case(100, 1_000_000), Case(1_024, 200_000)),
}
"""By the number of partitions."""
PAIRS: Final = 5
QUICK_PAIRS: Final = 2
TARGETS: Final = {
    ("produce", 100): (1.1, 0.35),
    ("consume", 100): (1.0, 1.1),
    ("produce", 1_024): (1.0, 0.8),
    ("consume", 1_024): (1.2, 0.7),
}
"""Rate at least, and CPU at most, of Kafka's; compressed the rate is at least the same."""


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
        yield skipped("bulk", str(missing))
        return
    for partitions, cases in CASES.items():
        with scratch() as root, ExitStack() as running:
            node = tidelog(
                Path(root, "tidelog"),
                "topic_defaults.tidelog.flush=async",
                f"topics.auto_create_partitions={partitions}",
            )
            servers: list[Server] = [running.enter_context(node)]
            try:
                peer = kafka(Path(root, "kafka"), **{"num.partitions": str(partitions)})
                servers.append(running.enter_context(peer))
            except Missing as missing:
                yield skipped("kafka", str(missing))
            for case in cases:
                yield from _case(client, servers, case, partitions=partitions, quick=quick)


def _case(
    client: Path, servers: list[Server], case: Case, *, partitions: int, quick: bool
) -> Iterator[Row]:
    records = case.records // 4 if quick else case.records
    producer = (*PRODUCER, f"compression.codec={case.codec}")
    verbs = (
        {"produce": producer} if case.produce_only else {"produce": producer, "consume": CONSUMER}
    )
    runs: dict[tuple[str, str], list[Run]] = {}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):  # the first warms a JVM up
        order = servers if number % 2 else servers[::-1]
        topic = f"bulk-{case.size_bytes}-{case.codec}-{number + 1}"
        for verb, settings in verbs.items():
            for server in order:
                if verb == "produce":  # the topic exists before the clock runs
                    _run(client, server, ("produce", topic, partitions, 1, 1), settings=PRODUCER)
                what = (verb, topic, partitions, records, case.size_bytes)
                run = _run(client, server, what, settings=settings)
                if number >= 0:
                    runs.setdefault((verb, server.name), []).append(run)
    for verb in verbs:
        yield from _rows(verb, case, partitions, runs=runs)


def _run(
    client: Path,
    server: Server,
    what: tuple[str, str, int, int, int],
    *,
    settings: tuple[str, ...],
) -> Run:
    verb, topic, partitions, records, size_bytes = what
    lend_memory(records * size_bytes)
    before = cpu_s(server.pid)
    sizes = (partitions, records, size_bytes)
    seconds = moved(client, (verb, server.brokers, topic), sizes, settings=settings)
    return Run(records / seconds, (cpu_s(server.pid) - before) / records * 1e6)


def moved(
    client: Path,
    what: tuple[str, str, str],
    sizes: tuple[int, int, int],
    *,
    settings: tuple[str, ...],
) -> float:
    """Have verb, brokers and topic done for partitions, records and bytes; return the seconds.

    Raises:
        RuntimeError: the client says why.
    """
    command = [str(client), *what, *map(str, sizes)]
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def _rows(
    verb: str, case: Case, partitions: int, *, runs: Mapping[tuple[str, str], list[Run]]
) -> Iterator[Row]:
    what = f"bulk {verb} {case}" + ("" if partitions == 1 else f", {partitions} partitions")
    ours, peer = runs[verb, "tidelog"], runs.get((verb, "kafka"))
    rates, costs = [run.rate for run in ours], [run.cpu_us for run in ours]
    if peer is None:
        yield Row(question=what, unit="records/s", ours=median(rates))
        yield Row(question=what, unit="CPU us/record", ours=median(costs))
        return
    rate_min, cpu_max = TARGETS[verb, case.size_bytes]
    yield replace(
        compared(
            what,
            unit="records/s",
            ours=rates,
            peer=[run.rate for run in peer],
            at_least=rate_min if case.codec == "none" else 1.0,
        ),
        gated=case == CASES[1][0] and partitions == 1,
    )
    peer_costs = [run.cpu_us for run in peer]
    yield compared(
        what,
        unit="CPU us/record",
        ours=costs,
        peer=peer_costs,
        at_most=cpu_max,
    )
