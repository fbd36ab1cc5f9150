"""Topics of a cluster under measurement: made, and settled before anything is measured."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from bench.cluster.nodes import NUMBERS, Nodes, once_known
from tests.cluster.readers import bounds, consumer
from tests.cluster.topics import Partition, create_all, known

MADE_S_MAX: Final = 120
ANSWER_S_MAX: Final = 30
CALM_S: Final = 2.0
"""All replicas are in sync for so long: what a cluster knows of itself may lag."""


def make(
    nodes: Nodes,
    names: Sequence[str],
    partitions: int,
    *,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Create topics with three replicas, and return once the controller has them."""
    config = {"min.insync.replicas": "2", **(settings or {})}
    create_all(
        nodes.brokers,
        names,
        partitions=partitions,
        replicas=len(NUMBERS),
        config=config,
        silent_ms=MADE_S_MAX * 1_000,
    )


def leaders(nodes: Nodes, topic: str) -> dict[int, int]:
    """Return who leads each partition, once every one is led."""

    def look() -> dict[int, int] | None:
        rows = _known(nodes.brokers, topic)
        led = {number: row.leader for (_, number), row in rows.items()}
        return led if led and min(led.values()) > 0 else None

    return once_known(look, f"who leads {topic}")


def end_of(nodes: Nodes, topic: str) -> int:
    """Return the offset behind the last record of a topic's partition 0."""
    reader = consumer(nodes.brokers)
    try:
        return bounds(reader, topic, 0)[1]
    finally:
        reader.close()


def whole(brokers: str, partitions: int) -> bool:
    """Tell whether so many partitions are there, led, and with every replica in sync."""
    rows = _known(brokers).values()
    return len(rows) >= partitions and all(
        row.leader > 0 and row.in_sync == len(NUMBERS) for row in rows
    )


def settle(nodes: Nodes, partitions: int) -> None:
    """Return once the cluster is calm.

    Raises:
        NotInTime: it does not get so.
    """
    calm_since: list[float] = []

    def look() -> bool:
        if not whole(nodes.brokers, partitions):
            calm_since.clear()
            return False
        calm_since.append(time.monotonic())
        return calm_since[-1] - calm_since[0] >= CALM_S

    once_known(look, f"every replica of {nodes.name} in sync")


def _known(brokers: str, topic: str | None = None) -> dict[tuple[str, int], Partition]:
    """Return what a node knows of partitions; nothing: ask again. Of very many it takes long."""
    within_s, silent_ms = ANSWER_S_MAX, ANSWER_S_MAX * 1_000
    return known(brokers, topic, within_s=within_s, silent_ms=silent_ms) or {}
