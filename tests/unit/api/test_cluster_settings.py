"""What a node is told of its cluster: seeds, name, secret, number, and each refusal of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from api.config_file import ConfigRefused, Loaded, load, rows_of
from api.node.identity import SECRET_BYTES_MAX, numbered, secret_of, told_address

SEEDS = "cluster.seeds=log-1:9093, log-2:9093,log-3:9093"
LOCAL = "cluster.seeds=127.0.0.1:9093,localhost:9193"
ID = "cluster.id=orders"


def given(*overrides: str) -> Loaded:
    return load(overrides=overrides)


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigRefused) as refused:
        given(*overrides)
    assert len(refused.value.problems) == 1
    return refused.value.problems[0]


def test_seeds_are_a_list_and_none_is_a_node_alone() -> None:
    assert given().settings.cluster.seed_list == ()
    cluster = given(SEEDS, ID).settings.cluster
    assert cluster.seed_list == ("log-1:9093", "log-2:9093", "log-3:9093")


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (("cluster.seeds=log-1", ID), "seeds = 'log-1' is not HOST:PORT"),
        (("cluster.seeds=log-1:9093,log-1:9093", ID), "names a node twice"),
        (("cluster.seeds=log-1:0", ID), "nowhere that a node can connect to"),
        (("cluster.seeds=0.0.0.0:9093", ID), "nowhere that a node can connect to"),
        (("cluster.seeds=" + ",".join(f"l{n}:1" for n in range(33)), ID), "33 nodes, at most 32"),
        ((SEEDS,), "the cluster needs a name"),
        (("cluster.id=" + "x" * 65,), "0..64 characters"),
        (("cluster.secret=a", "cluster.secret_file=b"), "both set"),
        (("listeners.peer.bind=x",), "is not HOST:PORT"),
        (("listeners.peer.advertise=0.0.0.0:9093",), "nowhere that a node can connect to"),
        (("cluster.replication_factor=0",), "outside 1..32"),
        (("cluster.broker_session_ms=100",), "at least twice"),
    ],
)
def test_what_is_wrong_is_told_once(overrides: tuple[str, ...], why: str) -> None:
    assert why in refusal(*overrides)


def test_topics_get_three_replicas_or_one_for_each_seed() -> None:
    assert given().settings.cluster.replicas_wanted is None
    assert given(SEEDS, ID).settings.cluster.replicas_wanted == 3
    assert given(LOCAL, ID).settings.cluster.replicas_wanted == 2
    assert given(SEEDS, ID, "cluster.replication_factor=1").settings.cluster.replicas_wanted == 1
    many = "cluster.seeds=" + ",".join(f"log-{n}:9093" for n in range(5))
    assert given(many, ID).settings.cluster.replicas_wanted == 3


@pytest.mark.parametrize(
    ("machine", "number"),
    [("tidelog-2", 2), ("log07", 7), ("tidelog-12.example.org", 12), ("3", 3)],
)
def test_the_machine_gives_the_number(machine: str, number: int) -> None:
    loaded = numbered(given(SEEDS, ID), machine)
    assert loaded.settings.node.id == number
    (row,) = (row for row in rows_of(loaded) if row.setting == "node.id")
    assert (row.value, row.origin) == (
        str(number),
        f"the name of this machine, {machine.partition('.')[0]}",
    )


def test_a_number_that_is_set_counts_even_if_it_is_the_default() -> None:
    assert numbered(given(SEEDS, ID, "node.id=0"), "tidelog-2").settings.node.id == 0
    assert numbered(given(), "tidelog-2").settings.node.id == 0  # alone: it needs none


@pytest.mark.parametrize("machine", ["tidelog", "tidelog-a", "7up", "n99999999999", "n4294967296"])
def test_a_machine_without_a_number_asks_for_one(machine: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        numbered(given(SEEDS, ID), machine)
    assert "node.id is not set" in refused.value.problems[0]
    assert "node.id" in refused.value.hint


def test_an_empty_secret_is_for_one_machine_alone() -> None:
    assert secret_of(given().settings) == b""
    assert secret_of(given(LOCAL, ID).settings) == b""
    for beyond in (
        (SEEDS, ID),
        (LOCAL, ID, "listeners.peer.bind=0.0.0.0:9093"),
    ):
        with pytest.raises(ConfigRefused) as refused:
            secret_of(given(*beyond).settings)
        assert "cluster.secret is empty" in refused.value.problems[0]
        assert secret_of(given(*beyond, "cluster.secret=long").settings) == b"long"


def test_the_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"from the file\n")
    assert secret_of(given(SEEDS, ID, f"cluster.secret_file={file}").settings) == b"from the file"
    variable = {"TIDELOG_CLUSTER__SECRET_FILE": str(file), "TIDELOG_CLUSTER__ID": "x"}
    assert secret_of(load(environment=variable).settings) == b"from the file"


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\n", "empty"), (b"x" * 4097, "more than 4096")]
)
def test_a_file_without_a_secret_is_refused(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    assert SECRET_BYTES_MAX == 4096
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigRefused) as refused:
        secret_of(given(SEEDS, ID, f"cluster.secret_file={file}").settings)
    assert why in refused.value.problems[0]


def test_the_secret_is_never_shown() -> None:
    shown = str(rows_of(given("cluster.secret=hush")))
    assert "hush" not in shown
    assert "(not shown)" in shown
    with pytest.raises(ConfigRefused) as refused:
        given("cluster.secret=" + "hush" * 300)
    assert "hush" not in str(refused.value)
    row = next(row for row in rows_of(given()) if row.setting == "cluster.secret")
    assert row.value == ""


def test_other_nodes_are_told_where_this_one_is() -> None:
    settings = given().settings
    assert told_address(settings, ("127.0.0.1", 7), "log-1") == ("127.0.0.1", 7)
    assert told_address(settings, ("0.0.0.0", 7), "log-1") == ("log-1", 7)
    named = given("listeners.peer.advertise=outside:9").settings
    assert told_address(named, ("0.0.0.0", 7), "log-1") == ("outside", 9)


def test_peers_are_no_clients() -> None:
    """The peer listener has the cluster's secret: no security mode opens or closes it."""
    settings = given(SEEDS, ID, "listeners.peer.bind=0.0.0.0:9093").settings
    assert settings.exposed() == []
    assert replace(settings).listeners().keys() == {"kafka", "grpc", "http"}
