"""Producing to three replicas, acknowledged by all in sync: bulk, one record a request, end to end.

Tidelog twice, as it is shipped (synced on two nodes before the answer) and with flush=async; Kafka
twice, as it is shipped (nothing synced) and with every append synced (flush.messages=1, for the
topics what log.flush.interval.messages=1 is for the broker). An append is a batch: so bulk tells
what a sync of each megabyte costs Kafka, and one record a request what a sync of each record does.
One cluster runs at a time.

What bounds it: six processes on the machine's cores, each of which takes every record; for small
requests Python on the event loop of the leader, and one round of the journal on two nodes; end to
end also the wake-ups of a leader, a follower, a writer on each, and a consumer, one after another.

Takes 10 to 30 minutes (quick: 6).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench import latency
from bench.bulk import PRODUCER, moved
from bench.cluster.nodes import NUMBERS, Nodes, cluster_cpu_s
from bench.cluster.topics import end_of, leaders, make
from bench.cluster.turns import MAKERS, QUICK_ROUNDS, ROUNDS, Figures, frozen, in_turn
from bench.machine import Missing, compiled, lend_memory, scratch
from bench.requests import Asked, Load, ask, kafka_request
from bench.rows import Row, compared, skipped
from bench.server import Running

BULK_PARTITIONS: Final = 6
ACKED_BY_ALL: Final = (*(one for one in PRODUCER if not one.startswith("acks=")), "acks=all")
BULK_RECORDS: Final = {100: 1_000_000, 1_024: 100_000}
"""By the bytes of a value."""
SMALL_BYTES: Final = tuple(BULK_RECORDS)
SMALL: Final = Load(64, 1, 50_000)
EACH_SYNCED: Final = SMALL._replace(requests=5_000)
"""Where a sync stands between one record and the next, more would take minutes."""
END_TO_END: Final = f"end to end, {latency.PER_SECOND:,}/s"
WARM_RUNS: Final = 8
"""Of 5,000 records end to end: by then three JVMs cost what they cost from there on."""
QUEUED_US: Final = 100_000.0
"""A median wait so long is that of a queue: the cluster does not carry the rate, and what is
measured is how long the run was."""
QUICK_SHARE: Final = 5
"""Of the records and requests, one in so many."""


class Way(NamedTuple):
    """How topics are kept."""

    cluster: str
    name: str
    settings: Mapping[str, str]
    small: Load | None = SMALL
    """One record a request; None: it is not asked so."""
    end_to_end: bool = True


ASYNC: Final = Way("tidelog", "async", {"tidelog.flush": "async"}, None, end_to_end=False)
SHIPPED: Final = Way("tidelog", "synced", {})
KAFKA: Final = Way("kafka", "kafka", {})
KAFKA_SYNCED: Final = Way(
    "kafka", "kafka-synced", {"flush.messages": "1"}, EACH_SYNCED, end_to_end=False
)
WAYS: Final = (ASYNC, SHIPPED, KAFKA, KAFKA_SYNCED)
UNITS: Final = {
    "rate": "records/s",
    "cpu": "CPU us/record",
    "p50": "p50 us",
    "p99": "p99 ms",
}


def small(size_bytes: int) -> str:
    """Return one record a request as the table has it."""
    return f"{SMALL}, {size_bytes} B"


class Judged(NamedTuple):
    """A figure of one way beside the same of another."""

    load: str
    figure: str
    ours: Way
    peer: Way
    at_least: float | None = None
    at_most: float | None = None


JUDGED: Final = (
    *(
        one
        for size in BULK_RECORDS
        for load in [f"bulk {size} B"]
        for one in (
            Judged(load, "rate", ASYNC, KAFKA, at_least=1.0),
            Judged(load, "cpu", ASYNC, KAFKA, at_most=0.5),
            Judged(load, "rate", SHIPPED, KAFKA, at_least=0.8),
            Judged(load, "cpu", SHIPPED, KAFKA),
            Judged(load, "rate", SHIPPED, KAFKA_SYNCED),
        )
    ),
    *(
        one
        for size, at_least in zip(SMALL_BYTES, (1.0, None), strict=True)
        for load in [small(size)]
        for one in (
            Judged(load, "rate", SHIPPED, KAFKA, at_least=at_least),
            Judged(load, "cpu", SHIPPED, KAFKA),
            Judged(load, "p99", SHIPPED, KAFKA),
            Judged(load, "rate", SHIPPED, KAFKA_SYNCED, at_least=10.0),
        )
    ),
    Judged(END_TO_END, "p50", SHIPPED, KAFKA, at_most=2.0),
    Judged(END_TO_END, "p99", SHIPPED, KAFKA, at_most=1.0),
    Judged(END_TO_END, "cpu", SHIPPED, KAFKA),
)


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield rates, CPU of all three nodes, and waits."""
    try:
        bulk, waiting = compiled("bulk", "rdkafka"), compiled("latency", "rdkafka", "pthread")
        compiled("small")
    except Missing as missing:
        yield skipped("three nodes, produce", str(missing))
        return
    with scratch() as made:
        root = Path(made)
        rounds = QUICK_ROUNDS if quick else ROUNDS
        asking = _Client((bulk, waiting), root, quick).ask
        try:
            with frozen(tuple(MAKERS), root, _make_topics) as clusters:
                figures = in_turn(clusters, asking, _partitions(), rounds=rounds)
        except Missing as missing:
            yield skipped("kafka", str(missing))
            with frozen(["tidelog"], root / "alone", _make_topics) as clusters:
                figures = in_turn(clusters, asking, _partitions(), rounds=rounds)
    for judged in JUDGED:
        yield row(judged, figures)


