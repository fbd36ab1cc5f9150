"""Which nodes there are, at which ports, and with which settings they are started."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.cli.local_plan import (
    check_ports,
    chosen,
    command_of,
    environment_of,
    planned,
    with_overrides,
)
from api.cli.local_ports import ANY, HOST, any_free, fixed, is_free
from api.cli.local_state import Home, LocalCluster, LocalNode
from api.config_file import load
from tidelog.cli.failure import CommandFailed, Exit, Usage


def plan(
    known: LocalCluster | None = None, *, count: int | None = None, any_port: bool = False
) -> LocalCluster:
    return planned(known, count=count, cluster_id="demo", any_port=any_port)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_three_nodes_have_the_ports_of_the_containers() -> None:
    ports = [one.ports for one in plan().nodes]
    assert [one.kafka for one in ports] == [19092, 29092, 39092]
    assert [one.grpc for one in ports] == [19095, 29095, 39095]
    assert [one.http for one in ports] == [8080, 8081, 8082]
    assert [one.peer for one in ports] == [19093, 29093, 39093]


def test_any_ports_are_free_and_no_two_are_the_same(taken: int) -> None:
    cluster = plan(count=9, any_port=True)
    ports = [port for one in cluster.nodes for port in one.ports.by_name.values()]
    assert len(set(ports)) == 36
    assert all(map(is_free, ports))
    assert not is_free(taken)


def test_free_ports_are_none_of_those_that_others_will_have() -> None:
    kept = range(20_010, 32_000)
    assert {*any_free(kept).by_name.values()} <= set(range(20_000, 20_010))
    with pytest.raises(CommandFailed, match="no free ports") as refused:
        any_free(range(20_000, 32_000))
    assert refused.value.exit_code == Exit.CONFIGURATION


def test_a_port_at_which_somebody_listens_is_passed_over() -> None:
    open_to_all = [port for port in ANY if is_free(port)][:5]
    with socket.socket() as listener:
        listener.bind((HOST, open_to_all[2]))
        listener.listen()
        found = any_free(set(ANY) - set(open_to_all)).by_name.values()
    assert set(found) == {*open_to_all[:2], *open_to_all[3:]}


def test_nodes_that_come_later_join_what_the_first_have_founded() -> None:
    first = plan()
    grown = plan(first, count=5)
    assert grown.nodes[:3] == first.nodes
    assert (grown.founders, grown.seeds) == (3, first.seeds)
    assert plan(grown).nodes == grown.nodes


def test_a_node_is_not_taken_away_by_a_smaller_number() -> None:
    with pytest.raises(Usage, match="-n 2: the cluster has 3 nodes"):
        plan(plan(), count=2)


def test_a_sixth_node_has_no_fixed_port() -> None:
    assert fixed(5).kafka == 59092
    with pytest.raises(Usage, match="fixed ports for 5 nodes"):
        plan(count=6)
    assert len(plan(count=6, any_port=True).nodes) == 6


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_node_that_is_not_there_is_named(number: int) -> None:
    with pytest.raises(Usage, match=f"--node {number}: there is no such node"):
        chosen(plan(), [number])
    assert [one.number for one in chosen(plan(), [3, 1])] == [1, 3]
    assert len(chosen(plan(), [])) == 3


def test_settings_hold_for_later_starts_and_the_newest_wins() -> None:
    first = with_overrides(plan(), ["topics.auto_create=true", "client.timeout_ms=5"])
    assert first.overrides == ("topics.auto_create=true",)
    second = with_overrides(first, ["topics.auto_create=false", "logging.level=debug"])
    assert second.overrides == ("topics.auto_create=false", "logging.level=debug")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("node.id=7", "tidelog local sees to node.id itself"),
        ("cluster.secret=x", "tidelog local sees to cluster.secret itself"),
        ("listeners.kafka.bind=127.0.0.1:1", "sees to listeners.kafka.bind itself"),
        ("listeners.external.bind=127.0.0.1:1", "sees to listeners.external.bind itself"),
        ("listeners.external.advertise=x:1", "sees to listeners.external.advertise itself"),
        ("topics.auto_creat=true", "did you mean"),
        ("logging.level=loud", "logging"),
        ("nothing", "is not SECTION.KEY=VALUE"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_starts(
    override: str, says: str
) -> None:
    with pytest.raises(CommandFailed, match=says):
        with_overrides(plan(), [override])


def test_a_port_that_another_program_has_is_named(taken: int) -> None:
    node = LocalNode(2, replace(any_free(()), grpc=taken))
    with pytest.raises(CommandFailed, match=f"127.0.0.1:{taken} .grpc of node 2") as refused:
        check_ports([node])
    assert refused.value.exit_code == Exit.CONFIGURATION


def test_the_command_of_a_node_is_one_that_a_node_takes(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    cluster = with_overrides(plan(), ["topics.auto_create=true"])
    command = command_of(home, cluster, cluster.nodes[1])
    given = [command[place + 1] for place, word in enumerate(command) if word == "-X"]
    settings = load(overrides=given).settings
    assert (settings.node.id, settings.cluster.id) == (2, "demo")
    assert settings.cluster.seed_list == ("127.0.0.1:19093", "127.0.0.1:29093", "127.0.0.1:39093")
    assert settings.peer_listener.bind == "127.0.0.1:29093"
    assert settings.exposed() == []
    assert settings.topics.auto_create
    assert settings.node.data_dir == str(tmp_path / "node-2")
    assert settings.cluster.secret_file == str(home.secret)


def test_a_node_finds_the_program_and_is_not_told_by_the_environment_who_it_is() -> None:
    given = {
        "PATH": "/bin",
        "TIDELOG_NODE__ID": "9",
        "TIDELOG_CLUSTER__SECRET": "x",
        "TIDELOG_CLUSTER__SECRET_FILE": "y",
        "TIDELOG_LISTENERS__EXTERNAL__BIND": "127.0.0.1:19094",
        "TIDELOG_LISTENERS__EXTERNAL__ADVERTISE": "localhost:19094",
        "TIDELOG_LOGGING__LEVEL": "debug",
        "PYTHONPATH": "/else",
    }
    made = environment_of(given)
    assert made.keys() == {"PATH", "TIDELOG_LOGGING__LEVEL", "PYTHONPATH"}
    tree = str(Path(__file__).parents[4])
    assert made["PYTHONPATH"] == f"{tree}:/else"
    assert environment_of({})["PYTHONPATH"] == tree
