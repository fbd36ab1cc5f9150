"""Three processes with two Kafka listeners each: clients of either go only where they can."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import Processes
from tests.kill.node_process import HOST, free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka asks"),
]
NUMBERS = (1, 2, 3)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[Processes, dict[int, str]]]:
    """Nodes that run, and where clients of their external listeners are told that they are."""
    nodes = Processes(tmp_path)
    ports = free_ports([f"external-{number}" for number in NUMBERS])
    told = {number: f"localhost:{ports[f'external-{number}']}" for number in NUMBERS}
    for number, node in nodes.nodes.items():
        port = ports[f"external-{number}"]
        node.settings = (
            *node.settings,
            f"listeners.external.bind={HOST}:{port}",
            f"listeners.external.advertise={told[number]}",
        )
    try:
        nodes.start()
        yield nodes, told
    finally:
        nodes.close()


def told_to(servers: str) -> dict[int, str]:
    """Return where a client is told that each node is."""
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - where it is there

    client: Any = AdminClient({"bootstrap.servers": servers})
    listed = client.list_topics(timeout=30).brokers
    return {number: f"{broker.host}:{broker.port}" for number, broker in listed.items()}


def test_each_client_is_told_the_addresses_of_its_own_listener(
    outside: tuple[Processes, dict[int, str]],
) -> None:
    nodes, told = outside
    inside = {number: node.doors.kafka for number, node in nodes.nodes.items()}
    for number in NUMBERS:
        assert told_to(inside[number]) == inside
        assert told_to(told[number]) == told
        assert not [one for one in nodes.events(number) if one["event"] == "address_in_doubt"]
