"""`tidelog doctor` beside a node: which of the addresses that Kafka clients are told lead on."""

import json
from pathlib import Path

from tests.kill.node_process import free_ports
from tests.unit.api.cli.test_starting import FREE, started
from tests.unit.cli.test_client_verbs import run


def test_each_address_that_kafka_clients_are_told_is_tried(tmp_path: Path) -> None:
    closed = free_ports(["external"])["external"]
    external = ("bind=127.0.0.1:0", f"advertise=127.0.0.1:{closed}")
    given = [word for text in external for word in ("-X", f"listeners.external.{text}")]
    door = ("-X", "listeners.grpc.bind=127.0.0.1:0")
    with started(tmp_path, "dev", *FREE, "--memory", *door, *given) as (_, ports):
        assert ports.keys() == {"kafka", "external", "grpc", "http"}
        both = f"127.0.0.1:{ports['grpc']},127.0.0.1:{closed}"
        at = ("-X", f"client.address={both}")
        code, out, _ = run("doctor", "-F", "json", *at)
    items = json.loads(out)["items"]
    rows = {row["what"]: (row["state"], row["detail"]) for row in items}
    assert code == 0
    assert [row["state"] for row in items if row["what"] == "gRPC"] == ["ok", "failed"]
    assert rows["node 0 kafka"] == ("ok", f"127.0.0.1:{ports['kafka']}: reachable")
    assert rows["node 0 external"] == ("failed", f"127.0.0.1:{closed}: Connection refused")
