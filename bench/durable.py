"""Durable requests: one record of 100 B a request, on disk before it is acknowledged, as shipped.

What bounds it: the disk's sync, which all share that arrived while the one before ran, and Python
on the event loop. From each peer the same promise is asked in the only way it has: Kafka syncs each
append (`log.flush.interval.messages=1`), NATS each message, Redis each turn of its loop. Beside
them stand Kafka as it is shipped, which syncs nothing, and the disk alone: 4 KiB written over and
over, synced each time.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.nats_node import nats
from bench.redis_node import redis
from bench.requests import (
    PAIRS,
    QUICK_PAIRS,
    STREAM,
    Asked,
    Load,
    Target,
    judged,
    kafka_request,
    make_topics,
    of_kafka,
    of_nats,
    of_redis,
)
from bench.requests import measure as ask
from bench.rows import Row, compared, skipped
from bench.tidelog_node import tidelog

ONE: Final = Load(1, 1, 3_000)
MANY: Final = Load(64, 1, 60_000)
DEEP: Final = Load(64, 16, 200_000)
UNSYNCED: Final = "kafka unsynced"
TARGETS: Final = {
    ONE: (Target("redis", "p50", at_most=1.2),),
    MANY: (
        Target("kafka", "rate", at_least=18),
        Target("kafka", "cpu", at_most=0.5),
        Target("kafka", "p99"),
        Target("nats", "rate", at_least=10),
        Target("redis", "rate", at_least=0.9),
        Target(UNSYNCED, "rate", at_least=0.7),
    ),
    DEEP: (Target("kafka", "rate", at_least=50),),
}
ONE_BY_ONE_MAX: Final = 2_000
"""Requests to a server that syncs them one by one."""
SYNCS: Final = 300
BLOCK: Final = bytes(4096)
SPREAD: Final = 1_000
"""Connections, and topics of one partition."""
SPREAD_REQUESTS: Final = 60_000
PER_ADDRESS: Final = "kafka.connections_per_address_max"
SPREAD_TOPIC: Final = b"spread-@@@@"
"""The client writes the connection's number there."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield rate, CPU and wait of small requests that are synced."""
    try:
        compiled("small")
    except Missing as missing:
        yield skipped("durable", str(missing))
        return
    with scratch() as made, ExitStack() as running:
        root = Path(made)
        ours = of_kafka("tidelog", running.enter_context(tidelog(root / "tidelog")), root)
        peers: list[Asked] = []
        for name in ("kafka", UNSYNCED, "redis", "nats"):
            try:
                peers.append(_peer(name, root, running))
            except Missing as missing:
                yield skipped(name, str(missing))
        yield _against_the_disk(ours, root, quick=quick)
        for load, targets in TARGETS.items():
            ask([ours, *peers], load, quick=quick)
            yield from judged(f"{load}, synced", ours, peers, targets=targets)
    yield from _spread(quick=quick)


def _peer(name: str, root: Path, running: ExitStack) -> Asked:
    data = root / name.replace(" ", "-")
    if name == "kafka":
        node = kafka(data, **{"log.flush.interval.messages": "1"})
        server = running.enter_context(node)
        return of_kafka(name, server, root, requests_max=ONE_BY_ONE_MAX)
    if name == UNSYNCED:
        return of_kafka(name, running.enter_context(kafka(data)), root)
    if name == "redis":
        return of_redis(running.enter_context(redis(data, synced=True)), root)
    node = nats(data, STREAM.decode(), synced=True)
    return of_nats(running.enter_context(node), root, requests_max=ONE_BY_ONE_MAX)


def _against_the_disk(ours: Asked, root: Path, *, quick: bool) -> Row:
    """Return one connection's wait beside a sync of the same moments."""
    waits: list[float] = []
    syncs: list[float] = []
    for _ in range(QUICK_PAIRS if quick else PAIRS):
        syncs.append(_sync_us(root / "raw"))
        ask([ours], ONE, quick=True)
        waits.append(median(ours.figures["p50"]))
    return compared(
        f"{ONE}, synced, beside a raw fdatasync",
        unit="p50 us",
        ours=waits,
        peer=syncs,
        at_most=1.3,
    )


def _sync_us(file: Path) -> float:
    """Return the median time of overwriting 4 KiB and syncing them."""
    took: list[float] = []
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(descriptor, BLOCK, 0)
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return median(took) * 1e6


def _spread(*, quick: bool) -> Iterator[Row]:
    """Yield the rate of many connections, each on a partition of its own, beside one for all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the client
    with scratch() as made:
        root = Path(made)
        with tidelog(root / "tidelog", f"{PER_ADDRESS}={2 * SPREAD}") as node:
            together = of_kafka("one", node, root)
            names = [SPREAD_TOPIC.replace(b"@@@@", b"%04d" % number) for number in range(SPREAD)]
            make_topics(node, root, names)
            request = root / "spread.request"
            request.write_bytes(kafka_request(SPREAD_TOPIC))
            apart = Asked("many", node, request)
            ask([apart, together], Load(SPREAD, 1, SPREAD_REQUESTS), quick=quick)
    for figure, target in (("rate", 0.7), ("p99", None)):
        targets = [Target("one", figure, at_least=target)]
        yield from judged(
            f"{SPREAD} connections on {SPREAD} partitions", apart, [together], targets=targets
        )
