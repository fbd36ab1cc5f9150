"""Where the nodes of compose.yaml are, for clients on either side, and what these are told."""

import json
import sys
from typing import Any, Final

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.cluster.compose_engine import run, tidelog_in
from tests.cluster.topics import TOPIC, client
from tests.cluster.waiting import PATIENCE_S

PARTITIONS: Final = 3
NODES: Final = (1, 2, 3)
HOST: Final = "127.0.0.1"
OUTSIDE: Final = {1: f"{HOST}:19092", 2: f"{HOST}:29092", 3: f"{HOST}:39092"}
"""Where Kafka clients on the host are told that each node is."""
INSIDE: Final = {number: f"tidelog-{number}:9092" for number in NODES}
SERVERS: Final = ",".join(OUTSIDE.values())
GRPC: Final = {1: f"{HOST}:19095", 2: f"{HOST}:29095", 3: f"{HOST}:39095"}


def service(number: int) -> str:
    """Return the name of a node's service, which is its host name."""
    return f"tidelog-{number}"


def cluster_info(number: int) -> list[dict[str, Any]]:
    """Return the rows of `tidelog cluster info`, asked of one node."""
    told = tidelog_in(service(number), "cluster", "info", "--format", "json")
    rows: list[dict[str, Any]] = json.loads(told)["items"]
    return rows


def on_host(number: int, *words: str) -> str:
    """Return what `tidelog WORDS` prints on the host, which speaks with a node's published port."""
    told = ("-X", f"client.address={GRPC[number]}")
    return run(sys.executable, "-m", "tidelog", *words, *told)


def client_sees(servers: str) -> dict[int, str]:
    """Return where a Kafka client on the host is told that each node is."""
    found = AdminClient(client(servers)).list_topics(timeout=PATIENCE_S).brokers
    return {number: f"{broker.host}:{broker.port}" for number, broker in found.items()}


def sent_to(server: str) -> list[str | None]:
    """Send one record to each partition, with little patience; return why it was not acknowledged.

    None: it was. The numbers in them are not of the load, see the judge.
    """
    told: list[str | None] = []
    producer = Producer({**client(server), "acks": "all", "message.timeout.ms": 5_000})
    for partition in range(PARTITIONS):
        producer.produce(
            TOPIC,
            value=b"%d" % (-2_000 - partition),
            partition=partition,
            on_delivery=lambda error, _: told.append(None if error is None else str(error)),
        )
    producer.flush(PATIENCE_S)
    return told
