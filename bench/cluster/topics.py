"""Topics of a cluster under measurement, made and looked at as any Kafka client does it."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.cluster.nodes import NUMBERS, Nodes, once_known

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
    new = [NewTopic(name, partitions, len(NUMBERS), config=config) for name in names]
    asked = AdminClient({"bootstrap.servers": nodes.brokers, "log_level": 0})
    for made in asked.create_topics(new, request_timeout=MADE_S_MAX).values():
        made.result(MADE_S_MAX)


def leaders(nodes: Nodes, topic: str) -> dict[int, int]:
    """Return who leads each partition, once every one is led."""

    def look() -> dict[int, int] | None:
        rows = _rows(nodes.brokers, topic)
        led = {number: leader for _, number, leader, _ in rows}
        return led if led and min(led.values()) > 0 else None

    return once_known(look, f"who leads {topic}")


def whole(brokers: str, partitions: int) -> bool:
    """Tell whether so many partitions are there, led, and with every replica in sync."""
    rows = _rows(brokers, None)
    led = [in_sync for _, _, leader, in_sync in rows if leader > 0]
    return len(led) >= partitions and len(led) == len(rows) and min(led) == len(NUMBERS)


def settle(nodes: Nodes, partitions: int) -> None:
    """Return once the cluster is calm.

    Raises:
        TimeoutError: it does not get so.
    """
    calm_since: list[float] = []

    def look() -> bool | None:
        if not whole(nodes.brokers, partitions):
            calm_since.clear()
            return None
        calm_since.append(time.monotonic())
        return calm_since[-1] - calm_since[0] >= CALM_S or None

    once_known(look, f"every replica of {nodes.name} in sync")


def _rows(brokers: str, topic: str | None) -> list[tuple[str, int, int, int]]:
    """Return name, number, leader and replicas in sync of each partition; nothing: ask again."""
    asked = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        if topic is None:
            found = asked.list_topics(timeout=ANSWER_S_MAX)
        else:
            found = asked.list_topics(topic, timeout=ANSWER_S_MAX)
    except KafkaException:  # the one that was asked has just gone
        return []
    return [
        (name, number, row.leader, len(row.isrs))
        for name, one in found.topics.items()
        if not name.startswith("__")
        for number, row in one.partitions.items()
    ]
