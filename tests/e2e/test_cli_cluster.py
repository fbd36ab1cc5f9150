"""`tidelog cluster`, `broker`, `partition` and `quorum` against a whole node that is alone."""

import pytest

from tests.cli_runner import Cli
from tests.grpc_node import GrpcNode


@pytest.fixture
def cli(served: GrpcNode) -> Cli:
    return Cli(served.target)


async def test_the_cluster_and_its_health(cli: Cli, served: GrpcNode) -> None:
    await cli("topic", "create", "orders", "-p", "3")
    info = await cli("cluster", "info")
    assert info.code == 0
    assert info.lines[0].split() == [
        "NODE", "STATE", "CONTROLLER", "LEADERS", "REPLICAS", "KAFKA", "GRPC",
    ]  # fmt: skip
    assert info.lines[1].split() == ["0", "running", "yes", "3", "3", "-", served.target]
    assert info.stderr == f"cluster {served.node.broker.cluster_id}: healthy\n"
    health = await cli("cluster", "health")
    assert (health.code, health.stderr) == (0, "")
    assert health.out == (
        f"healthy: cluster {served.node.broker.cluster_id}, 1 of 1 nodes running, "
        "controller node 0\n"
    )
    (row,) = (await cli("cluster", "health", "-F", "json")).items
    assert (row["status"], row["controller"], row["nodes"], row["nodes_running"]) == (
        "healthy", 0, 1, 1,
    )  # fmt: skip
    assert row["reasons"] == row["leaderless"] == row["under_min_isr"] == []


async def test_waiting_for_health_ends_when_it_is_there(cli: Cli) -> None:
    waited = await cli("cluster", "health", "--exit-when-healthy", "--within", "30")
    assert (waited.code, waited.lines[0].split(":")[0]) == (0, "healthy")
    watched = await cli("cluster", "health", "--watch", "--exit-when-healthy", "-F", "jsonl")
    assert watched.code == 0
    assert '"status": "healthy"' in watched.lines[-1]


async def test_watching_ends_when_it_is_told_to(cli: Cli) -> None:
    watched = await cli("cluster", "health", "--watch", "--within", "0.5")
    assert watched.code == 0
    assert " healthy: cluster " in watched.lines[0]
    assert watched.stderr == "waited for 0.5 s\n"


async def test_where_nobody_answers_it_is_not_now() -> None:
    nowhere = Cli("127.0.0.1:1")
    assert (await nowhere("cluster", "health")).code == 3
    waited = await nowhere("cluster", "health", "--exit-when-healthy", "--within", "0.3")
    assert (waited.code, waited.out) == (3, "")
    assert "no node" in waited.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cluster", "health", "--within", "3"), "--within says how long to wait"),
        (("cluster", "health", "--watch", "-F", "json"), "--watch tells one thing after"),
        (("partition", "status", "orders/x"), '"orders/x" is no partition'),
        (("partition", "transfer-leader", "orders"), '"orders" names no partition'),
        (("partition", "elect", "orders/0", "--replica", "0"), "takes place by itself"),
        (("partition", "elect", "--unclean", "orders/0"), "--replica is missing"),
        (("quorum", "add", "-3"), "-3"),
    ],
)
async def test_a_command_line_that_is_wrong(cli: Cli, words: tuple[str, ...], said: str) -> None:
    ran = await cli(*words)
    assert ran.code == 2
    assert ran.json["items"] == [] if "json" in words else not ran.out
    assert said in ran.stderr
    assert "hint: " in ran.stderr


async def test_nodes_one_by_one(cli: Cli, served: GrpcNode) -> None:
    (row,) = (await cli("broker", "list", "-F", "json")).items
    assert (row["broker"], row["state"], row["controller"]) == (0, "running", True)
    assert row["disk_total"] > row["disk_used"] >= 0
    assert row["started"].endswith("Z") and len(row["directory_ids"][0]) == 36
    described = await cli("broker", "describe", "0", "7")
    assert described.code == 1
    assert ["0", "endpoint.grpc", served.target] in [line.split() for line in described.lines]
    assert "there is no node 7 (UNKNOWN_BROKER)\nhint: there are: 0\n" in described.stderr
    document = (await cli("broker", "describe", "0", "-F", "json")).items
    assert document[0]["endpoints"]["grpc"] == served.target