def _topics(way: Way) -> Iterator[tuple[str, int]]:
    """Yield the names of a way's topics, and their partitions."""
    for size in BULK_RECORDS:
        yield f"bulk-{size}-{way.name}", BULK_PARTITIONS
    if way.small is not None:
        for size in SMALL_BYTES:
            yield f"small-{size}-{way.name}", 1
    if way.end_to_end:
        yield f"latency-{way.name}", 1


def _partitions() -> int:
    """Return how many there are in the cluster with fewer."""
    return min(
        sum(count for way in WAYS if way.cluster == name for _, count in _topics(way))
        for name in MAKERS
    )


def _make_topics(nodes: Nodes) -> None:
    for way in WAYS:
        if way.cluster == nodes.name:
            for name, count in _topics(way):
                make(nodes, [name], count, settings=way.settings)


class _Client(NamedTuple):
    """The programs that ask, where they find what to send, and whether they ask for little."""

    programs: tuple[Path, Path]
    """`bulk` and `latency`."""
    root: Path
    quick: bool

    def ask(self, nodes: Nodes, *, warming: bool) -> dict[str, float]:
        """Return each figure of a cluster by the name of load, figure and way."""
        told: dict[str, float] = {}
        for way in WAYS:
            if way.cluster != nodes.name:
                continue
            for load, found in self._loads(nodes, way, warming=warming):
                told |= {f"{load}/{figure}/{way.name}": value for figure, value in found.items()}
        return told

    def _loads(
        self, nodes: Nodes, way: Way, *, warming: bool
    ) -> Iterator[tuple[str, Mapping[str, float]]]:
        """Yield the figures of each load of a way."""
        share = QUICK_SHARE if self.quick and not warming else 1
        for size, records in BULK_RECORDS.items():
            topic = f"bulk-{size}-{way.name}"
            yield f"bulk {size} B", self._bulk(nodes, topic, (records // share, size))
        if way.small is not None:
            few = way.small._replace(requests=way.small.requests // share)
            for size in SMALL_BYTES:
                topic = f"small-{size}-{way.name}"
                yield small(size), self._small(nodes, topic, few, value=b"v" * size)
        if way.end_to_end:
            yield END_TO_END, self._end_to_end(nodes, f"latency-{way.name}", warming=warming)

    def _bulk(self, nodes: Nodes, topic: str, sizes: tuple[int, int]) -> dict[str, float]:
        """Produce so many records of so many bytes."""
        records, size_bytes = sizes
        what = ("produce", nodes.brokers, topic)
        lend_memory(records * size_bytes * len(NUMBERS))
        before = cluster_cpu_s(nodes)
        moving = (BULK_PARTITIONS, records, size_bytes)
        seconds = moved(self.programs[0], what, moving, settings=ACKED_BY_ALL)
        return {
            "rate": records / seconds,
            "cpu": (cluster_cpu_s(nodes) - before) / records * 1e6,
        }

    def _small(self, nodes: Nodes, topic: str, load: Load, *, value: bytes) -> dict[str, float]:
        """Ask the leader of the topic's only partition.

        Raises:
            RuntimeError: what was answered is not in the log.
        """
        number = leaders(nodes, topic)[0]
        request = self.root / f"{topic}.request"
        request.write_bytes(kafka_request(topic.encode(), value=value))
        leader = Running(nodes.name, nodes.pids[number], nodes.address(number))
        end, before = end_of(nodes, topic), cluster_cpu_s(nodes)
        told = ask(Asked(nodes.name, leader, request), load)
        cpu = (cluster_cpu_s(nodes) - before) / load.requests * 1e6
        if (kept := end_of(nodes, topic) - end) != load.requests:
            raise RuntimeError(f"{topic}: {load.requests} answers, {kept} records")
        return {
            "rate": load.requests / told["seconds"],
            "cpu": cpu,
            "p99": told["p99_us"] / 1_000,
        }

    def _end_to_end(self, nodes: Nodes, topic: str, *, warming: bool) -> dict[str, float]:
        """Send at a fixed rate; `warming`: until a JVM costs what it will."""
        records = latency.QUICK_RECORDS if self.quick and not warming else latency.RECORDS
        what, cpu = (nodes.brokers, topic), partial(cluster_cpu_s, nodes)
        client = partial(latency.waited, self.programs[1], what, records, cpu=cpu)
        run = [client() for _ in range(WARM_RUNS if warming else 1)][-1]
        return {"p50": run.p50_us, "p99": run.p99_ms, "cpu": run.cpu_us}


def row(judged: Judged, figures: Figures) -> Row:
    """Return a figure beside the other way's, of the same rounds."""
    load, figure, ours, peer, at_least, at_most = judged
    question = f"{load}, {ours.name}" + ("" if peer is KAFKA else f" / {peer.name}")
    mine = figures[f"{load}/{figure}/{ours.name}"]
    theirs = figures.get(f"{load}/{figure}/{peer.name}")
    if theirs is None:
        return Row(question=question, unit=UNITS[figure], ours=median(mine))
    if load == END_TO_END and (why := queued(figures, ours, peer)) is not None:
        return skipped(f"{question}, {UNITS[figure]}", why)
    told = compared(question, unit=UNITS[figure], ours=mine, peer=theirs)
    return replace(told, at_least=at_least, at_most=at_most)


def queued(figures: Figures, *ways: Way) -> str | None:
    """Return which of some ways does not carry the rate of `END_TO_END` here; None: each does."""
    for way in ways:
        p50_us = median(figures[f"{END_TO_END}/p50/{way.name}"])
        if p50_us > QUEUED_US:
            return f"{way.name} does not carry the rate here: p50 {p50_us / 1_000:.0f} ms, a queue"
    return None
