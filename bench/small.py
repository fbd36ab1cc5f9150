"""Small requests: one record of 100 B a request, acknowledged once it is written, nothing synced.

What bounds it: Python, a request at a time, on the event loop. Beside Kafka and NATS stands Redis,
which keeps nothing on disk here. All have their defaults otherwise.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.nats_node import nats
from bench.redis_node import redis
from bench.requests import STREAM, Asked, Load, Target, judged, of_kafka, of_nats, of_redis
from bench.requests import measure as ask
from bench.rows import Row, skipped
from bench.tidelog_node import tidelog

ONE: Final = Load(1, 1, 20_000)
MANY: Final = Load(64, 1, 100_000)
DEEP: Final = Load(64, 16, 200_000)
TARGETS: Final = {
    ONE: (
        Target("kafka", "p50", at_most=0.9),
        Target("kafka", "cpu", at_most=0.7),
    ),
    MANY: (
        Target("kafka", "rate", at_least=1.4),
        Target("kafka", "cpu", at_most=0.5),
        Target("kafka", "p99"),
        Target("redis", "rate", at_least=1.0),
        Target("nats", "rate"),
    ),
    DEEP: (
        Target("kafka", "rate"),
        Target("kafka", "cpu", at_most=0.3),
        Target("redis", "rate"),
    ),
}


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield rate, CPU and wait of small requests that nobody syncs."""
    try:
        compiled("small")
    except Missing as missing:
        yield skipped("small", str(missing))
        return
    with scratch() as made, ExitStack() as running:
        root = Path(made)
        node = tidelog(root / "tidelog", "topic_defaults.tidelog.flush=async")
        ours = of_kafka("tidelog", running.enter_context(node), root)
        peers: list[Asked] = []
        for name in ("kafka", "redis", "nats"):
            try:
                peers.append(_peer(name, root, running))
            except Missing as missing:
                yield skipped(name, str(missing))
        for load, targets in TARGETS.items():
            ask([ours, *peers], load, quick=quick)
            yield from judged(f"{load}, not synced", ours, peers, targets=targets)


def _peer(name: str, root: Path, running: ExitStack) -> Asked:
    data = root / name
    if name == "kafka":
        return of_kafka(name, running.enter_context(kafka(data)), root)
    if name == "redis":
        return of_redis(running.enter_context(redis(data, synced=False)), root)
    return of_nats(running.enter_context(nats(data, STREAM.decode(), synced=False)), root)
