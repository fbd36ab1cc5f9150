"""`tidelog local` with one node, from its first start until nothing is left of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.local import CLUSTER_ID
from api.cli.local_ports import fixed
from tests.cli_runner import Ran, run_here
from tests.cluster.compose_file import PATH, read


class Local:
    """The command line, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *words: str, format_: str = "json") -> Ran:
        command = ("local", *words, "--data", str(self.directory), "-F", format_)
        return run_here(command, {**os.environ, "XDG_CONFIG_HOME": "/nonexistent"}, b"")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path / "local")
    yield made
    if (made.directory / "local.json").exists():
        made("stop", "--kill")


def test_a_node_from_its_first_start_to_its_purge(local: Local) -> None:
    started = local("start", "-n", "1", "--any-port", "-X", "log.journal_file_bytes=1MiB")
    assert started.code == 0, started.stderr
    (row,) = started.items
    assert (row["state"], row["ready"], row["controller"], row["changed"]) == (
        "running", True, 1, True,
    )  # fmt: skip
    environment = {"TIDELOG_CLIENT__ADDRESS": row["grpc"], "HOME": "/nonexistent"}
    assert run_here(("topic", "create", "orders"), environment, b"").code == 0

    again = local("start")
    assert again.code == 0
    assert again.items == [row | {"changed": False}]
    assert local("status").items == [{key: row[key] for key in row if key != "changed"}]

    refused = local("purge", "--yes")
    assert (refused.code, "still running: node 1" in refused.stderr) == (3, True)

    stopped = local("stop")
    assert stopped.code == 0, stopped.stderr
    (now,) = stopped.items
    assert (now["state"], now["exit_code"], now["pid"], now["changed"]) == (
        "stopped", 0, None, True,
    )  # fmt: skip

    (back,) = local("start").items
    addresses = ("kafka", "grpc", "http", "peer")
    assert [back[door] for door in addresses] == [row[door] for door in addresses]
    assert back["pid"] != row["pid"]
    assert "orders" in run_here(("topic", "list"), environment, b"").out

    killed = local("stop", "--kill")
    assert (killed.code, killed.items[0]["changed"]) == (0, True), killed.stderr
    (dead,) = local("status").items
    assert (dead["state"], dead["exit_code"], dead["ready"]) == ("crashed", 137, False)

    lines = local("logs", format_="jsonl").out
    assert "node_ready" in lines
    assert local("logs", "--tail", "1", format_="text").out.startswith("1 | ")

    dry = local("purge", "--dry-run")
    assert (dry.code, dry.items[0]["changed"]) == (0, False)
    assert local.directory.exists()
    assert local("purge").code == 2, "nobody is there to ask"
    assert local("purge", "--yes").code == 0
    assert not local.directory.exists()


def test_what_is_asked_for_is_shown_first_and_nothing_is_made(local: Local) -> None:
    dry = local("start", "-n", "2", "--any-port", "--dry-run")
    assert dry.code == 0
    assert [(row["node"], row["state"], row["changed"]) for row in dry.items] == [
        (1, "stopped", False),
        (2, "stopped", False),
    ]
    assert not local.directory.exists()


@pytest.mark.parametrize("words", [("status",), ("stop",), ("logs",), ("purge", "--yes")])
def test_without_a_cluster_there_is_one_clear_error(local: Local, words: tuple[str, ...]) -> None:
    ran = local(*words)
    assert ran.code == 1
    assert f"error: there is no local cluster in {local.directory}" in ran.stderr
    assert "hint: make one with: tidelog local start" in ran.stderr
    assert not local.directory.exists()


def test_a_node_that_refuses_to_run_is_told_with_its_last_words_and_its_code(local: Local) -> None:
    local.directory.mkdir()
    local.directory.joinpath("node-1").write_text("no directory")
    ran = local("start", "-n", "1", "--any-port")
    assert ran.code == 10, ran.stderr
    assert "error: node 1 ended with exit code 10 before it was ready:" in ran.stderr
    assert "this cannot be a data directory" in ran.stderr
    assert (ran.items[0]["state"], ran.items[0]["exit_code"]) == ("crashed", 10)
    assert ran.json["errors"][0]["exit_code"] == 10


def test_an_identity_that_cannot_be_read_is_refused_also_in_an_empty_directory(
    local: Local,
) -> None:
    identity = local.directory / "node-1" / "identity"
    identity.parent.mkdir(parents=True)
    identity.write_bytes(b"not an identity")
    ran = local("start", "-n", "1", "--any-port")
    assert ran.code == 11, ran.stderr
    assert "error: node 1 ended with exit code 11 before it was ready:" in ran.stderr
    assert "identity at byte 0" in ran.stderr
    assert "let this node join with an empty directory" in ran.stderr
    assert identity.read_bytes() == b"not an identity"


def test_a_node_that_waits_for_others_is_left_running_and_told(local: Local) -> None:
    assert local("start", "-n", "3", "--any-port", "--dry-run").code == 0
    ran = local("start", "-n", "3", "--any-port", "--node", "2", "--timeout", "3")
    assert ran.code == 3, ran.stderr
    assert "error: node 2 runs and is not ready yet" in ran.stderr
    assert "start the others too" in ran.stderr
    rows = {row["node"]: row for row in ran.items}
    assert [rows[number]["state"] for number in (1, 2, 3)] == ["stopped", "running", "stopped"]
    stopped = local("stop")
    assert stopped.code == 0, stopped.stderr
    assert {row["node"]: row["state"] for row in stopped.items}[2] == "stopped"


def test_the_ports_are_those_that_the_containers_show() -> None:
    services = read(PATH.read_text())["services"]
    for number in (1, 2, 3):
        shown = [
            published.rpartition(":")[0] for published in services[f"tidelog-{number}"]["ports"]
        ]
        ports = fixed(number)
        assert shown == [ports.address(door) for door in ("kafka", "grpc", "http")]
    assert services["tidelog-1"]["environment"]["TIDELOG_CLUSTER__ID"] == CLUSTER_ID
