"""Topics as Kafka clients see them: made, led by somebody, in sync or not.

A node that has just died, has just lost its partitions or stands still refuses such a question, or
never answers it: it is put again, to whoever is there, for as long as anything is waited for.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.cluster.waiting import PATIENCE_S, until

TOPIC: Final = "orders"
"""What the load of a story is written to."""
ASK_S: Final = 5.0
"""For one answer; then somebody else is asked."""
SILENT_MS: Final = 3_000
"""Who has said nothing for so long is given up."""
MOVES: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._PARTIAL,
    }
)
"""Answers of a node that is not the right one any more or has not joined yet, and of none at all.

One that has not joined tells of no broker and no topic, which librdkafka calls partial.
"""

Client = dict[str, str | int | float | bool]


class Partition(NamedTuple):
    """One partition, as clients are told."""

    leader: int
    """-1: nobody."""
    in_sync: int
    replicas: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Tell whether every replica is in sync."""
        return self.in_sync == len(self.replicas)


def client(servers: str, silent_ms: int = SILENT_MS) -> Client:
    """Return what every client of a story is told. It soon gives up on a node that is silent."""
    return {
        "bootstrap.servers": servers,
        "log_level": 0,
        "socket.timeout.ms": silent_ms,
        "reconnect.backoff.max.ms": 500,
        "topic.metadata.refresh.interval.ms": 500,
    }


def moved(refused: KafkaException) -> bool:
    """Tell whether a question may be put again: who was asked has just ceased to be the one."""
    return refused.args[0].code() in MOVES


def create(
    servers: str,
    topic: str,
    *,
    partitions: int,
    replicas: int = 3,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create a topic."""
    create_all(servers, [topic], partitions=partitions, replicas=replicas, config=config)


def create_all(
    servers: str,
    topics: Sequence[str],
    *,
    partitions: int,
    replicas: int = 3,
    config: Mapping[str, str] | None = None,
    silent_ms: int = SILENT_MS,
) -> None:
    """Create topics of one shape with one request; return once each is made."""
    new = [NewTopic(name, partitions, replicas, config=dict(config or {})) for name in topics]
    within_s = max(PATIENCE_S, silent_ms / 1_000)
    admin = AdminClient(client(servers, silent_ms))  # what is under way ends with it
    for made in admin.create_topics(new, request_timeout=within_s).values():
        made.result(within_s)


def known(
    servers: str,
    topic: str | None = None,
    *,
    within_s: float = ASK_S,
    silent_ms: int = SILENT_MS,
) -> dict[tuple[str, int], Partition] | None:
    """Return what one node tells of a topic's partitions; without one, of all that users made.

    None: who was asked does not say it; ask again.
    """
    admin = AdminClient(client(servers, silent_ms))
    try:
        if topic is None:  # a call without the name asks for all, one with None is refused
            found = admin.list_topics(timeout=within_s).topics
        else:
            found = admin.list_topics(topic, timeout=within_s).topics
    except KafkaException as refused:
        if not moved(refused):
            raise
        return None
    return {
        (name, number): Partition(row.leader, len(row.isrs), tuple(row.replicas))
        for name, one in found.items()
        if name == topic or not name.startswith("__")
        for number, row in one.partitions.items()
    }


def described(servers: str, topic: str = TOPIC) -> dict[int, Partition]:
    """Return the partitions of a topic.

    Raises:
        NotInTime: nobody tells.
    """
    rows = until(lambda: known(servers, topic), f"what nodes know of {topic}")
    return {number: row for (_, number), row in rows.items()}


def leader(servers: str, partition: int, topic: str = TOPIC) -> int:
    """Return who leads a partition, once somebody does.

    Raises:
        NotInTime: nobody does.
    """

    def look() -> int | None:
        row = described(servers, topic).get(partition)
        return row.leader if row is not None and row.leader > 0 else None

    return until(look, f"a leader of {topic}/{partition}")


def in_sync(servers: str, where: str, topic: str = TOPIC) -> float:
    """Wait until every replica of a topic is in sync; return the seconds that it took.

    Raises:
        NotInTime: one is not.
    """
    began = monotonic()

    def look() -> bool:
        rows = described(servers, topic).values()
        return bool(rows) and all(row.whole for row in rows)

    until(look, f"{where}: all replicas of {topic} in sync")
    return monotonic() - began