async def test_partitions_and_who_leads_them(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-p", "2")
    await cli("produce", "orders", "-p", "1", stdin=b"a\nb\n")
    listed = await cli("partition", "status", "orders")
    assert listed.lines[0].split() == [
        "TOPIC", "PART", "LEADER", "EPOCH", "REPLICAS", "IN-SYNC", "ELIGIBLE", "MISSING",
        "LOG-END", "STATE",
    ]  # fmt: skip
    assert [line.split() for line in listed.lines[1:]] == [
        ["orders", "0", "0", "0", "0", "0", "-", "-", "0", "ok"],
        ["orders", "1", "0", "0", "0", "0", "-", "-", "2", "ok"],
    ]
    one = (await cli("partition", "status", "orders/1", "-F", "json")).items
    assert [(row["partition"], row["log_end"]) for row in one] == [(1, 2)]
    assert (await cli("consume", "orders", "-g", "g", "-o", "start", "-n", "1")).code == 0
    for words, topics in (((), {"orders"}), (("--internal",), {"orders", "__consumer_offsets"})):
        every = (await cli("partition", "status", *words, "-F", "json")).items
        assert {row["topic"] for row in every} == topics
    well = await cli("partition", "status", "--unhealthy", "--no-header")
    assert (well.code, well.out, well.stderr) == (0, "", "every partition is as it should be\n")
    missing = await cli("partition", "status", "orders/2", "nix", "-F", "json")
    assert missing.code == 1
    assert sorted(error["reason"] for error in missing.json["errors"]) == [
        "UNKNOWN_PARTITION", "UNKNOWN_TOPIC",
    ]  # fmt: skip


async def test_a_leadership_that_cannot_move_stays(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    kept = await cli("partition", "transfer-leader", "orders/0", "-F", "json")
    assert kept.code == 0
    assert kept.items == [
        {"topic": "orders", "partition": 0, "before": 0, "leader": 0, "changed": False}
    ]
    for words in ((), ("--dry-run",)):
        refused = await cli("partition", "transfer-leader", "orders/0", "--to", "7", *words)
        assert (refused.code, refused.out) == (1, "")
        assert "node 7 cannot lead orders/0: only a replica that is in sync" in refused.stderr
        assert "(NO_ELIGIBLE_LEADER)" in refused.stderr
    some = await cli("partition", "transfer-leader", "orders/0", "orders/4", "-F", "json")
    assert (some.code, len(some.items)) == (1, 1)
    assert [error["reason"] for error in some.json["errors"]] == ["UNKNOWN_PARTITION"]


async def test_what_has_a_leader_is_not_elected_by_force(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    refused = await cli("partition", "elect", "--unclean", "orders/0", "--replica", "0", "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert "orders/0 is led by node 0" in refused.stderr
    assert "(POLICY_VIOLATION)" in refused.stderr


async def test_the_quorum_of_one(cli: Cli) -> None:
    status = await cli("quorum", "status")
    assert status.code == 0
    assert status.stderr.startswith("node 0 leads in term ")
    assert status.stderr.endswith("; 1 voter\n")
    node, role, end, lag, contact = status.lines[1].split()[:5]
    assert (node, role, lag, contact) == ("0", "leader", "0", "0ms")
    assert int(end) > 0
    again = await cli("quorum", "add", "0")
    assert (again.code, "has a vote already (DUPLICATE_VOTER)" in again.stderr) == (1, True)
    unknown = await cli("quorum", "add", "4", "--dry-run")
    assert (unknown.code, "there is no node 4 (UNKNOWN_BROKER)" in unknown.stderr) == (1, True)
    other = await cli("quorum", "remove", "4", "--yes")
    assert (other.code, "node 4 has no vote" in other.stderr) == (1, True)
    for words in (("--yes",), ("--dry-run",), ()):
        last = await cli("quorum", "remove", "0", *words)
        assert (last.code, last.out) == (1, "")
        assert "node 0 has the only vote (INVALID_REQUEST)" in last.stderr
