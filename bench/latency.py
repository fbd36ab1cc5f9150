"""End to end: how long a record of 100 B is under way, at 1,000 a second.

One producer (acks=all, no linger) and one consumer at the end of the same partition, both of
librdkafka and in one process. A record's wait counts from when it was due. What bounds it: the
client's threads and the kernel's wake-ups, then one turn of our loop to append and one to answer
the fetch that waits; as shipped also the disk's sync, which stands between them. Kafka is as
shipped throughout, and syncs nothing.

Takes 2.5 minutes (quick: 45 s): 18 runs of 6 s, and the start of three servers.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.rows import Row, compared, skipped
from bench.server import Server, cpu_s
from bench.tidelog_node import tidelog

PER_SECOND: Final = 1_000
SIZE_BYTES: Final = 100
RECORDS: Final = 5_000
QUICK_RECORDS: Final = 1_000
PRODUCER: Final = ("linger.ms=0", "acks=all")
PAIRS: Final = 5
QUICK_PAIRS: Final = 2
UNSYNCED: Final = "not synced"
SYNCED: Final = "synced"


class Run(NamedTuple):
    """One run of the client, after its warm-up."""

    p50_us: float
    p99_ms: float
    p999_ms: float
    cpu_us: float
    """Of the server, a record."""


UNITS: Final = {
    "p50_us": "p50 us",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "cpu_us": "CPU us/record",
}
AT_MOST: Final = {
    (UNSYNCED, "p50_us"): 1.0,
    (UNSYNCED, "cpu_us"): 0.4,
    (SYNCED, "p50_us"): 2.0,
    (SYNCED, "p99_ms"): 1.0,
}


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the waits, and the server's CPU, without a sync and with one."""
    try:
        client = compiled("latency", "rdkafka", "pthread")
    except Missing as missing:
        yield skipped("latency", str(missing))
        return
    with scratch() as made, ExitStack() as running:
        root = Path(made)
        unsynced = tidelog(root / "unsynced", "topic_defaults.tidelog.flush=async")
        servers: dict[str, Server] = {
            UNSYNCED: running.enter_context(unsynced),
            SYNCED: running.enter_context(tidelog(root / "synced")),
        }
        try:
            servers["kafka"] = running.enter_context(kafka(root / "kafka"))
        except Missing as missing:
            yield skipped("kafka", str(missing))
        runs = _in_turn(client, servers, quick=quick)
    for how in (UNSYNCED, SYNCED):
        yield from _rows(how, runs[how], runs.get("kafka"))


def _in_turn(client: Path, servers: Mapping[str, Server], *, quick: bool) -> dict[str, list[Run]]:
    """Return the runs of each server; those of the same place in the lists were neighbours."""
    runs: dict[str, list[Run]] = {name: [] for name in servers}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):  # the first is not counted
        names = list(servers) if number % 2 else list(servers)[::-1]
        for name in names:
            few = quick and number >= 0  # a JVM wants some thousand records to get warm
            run = _run(client, servers[name], QUICK_RECORDS if few else RECORDS)
            if number >= 0:
                runs[name].append(run)
    return runs


def _run(client: Path, server: Server, records: int) -> Run:
    return waited(client, (server.brokers, "latency"), records, cpu=lambda: cpu_s(server.pid))


def waited(client: Path, what: tuple[str, str], records: int, *, cpu: Callable[[], float]) -> Run:
    """Send so many records to a topic of brokers; `cpu` tells the seconds that servers have used.

    Raises:
        RuntimeError: the client says why.
    """
    command = [str(client), *what, str(records), str(PER_SECOND), str(SIZE_BYTES), *PRODUCER]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it is warm
        before = cpu()
        told, errors = child.communicate()
        cost = cpu() - before
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: {errors.strip()[-500:]}")
    waits = json.loads(told)
    p99_ms, p999_ms = waits["p99_us"] / 1_000, waits["p999_us"] / 1_000
    return Run(waits["p50_us"], p99_ms, p999_ms, cost / records * 1e6)


def _rows(how: str, ours: list[Run], peer: list[Run] | None) -> Iterator[Row]:
    question = f"end to end at {PER_SECOND:,}/s, {how}"
    for figure, unit in UNITS.items():
        mine = [getattr(run, figure) for run in ours]
        if peer is None:
            yield Row(question=question, unit=unit, ours=median(mine))
            continue
        theirs = [getattr(run, figure) for run in peer]
        yield compared(
            question,
            unit=unit,
            ours=mine,
            peer=theirs,
            at_most=AT_MOST.get((how, figure)),
        )
