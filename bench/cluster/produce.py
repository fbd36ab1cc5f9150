"""Producing to three replicas, acknowledged by all in sync: bulk, one record a request, end to end.

Tidelog twice, as it is shipped (synced on two nodes before the answer) and with flush=async; Kafka
twice, as it is shipped (nothing synced) and with every append synced (flush.messages=1, for the
topics what log.flush.interval.messages=1 is for the broker). One cluster runs at a time.

What bounds it: six processes on the machine's cores, each of which takes every record; for small
requests Python on the event loop of the leader, and one round of the journal on two nodes; end to
end also the wake-ups of a leader, a follower, a writer on each, and a consumer, one after another.

Takes 25 minutes (quick: 2.5).
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
from bench.cluster.topics import leaders, make
from bench.cluster.turns import MAKERS, QUICK_ROUNDS, ROUNDS, Figures, frozen, in_turn
from bench.machine import Missing, compiled, lend_memory, scratch
from bench.requests import Asked, Load, ask, kafka_request
from bench.rows import Row, compared, skipped
from bench.server import Running

BULK_PARTITIONS: Final = 6
ACKED_BY_ALL: Final = (*(one for one in PRODUCER if not one.startswith("acks=")), "acks=all")
BULK_RECORDS: Final = {100: 1_000_000, 1_024: 100_000}
"""By the bytes of a value."""
SMALL: Final = Load(64, 1, 50_000)
END_TO_END: Final = "end to end, 1,000/s"
QUICK_SHARE: Final = 5
"""Of the records and requests, one in so many."""


class Way(NamedTuple):
    """How topics are kept."""

    cluster: str
    name: str
    settings: Mapping[str, str]
    requests: bool = True
    """Asked for more than bulk too."""


ASYNC: Final = Way("tidelog", "async", {"tidelog.flush": "async"}, requests=False)
SHIPPED: Final = Way("tidelog", "synced", {})
KAFKA: Final = Way("kafka", "kafka", {})
KAFKA_SYNCED: Final = Way("kafka", "kafka-synced", {"flush.messages": "1"}, requests=False)
WAYS: Final = (ASYNC, SHIPPED, KAFKA, KAFKA_SYNCED)
UNITS: Final = {
    "rate": "records/s",
    "cpu": "CPU us/record",
    "p50": "p50 us",
    "p99": "p99 ms",
}


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
            Judged(load, "rate", SHIPPED, KAFKA_SYNCED, at_least=10.0),
        )
    ),
    Judged(f"{SMALL}", "rate", SHIPPED, KAFKA, at_least=1.0),
    Judged(f"{SMALL}", "cpu", SHIPPED, KAFKA),
    Judged(f"{SMALL}", "p99", SHIPPED, KAFKA),
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
        yield _row(judged, figures)


def _topics(way: Way) -> Iterator[tuple[str, int]]:
    """Yield the names of a way's topics, and their partitions."""
    for size in BULK_RECORDS:
        yield f"bulk-{size}-{way.name}", BULK_PARTITIONS
    if way.requests:
        yield f"small-{way.name}", 1
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
        share = QUICK_SHARE if self.quick else 1
        for size, records in BULK_RECORDS.items():
            topic = f"bulk-{size}-{way.name}"
            yield f"bulk {size} B", self._bulk(nodes, topic, (records // share, size))
        if way.requests:
            few = SMALL._replace(requests=SMALL.requests // share)
            yield f"{SMALL}", self._small(nodes, f"small-{way.name}", few)
            few_records = self.quick and not warming
            records = latency.QUICK_RECORDS if few_records else latency.RECORDS
            yield END_TO_END, self._end_to_end(nodes, f"latency-{way.name}", records)

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

    def _small(self, nodes: Nodes, topic: str, load: Load) -> dict[str, float]:
        """Ask the leader of the topic's only partition."""
        number = leaders(nodes, topic)[0]
        request = self.root / f"{topic}.request"
        request.write_bytes(kafka_request(topic.encode()))
        leader = Running(nodes.name, nodes.pids[number], nodes.address(number))
        before = cluster_cpu_s(nodes)
        told = ask(Asked(nodes.name, leader, request), load)
        return {
            "rate": load.requests / told["seconds"],
            "cpu": (cluster_cpu_s(nodes) - before) / load.requests * 1e6,
            "p99": told["p99_us"] / 1_000,
        }

    def _end_to_end(self, nodes: Nodes, topic: str, records: int) -> dict[str, float]:
        cpu = partial(cluster_cpu_s, nodes)
        what = (nodes.brokers, topic)
        run = latency.waited(self.programs[1], what, records, cpu=cpu)
        return {"p50": run.p50_us, "p99": run.p99_ms, "cpu": run.cpu_us}


def _row(judged: Judged, figures: Figures) -> Row:
    load, figure, ours, peer, at_least, at_most = judged
    question = f"{load}, {ours.name}" + ("" if peer is KAFKA else f" / {peer.name}")
    mine = figures[f"{load}/{figure}/{ours.name}"]
    theirs = figures.get(f"{load}/{figure}/{peer.name}")
    if theirs is None:
        return Row(question=question, unit=UNITS[figure], ours=median(mine))
    row = compared(question, unit=UNITS[figure], ours=mine, peer=theirs)
    return replace(row, at_least=at_least, at_most=at_most)
